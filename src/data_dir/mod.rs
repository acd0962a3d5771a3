//! A member's data directory on disk: is an etcd using it ([`in_use`]), what does it say of its member
//! ([`inspect`]), and is it as a restore leaves it?
//!
//! etcd finds only some contradictions when it starts, some of them later, and some never: with a
//! `consistent_index` that is too high it drops writes without a word. So a restored directory is proven before it
//! takes its place. [`verify_member`] holds to one expected membership: every page of the database, and its buckets `meta`,
//! `members`, `members_removed` and `cluster`; the WAL; and the `.snap` file. What the other buckets hold is the
//! business of [`snapshot`](crate::snapshot).
//!
//! [`inspect`] judges less: what etcd itself clears away when it starts is no defect to it
//! ([`Inspection::mended_at_start`]), and a defect is what keeps etcd from starting, or makes it start without what it
//! acknowledged: a log that ends before what the database holds (`wal-behind-database`), or in a torn record that had been
//! synced (`wal-torn-inside`).
//!
//! The directory may hold any bytes: what is wrong is a defect, never a panic, and memory is bounded as
//! [`bbolt`](crate::bbolt) and [`raft`](crate::raft) promise.
//!
//! | rule | codes |
//! |---|---|
//! | nothing is missing and nothing foreign lies about | `data-dir-entry`, `database-missing`, `snap-missing`, `wal-missing` |
//! | the pages of the database obey bbolt | those of [`walk`](crate::bbolt::walk) |
//! | the WAL's frames, CRC chain, names and tail are whole, in one segment | `wal-*`, `wal-segments` |
//! | the WAL is that of this member of this cluster | `wal-identity` |
//! | term 1, and one index N everywhere: number of members, commit, last entry, snapshot record, `.snap`, `consistent_index` | `hard-state`, `wal-entries`, `wal-snapshot`, `snap-index`, `meta-consistent-index`, `meta-term` |
//! | the `.snap` file is whole and is the one that the WAL names | `snap-*`, `snap-unmatched` |
//! | the same members in the WAL's entries and ConfState, in the `.snap`'s ConfState and v2 store, in bucket `members`; none removed | `wal-entries`, `wal-conf-state`, `snap-conf-state`, `snap-members`, `snap-removed`, `members-bucket`, `members-removed` |
//! | portable layout: nothing in the database or the log ties it to one etcd release | `meta-conf-state`, `meta-storage-version`, `cluster-bucket`, `wal-bytes`, `snap-bytes` |

mod database;
mod in_use;
mod inspect;
mod log;
mod verify;

#[cfg(test)]
mod tests;

pub use in_use::{InUse, in_use};
pub use inspect::{InspectedMember, Inspection, inspect};
pub use verify::{Layout, verify_identity, verify_member, verify_restored};
