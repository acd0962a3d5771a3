//! A directory that appears whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{self, Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::exchange::{self, Old, Replaced, Swapped};
use super::remove::remove_tree;
use super::sync::{is, sync_dir, sync_tree};
use super::{litter, mounts};
use crate::error::{Error, Result};

/// What the temporaries beside a destination have behind its name.
pub(super) const TAG: &str = "restore";
/// What the temporaries inside an existing destination start with; fixed, since one directory has many names.
const INSIDE_PREFIX: &str = ".restore-";

/// A directory that appears under its name only when it is whole and synced.
///
/// Where the destination is absent, it is built beside it as `.NAME.restore-<random>` and renamed as a whole.
/// Where the destination is an empty directory, which may be a mount point and keeps its owner and mode, it is
/// built inside it, and its top-level entries are renamed out in the order of their names: whole at every instant if
/// there is one, and otherwise whole when the last one is there. Where [`StagedDir::replacing`] met a directory that
/// holds something, it is built beside it and changes places with it ([`exchange`](super::exchange)). Dropped without
/// [`StagedDir::commit`], it is removed, together with the missing parents that were made for it.
#[derive(Debug)]
pub struct StagedDir {
    /// Locked while this value lives, so that no other run takes the staging directory for litter.
    _lock: File,
    /// The destination as the caller wrote it, for messages.
    shown: PathBuf,
    label: &'static str,
    destination: PathBuf,
    staging: PathBuf,
    place: Place,
    /// Parents of the destination that were missing, outermost first.
    made: Vec<PathBuf>,
    /// A file in the destination that does not count.
    over: Option<&'static str>,
    /// What was found of runs that were killed, as clauses.
    found: Vec<String>,
    done: bool,
}

#[derive(Debug)]
enum Place {
    Beside,
    Inside,
    /// Beside the directory whose place it takes.
    Instead {
        _old: Old,
    },
}

/// How to go back while nobody relies on the new directory yet.
enum Undo {
    Rename,
    Move(Vec<OsString>),
    Swap(Swapped),
}

impl StagedDir {
    /// Makes the staging directory, mode 0700, and removes those that killed runs left for the same destination.
    /// Missing parents of the destination are made with mode 0700, as etcd makes them.
    ///
    /// `label` is etcd's word for the destination: `data-dir` or `wal-dir`.
    ///
    /// # Errors
    /// [`Error::DataDirNotEmpty`] with etcd's words when the destination holds anything, cannot be read, or is no
    /// directory; [`Error::InvalidArgument`] for a path without a name; [`Error::Io`] otherwise.
    pub fn create(destination: &Path, label: &'static str) -> Result<Self> {
        Self::make(destination, label, None)
    }

    /// [`StagedDir::create`] for a destination that may hold `over`, as a run that was killed has left it: a file stays
    /// until what was built takes its place, a directory until [`StagedDir::remove_left`].
    ///
    /// # Errors
    /// As those.
    pub fn create_over(destination: &Path, label: &'static str, over: &'static str) -> Result<Self> {
        Self::make(destination, label, Some(over))
    }

    fn make(destination: &Path, label: &'static str, over: Option<&'static str>) -> Result<Self> {
        let refused = || refusal(destination, label);
        let mut found = Vec::new();
        if fs::symlink_metadata(destination).is_err() {
            found = Self::recover(destination)?;
        }
        match fs::metadata(destination) {
            Ok(metadata) if metadata.is_dir() => {
                let real = fs::canonicalize(destination).map_err(|_| refused())?;
                litter::remove(&real, OsStr::new(INSIDE_PREFIX));
                if !names(&real).map_err(|_| refused())?.iter().all(|name| is_left(name, over)) {
                    return Err(refused());
                }
                let (staging, lock) = stage(&real, OsStr::new(INSIDE_PREFIX))?;
                let made = Vec::new();
                let shown = destination.to_owned();
                let place = Place::Inside;
                let (destination, done) = (real, false);
                Ok(Self { _lock: lock, shown, label, destination, staging, place, made, over, found, done })
            }
            Ok(_) => Err(refused()),
            // A link to nowhere has no metadata either, but a rename cannot take its name.
            Err(_) if fs::symlink_metadata(destination).is_ok() => Err(refused()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::beside(destination, label, Place::Beside),
            Err(source) => Err(Error::Io { action: "looking at", path: destination.to_owned(), source }),
        }
    }

    /// [`StagedDir::create`] for a destination that may hold something; what it holds gives way as a whole.
    ///
    /// # Errors
    /// As those, but for a directory that holds something; and [`Error::InUse`] while another run replaces it.
    pub fn replacing(destination: &Path, label: &'static str) -> Result<Self> {
        let real = fs::canonicalize(destination).or_else(|_| absolute(destination))?;
        let found = Self::recover(destination)?;
        Self::check_replaceable(destination, label)?;
        let mut staged = if is_filled(&real) {
            let old = Old::claim(&real)?;
            let mut staged = Self::beside(&real, label, Place::Instead { _old: old })?;
            destination.clone_into(&mut staged.shown);
            staged
        } else {
            Self::create(destination, label)?
        };
        staged.found = found;
        Ok(staged)
    }

    /// Refuses what [`StagedDir::replacing`] would refuse, and changes nothing.
    ///
    /// # Errors
    /// [`Error::DataDirNotEmpty`] for what is no directory, for a mount point that holds something, and where something
    /// is mounted below.
    pub fn check_replaceable(destination: &Path, label: &'static str) -> Result<()> {
        let Ok(real) = fs::canonicalize(destination) else { return Self::check_vacant(destination, label) };
        let metadata = fs::metadata(&real).map_err(Error::io("looking at", destination))?;
        let above = real.parent().map(fs::metadata).transpose().map_err(Error::io("looking at", destination))?;
        if !metadata.is_dir() {
            return Err(refusal(destination, label));
        }
        if is_filled(&real) {
            if above.is_none_or(|above| above.dev() != metadata.dev()) {
                return Err(mount_point(destination, label));
            }
            if let Some(inner) = mounts::below(&real) {
                return Err(mounted(destination, label, &inner));
            }
        }
        Ok(())
    }

    /// Clears up after runs that were killed while they replaced what lies at `destination`: its old data comes back where
    /// nothing stands, and gets its dated name where the new one does. Gives a clause for people for each.
    ///
    /// # Errors
    /// [`Error::InUse`] when such a run is still alive; [`Error::Io`].
    pub fn recover(destination: &Path) -> Result<Vec<String>> {
        exchange::recover(&fs::canonicalize(destination).or_else(|_| absolute(destination))?)
    }

    /// Whether `path`, which is real, lies in what runs for `destination` that were killed have left, and the next one
    /// clears up.
    #[must_use]
    pub fn clears_up(destination: &Path, path: &Path) -> bool {
        let real = fs::canonicalize(destination).or_else(|_| absolute(destination)).unwrap_or_default();
        let is_under = |directory: Option<&Path>, prefix: &OsStr| {
            let inside = directory.and_then(|directory| path.strip_prefix(directory).ok());
            inside.and_then(|inside| inside.iter().next()).is_some_and(|name| litter::matches(name, prefix))
        };
        let beside = |tag| litter::prefix(real.file_name().unwrap_or_default(), tag);
        is_under(Some(&real), OsStr::new(INSIDE_PREFIX))
            || [TAG, exchange::TAG].iter().any(|tag| is_under(real.parent(), &beside(tag)))
    }

    /// Names in `destination` that are not what killed runs left; none where it is absent or no directory.
    #[must_use]
    pub fn held(destination: &Path) -> Vec<OsString> {
        let mut held = names(destination).unwrap_or_default();
        held.retain(|name| !litter::matches(name, OsStr::new(INSIDE_PREFIX)));
        held.sort_unstable();
        held
    }

    /// Removes the directory that [`StagedDir::create_over`] has let be. It loses its name at once, so that no half of it
    /// stands there at any instant.
    ///
    /// # Errors
    /// [`Error::Io`] where it could not lose its name for good.
    pub fn remove_left(&self) -> Result<()> {
        let Some(over) = self.over else { return Ok(()) };
        let left = self.destination.join(over);
        let hidden = self.destination.join(litter::fresh(OsStr::new(INSIDE_PREFIX)));
        fs::rename(&left, &hidden).map_err(Error::io("removing the unfinished", &left))?;
        // Survives a power cut after the next rename: it must not be back beside what belongs to another one.
        sync_dir(&self.destination)?;
        // What stays is litter, which the next run removes.
        let _ = remove_tree(&hidden, &|| true);
        Ok(())
    }

    /// What was found of runs for the same destination that were killed while they replaced it: clauses for people.
    #[must_use]
    pub fn found(&self) -> &[String] {
        &self.found
    }

    /// Makes everything that was built, and the parents that were made for it, another user's. A destination that was
    /// there already and empty becomes that user's alone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn give_to(&self, user: u32, group: u32) -> Result<()> {
        let give = |path: &Path| lchown(path, Some(user), Some(group)).map_err(Error::io("giving away", path));
        let mut below = vec![self.staging.clone()];
        while let Some(path) = below.pop() {
            give(&path)?;
            if fs::symlink_metadata(&path).map_err(Error::io("looking at", &path))?.is_dir() {
                let names = names(&path).map_err(Error::io("reading directory", &path))?;
                below.extend(names.into_iter().map(|name| path.join(name)));
            }
        }
        self.made.iter().try_for_each(|parent| give(parent))?;
        if let Place::Inside = self.place {
            fs::set_permissions(&self.destination, Permissions::from_mode(0o700))
                .map_err(Error::io("giving away", &self.destination))?;
            give(&self.destination)?;
        }
        Ok(())
    }

    /// Refuses what [`StagedDir::create`] would refuse, and changes nothing.
    ///
    /// # Errors
    /// [`Error::DataDirNotEmpty`] with etcd's words.
    pub fn check_vacant(destination: &Path, label: &'static str) -> Result<()> {
        Self::check(destination, label, None)
    }

    /// Refuses what [`StagedDir::create_over`] would refuse, and changes nothing.
    ///
    /// # Errors
    /// [`Error::DataDirNotEmpty`] with etcd's words.
    pub fn check_vacant_over(destination: &Path, label: &'static str, over: &'static str) -> Result<()> {
        Self::check(destination, label, Some(over))
    }

    fn check(destination: &Path, label: &'static str, over: Option<&'static str>) -> Result<()> {
        let counts = |name: &OsString| !litter::matches(name, OsStr::new(INSIDE_PREFIX)) && !is_left(name, over);
        let vacant = match fs::symlink_metadata(destination) {
            Ok(_) => names(destination).is_ok_and(|names| !names.iter().any(counts)),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if vacant { Ok(()) } else { Err(refusal(destination, label)) }
    }

    fn beside(shown: &Path, label: &'static str, place: Place) -> Result<Self> {
        let absolute = absolute(shown)?;
        let (Some(name), Some(parent)) = (absolute.file_name(), absolute.parent()) else {
            return Err(Error::invalid(format!("\"{}\" does not name a directory", shown.display())));
        };
        let made = Made::create(parent)?;
        let prefix = litter::prefix(name, TAG);
        litter::remove(parent, &prefix);
        let (staging, lock) = stage(parent, &prefix)?;
        let shown = shown.to_owned();
        let destination = parent.join(name);
        let (made, found) = (made.keep(), Vec::new());
        let (over, done) = (None, false);
        Ok(Self { _lock: lock, shown, label, destination, staging, place, made, over, found, done })
    }

    /// Where to build: an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.staging
    }

    /// Syncs all that was built, puts it in place, and syncs the names.
    ///
    /// # Errors
    /// [`Error::DataDirNotEmpty`] when the destination was filled meanwhile; [`Error::Io`] otherwise. After an
    /// error of the kind [`Error::DataDirNotEmpty`] nothing of this value is left.
    pub fn commit(self) -> Result<()> {
        self.commit_between(&mut || Ok(()), &mut || Ok(())).map(drop)
    }

    /// [`StagedDir::commit`] with a last look `before` the directory takes its place, and with what must come right
    /// `after`: should that fail, the old state comes back. Gives the directory that gave way, if one did.
    ///
    /// # Errors
    /// As those, and what `before` and `after` say.
    pub fn commit_between(
        mut self,
        before: &mut dyn FnMut() -> Result<()>,
        after: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<Replaced>> {
        // Survives a power cut after the rename: without it the name could outlive files that were never written.
        sync_tree(&self.staging)?;
        before()?;
        if let Place::Instead { .. } = self.place
            && let Some(inner) = mounts::below(&self.destination)
        {
            // The look at the beginning may be minutes old.
            return Err(mounted(&self.shown, self.label, &inner));
        }
        let undo = match self.place {
            Place::Beside => self.take_the_name()?,
            Place::Inside => self.move_out()?,
            Place::Instead { .. } => self.swap()?,
        };
        let settled = self.sync_names().and_then(|()| after());
        if let Err(error) = settled {
            self.undo(undo)?;
            return Err(error);
        }
        match undo {
            Undo::Swap(swapped) => Ok(Some(swapped.finish())),
            Undo::Rename => Ok(None),
            Undo::Move(_) => {
                let _ = fs::remove_dir(&self.staging);
                Ok(None)
            }
        }
    }

    /// Survives a power cut after the report of success: until this, new names may live in memory only.
    fn sync_names(&self) -> Result<()> {
        match (&self.place, self.destination.parent()) {
            (Place::Inside, _) => sync_dir(&self.destination)?,
            (_, Some(parent)) => sync_dir(parent)?,
            (_, None) => {}
        }
        // The same for the name of each parent that was made.
        self.made.iter().filter_map(|parent| parent.parent()).try_for_each(sync_dir)
    }

    /// Takes the directory out of its place again, for Drop to remove.
    fn undo(&mut self, undo: Undo) -> Result<()> {
        let undone = match undo {
            Undo::Rename => fs::rename(&self.destination, &self.staging),
            Undo::Move(entries) => self.move_back(&entries),
            Undo::Swap(swapped) => swapped.undo(),
        };
        undone.map_err(Error::io("putting back", &self.shown))?;
        self.done = false;
        Ok(())
    }

    /// One rename of the whole directory.
    fn take_the_name(&mut self) -> Result<Undo> {
        // Survives a kill at any instant: before it there is no destination, after it there is all of it.
        // rename(2) replaces nothing here but an empty directory that somebody made meanwhile.
        fs::rename(&self.staging, &self.destination).map_err(|error| self.naming(error))?;
        self.done = true;
        Ok(Undo::Rename)
    }

    /// The staged directory and the old one change places. What lies under the staging name is the new one or
    /// nothing, whatever fails, so that Drop never takes the old one.
    fn swap(&mut self) -> Result<Undo> {
        let swapped = exchange::swap(&self.staging, &self.destination).map_err(|error| {
            if is(&error, Errno::BUSY) { mount_point(&self.shown, self.label) } else { self.naming(error) }
        })?;
        self.done = true;
        Ok(Undo::Swap(swapped))
    }

    /// One rename for each entry, out of the staging directory into the destination around it.
    fn move_out(&mut self) -> Result<Undo> {
        let mut around = names(&self.destination).map_err(Error::io("reading directory", &self.destination))?;
        around.retain(|name| Some(name.as_os_str()) != self.staging.file_name() && !is_left(name, self.over));
        if !around.is_empty() {
            return Err(refusal(&self.shown, self.label));
        }
        let mut entries = names(&self.staging).map_err(Error::io("reading directory", &self.staging))?;
        entries.sort_unstable();
        for (moved, entry) in entries.iter().enumerate() {
            if let Err(error) = self.move_entry(entry) {
                // Drop takes them away with the rest.
                let _ = self.move_back(entries.get(..moved).unwrap_or_default());
                return Err(self.naming(error));
            }
        }
        self.done = true;
        Ok(Undo::Move(entries))
    }

    /// The last one first.
    fn move_back(&self, entries: &[OsString]) -> io::Result<()> {
        entries.iter().rev().try_for_each(|entry| fs::rename(self.destination.join(entry), self.staging.join(entry)))
    }

    fn move_entry(&self, entry: &OsStr) -> io::Result<()> {
        let from = self.staging.join(entry);
        let to = self.destination.join(entry);
        if is_left(entry, self.over) {
            return fs::rename(&from, &to);
        }
        // Survives a kill at any instant: the entry is in one of the two places, whole. What is left beside it then
        // is a hidden directory, which etcd ignores.
        match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            // Without NOREPLACE: a directory still replaces nothing but an empty directory.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(&from, &to),
            moved => Ok(moved?),
        }
    }

    fn naming(&self, error: io::Error) -> Error {
        use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
        if matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory) || is(&error, Errno::BUSY) {
            return refusal(&self.shown, self.label);
        }
        Error::Io { action: "creating", path: self.shown.clone(), source: error }
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.done {
            let _ = remove_tree(&self.staging, &|| true);
            drop(Made(std::mem::take(&mut self.made)));
        }
    }
}

/// Directories that this run made; dropped, it takes the empty ones of them away again.
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes what is missing of `directory`, mode 0700.
    fn create(directory: &Path) -> Result<Self> {
        let mut made = Self(Vec::new());
        // Outermost first; an ancestor that cannot be looked at is found out by the next one below it.
        let ancestors: Vec<&Path> = directory.ancestors().collect();
        for ancestor in ancestors.into_iter().rev() {
            if fs::metadata(ancestor).is_ok() {
                continue;
            }
            match DirBuilder::new().mode(0o700).create(ancestor) {
                Ok(()) => made.0.push(ancestor.to_owned()),
                // Somebody else made it between the look and now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && ancestor.is_dir() => {}
                Err(source) => {
                    return Err(Error::Io { action: "creating directory", path: ancestor.to_owned(), source });
                }
            }
        }
        Ok(made)
    }

    fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Innermost first; what holds something by now, or is gone, stays as it is.
        for directory in self.0.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Makes a locked directory with a fresh name under `prefix`.
fn stage(parent: &Path, prefix: &OsStr) -> Result<(PathBuf, File)> {
    let failed = |source| Error::Io { action: "creating a directory in", path: parent.to_owned(), source };
    for _ in 0..litter::ATTEMPTS {
        let path = parent.join(litter::fresh(prefix));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(error)),
        }
        match File::open(&path) {
            Ok(lock) if litter::claim(&lock, &path) => return Ok((path, lock)),
            Ok(_) => {}
            // Another run took it for litter before it was locked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path::absolute(path).map_err(Error::io("looking at", path))
}

/// Whether it is a directory that holds something beside what killed runs left in it.
fn is_filled(directory: &Path) -> bool {
    !StagedDir::held(directory).is_empty()
}

fn is_left(name: &OsStr, over: Option<&'static str>) -> bool {
    over.is_some_and(|over| name == over)
}

/// etcd's own words: `etcdutl snapshot restore` prints them.
fn refusal(destination: &Path, label: &'static str) -> Error {
    let message = format!("{label} \"{}\" not empty or could not be read", destination.display());
    Error::DataDirNotEmpty { path: destination.to_owned(), message }
}

fn mount_point(destination: &Path, label: &'static str) -> Error {
    let message = format!(
        "{label} \"{}\" is a mount point that holds something, and cannot be renamed: move what it holds elsewhere, an \
         empty one is filled where it is",
        destination.display()
    );
    Error::DataDirNotEmpty { path: destination.to_owned(), message }
}

fn mounted(destination: &Path, label: &'static str, inner: &Path) -> Error {
    let message = format!(
        "{label} \"{}\" has {} mounted below it, which would go with the old data, and at the next boot come back over \
         the new: unmount it, or move what they hold elsewhere",
        destination.display(),
        inner.display()
    );
    Error::DataDirNotEmpty { path: destination.to_owned(), message }
}

#[cfg(test)]
mod tests;
