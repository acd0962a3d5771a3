//! From a live cluster into one archive, in one pass.
//!
//! Receiving, hashing, compressing and writing run beside each other: the stream goes from the socket through a bounded
//! channel to a thread that hashes it and feeds the archive, whose own threads compress, and the system writes what is
//! done while the rest is on its way. With a bound on the rate the socket is read no faster, which holds the server
//! back. No copy of the database is kept anywhere, and memory does not grow with it. What the server sends is checked
//! against its own announcement and its own SHA-256 before the archive gets its name, and what the manifest says of the
//! sender against the database. After a failure, a stop or a dropped future there is no archive: the file without a name
//! goes with the thread, at the latest when that notices that nobody waits any more.

mod choose;
mod report;
mod run;
mod sender;
mod watch;
mod writer;

pub use report::{BackupOptions, BackupReport, DEFAULT_STALL_TIMEOUT, Skipped};
pub use run::backup;
