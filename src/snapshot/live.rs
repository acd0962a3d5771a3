//! Is somebody writing to this file, and did they?

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bbolt::{Database, newest_meta};
use crate::error::{Error, Result};
use crate::read_at::{FileSource, ReadAt};

/// Where a member keeps its database, below its data directory.
const IN_DATA_DIR: &str = "member/snap/db";

/// What should be said of a bare database at `path`, opened as `database`, before it is taken for a snapshot.
///
/// A snapshot's two metas are of one state, by bbolt's own `Tx.WriteTo`. Those of a database that was written to are of two.
pub(crate) fn warnings<R: ReadAt>(path: &Path, has_trailer: bool, database: &Database<R>) -> Vec<String> {
    let place = fs::metadata(path).ok().and_then(|metadata| place_warning(path, &metadata));
    let copied = || {
        let is_copy = !has_trailer && !database.is_of_one_state();
        is_copy.then(|| {
            format!(
                "{} is not a snapshot but a copy of a member's database: what the member's log holds beyond it is not in \
                 it, and nothing shows that it was not written to while it was copied",
                path.display()
            )
        })
    };
    place.or_else(copied).into_iter().collect()
}

/// What should be said of a database of which one meta is damaged: bbolt opens it without a word.
pub(crate) fn damaged_meta<R: ReadAt>(path: &Path, database: &Database<R>) -> Option<String> {
    database.invalid_meta().map(|defect| {
        format!(
            "{}: one of the two metas is damaged ({defect}), so transaction {} of the other is read, which may not be the \
             newest",
            path.display(),
            database.meta().txid
        )
    })
}

/// One state of a bare database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    device: u64,
    inode: u64,
    txid: u64,
}

impl State {
    /// The state of the database at `path` by now; `None` where it is none, as inside an archive.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // Opening would wait for the other end of a pipe.
        fs::metadata(path).ok().filter(Metadata::is_file)?;
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let meta = newest_meta(&FileSource::new(file, metadata.len())).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), txid: meta.txid })
    }

    /// What came of reading the database at `path` since it was in this state: [`Error::Changed`], whatever was found,
    /// where it is in another one by now. bbolt writes pages anew that the transaction before the last one has freed.
    pub(crate) fn vouch<T>(self, path: &Path, done: Result<T>) -> Result<T> {
        match (done, Self::of(path)) {
            (Ok(_) | Err(Error::Corrupt { .. }), Some(now)) if now != self => {
                Err(Error::Changed { path: path.to_owned(), before: self.txid, now: now.txid })
            }
            (done, _) => done,
        }
    }
}

/// Does `work` on the file at `path`; an error where that is a database that somebody has written to meanwhile.
pub(crate) fn steady<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    match State::of(path) {
        Some(before) => before.vouch(path, work()),
        None => work(),
    }
}

/// What its locks and its place tell of a bare database; `None` where nothing shows that it is not a snapshot.
///
/// etcd holds an exclusive `flock` on its database, which the kernel lists; asking for a lock of our own could make a
/// server wait that is just starting.
fn place_warning(path: &Path, metadata: &Metadata) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    if is_locked(&locks, metadata.dev(), metadata.ino()) {
        return Some(format!(
            "{} is not a snapshot but the database of a running etcd, which may change while it is read: take a backup",
            path.display()
        ));
    }
    let resolved = path.canonicalize().ok()?;
    resolved.ends_with(IN_DATA_DIR).then(|| {
        format!(
            "{} is not a snapshot but the database of a member: what its log holds beyond it is not in it",
            path.display()
        )
    })
}

/// Whether `/proc/locks` lists a write lock on this file: `1: FLOCK  ADVISORY  WRITE 812 fd:01:5243 0 EOF`.
fn is_locked(locks: &str, device: u64, inode: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.any(|word| word == "WRITE") && words.any(|word| word == file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_lock_on_this_very_file_counts() {
        let locks = "1: POSIX  ADVISORY  WRITE 17 fe:01:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 fe:01:5243 0 EOF\n\
                     2: -> FLOCK  ADVISORY  READ 900 fe:01:5243 0 EOF\n3: FLOCK  ADVISORY  READ 813 fe:01:77 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 1);

        assert!(is_locked(locks, device, 5243));
        assert!(!is_locked(locks, device, 77), "a reader's lock");
        assert!(!is_locked(locks, device, 99), "not the lock that bbolt takes");
        assert!(!is_locked(locks, rustix::fs::makedev(0xfe, 2), 5243), "another device");
    }

    #[test]
    fn a_database_in_a_data_directory_is_told_by_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let snap = directory.path().join("m1.etcd/member/snap");
        fs::create_dir_all(&snap).unwrap();
        for (path, warned) in [(snap.join("db"), true), (directory.path().join("db"), false)] {
            fs::write(&path, b"x").unwrap();
            let warning = place_warning(&path, &fs::metadata(&path).unwrap());
            assert_eq!(warning.is_some_and(|text| text.contains("is not a snapshot")), warned, "{}", path.display());
        }
    }
}
