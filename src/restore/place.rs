//! Where the files of a restored member are made, and how they get into place.
//!
//! With the WAL below the data directory there is one rename, and it decides. With `--wal-dir` there are three:
//!
//! 1. the WAL takes its place, sealed: its segment has a name that no segment has;
//! 2. the data directory takes its place;
//! 3. the segment gets its name.
//!
//! Killed before the last one, etcd refuses to start, whatever data directory stands: there is a file that ends in
//! `.wal`, so that it takes itself for a member (`wal.Exist` in etcd's `server/storage/wal`), and none that it can open
//! (`wal.Open`). A WAL that began before its database would be the worse: an old database stands where it is being
//! replaced, and etcd 3.4 and 3.5 start with any. The next restore takes a sealed WAL for vacant, and replaces it. It takes
//! the data directory for vacant, too, where that is the [half] which belongs to the sealed WAL, and removes it
//! before its own first rename, so that there is never a half beside another one's WAL.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::data_dir::in_use;
use crate::durable::{Replaced, StagedDir, sync_dir};
use crate::error::{Error, Result};
use crate::raft::wal;

use super::handover::Handover;
use super::options::{Existing, RestoreOptions};
use super::{carry, half};

/// The name of the segment while the WAL is sealed.
pub(super) const SEALED: &str = ".restore-unfinished.wal";
/// What a data directory holds in any case.
pub(super) const MEMBER: &str = "member";
const DATA_DIR: &str = "data-dir";
const WAL_DIR: &str = "wal-dir";

/// The staged directories of one member.
#[derive(Debug)]
pub(super) struct Place {
    data: StagedDir,
    wal: Wal,
    /// Whether the half of a killed restore lies in the data directory's place.
    over_half: bool,
}

#[derive(Debug)]
enum Wal {
    /// Below the staged data directory.
    Inside(PathBuf),
    Apart {
        staged: StagedDir,
        destination: PathBuf,
    },
}

impl Place {
    /// Makes the empty directories `member`, `member/snap` and that of the WAL, all 0700.
    pub(super) fn create(options: &RestoreOptions) -> Result<Self> {
        let over_half = half::stands(options);
        let data = match options.existing {
            Existing::Refuse if over_half => StagedDir::create_over(&options.data_dir, DATA_DIR, MEMBER)?,
            Existing::Refuse => StagedDir::create(&options.data_dir, DATA_DIR)?,
            Existing::Keep | Existing::Discard => StagedDir::replacing(&options.data_dir, DATA_DIR)?,
        };
        let wal = match (&options.wal_dir, options.wal_in_data_dir()) {
            (None, _) => Wal::Inside(data.path().join(MEMBER).join("wal")),
            (Some(_), Some(inside)) => Wal::Inside(data.path().join(inside)),
            (Some(wal_dir), None) => {
                let staged = StagedDir::create_over(wal_dir, WAL_DIR, SEALED)?;
                Wal::Apart { staged, destination: wal_dir.clone() }
            }
        };
        let place = Self { data, wal, over_half };
        make_dir(&place.snap_dir())?;
        if let Wal::Inside(path) = &place.wal {
            make_dir(path)?;
        }
        Ok(place)
    }

    /// The staged data directory.
    pub(super) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The staged `member/snap`.
    pub(super) fn snap_dir(&self) -> PathBuf {
        self.data.path().join(MEMBER).join("snap")
    }

    /// The staged WAL directory.
    pub(super) fn wal_dir(&self) -> &Path {
        match &self.wal {
            Wal::Inside(path) => path,
            Wal::Apart { staged, .. } => staged.path(),
        }
    }

    /// The empty, staged `member/snap/db`, readable and writable by its owner alone.
    pub(super) fn create_database(&self) -> Result<File> {
        let path = self.snap_dir().join("db");
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("creating", &path))
    }

    /// What was found of restores that were killed: clauses for people.
    pub(super) fn found(&self) -> &[String] {
        self.data.found()
    }

    /// Adds what comes over from the old data directory, and gives everything to its owner.
    pub(super) fn furnish(&self, options: &RestoreOptions) -> Result<Vec<String>> {
        let carried = match options.existing {
            Existing::Refuse => Vec::new(),
            Existing::Keep | Existing::Discard => {
                carry::over(&options.data_dir, self.data.path(), &options.carry_over)?
            }
        };
        if let Some(owner) = options.owner {
            self.data.give_to(owner.user, owner.group)?;
            if let Wal::Apart { staged, .. } = &self.wal {
                staged.give_to(owner.user, owner.group)?;
            }
        }
        Ok(carried.into_iter().map(str::to_owned).collect())
    }

    /// Syncs everything and puts it where it belongs; gives the directory that gave way. Asks `go_on` once, when everything is synced.
    pub(super) fn commit(
        self,
        options: &RestoreOptions,
        handover: &dyn Handover,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Replaced>> {
        let data = self.data;
        let before = &mut || {
            // The sync behind it may have taken minutes, in which nobody was asked.
            if !go_on() {
                return Err(Error::Interrupted);
            }
            handover.before()?;
            // Once more: the check at the beginning may be minutes old.
            refuse_in_use(options)
        };
        let Wal::Apart { staged, destination } = self.wal else {
            return data.commit_between(before, &mut || handover.after());
        };
        seal(staged.path())?;
        if self.over_half {
            // The proof at the beginning may be minutes old.
            check_vacant(options)?;
            data.remove_left()?;
        }
        let existed = destination.exists();
        staged.commit()?;
        let mut stood = false;
        let after = &mut || {
            stood = true;
            unseal(&destination)?;
            // Sealed before the old data directory comes back: its database is not that of this WAL.
            handover.after().or_else(|error| seal(&destination).and(Err(error)))
        };
        let replaced = data.commit_between(before, after);
        // The WAL alone is of no use. Once the data directory stood it stays, sealed: should the old one not have come
        // back, an etcd would begin a new log for the database.
        if replaced.is_err() && !stood && fs::remove_file(destination.join(SEALED)).is_ok() && !existed {
            let _ = fs::remove_dir(&destination);
        }
        replaced
    }
}

/// Refuses to replace a directory that an etcd uses.
pub(super) fn refuse_in_use(options: &RestoreOptions) -> Result<()> {
    if options.existing == Existing::Refuse {
        return Ok(());
    }
    // The old member's log, if it lies apart, is not known here; its database has a lock of its own.
    match in_use(&options.data_dir, None)? {
        Some(found) => Err(found.into_error()),
        None => Ok(()),
    }
}

/// Refuses a destination that is taken, and changes nothing: what [`Place::create`] would refuse.
pub(super) fn check_vacant(options: &RestoreOptions) -> Result<()> {
    match options.existing {
        Existing::Refuse if half::stands(options) => {}
        Existing::Refuse => {
            StagedDir::check_vacant(&options.data_dir, DATA_DIR).map_err(|error| suspect(error, options))?;
        }
        Existing::Keep | Existing::Discard => StagedDir::check_replaceable(&options.data_dir, DATA_DIR)?,
    }
    match &options.wal_dir {
        Some(wal_dir) if options.wal_in_data_dir().is_none() => StagedDir::check_vacant_over(wal_dir, WAL_DIR, SEALED),
        _ => Ok(()),
    }
}

/// Clears up after restores that were killed while they replaced the data directory; gives a clause for each.
pub(super) fn recover(options: &RestoreOptions) -> Result<Vec<String>> {
    StagedDir::recover(&options.data_dir)
}

/// Says what a data directory may be that was refused.
fn suspect(error: Error, options: &RestoreOptions) -> Error {
    match (error, &options.wal_dir) {
        (Error::DataDirNotEmpty { path, message }, Some(wal_dir)) if half::is_suspected(options) => {
            let message = format!(
                "{message}: the log of a restore that was killed lies sealed in {}, but the data directory is not as \
                 that restore leaves it; etcd starts with neither until a restore with --replace, which keeps this \
                 directory, has put a whole member there",
                wal_dir.display()
            );
            Error::DataDirNotEmpty { path, message }
        }
        (error, _) => error,
    }
}

/// Gives the segment a name under which etcd does not find it.
fn seal(wal_dir: &Path) -> Result<()> {
    rename_in(wal_dir, &wal::restored_name(), SEALED)
}

/// Gives it its own.
fn unseal(wal_dir: &Path) -> Result<()> {
    rename_in(wal_dir, SEALED, &wal::restored_name())
}

fn rename_in(dir: &Path, from: &str, to: &str) -> Result<()> {
    let (from, to) = (dir.join(from), dir.join(to));
    fs::rename(&from, &to).map_err(Error::io("renaming", &from))?;
    sync_dir(dir)
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .map_err(Error::io("creating", path))
}
