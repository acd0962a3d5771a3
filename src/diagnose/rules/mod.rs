//! The rules, by what they look at. Each file's `judge` adds its findings; thresholds are constants with their reasons.

pub(super) mod alarms;
pub(super) mod consensus;
pub(super) mod duplicates;
pub(super) mod expected;
pub(super) mod hashes;
pub(super) mod membership;
pub(super) mod reach;
pub(super) mod replication;
pub(super) mod space;
pub(super) mod versions;

#[cfg(test)]
pub(super) mod fixtures;
