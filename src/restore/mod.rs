//! A [`VerifiedSnapshot`](crate::snapshot::VerifiedSnapshot) becomes a member's data directory.
//!
//! The portable layout: what is written boots on etcd 3.4, 3.5, 3.6 and 3.7 alike and holds no trace of the old
//! membership. The database is the snapshot's with a few pages appended ([`patch`]), or what [`Rewrite`] takes of it,
//! written anew; the WAL and the `.snap` file are what etcd's own restore writes. Everything is made beside its
//! destination, checked, synced, and only then renamed into place, so that a restore that fails or is killed leaves
//! nothing that blocks the next one.
//!
//! With [`Existing::Keep`] or [`Existing::Discard`] the new directory takes the place of an old one, in one step
//! ([`StagedDir`](crate::durable::StagedDir)). That is refused while an etcd uses the old one, which is looked at
//! before anything is written and again right before that step.

mod carry;
mod guard;
mod half;
mod handover;
mod options;
pub mod patch;
mod place;
mod rewrite;
mod run;
mod space;
mod token;

pub use handover::{Handover, NoHandover};
pub use options::{Existing, Owner, RestoreOptions, RestoreReport, RestoredMember};
pub use rewrite::{Repairs, Rewrite, Rewritten};
pub use run::{restore, restore_with};
