//! Restores that take a part of a snapshot, or another revision of it: the database is written anew.
//!
//! Every entry of the verified snapshot passes by once, in key order; what belongs to the restored state goes into a
//! [`BulkWriter`](crate::bbolt::BulkWriter), changed where a repair asks for it, with the [`Patch`](crate::bbolt::Patch)
//! of every restore on top. No index is needed, and no memory but for the pages that are open:
//!
//! - *At a revision.* Bucket `key` is sorted by revision, so the state at revision R is all entries up to it. etcd
//!   keeps a compaction's bound when it is scheduled, and R is not below any bound, so the bounds stay as they are: a
//!   compaction that was under way is carried on at the first start, and takes nothing that R needs.
//! - *By prefix.* A version or tombstone stays if its key does. Revisions keep their numbers; etcd minds no gaps. Where
//!   the last of them falls away, the deletion of nothing (a tombstone of the empty key, which no client can name) holds
//!   its place, so that the revision does not go back. Hashes of the key space agree between members that were restored
//!   alike, and with no cluster else.
//! - *Compact.* The writer leaves no page free.
//!
//! Buckets other than `key` know no revisions: leases, users and roles are those of the snapshot.

mod pass;
mod selection;
#[cfg(test)]
mod tests;
mod told;

pub(super) use pass::{Job, Outcome, read_back, write};
pub use selection::{Repairs, Rewrite};
pub use told::Rewritten;
pub(super) use told::{changes, refuse_nothing, repairs, warnings, written};
