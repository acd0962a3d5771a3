//! Is there room for what a restore writes? Asked before anything is written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::options::RestoreOptions;
use crate::archive::{self, Kind};
use crate::durable::unnamed_file;
use crate::error::{Error, Result};
use crate::raft::SEGMENT_SIZE;
use crate::snapshot::spool_dirs;

/// What is written beside the database and the WAL: the `.snap` file, the pages of the new membership, directories.
const MARGIN: u64 = 4 << 20;

/// Refuses a destination whose file system has not the room.
///
/// Needed are the database as large as the snapshot announces it, and two segments of WAL: the one that is written,
/// and the next one, which etcd allots as soon as it starts. A database that is written anew out of an archive is read
/// in a file that holds it unpacked, so there it is needed once more. A dry run has such files only, but is refused also
/// where the restore would be.
pub(super) fn check(path: &Path, options: &RestoreOptions) -> Result<()> {
    let look = archive::look(path)?;
    let database = look.announced_len;
    let packed = look.kind != Kind::Database;
    let rewrites = options.rewrite.is_needed();
    let log = 2 * SEGMENT_SIZE;
    let mut room = Room::default();
    match (&options.wal_dir, options.wal_in_data_dir()) {
        (Some(wal_dir), None) => {
            room.take(&options.data_dir, database.saturating_add(MARGIN))?;
            room.take(wal_dir, log + MARGIN)?;
        }
        _ => room.take(&options.data_dir, database.saturating_add(log + MARGIN))?,
    }
    if packed && rewrites {
        room.spool(&spool_dirs(path), database)?;
    }
    room.check()?;
    if !options.dry_run {
        return Ok(());
    }
    let mut room = Room::default();
    // The database unpacked, and then the one that is written anew.
    for _ in 0..u8::from(packed) + u8::from(rewrites) {
        room.spool(&spool_dirs(path), database)?;
    }
    room.check()
}

/// What is needed on each file system.
#[derive(Debug, Default)]
struct Room {
    /// By device.
    disks: BTreeMap<u64, Disk>,
}

#[derive(Debug)]
struct Disk {
    /// What is to be written there first, for errors.
    path: PathBuf,
    free: u64,
    needed: u64,
    /// Of what is needed, files without a name.
    spooled: u64,
}

impl Room {
    /// Counts `bytes` where `destination` is or will be.
    fn take(&mut self, destination: &Path, bytes: u64) -> Result<()> {
        let disk = self.disk(destination)?;
        disk.needed = disk.needed.saturating_add(bytes);
        Ok(())
    }

    /// Counts a file without a name where it will lie: in the first of `dirs` that takes it. It is written before what
    /// stays, so nothing but the others of its kind is in its way. Where none takes it, it is counted in the first, which
    /// then has not the room.
    fn spool(&mut self, dirs: &[PathBuf], bytes: u64) -> Result<()> {
        let mut usable = dirs.iter().filter(|dir| unnamed_file(dir).is_ok());
        let Some(first) = usable.next() else { return Ok(()) };
        let mut chosen = first;
        for dir in std::iter::once(first).chain(usable) {
            let disk = self.disk(dir)?;
            if disk.free.saturating_sub(disk.spooled) >= bytes {
                chosen = dir;
                break;
            }
        }
        let disk = self.disk(chosen)?;
        disk.spooled = disk.spooled.saturating_add(bytes);
        disk.needed = disk.needed.saturating_add(bytes);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.disks.values().find(|disk| disk.needed > disk.free) {
            Some(Disk { path, free, needed, .. }) => {
                Err(Error::NoSpace { path: path.clone(), needed: *needed, free: *free })
            }
            None => Ok(()),
        }
    }

    fn disk(&mut self, destination: &Path) -> Result<&mut Disk> {
        let existing = existing(destination)?;
        let device = fs::metadata(&existing).map_err(Error::io("looking at", &existing))?.dev();
        Ok(match self.disks.entry(device) {
            Entry::Occupied(disk) => disk.into_mut(),
            Entry::Vacant(place) => {
                let path = destination.to_owned();
                place.insert(Disk { path, free: free(&existing)?, needed: 0, spooled: 0 })
            }
        })
    }
}

/// The nearest directory that is there, `destination` itself or one above it.
fn existing(destination: &Path) -> Result<PathBuf> {
    let mut existing = std::path::absolute(destination).map_err(Error::io("looking at", destination))?;
    while !existing.exists() {
        if !existing.pop() {
            return Ok(PathBuf::from("/"));
        }
    }
    Ok(existing)
}

/// Bytes that anybody may still write on the file system of `existing`; not those that are kept for root.
fn free(existing: &Path) -> Result<u64> {
    let found = statvfs(existing).map_err(|errno| Error::io("looking at", existing)(errno.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_is_not_there_yet_has_the_room_of_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("absent/below");
        let mut room = Room::default();
        room.take(&below, 1).unwrap();
        assert!(room.check().is_ok());

        room.take(dir.path(), u64::MAX).unwrap();

        let error = room.check().unwrap_err();
        assert!(
            matches!(&error, Error::NoSpace { path, needed: u64::MAX, free } if *path == below && *free > 0),
            "{error}"
        );
    }

    #[test]
    fn what_lies_on_one_disk_is_added_up_and_a_file_without_a_name_goes_where_it_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut room = Room::default();
        room.take(&dir.path().join("m"), 5).unwrap();
        room.spool(&[dir.path().join("absent"), dir.path().to_owned()], 7).unwrap();
        room.spool(&[dir.path().join("absent")], 9).unwrap();

        let disks: Vec<_> = room.disks.values().map(|disk| (disk.needed, disk.spooled)).collect();
        assert_eq!(disks, [(12, 7)]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_without_a_name_that_fits_nowhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut room = Room::default();
        room.spool(&[dir.path().to_owned()], 1).unwrap();
        assert!(room.check().is_ok());

        room.spool(&[dir.path().to_owned()], u64::MAX).unwrap();
        assert!(matches!(room.check(), Err(Error::NoSpace { needed: u64::MAX, .. })));
    }
}
