//! Where the files of a restored member are made, and how they get into place.
//!
//! With the WAL below the data directory there is one rename, and it decides. With `--wal-dir` there are two: the WAL
//! goes first, with a mark in it that is taken away after the data directory stands. Killed in between, etcd refuses
//! to start (a WAL without its database), and the next restore finds the mark and clears the WAL away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::durable::{StagedDir, sync_dir};
use crate::error::{Error, Result};

use super::options::RestoreOptions;

const UNFINISHED: &str = "restore.unfinished";
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
        let data = StagedDir::create(&options.data_dir, DATA_DIR)?;
        let wal = match &options.wal_dir {
            None => Wal::Inside(data.path().join("member").join("wal")),
            Some(wal_dir) => {
                if let Ok(inside) = wal_dir.strip_prefix(&options.data_dir) {
                    Wal::Inside(data.path().join(inside))
                } else {
                    clear_unfinished(wal_dir)?;
                    let staged = StagedDir::create(wal_dir, WAL_DIR)?;
                    Wal::Apart { staged, destination: wal_dir.clone() }
                }
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

    /// Syncs everything and renames it to where it belongs.
    pub(super) fn commit(self) -> Result<()> {
        let Wal::Apart { staged, destination } = self.wal else { return self.data.commit() };
        let mark = staged.path().join(UNFINISHED);
        File::create_new(&mark).and_then(|file| file.sync_all()).map_err(Error::io("creating", &mark))?;
        staged.commit()?;
        if let Err(error) = self.data.commit() {
            // The WAL alone is of no use; should removing it fail, the mark lets the next restore do it.
            let _ = fs::remove_dir_all(&destination);
            return Err(error);
        }
        let mark = destination.join(UNFINISHED);
        fs::remove_file(&mark).map_err(Error::io("removing", &mark))?;
        sync_dir(&destination)
    }
}

/// Refuses a destination that is taken, and changes nothing: what [`Place::create`] would refuse.
pub(super) fn check_vacant(options: &RestoreOptions) -> Result<()> {
    StagedDir::check_vacant(&options.data_dir, DATA_DIR)?;
    match &options.wal_dir {
        Some(wal_dir) if wal_dir.strip_prefix(&options.data_dir).is_err() && !wal_dir.join(UNFINISHED).exists() => {
            StagedDir::check_vacant(wal_dir, WAL_DIR)
        }
        _ => Ok(()),
    }
}

/// Removes the WAL directory that a killed restore left without its data directory.
fn clear_unfinished(wal_dir: &Path) -> Result<()> {
    if wal_dir.join(UNFINISHED).exists() {
        fs::remove_dir_all(wal_dir).map_err(Error::io("removing the unfinished", wal_dir))?;
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
