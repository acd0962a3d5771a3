//! The write-ahead log: segments of framed records under a running CRC-32C.
//!
//! Each frame is a length word, a `walpb.Record` and padding to eight bytes. The CRC runs over the data of all
//! records, from segment to segment; the first record of each segment carries it over.
//!
//! # Promise
//!
//! For any bytes whatever, with checksums that fit or without: no panic; every segment is read once and its bytes in their
//! order; memory for one record of at most 64 MiB, and only if the file is that long, for what the log says of membership
//! and snapshots, and for 1,000 defects.
//!
//! Source: etcd `server/storage/wal`: `wal.go`, `encoder.go`, `decoder.go`, `util.go`.

pub(crate) mod frame;
#[cfg(test)]
mod hostile;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

pub use frame::{SEGMENT_SIZE, restored_name};
pub use reader::{ConfChangeEntry, Segment, SnapshotRecord, Wal, read_dir, read_file};
pub use writer::{RESTORED_TERM, restored, write_dir};
