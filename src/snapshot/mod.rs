//! Opened bytes become a [`VerifiedSnapshot`], and nothing else does.
//!
//! What was read is not what was verified: a restore takes a `VerifiedSnapshot`, and the only way to one leads through
//! every check of this module: the container, the SHA-256, bbolt's own rules, and etcd's encodings. A bare database that is
//! judged where it lies is read twice: once for its hash, and once for its pages. Of one that passes by on its way into a
//! file, most leaves are judged then (`note.rs`), and only the other pages are read back. More than four million live
//! keys, which are counted in bounded memory, are gone through once more for each share of them.
//!
//! # Promise
//!
//! For any bytes whatever: no panic, the bounds of [`bbolt`](crate::bbolt) and [`archive`](crate::archive), and 40 MiB
//! for counting keys, 20 MiB for notes of leaves, 16 MiB for the ids of leases and 10,000 defects on top. What is
//! accepted, every reader of [`history`](crate::history) reads without an error, every restore restores, and a server
//! boots.

mod census;
mod crc;
mod judge;
mod live;
mod note;
mod open;
mod report;
mod sparse;
#[cfg(test)]
mod tests;

pub use judge::Contents;
pub(crate) use judge::{live_keys, misnamed};
pub(crate) use live::{damaged_meta, steady, warnings};
pub use open::{VerifiedSnapshot, VerifyOptions, check_trailer, spool, status, verify};
pub(crate) use open::{spool_dirs, spooled};
pub use report::{Status, VerifyReport};
