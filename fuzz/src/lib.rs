//! What the fuzz targets share: budgets, files to read from, and mutations that checksums don't stop.
//!
//! An input is always a file as an operator may have it, so that a finding can be handed to `dcos-etcdctl` as it is. The
//! mutators put checksums right after they have changed something; the targets change nothing.

pub mod archive;
pub mod budget;
pub mod chance;
pub mod database;
pub mod log;
pub mod readers;
pub mod scratch;
