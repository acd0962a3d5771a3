//! An etcd v3 cluster's whole state as a value: streamed out of a live cluster into one verified archive, judged,
//! and written back as the data directories of a new cluster. Natively: no `etcdctl` runs anywhere.
//!
//! # Layers
//!
//! A module uses its own layer and those below it, never one above; a test holds the crate to it.
//!
//! | layer | modules |
//! |---|---|
//! | ground | [`clock`], [`error`], [`defect`], [`durable`], [`facts`], [`hex`], [`progress`], [`proto`], [`read_at`], `threads`, [`version`] |
//! | formats | [`bbolt`], [`raft`], [`schema`], [`archive`] |
//! | network | `client` (feature `client`): the only place that knows tokio and etcd-client |
//! | use cases | [`snapshot`], [`history`], [`compare`], `put_back`, [`compose`], [`data_dir`], [`restore`], `backup`, [`diagnose`] |
//! | binding | `python` (feature `python`): the only place that knows pyo3 |
//!
//! The formats promise, for any bytes whatever: no panic, no memory out of proportion, bounded depth.

pub mod clock;
pub mod defect;
pub mod durable;
pub mod error;
pub mod facts;
pub mod hex;
pub mod progress;
pub mod proto;
pub mod read_at;
mod threads;
pub mod version;

pub mod archive;
pub mod bbolt;
pub mod raft;
pub mod schema;

#[cfg(feature = "client")]
pub mod client;

#[cfg(feature = "client")]
pub mod backup;
pub mod compare;
pub mod compose;
pub mod data_dir;
pub mod diagnose;
pub mod history;
#[cfg(feature = "client")]
pub mod put_back;
pub mod restore;
pub mod snapshot;

#[cfg(feature = "python")]
mod python;

pub use defect::Defect;
pub use error::{Error, Result};
