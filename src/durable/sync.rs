//! Putting directories and trees on stable storage.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};

/// Puts the entries of a directory on stable storage: without it, a name that was created or renamed may be gone
/// after a power cut although the file's own content was synced.
///
/// A file system that cannot sync directories (it answers `EINVAL`) orders its names itself; that is no error.
pub fn sync_dir(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|directory| match directory.sync_all() {
        Err(error) if is(&error, Errno::INVAL) => Ok(()),
        other => other,
    });
    synced.map_err(Error::io("syncing directory", path))
}

/// Syncs every regular file and every directory below and including `root`, files before the directory that
/// names them. Files that their writer has synced already cost next to nothing.
pub(super) fn sync_tree(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).map_err(Error::io("reading directory", root))? {
        let entry = entry.map_err(Error::io("reading directory", root))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("reading", &path))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io("syncing", &path))?;
        }
    }
    sync_dir(root)
}

/// Whether the system's answer was `errno`.
pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
