//! The raft side of a member's directory: who the members are, the write-ahead log and the `.snap` file.
//!
//! What a restore writes is reproduced byte for byte.
//!
//! # Promise
//!
//! What is read may be any bytes, and gives defects, never a panic. A WAL is read a record of at most 64 MiB at a time
//! ([`wal`]), a `.snap` file of at most 64 MiB at once ([`snap`]); memory stays within a constant factor of that. Messages
//! nest as deep as they are defined to, and the JSON of the v2 store 128 levels. At most 1,000 defects of either are kept.

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
