//! The half of a member that a restore with `--wal-dir` leaves when it is killed between its data directory's rename and
//! that of the segment.
//!
//! The log is sealed, so no server has started with both. One may have started with the data directory and another log,
//! or somebody may have put an old member's directory there: so it is taken for a half only if its files are those of a
//! fresh restore, the `.snap` file byte for byte, with the identity of the sealed log, and nothing was applied to its
//! database since.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::options::{Existing, RestoreOptions};
use super::place::{MEMBER, SEALED};
use crate::data_dir::{in_use, verify_identity};
use crate::durable::StagedDir;
use crate::error::{Error, Result};
use crate::raft::{Member, Membership, snap, wal};
use crate::schema::StoredMember;

/// Whether the data directory is such a half, which may give way although nobody said so. What can't be read is none.
pub(super) fn stands(options: &RestoreOptions) -> bool {
    log_of_half(options).is_some_and(|wal_dir| is_half(&options.data_dir, wal_dir).unwrap_or(false))
}

/// Whether the log is sealed while something stands in the data directory, half or not.
pub(super) fn is_suspected(options: &RestoreOptions) -> bool {
    log_of_half(options).is_some()
}

fn log_of_half(options: &RestoreOptions) -> Option<&Path> {
    let wal_dir = options.wal_dir.as_deref()?;
    let is_asked = options.existing == Existing::Refuse && options.wal_in_data_dir().is_none();
    (is_asked && is_all(wal_dir, &[SEALED]) && !StagedDir::held(&options.data_dir).is_empty()).then_some(wal_dir)
}

fn is_half(data_dir: &Path, wal_dir: &Path) -> Result<bool> {
    let member = data_dir.join(MEMBER);
    let snap_dir = member.join("snap");
    if !is_all(data_dir, &[MEMBER]) || !is_all(&member, &["snap"]) {
        return Ok(false);
    }
    let Some(membership) = sealed_membership(&wal_dir.join(SEALED))? else { return Ok(false) };
    let (name, bytes) = snap::restored(&membership);
    Ok(is_all(&snap_dir, &[&name, "db"])
        && begins_with(&snap_dir.join(&name), &bytes, true)?
        && verify_identity(&snap_dir.join("db"), &membership)?.is_empty()
        && in_use(data_dir, Some(wal_dir))?.is_none())
}

/// Whose log it is, if it is one that a restore wrote.
fn sealed_membership(path: &Path) -> Result<Option<Membership>> {
    let log = wal::read_file(path)?;
    let Some(metadata) = log.metadata else { return Ok(None) };
    let stored = log.conf_changes.iter().map(|entry| serde_json::from_slice::<StoredMember>(&entry.change.context));
    let Ok(stored) = stored.collect::<serde_json::Result<Vec<_>>>() else { return Ok(None) };
    let members = stored.into_iter().map(|StoredMember { id, name, peer_urls, .. }| Member { id, name, peer_urls });
    let membership =
        Membership { cluster_id: metadata.cluster_id, local_id: metadata.node_id, members: members.collect() };
    let is_restored = log.defects.is_empty() && begins_with(path, &wal::restored(&membership), false)?;
    Ok(is_restored.then_some(membership))
}

/// Whether a file begins with these bytes; `alone` when it must have no others.
fn begins_with(path: &Path, bytes: &[u8], alone: bool) -> Result<bool> {
    let read = || -> io::Result<Vec<u8>> {
        let mut found = Vec::with_capacity(bytes.len());
        File::open(path)?.take(bytes.len() as u64 + u64::from(alone)).read_to_end(&mut found)?;
        Ok(found)
    };
    Ok(read().map_err(Error::io("reading", path))? == bytes)
}

/// Whether a directory holds these, sorted, and nothing else but what killed runs left in it. A directory behind a link
/// is another one's.
fn is_all(directory: &Path, expected: &[&str]) -> bool {
    let held = StagedDir::held(directory);
    held.iter().map(OsString::as_os_str).eq(expected.iter().map(OsStr::new))
        && held.iter().all(|name| fs::symlink_metadata(directory.join(name)).is_ok_and(|found| !found.is_symlink()))
}
