//! A directory that takes another one's place, which keeps what it held.
//!
//! The two names are exchanged by one `renameat2(RENAME_EXCHANGE)`: at every instant a whole directory stands at the
//! destination, the old one or the new one. To a server that starts meanwhile an absent directory would look like that
//! of a new member.
//!
//! | killed | destination | `.NAME.exchange-INODE` | the next run |
//! |---|---|---|---|
//! | before the exchange | old | the new one: its inode is the number in its name | removes it |
//! | after it | new | the old one: its inode is another | gives it its dated name |
//! | after the old one got its dated name | new | - | |
//!
//! Where the file system cannot exchange names, the old directory takes the name `.NAME.exchange-INODE` and the new one
//! the destination's: killed between these two, nothing stands there, and the next run puts the old one back.
//! A copy of the file system has other inodes; there a new directory is taken for an old one and kept: nothing is ever
//! deleted in doubt.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::remove::remove_tree;
use super::sync::sync_dir;
use super::{litter, mounts};
use crate::clock::{stamp, unix_seconds};
use crate::error::{Error, Result};

/// What an old directory's temporary name has behind its own.
pub(super) const TAG: &str = "exchange";
/// Dated names that are tried: restores within one second.
const DATED_NAMES: u32 = 100;

/// A directory that gave way to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Where it lies now.
    pub path: PathBuf,
    /// Why it lies under a name that was not meant to last, if so.
    pub warning: Option<String>,
}

impl Replaced {
    /// Deletes the directory, which gave way at `destination`, as long as `go_on` says so. It gets a hidden name first:
    /// killed while it is deleted, no half of it stands under a name that promises all of it, and the next run for
    /// `destination` removes the rest.
    ///
    /// # Errors
    /// Whether anything was deleted, where the rest lies, and why.
    pub fn delete(&self, destination: &Path, go_on: &dyn Fn() -> bool) -> std::result::Result<(), Undeleted> {
        let untouched = |reason: String| Undeleted { path: self.path.clone(), begun: false, reason };
        if !go_on() {
            return Err(untouched("it was told to stop".to_owned()));
        }
        if let Some(inner) = mounts::below(&self.path) {
            return Err(untouched(format!("{} is mounted, unmount that first", inner.display())));
        }
        let real = fs::canonicalize(destination).unwrap_or_else(|_| destination.to_owned());
        let hidden = match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => parent.join(litter::fresh(&litter::prefix(name, super::staged_dir::TAG))),
            _ => return Err(untouched("the new one has no name".to_owned())),
        };
        fs::rename(&self.path, &hidden).map_err(|error| untouched(error.to_string()))?;
        remove_tree(&hidden, go_on).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::Interrupted => "it was told to stop".to_owned(),
                _ => error.to_string(),
            };
            Undeleted { path: hidden, begun: true, reason }
        })
    }
}

/// What is left of a directory that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeleted {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether a part of it is gone.
    pub begun: bool,
    /// Why it was not deleted: a clause for people.
    pub reason: String,
}

/// The old directory while it may be replaced: locked, so that no other run replaces it.
#[derive(Debug)]
pub(super) struct Old {
    _lock: File,
}

impl Old {
    /// Takes the directory at `destination` for this run.
    pub(super) fn claim(destination: &Path) -> Result<Self> {
        let lock = open_dir(destination).map_err(Error::io("opening", destination))?;
        if is_locked(&lock) { Err(busy(destination)) } else { Ok(Self { _lock: lock }) }
    }
}

/// Two directories that have changed places.
#[derive(Debug)]
pub(super) struct Swapped {
    destination: PathBuf,
    /// Where the new directory was staged.
    staging: PathBuf,
    /// Where the old one lies.
    aside: PathBuf,
    /// By one rename; else by two.
    at_once: bool,
}

/// Puts the directory `staging` into the place of `destination`, which lies beside it.
pub(super) fn swap(staging: &Path, destination: &Path) -> io::Result<Swapped> {
    let aside = aside_name(staging, destination)?;
    let swapped =
        |at_once| Swapped { destination: destination.into(), staging: staging.into(), aside: aside.clone(), at_once };
    fs::rename(staging, &aside)?;
    match renameat_with(CWD, &aside, CWD, destination, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(swapped(true)),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(&aside, staging)?,
        Err(errno) => {
            fs::rename(&aside, staging)?;
            return Err(errno.into());
        }
    }
    by_two_renames(staging, destination, &aside)?;
    Ok(swapped(false))
}

/// Between the two nothing stands at the destination.
fn by_two_renames(staging: &Path, destination: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(destination, aside)?;
    fs::rename(staging, destination).or_else(|error| {
        fs::rename(aside, destination)?;
        Err(error)
    })
}

impl Swapped {
    /// Puts both back where they were.
    pub(super) fn undo(&self) -> io::Result<()> {
        if self.at_once {
            renameat_with(CWD, &self.aside, CWD, &self.destination, RenameFlags::EXCHANGE)?;
            return fs::rename(&self.aside, &self.staging);
        }
        fs::rename(&self.destination, &self.staging)?;
        fs::rename(&self.aside, &self.destination)
    }

    /// Gives the old directory its dated name. The new one stands already, so that nothing of this can fail.
    pub(super) fn finish(self) -> Replaced {
        match give_dated_name(&self.aside, &self.destination) {
            Ok(path) => Replaced { path, warning: None },
            Err(error) => {
                let warning = format!(
                    "the old directory could not get its dated name and lies in {}: {error}",
                    self.aside.display()
                );
                Replaced { path: self.aside, warning: Some(warning) }
            }
        }
    }
}

/// Clears up after runs that were killed while they replaced `destination`; gives a clause for each old directory that
/// was found.
///
/// # Errors
/// [`Error::InUse`] when such a run is still alive.
pub(super) fn recover(destination: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let Some((parent, prefix)) = parent_and_prefix(destination) else { return Ok(found) };
    let Ok(entries) = fs::read_dir(parent) else { return Ok(found) };
    for entry in entries.flatten().filter(|entry| litter::matches(&entry.file_name(), &prefix)) {
        let path = entry.path();
        // Held until the end of this turn: another run must not meet it half way.
        let Ok(lock) = open_dir(&path) else { continue };
        if is_locked(&lock) {
            return Err(busy(destination));
        }
        let inode = lock.metadata().map_err(Error::io("looking at", &path))?.ino();
        if entry.file_name() == name_for(&prefix, inode) {
            remove_tree(&path, &|| true).map_err(Error::io("removing the unfinished", &path))?;
        } else if fs::symlink_metadata(destination).is_err() {
            fs::rename(&path, destination).map_err(Error::io("putting back", &path))?;
            found.push("the old data of a restore that was killed was put back first".to_owned());
        } else {
            let dated = give_dated_name(&path, destination).map_err(Error::io("renaming", &path))?;
            found.push(format!("the old data of a restore that was killed lies in {}", dated.display()));
        }
    }
    Ok(found)
}

/// `NAME.old-20261123T015900Z` beside the destination, or with a number behind it where that is taken.
fn give_dated_name(path: &Path, destination: &Path) -> io::Result<PathBuf> {
    let mut name = destination.file_name().unwrap_or_default().to_owned();
    name.push(format!(".old-{}", stamp(unix_seconds())));
    for number in 1..=DATED_NAMES {
        let mut dated = name.clone();
        if number > 1 {
            dated.push(format!("-{number}"));
        }
        let dated = destination.with_file_name(dated);
        let renamed = match renameat_with(CWD, path, CWD, &dated, RenameFlags::NOREPLACE) {
            // Without NOREPLACE: a directory still replaces nothing but an empty directory.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(path, &dated),
            renamed => renamed.map_err(Into::into),
        };
        match renamed {
            Ok(()) => {
                // The new directory stands; a power cut that loses this name leaves the one that the next run knows.
                let _ = destination.parent().map(sync_dir);
                return Ok(dated);
            }
            Err(error) if taken(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

fn parent_and_prefix(destination: &Path) -> Option<(&Path, OsString)> {
    Some((destination.parent()?, litter::prefix(destination.file_name()?, TAG)))
}

/// The name under which `staging` is exchanged: it tells the inode of the new directory.
fn aside_name(staging: &Path, destination: &Path) -> io::Result<PathBuf> {
    let (parent, prefix) = parent_and_prefix(destination).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(parent.join(name_for(&prefix, fs::symlink_metadata(staging)?.ino())))
}

fn name_for(prefix: &OsStr, inode: u64) -> OsString {
    let mut name = prefix.to_owned();
    name.push(format!("{inode:016x}"));
    name
}

fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Takes the lock. Without locks on the file system nobody can hold one.
fn is_locked(directory: &File) -> bool {
    matches!(directory.try_lock(), Err(TryLockError::WouldBlock))
}

fn busy(destination: &Path) -> Error {
    let message = format!("another restore is replacing {} right now; wait for it to end", destination.display());
    Error::InUse { path: destination.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new directory, staged beside an old one.
    struct Scene {
        dir: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let scene = Self { dir: tempfile::tempdir().unwrap() };
            for (path, name) in [(scene.staging(), "new"), (scene.destination(), "old")] {
                fs::create_dir(&path).unwrap();
                fs::write(path.join(name), name).unwrap();
            }
            scene
        }

        fn staging(&self) -> PathBuf {
            self.dir.path().join(".data.restore-0123456789abcdef")
        }

        fn destination(&self) -> PathBuf {
            self.dir.path().join("data")
        }

        fn aside(&self) -> PathBuf {
            aside_name(&self.staging(), &self.destination()).unwrap()
        }

        /// What lies in the one directory whose name begins so.
        fn holds(&self, prefix: &str) -> Vec<String> {
            let directories = fs::read_dir(self.dir.path()).unwrap().flatten();
            let matching = directories.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
            let names = matching.flat_map(|entry| fs::read_dir(entry.path()).unwrap().flatten());
            names.map(|entry| entry.file_name().into_string().unwrap()).collect()
        }

        fn count(&self) -> usize {
            fs::read_dir(self.dir.path()).unwrap().count()
        }
    }

    #[test]
    fn directories_change_places_and_the_old_one_is_dated() {
        let scene = Scene::new();
        let swapped = swap(&scene.staging(), &scene.destination()).unwrap();
        assert!(swapped.at_once);
        assert_eq!(fs::read(scene.destination().join("new")).unwrap(), b"new");

        let replaced = swapped.finish();

        assert_eq!(replaced.warning, None);
        assert_eq!(fs::read(replaced.path.join("old")).unwrap(), b"old");
        assert_eq!((scene.holds("data.old-2"), scene.count()), (vec!["old".to_owned()], 2));
    }

    #[test]
    fn a_swap_is_undone_however_it_was_done() {
        for at_once in [true, false] {
            let scene = Scene::new();
            let (staging, destination, aside) = (scene.staging(), scene.destination(), scene.aside());
            let swapped = if at_once {
                swap(&staging, &destination).unwrap()
            } else {
                by_two_renames(&staging, &destination, &aside).unwrap();
                Swapped { destination: destination.clone(), staging: staging.clone(), aside, at_once }
            };
            assert!(destination.join("new").exists());

            swapped.undo().unwrap();

            assert!(destination.join("old").exists() && staging.join("new").exists());
            assert_eq!(scene.count(), 2);
        }
    }

    #[test]
    fn a_new_directory_that_was_never_exchanged_is_removed() {
        let scene = Scene::new();
        fs::rename(scene.staging(), scene.aside()).unwrap();

        assert_eq!(recover(&scene.destination()).unwrap(), Vec::<String>::new());

        assert_eq!((scene.holds("data"), scene.count()), (vec!["old".to_owned()], 1));
    }

    #[test]
    fn an_old_directory_gets_its_dated_name() {
        let scene = Scene::new();
        swap(&scene.staging(), &scene.destination()).unwrap();

        let found = recover(&scene.destination()).unwrap();

        assert!(found[0].contains("a restore that was killed lies in"), "{found:?}");
        assert_eq!((scene.holds("data.old-"), scene.count()), (vec!["old".to_owned()], 2));
        assert!(scene.destination().join("new").exists());
    }

    #[test]
    fn an_old_directory_is_put_back_where_nothing_stands() {
        let scene = Scene::new();
        fs::rename(scene.destination(), scene.aside()).unwrap();

        let found = recover(&scene.destination()).unwrap();

        assert!(found[0].contains("was put back first"), "{found:?}");
        assert!(scene.destination().join("old").exists() && scene.staging().exists());
    }

    #[test]
    fn what_a_live_run_holds_is_left_alone() {
        let scene = Scene::new();
        let _old = Old::claim(&scene.destination()).unwrap();
        assert!(matches!(Old::claim(&scene.destination()), Err(Error::InUse { .. })));
        swap(&scene.staging(), &scene.destination()).unwrap();

        assert!(matches!(recover(&scene.destination()), Err(Error::InUse { .. })));
        assert_eq!(scene.holds(".data.exchange-"), ["old"]);
    }

    #[test]
    fn what_gave_way_is_deleted_and_a_deletion_that_is_stopped_tells_where_the_rest_lies() {
        let scene = Scene::new();
        fs::write(scene.destination().join("more"), b"").unwrap();
        let replaced = swap(&scene.staging(), &scene.destination()).unwrap().finish();

        let refused = replaced.delete(&scene.destination(), &|| false).unwrap_err();
        assert_eq!((&refused.path, refused.begun), (&replaced.path, false));

        let asked = std::cell::Cell::new(0);
        let once = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        let begun = replaced.delete(&scene.destination(), &once).unwrap_err();
        assert_eq!((begun.begun, begun.reason.as_str()), (true, "it was told to stop"));
        assert_eq!(fs::read_dir(&begun.path).unwrap().count(), 1);

        Replaced { path: begun.path, warning: None }.delete(&scene.destination(), &|| true).unwrap();
        assert_eq!((scene.holds("data"), scene.count()), (vec!["new".to_owned()], 1));
    }

    #[test]
    fn names_within_one_second_are_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("data");
        let names: Vec<PathBuf> = (0..3)
            .map(|number| {
                let path = dir.path().join(number.to_string());
                fs::create_dir(&path).unwrap();
                fs::write(path.join("file"), b"").unwrap();
                give_dated_name(&path, &destination).unwrap()
            })
            .collect();
        assert!(names.iter().all(|path| path.exists()));
    }
}
