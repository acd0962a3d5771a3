//! What a restore must not delete: what it reads, and what is no member's.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::half;
use super::options::{Existing, RestoreOptions};
use crate::durable::StagedDir;
use crate::error::{Error, Result};

/// Refuses a restore that would delete its own `snapshot`, or discard what is no member's. Nothing is changed.
pub(super) fn check(snapshot: &Path, options: &RestoreOptions) -> Result<()> {
    let data_dir = &options.data_dir;
    // One that is not there is told of when it is opened.
    let real = snapshot.canonicalize().ok();
    for destination in std::iter::once(data_dir).chain(&options.wal_dir) {
        if real.as_ref().is_some_and(|real| StagedDir::clears_up(destination, real)) {
            return Err(Error::invalid(format!(
                "{} lies in what a restore into {} that was killed has left, and this one clears up: move it elsewhere",
                snapshot.display(),
                destination.display()
            )));
        }
    }
    let is_held = || real.as_ref().is_some_and(|real| holds(data_dir, real));
    if options.existing == Existing::Discard && !StagedDir::held(data_dir).is_empty() {
        if is_held() {
            return Err(deletes(
                snapshot,
                data_dir,
                "--discard-old would delete; move it elsewhere, or give --replace",
            ));
        }
        check_member(options)?;
    }
    if options.existing == Existing::Refuse && half::stands(options) && is_held() {
        return Err(deletes(snapshot, data_dir, "is the half of a restore that was killed; move it elsewhere"));
    }
    Ok(())
}

/// Where the snapshot lies once the data directory lies at `replaced`, if it lies in there. To be asked before.
pub(super) fn moved(snapshot: &Path, options: &RestoreOptions) -> Option<impl Fn(&Path) -> PathBuf + use<>> {
    let (real, data_dir) = (snapshot.canonicalize().ok()?, options.data_dir.canonicalize().ok()?);
    let inside = real.strip_prefix(data_dir).ok()?.to_owned();
    Some(move |replaced: &Path| replaced.join(&inside))
}

fn deletes(snapshot: &Path, data_dir: &Path, why: &str) -> Error {
    Error::invalid(format!("{} lies in {}, which {why}", snapshot.display(), data_dir.display()))
}

/// Refuses to discard a directory that holds something, but neither a member nor only what is carried over.
fn check_member(options: &RestoreOptions) -> Result<()> {
    let data_dir = &options.data_dir;
    let member = data_dir.join("member");
    if ["snap", "wal"].iter().any(|name| member.join(name).exists()) {
        return Ok(());
    }
    let held = StagedDir::held(data_dir);
    let Some(lost) = held.iter().find(|name| !options.carry_over.iter().any(|carried| *name == carried.as_str()))
    else {
        return Ok(());
    };
    let message = format!(
        "--discard-old: data-dir \"{}\" holds {} and no etcd member (neither member/snap nor member/wal), and is not \
         deleted: --replace keeps it, or give another directory",
        data_dir.display(),
        lost.display()
    );
    Err(Error::DataDirNotEmpty { path: data_dir.clone(), message })
}

/// Whether the file `real`, a path without links, goes with the directory: by its path, by a directory above it that is
/// the same one under another mount, or since it has no name outside.
fn holds(directory: &Path, real: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    let (Ok(top), Ok(file)) = (fs::metadata(&directory), fs::metadata(real)) else { return false };
    let is_top = |above: &Path| fs::metadata(above).is_ok_and(|above| is_same(&above, &top));
    real.starts_with(&directory)
        || real.ancestors().skip(1).any(is_top)
        || (file.is_file() && file.dev() == top.dev() && names_inside(&directory, &file) >= file.nlink())
}

/// How many names the file has below a directory.
fn names_inside(directory: &Path, file: &Metadata) -> u64 {
    let mut names = 0;
    let mut below = vec![directory.to_owned()];
    while let Some(directory) = below.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && metadata.dev() == file.dev() {
                below.push(entry.path());
            }
            names += u64::from(is_same(&metadata, file));
        }
    }
    names
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
