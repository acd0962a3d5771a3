//! What is the matter with a cluster, and what to do about it.
//!
//! [`diagnose`](fn@diagnose) asks every member that it can find, side by side; [`judge`] turns what they told into
//! findings. The second step is a pure function of [`Facts`](crate::facts::Facts), so that facts can be saved and judged
//! later, and each rule is tested without a server.
//!
//! A finding that is `critical` says that the cluster, or a member of it, does not do its work now, or that its members
//! contradict one another. `warning` says that it will fail, or that something could not be checked; `info` is worth
//! knowing. A cluster is healthy when nothing critical was found.

#[cfg(feature = "client")]
mod gather;
mod judge;
mod report;
mod rules;
#[cfg(feature = "client")]
mod run;

#[cfg(feature = "client")]
pub use gather::gather;
pub use judge::judge;
pub use report::{Diagnosis, Finding, Severity};
#[cfg(feature = "client")]
pub use run::{DiagnoseOptions, diagnose};
