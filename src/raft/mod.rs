//! The raft side of a member's directory: who the members are, the write-ahead log and the `.snap` file.
//!
//! What a restore writes is reproduced byte for byte; what is read may be any bytes, and gives defects, never a
//! panic. Memory stays within a constant factor of what is read, and one WAL record at a time.

mod envelope;
mod go_text;
mod membership;
mod messages;
mod url;
mod urls;
mod v2_store;

pub mod snap;
pub mod wal;

#[cfg(test)]
pub(crate) mod fixture;

pub use membership::{Bootstrap, Member, Membership, bootstrap, member_json};
pub use messages::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Metadata, Snapshot, SnapshotMetadata,
    WalSnapshot,
};
pub use wal::{RESTORED_TERM, SEGMENT_SIZE};
