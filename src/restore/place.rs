//! Where the files of a restored member are made, and how they get into place.
//!
//! With the WAL below the data directory there is one rename, and it decides. With `--wal-dir` there are two: the WAL
//! goes first, with a mark in it that is taken away after the data directory stands. Killed in between, etcd refuses
//! to start (a WAL without its database), and the next restore finds the mark and clears the WAL away. Killed later,
//! the mark stays in the WAL of a member that may start and live for years; so the mark alone says nothing, and only
//! a WAL to which nothing was written since is cleared away.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::data_dir::in_use;
use crate::durable::{Replaced, StagedDir, sync_dir};
use crate::error::{Error, Result};
use crate::raft::{RESTORED_TERM, wal};

use super::carry;
use super::handover::Handover;
use super::options::{Existing, RestoreOptions};

/// The mark. It sorts before a segment's name, and so gets into place before it.
const UNFINISHED: &str = ".restore-unfinished";
/// What the mark and everything else begins with that a killed restore leaves, segments aside.
const HIDDEN: &[u8] = b".restore-";
const DATA_DIR: &str = "data-dir";
const WAL_DIR: &str = "wal-dir";

/// The staged directories of one member.
#[derive(Debug)]
pub(super) struct Place {
    data: StagedDir,
    wal: Wal,
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
        let data = match options.existing {
            Existing::Refuse => StagedDir::create(&options.data_dir, DATA_DIR)?,
            Existing::Keep | Existing::Discard => StagedDir::replacing(&options.data_dir, DATA_DIR)?,
        };
        let wal = match (&options.wal_dir, options.wal_in_data_dir()) {
            (None, _) => Wal::Inside(data.path().join("member").join("wal")),
            (Some(_), Some(inside)) => Wal::Inside(data.path().join(inside)),
            (Some(wal_dir), None) => {
                if is_unfinished(wal_dir) {
                    clear(wal_dir)?;
                }
                Wal::Apart { staged: StagedDir::create(wal_dir, WAL_DIR)?, destination: wal_dir.clone() }
            }
        };
        let place = Self { data, wal };
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
        self.data.path().join("member").join("snap")
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

    /// Syncs everything and puts it where it belongs; gives the directory that gave way.
    pub(super) fn commit(self, options: &RestoreOptions, handover: &dyn Handover) -> Result<Option<Replaced>> {
        let data = self.data;
        let before = &mut || {
            handover.before()?;
            // Once more: the check at the beginning may be minutes old.
            refuse_in_use(options)
        };
        let after = &mut || handover.after();
        let Wal::Apart { staged, destination } = self.wal else { return data.commit_between(before, after) };
        let mark = staged.path().join(UNFINISHED);
        File::create_new(&mark).and_then(|file| file.sync_all()).map_err(Error::io("creating", &mark))?;
        let existed = destination.exists();
        staged.commit()?;
        let replaced = data.commit_between(before, after).inspect_err(|_| {
            // The WAL alone is of no use; should removing it fail, the mark lets the next restore do it.
            if clear(&destination).is_ok() && !existed {
                let _ = fs::remove_dir(&destination);
            }
        })?;
        let mark = destination.join(UNFINISHED);
        fs::remove_file(&mark).map_err(Error::io("removing", &mark))?;
        sync_dir(&destination)?;
        Ok(replaced)
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
        Existing::Refuse => StagedDir::check_vacant(&options.data_dir, DATA_DIR)?,
        Existing::Keep | Existing::Discard => StagedDir::check_replaceable(&options.data_dir, DATA_DIR)?,
    }
    match &options.wal_dir {
        Some(wal_dir) if options.wal_in_data_dir().is_none() && !is_unfinished(wal_dir) => {
            StagedDir::check_vacant(wal_dir, WAL_DIR)
        }
        _ => Ok(()),
    }
}

/// Whether a restore was killed when `wal_dir` stood and the data directory did not: the mark is there, and nothing
/// else but perhaps the segment as it was restored. The first election of a member that starts adds to it.
fn is_unfinished(wal_dir: &Path) -> bool {
    let segment = wal::restored_name();
    let ours = |name: &OsStr| name.as_bytes().starts_with(HIDDEN) || name == segment.as_str();
    let only_ours =
        fs::read_dir(wal_dir).is_ok_and(|mut names| names.all(|name| name.is_ok_and(|name| ours(&name.file_name()))));
    if !only_ours || !wal_dir.join(UNFINISHED).exists() {
        return false;
    }
    wal::read_dir(wal_dir).is_ok_and(|wal| {
        let members = wal.conf_changes.len() as u64;
        wal.segments.is_empty()
            || wal.entries == members
                && wal.hard_state.is_some_and(|state| (state.term, state.commit) == (RESTORED_TERM, members))
    })
}

/// Empties the WAL directory of an unfinished restore, the mark last. The directory stays: it may be a mount point.
fn clear(wal_dir: &Path) -> Result<()> {
    for name in [wal::restored_name().as_str(), UNFINISHED] {
        let path = wal_dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing the unfinished", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .map_err(Error::io("creating", path))
}
