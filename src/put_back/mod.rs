//! Keys of a snapshot, written back into a live cluster.
//!
//! [`Plan`] compares the two and holds what would be written, each key with the revision of its last change in the
//! cluster. [`Plan::apply`] writes by transactions, each key under the condition that this revision is still the same:
//! who writes meanwhile is never overwritten, and such a key is a [`Conflict`]. Keys whose value is right already are
//! passed over, so that a run that was broken off is finished by another one. What etcd refuses for one key alone (too
//! large, or not allowed to this user) keeps no other key back.
//!
//! Leases are not put back: a lease that a snapshot knows may be gone, or be another one by the same id. A key that is
//! there keeps the lease that it hangs on; where that is gone, as after a restore to a revision before its end, it
//! hangs on none then.

mod apply;
mod plan;
mod refused;

pub use apply::{Conflict, PutBackReport, Unanswered};
pub use plan::{Action, Plan, PlanCounts, Planned, PutBackOptions};
