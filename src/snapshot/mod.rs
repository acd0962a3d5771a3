//! Opened bytes become a [`VerifiedSnapshot`], and nothing else does.
//!
//! What was read is not what was verified: a restore takes a `VerifiedSnapshot`, and the only way to one leads through
//! every check of this module: the container, the SHA-256, bbolt's own rules, and etcd's encodings. The database is
//! read twice at the most: once for its hash and, unless it lies open in a file already, once for its pages.

mod judge;
mod open;
mod report;
#[cfg(test)]
mod tests;

pub use judge::{Contents, Judge};
pub use open::{VerifiedSnapshot, VerifyOptions, spool, status, verify};
pub use report::{Status, VerifyReport};
