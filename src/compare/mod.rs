//! What differs between two key spaces, of snapshots or of live clusters.
//!
//! [`Merge`] is pure: it merges two streams of digests in key order, and whoever has the keys feeds the side that has run
//! dry. [`Comparison`] does that for two [`Source`]s. Memory is that of one batch a side, and grows with neither key
//! space; a snapshot's index comes on top.

mod merge;
#[cfg(feature = "client")]
mod run;
#[cfg(feature = "client")]
mod source;

pub use merge::{Change, Counts, Difference, Merge, Side};
#[cfg(feature = "client")]
pub use run::{Comparison, Found, feed};
#[cfg(feature = "client")]
pub use source::Source;
