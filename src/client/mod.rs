//! The network: how a cluster is reached, what its members are asked, and the snapshot stream.
//!
//! One [`Connection`] talks to one endpoint: a client that balances over several would take the status of one member
//! and the snapshot of another. Every request is bounded by a timeout, and every failure is put into words that say
//! what to do ([`Failure`]). Nothing here prints or keeps a password longer than its [`Access`] lives.

mod access;
mod calls;
mod connect;
mod endpoint;
mod failure;
mod guarded;
mod keys;
mod members;
mod pace;
mod snapshot_stream;
mod state;
mod tls;

pub use access::{Access, DEFAULT_COMMAND_TIMEOUT, DEFAULT_DIAL_TIMEOUT, Tls};
pub use connect::{Connection, Connector};
pub use endpoint::EndpointUrl;
pub use failure::{Failure, FailureKind};
pub use guarded::{Guarded, Outcome, Write, Writer};
pub use keys::{LiveKey, LiveKeys};
pub use members::member_list;
pub use snapshot_stream::{Chunk, SnapshotStream, Unopened};
pub use state::{LivePermission, LiveState};

pub(crate) use members::nobody;
