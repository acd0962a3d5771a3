//! The files of the directory, and the order in which they are judged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{database, log};
use crate::bbolt::{Element, Meta, Visitor};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::raft::{Membership, snap};

/// What a restored directory is held to beyond what any etcd needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// What this crate writes: boots on 3.4 to 3.7. `confState` names the new voters, `storageVersion` and the
    /// content of bucket `cluster` are gone, and WAL and `.snap` are byte for byte those of 3.5.
    #[default]
    Portable,
    /// What `etcdutl snapshot restore` of 3.5 and later writes, too: `confState`, `storageVersion` and `cluster`
    /// may be those of the old cluster.
    Official,
}

/// Verifies that `data_dir` and `wal_dir` are those of a freshly restored member of `expected`, and gives every rule
/// that is broken: none, when all is well. Nothing is written, and no lock is looked at.
///
/// # Errors
/// [`Error::Io`] when the system refuses, and [`Error::Interrupted`]; damage is never an error but a defect.
pub fn verify_member(
    data_dir: &Path,
    wal_dir: &Path,
    expected: &Membership,
    layout: Layout,
    progress: &dyn Progress,
) -> Result<Vec<Defect>> {
    verify(data_dir, wal_dir, expected, layout, None, progress)
}

/// [`verify_member`] for the one who has just made both directories in the layout [`Layout::Portable`], and has found
/// nothing wrong with the database when its meta was `walked` and it was not patched yet: of its pages, only those of
/// the patch are looked at.
///
/// # Errors
/// Those of [`verify_member`].
pub fn verify_restored(
    data_dir: &Path,
    wal_dir: &Path,
    expected: &Membership,
    walked: &Meta,
    progress: &dyn Progress,
) -> Result<Vec<Defect>> {
    verify(data_dir, wal_dir, expected, Layout::Portable, Some(walked), progress)
}

/// Verifies that the database at `path` is that of a freshly restored member of `expected` to which nothing was applied,
/// and gives every rule that is broken. Its pages are not walked.
///
/// # Errors
/// [`Error::Io`] when the system refuses.
pub fn verify_identity(path: &Path, expected: &Membership) -> Result<Vec<Defect>> {
    match open_file(path)? {
        Some(file) => database::identity(file, path, expected),
        None => Ok(vec![missing("database-missing", path)]),
    }
}

fn verify(
    data_dir: &Path,
    wal_dir: &Path,
    expected: &Membership,
    layout: Layout,
    walked: Option<&Meta>,
    progress: &dyn Progress,
) -> Result<Vec<Defect>> {
    let files = Files::new(data_dir, wal_dir, expected);
    let mut defects = Vec::new();
    files.check_entries(&mut defects)?;
    if expected.members.iter().all(|member| member.id != expected.local_id) {
        let message = format!("member {:x} is not among the expected members", expected.local_id);
        defects.push(Defect::new("local-member", message));
    }
    match open_file(&files.database)? {
        Some(file) => {
            database::verify(file, &files.database, expected, layout, walked, progress, &mut defects)?;
        }
        None => defects.push(missing("database-missing", &files.database)),
    }
    let records = log::verify_wal(&files.wal_dir, expected, layout, &mut defects)?;
    match open_file(&files.snap)? {
        Some(file) => log::verify_snap(file, &files.snap, expected, layout, &records, &mut defects)?,
        None => defects.push(missing("snap-missing", &files.snap)),
    }
    Ok(defects)
}

/// Where everything of a restored member lies.
struct Files {
    data_dir: PathBuf,
    wal_dir: PathBuf,
    database: PathBuf,
    snap: PathBuf,
}

impl Files {
    fn new(data_dir: &Path, wal_dir: &Path, expected: &Membership) -> Self {
        // One spelling for each path, so that they can be compared.
        let (data_dir, wal_dir) = (real_path(data_dir), real_path(wal_dir));
        let snap_dir = data_dir.join("member").join("snap");
        let (snap_name, _) = snap::restored(expected);
        Self { data_dir, wal_dir, database: snap_dir.join("db"), snap: snap_dir.join(snap_name) }
    }

    /// A second log, a `proxy` directory, a received snapshot: whatever does not belong there could be taken for
    /// something.
    fn check_entries(&self, defects: &mut Vec<Defect>) -> Result<()> {
        let known = [&self.wal_dir, &self.database, &self.snap];
        let mut inside = vec![self.data_dir.clone()];
        while let Some(dir) = inside.pop() {
            for path in entries(&dir)? {
                if known.contains(&&path) {
                    continue;
                }
                if known.iter().any(|known| known.starts_with(&path)) {
                    inside.push(path);
                } else {
                    defects.push(Defect::new("data-dir-entry", format!("{}: does not belong here", path.display())));
                }
            }
        }
        let segment = self.wal_dir.join(crate::raft::wal::restored_name());
        for path in entries(&self.wal_dir)?.into_iter().filter(|path| *path != segment) {
            defects.push(Defect::new("data-dir-entry", format!("{}: does not belong here", path.display())));
        }
        Ok(())
    }
}

/// The path without links and detours, where there is such a file.
fn real_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Paths in a directory, sorted; none where it is missing or is no directory.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = match fs::read_dir(dir) {
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        read => read.map_err(Error::io("reading", dir))?,
    };
    let paths: io::Result<Vec<PathBuf>> = read.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(Error::io("reading", dir))?;
    paths.sort_unstable();
    Ok(paths)
}

/// Opens a regular file; `None` where there is none.
fn open_file(path: &Path) -> Result<Option<File>> {
    // Looked at first: opening a pipe would block.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path).map(Some).map_err(Error::io("reading", path)),
        Ok(_) => Ok(None),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(Error::io("reading", path)(error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn missing(code: &'static str, path: &Path) -> Defect {
    Defect::new(code, format!("{}: no such file", path.display()))
}

/// A visitor that keeps the defects and lets the entries go by.
#[derive(Default)]
pub(super) struct PagesOnly {
    pub(super) defects: Vec<Defect>,
}

impl Visitor for PagesOnly {
    type Part = ();

    fn bucket(&mut self, _name: &[u8]) {}

    fn entry(&mut self, _element: Element<'_>) {}

    fn defect(&mut self, defect: Defect) {
        /// A database of nothing but defects would fill the memory.
        const MAX_DEFECTS: usize = 10_000;
        if self.defects.len() < MAX_DEFECTS {
            self.defects.push(defect);
        }
    }

    fn part(&self) -> Option<()> {
        Some(())
    }

    fn take(&mut self, _part: ()) -> bool {
        true
    }
}
