//! What a backup is made of, and what it tells when it is done.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::archive::{Compression, Manifest};
use crate::client::Access;

/// Time without a byte after which a stream is given up. A server reads and sends 32 KiB at a time, so a byte every
/// half minute is far from normal work even on a very bad disk.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How to make a backup.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Where the cluster is. The first endpoint that answers healthy is used.
    pub access: Access,
    /// Time without a byte after which the stream is given up.
    pub stall_timeout: Duration,
    /// How to compress; by the archive's name when not given.
    pub compression: Option<Compression>,
    /// The most bytes of the snapshot to take from the server in a second; as many as come when not given. A slower
    /// backup keeps a read transaction of the server open for longer, and its database may grow meanwhile.
    pub max_rate: Option<u64>,
}

/// An endpoint that came before the one that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The endpoint as it was given.
    pub endpoint: String,
    /// Why it was not used.
    pub reason: String,
}

/// What a finished backup tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupReport {
    /// The archive.
    pub path: PathBuf,
    /// `gzip` or `zstd`.
    pub compression: &'static str,
    /// Bytes of the archive.
    pub archive_size: u64,
    /// The endpoint that the snapshot came from.
    pub endpoint: String,
    /// Endpoints that came before it and were not used.
    pub skipped: Vec<Skipped>,
    /// What was written into the archive beside the snapshot.
    pub manifest: Manifest,
    /// Seconds from the call to the synced archive.
    pub duration_seconds: f64,
    /// What does not look right though the backup is whole.
    pub warnings: Vec<String>,
}
