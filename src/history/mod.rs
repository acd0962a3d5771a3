//! Reading a snapshot as the server read it: keys at any revision that is still there, and everything beside them.
//!
//! A [`Store`] is an opened snapshot, whatever file holds it. It opens in constant time and verifies nothing ahead: what
//! is read is checked as it is read, and a damaged part that is touched is [`Error::Corrupt`](crate::Error::Corrupt)
//! with its page and offset.
//!
//! # The index
//!
//! Bucket `key` is ordered by revision, so that a look-up by key needs what etcd calls its treeIndex. [`Index`] is that,
//! built in one pass when the first look-up asks for it and shared by everybody afterwards. It holds no values:
//!
//! | for each | bytes |
//! |---|---|
//! | revision in the file | 20 |
//! | key | its length and 16 |
//! | key, while it is built or sorted | up to 16 more |
//!
//! Nothing else grows with the file. What needs no index does not build it: members, leases, alarms, users, roles,
//! the revisions in the order of the file ([`Scan`]), and one key's history.
//!
//! # Promise
//!
//! For any bytes whatever: no panic, and an error where something is wrong with what is read, never another answer to the
//! same question. Nothing that [`snapshot::verify`](crate::snapshot::verify) accepts is an error. Memory is that of the
//! index, a batch of rows ([`Cursor`]), and what [`bbolt`](crate::bbolt) and [`archive`](crate::archive) take.
//!
//! # As etcd
//!
//! Ranges, revisions and their errors are those of etcd's `mvcc` (`kvstore_txn.go: rangeKeys`, `key_index.go`), the hash
//! of the key space is that of `hash.go`, and leases hold the keys that a server would attach to them at boot.

mod cursor;
mod digest;
mod facts;
mod hash_kv;
mod index;
mod range;
mod scan;
mod source;
mod stats;
mod store;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, Row};
pub use digest::{Digest, Digests};
pub use facts::{AuthState, LeaseKeys};
pub use hash_kv::{HashKv, HashRule};
pub use index::Index;
pub use range::KeyRange;
pub use scan::{Scan, Stored};
pub use source::Source;
pub use stats::{Group, Span, Stats, Top};
pub use store::Store;
