//! Is there room for what a restore writes? Asked before anything is written.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::options::RestoreOptions;
use crate::archive;
use crate::error::{Error, Result};
use crate::raft::SEGMENT_SIZE;

/// What is written beside the database and the WAL: the `.snap` file, the pages of the new membership, directories.
const MARGIN: u64 = 4 << 20;

/// Refuses a destination whose file system has not the room.
///
/// Needed are the database as large as the snapshot announces it, and two segments of WAL: the one that is written,
/// and the next one, which etcd allots as soon as it starts.
pub(super) fn check(path: &Path, options: &RestoreOptions) -> Result<()> {
    let database = archive::look(path)?.announced_len;
    let log = 2 * SEGMENT_SIZE;
    match (&options.wal_dir, options.wal_in_data_dir()) {
        (Some(wal_dir), None) => {
            check_one(&options.data_dir, database.saturating_add(MARGIN))?;
            check_one(wal_dir, log + MARGIN)
        }
        _ => check_one(&options.data_dir, database.saturating_add(log + MARGIN)),
    }
}

fn check_one(destination: &Path, needed: u64) -> Result<()> {
    let free = free(destination)?;
    if free >= needed { Ok(()) } else { Err(Error::NoSpace { path: destination.to_owned(), needed, free }) }
}

/// Bytes that anybody may still write where `destination` is or will be; not those that are kept for root.
fn free(destination: &Path) -> Result<u64> {
    let mut existing = std::path::absolute(destination).map_err(Error::io("looking at", destination))?;
    while !existing.exists() {
        if !existing.pop() {
            existing = PathBuf::from("/");
            break;
        }
    }
    let found = statvfs(&existing).map_err(|errno| Error::io("looking at", &existing)(errno.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_is_not_there_yet_has_the_room_of_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("absent/below");
        assert!(free(&below).unwrap() > 0);
        assert!(check_one(&below, 1).is_ok());

        let error = check_one(&below, u64::MAX).unwrap_err();
        assert!(matches!(error, Error::NoSpace { needed: u64::MAX, free, .. } if free > 0), "{error}");
    }
}
