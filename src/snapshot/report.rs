//! What verification and status tell.

use std::path::PathBuf;

use serde::Serialize;

use crate::archive::Manifest;

/// The figures of `etcdutl snapshot status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// CRC-32C over the names of all buckets and their keys and values, in key order.
    pub hash: u32,
    /// Main revision of the last key of bucket `key`, 0 when there is none.
    pub revision: i64,
    /// Live user keys: the meaning of etcdutl 3.6 and later (3.4 and 3.5 counted every entry of every bucket).
    pub total_key: u64,
    /// Bytes of the database up to its high water mark, hash excluded.
    pub total_size: u64,
    /// Storage version such as `3.6.0`, empty before 3.6.
    pub version: String,
}

/// A snapshot that was found sound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The file that was judged.
    pub path: PathBuf,
    /// Its container: `tar.gz`, `tar.zst`, `tar`, `db`, `db.gz` or `db.zst`.
    pub kind: &'static str,
    /// Bytes of the file.
    pub file_size: u64,
    /// Bytes of the database in it, hash excluded.
    pub database_size: u64,
    /// SHA-256 of the database, in hex.
    pub sha256: String,
    /// Whether a trailer was there to compare that with. `false` only under `skip_hash_check`.
    pub hash_checked: bool,
    /// The figures of `etcdutl snapshot status`.
    pub status: Status,
    /// What the archive says of its own origin, if it says anything.
    pub manifest: Option<Manifest>,
    /// Pages up to the high water mark.
    pub pages: u64,
    /// Those of them that hold nothing.
    pub pages_free: u64,
    /// What does not make the snapshot bad, but should be known before it is restored.
    pub warnings: Vec<String>,
}
