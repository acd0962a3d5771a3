//! The write-ahead log: segments of framed records under a running CRC-32C.
//!
//! Each frame is a length word, a `walpb.Record` and padding to eight bytes. The CRC runs over the data of all
//! records, from segment to segment; the first record of each segment carries it over.
//!
//! Source: etcd `server/storage/wal`: `wal.go`, `encoder.go`, `decoder.go`, `util.go`.

pub(crate) mod frame;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

pub use frame::{SEGMENT_SIZE, restored_name};
pub use reader::{ConfChangeEntry, Segment, SnapshotRecord, Wal, read_dir};
pub use writer::{RESTORED_TERM, restored, write_dir};
