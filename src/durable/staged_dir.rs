//! A directory that appears whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{self, Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::litter;
use super::sync::{is, sync_dir, sync_tree};
use crate::error::{Error, Result};

/// What the temporaries inside an existing destination start with; fixed, since one directory has many names.
const INSIDE_PREFIX: &str = ".restore-";

/// A directory that appears under its name only when it is whole and synced.
///
/// Where the destination is absent, it is built beside it as `.NAME.restore-<random>` and renamed as a whole.
/// Where the destination is an empty directory, which may be a mount point and keeps its owner and mode, it is
/// built inside it, and its top-level entries are renamed out in the order of their names: whole at every instant if
/// there is one, and otherwise whole when the last one is there. Dropped without [`StagedDir::commit`], it is
/// removed, together with the missing parents that were made for it.
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
    done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Beside,
    Inside,
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
        let refused = || refusal(destination, label);
        match fs::metadata(destination) {
            Ok(metadata) if metadata.is_dir() => {
                let real = fs::canonicalize(destination).map_err(|_| refused())?;
                litter::remove(&real, OsStr::new(INSIDE_PREFIX));
                if !is_empty(&real).map_err(|_| refused())? {
                    return Err(refused());
                }
                let (staging, lock) = stage(&real, OsStr::new(INSIDE_PREFIX))?;
                let made = Vec::new();
                let shown = destination.to_owned();
                let place = Place::Inside;
                Ok(Self { _lock: lock, shown, label, destination: real, staging, place, made, done: false })
            }
            Ok(_) => Err(refused()),
            // A link to nowhere has no metadata either, but a rename cannot take its name.
            Err(_) if fs::symlink_metadata(destination).is_ok() => Err(refused()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::beside(destination, label),
            Err(source) => Err(Error::Io { action: "looking at", path: destination.to_owned(), source }),
        }
    }

    /// Refuses what [`StagedDir::create`] would refuse, and changes nothing.
    ///
    /// # Errors
    /// [`Error::DataDirNotEmpty`] with etcd's words.
    pub fn check_vacant(destination: &Path, label: &'static str) -> Result<()> {
        let vacant = match fs::symlink_metadata(destination) {
            Ok(_) => names(destination)
                .is_ok_and(|names| names.iter().all(|name| litter::matches(name, OsStr::new(INSIDE_PREFIX)))),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if vacant { Ok(()) } else { Err(refusal(destination, label)) }
    }

    fn beside(shown: &Path, label: &'static str) -> Result<Self> {
        let absolute = path::absolute(shown).map_err(Error::io("looking at", shown))?;
        let (Some(name), Some(parent)) = (absolute.file_name(), absolute.parent()) else {
            return Err(Error::invalid(format!("\"{}\" does not name a directory", shown.display())));
        };
        let made = Made::create(parent)?;
        let prefix = litter::prefix(name, "restore");
        litter::remove(parent, &prefix);
        let (staging, lock) = stage(parent, &prefix)?;
        let shown = shown.to_owned();
        let destination = parent.join(name);
        let place = Place::Beside;
        Ok(Self { _lock: lock, shown, label, destination, staging, place, made: made.keep(), done: false })
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
    pub fn commit(mut self) -> Result<()> {
        // Survives a power cut after the rename: without it the name could outlive files that were never written.
        sync_tree(&self.staging)?;
        match self.place {
            Place::Beside => self.take_the_name()?,
            Place::Inside => self.move_out()?,
        }
        for parent in &self.made {
            // Survives a power cut after the report of success, as above: the name of each parent that was made.
            if let Some(above) = parent.parent() {
                sync_dir(above)?;
            }
        }
        Ok(())
    }

    /// One rename of the whole directory.
    fn take_the_name(&mut self) -> Result<()> {
        // Survives a kill at any instant: before it there is no destination, after it there is all of it.
        // rename(2) replaces nothing here but an empty directory that somebody made meanwhile.
        fs::rename(&self.staging, &self.destination).map_err(|error| self.naming(error))?;
        self.done = true;
        // Survives a power cut after the report of success: until it, the new name may live in memory only.
        match self.destination.parent() {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        }
    }

    /// One rename for each entry, out of the staging directory into the destination around it.
    fn move_out(&mut self) -> Result<()> {
        let mut around = names(&self.destination).map_err(Error::io("reading directory", &self.destination))?;
        around.retain(|name| Some(name.as_os_str()) != self.staging.file_name());
        if !around.is_empty() {
            return Err(refusal(&self.shown, self.label));
        }
        let mut entries = names(&self.staging).map_err(Error::io("reading directory", &self.staging))?;
        entries.sort_unstable();
        for (moved, entry) in entries.iter().enumerate() {
            if let Err(error) = self.move_entry(entry) {
                // Back, the last one first; Drop takes them away with the rest.
                for entry in entries.iter().take(moved).rev() {
                    let _ = fs::rename(self.destination.join(entry), self.staging.join(entry));
                }
                return Err(self.naming(error));
            }
        }
        self.done = true;
        let _ = fs::remove_dir(&self.staging);
        // Survives a power cut after the report of success: until it, the new names may live in memory only.
        sync_dir(&self.destination)
    }

    fn move_entry(&self, entry: &OsStr) -> io::Result<()> {
        let from = self.staging.join(entry);
        let to = self.destination.join(entry);
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
            let _ = fs::remove_dir_all(&self.staging);
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

fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(names(directory)?.is_empty())
}

/// etcd's own words: `etcdutl snapshot restore` prints them.
fn refusal(destination: &Path, label: &'static str) -> Error {
    let message = format!("{label} \"{}\" not empty or could not be read", destination.display());
    Error::DataDirNotEmpty { path: destination.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn fill(staged: &StagedDir) {
        fs::create_dir_all(staged.path().join("member/snap")).unwrap();
        fs::write(staged.path().join("member/snap/db"), b"db").unwrap();
    }

    fn assert_only_member_in(directory: &Path) {
        assert_eq!(vec![OsString::from("member")], names(directory).unwrap());
        assert_eq!(b"db", fs::read(directory.join("member/snap/db")).unwrap().as_slice());
    }

    fn refused(destination: &Path) {
        let error = StagedDir::create(destination, "data-dir").unwrap_err();
        assert!(matches!(error, Error::DataDirNotEmpty { .. }), "{error}");
        let expected = format!("data-dir \"{}\" not empty or could not be read", destination.display());
        assert_eq!(expected, error.to_string());
    }

    #[test]
    fn looking_at_a_destination_refuses_what_holds_something_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let look = |path: &Path| StagedDir::check_vacant(path, "data-dir");
        fs::create_dir(dir.path().join("empty")).unwrap();
        fs::create_dir(dir.path().join("killed")).unwrap();
        fs::create_dir(dir.path().join("killed/.restore-0123456789abcdef")).unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();

        for name in ["absent", "absent/below", "empty", "killed"] {
            assert!(look(&dir.path().join(name)).is_ok(), "{name} was refused");
        }
        for name in [".", "file", "dangling"] {
            assert!(look(&dir.path().join(name)).is_err(), "{name} was taken");
        }
        assert_eq!(4, names(dir.path()).unwrap().len());
    }

    #[test]
    fn an_absent_destination_appears_whole_with_commit() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("data");
        let staged = StagedDir::create(&destination, "data-dir").unwrap();
        fill(&staged);

        assert!(!destination.exists());
        staged.commit().unwrap();
        assert_only_member_in(&destination);
        assert_eq!(0o700, fs::metadata(&destination).unwrap().permissions().mode() & 0o777);
        assert_eq!(1, names(dir.path()).unwrap().len());
    }

    #[test]
    fn an_empty_destination_is_filled_and_keeps_its_own_mode_and_inode() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("data");
        fs::create_dir(&destination).unwrap();
        fs::set_permissions(&destination, fs::Permissions::from_mode(0o750)).unwrap();
        let before = fs::metadata(&destination).unwrap();
        let staged = StagedDir::create(&destination, "data-dir").unwrap();
        assert_eq!(destination.canonicalize().unwrap(), staged.path().parent().unwrap());
        fill(&staged);
        staged.commit().unwrap();

        assert_only_member_in(&destination);
        let after = fs::metadata(&destination).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    }

    #[test]
    fn a_link_to_an_empty_directory_is_filled_behind_the_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        let staged = StagedDir::create(&dir.path().join("link"), "data-dir").unwrap();
        fill(&staged);
        staged.commit().unwrap();

        assert_only_member_in(&dir.path().join("real"));
        assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
    }

    #[test]
    fn whatever_holds_something_or_is_no_directory_is_refused_in_the_words_of_etcd() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("full/member")).unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        symlink("full", dir.path().join("link")).unwrap();

        for name in ["full", "file", "dangling", "link"] {
            refused(&dir.path().join(name));
        }
        assert_eq!(4, names(dir.path()).unwrap().len());
        assert_eq!(1, names(&dir.path().join("full")).unwrap().len());
    }

    #[test]
    fn dropping_without_commit_leaves_nothing_not_even_the_parents_it_made() {
        let dir = tempfile::tempdir().unwrap();
        let staged = StagedDir::create(&dir.path().join("a/b/data"), "data-dir").unwrap();
        fill(&staged);
        assert_eq!(0o700, fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777);
        drop(staged);
        assert!(is_empty(dir.path()).unwrap());

        fs::create_dir(dir.path().join("data")).unwrap();
        let staged = StagedDir::create(&dir.path().join("data"), "data-dir").unwrap();
        fill(&staged);
        drop(staged);
        assert!(is_empty(&dir.path().join("data")).unwrap());
    }

    #[test]
    fn missing_parents_are_made_and_stay_after_commit() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("a/b/data");
        let staged = StagedDir::create(&destination, "data-dir").unwrap();
        fill(&staged);
        staged.commit().unwrap();

        assert_only_member_in(&destination);
        assert_eq!(1, names(&dir.path().join("a/b")).unwrap().len());
    }

    #[test]
    fn a_parent_that_is_a_file_or_takes_no_directory_is_an_io_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        for parent in [dir.path().join("file"), dir.path().join("file/below"), PathBuf::from("/proc/self")] {
            let error = StagedDir::create(&parent.join("data"), "data-dir").unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
        }
    }

    #[test]
    fn a_destination_that_is_filled_before_commit_is_not_touched() {
        for exists in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let destination = dir.path().join("data");
            if exists {
                fs::create_dir(&destination).unwrap();
            }
            let staged = StagedDir::create(&destination, "data-dir").unwrap();
            fill(&staged);
            fs::create_dir_all(destination.join("member")).unwrap();
            fs::write(destination.join("member/theirs"), b"").unwrap();

            let error = staged.commit().unwrap_err();
            assert!(matches!(error, Error::DataDirNotEmpty { .. }), "{error}");
            assert_eq!(vec![OsString::from("member")], names(&destination).unwrap());
            assert_eq!(vec![OsString::from("theirs")], names(&destination.join("member")).unwrap());
            assert_eq!(1, names(dir.path()).unwrap().len());
        }
    }

    #[test]
    fn a_link_or_a_file_that_appears_before_commit_is_not_replaced() {
        for link in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let destination = dir.path().join("data");
            let staged = StagedDir::create(&destination, "data-dir").unwrap();
            fill(&staged);
            if link {
                symlink("nowhere", &destination).unwrap();
            } else {
                fs::write(&destination, b"theirs").unwrap();
            }

            assert!(matches!(staged.commit().unwrap_err(), Error::DataDirNotEmpty { .. }));
            assert_eq!(link, fs::symlink_metadata(&destination).unwrap().is_symlink());
            assert_eq!(1, names(dir.path()).unwrap().len());
        }
    }

    #[test]
    fn an_empty_directory_that_appears_before_commit_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("data");
        let staged = StagedDir::create(&destination, "data-dir").unwrap();
        fill(&staged);
        fs::create_dir(&destination).unwrap();
        staged.commit().unwrap();

        assert_only_member_in(&destination);
    }

    #[test]
    fn an_existing_destination_takes_all_entries_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let fill = |staged: &StagedDir| {
            for name in ["a", "b"] {
                fs::write(staged.path().join(name), b"ours").unwrap();
            }
        };
        let staged = StagedDir::create(dir.path(), "wal-dir").unwrap();
        fill(&staged);
        fs::create_dir(dir.path().join("c")).unwrap();
        assert!(matches!(staged.commit().unwrap_err(), Error::DataDirNotEmpty { .. }));
        assert_eq!(vec![OsString::from("c")], names(dir.path()).unwrap());

        fs::remove_dir(dir.path().join("c")).unwrap();
        let staged = StagedDir::create(dir.path(), "wal-dir").unwrap();
        fill(&staged);
        staged.commit().unwrap();
        assert_eq!(2, names(dir.path()).unwrap().len());
        assert_eq!(b"ours", fs::read(dir.path().join("b")).unwrap().as_slice());
    }

    #[test]
    fn the_litter_of_a_dead_run_does_not_count_as_content_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("data");
        fs::create_dir_all(inside.join(".restore-0123456789abcdef/member/snap")).unwrap();
        drop(StagedDir::create(&inside, "data-dir").unwrap());
        assert!(is_empty(&inside).unwrap());

        fs::remove_dir(&inside).unwrap();
        fs::create_dir_all(dir.path().join(".data.restore-0123456789abcdef/member")).unwrap();
        fs::create_dir_all(dir.path().join(".other.restore-0123456789abcdef/member")).unwrap();
        drop(StagedDir::create(&inside, "data-dir").unwrap());
        assert_eq!(vec![OsString::from(".other.restore-0123456789abcdef")], names(dir.path()).unwrap());
    }

    #[test]
    fn a_live_staging_directory_is_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("data");
        let first = StagedDir::create(&destination, "data-dir").unwrap();
        let second = StagedDir::create(&destination, "data-dir").unwrap();
        fill(&first);
        fill(&second);
        first.commit().unwrap();
        assert!(matches!(second.commit().unwrap_err(), Error::DataDirNotEmpty { .. }));
        assert_only_member_in(&destination);

        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        let _first = StagedDir::create(&other, "data-dir").unwrap();
        refused(&other);
    }

    /// The same test in a child, which has a mount point of its own.
    const CHILD: &str = "DCOS_ETCD_TEST_STAGED_DIR";

    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    fn a_mount_point_is_filled_in_place() {
        if let Some(point) = std::env::var_os(CHILD) {
            let point = Path::new(&point);
            let staged = StagedDir::create(point, "data-dir").unwrap();
            fill(&staged);
            staged.commit().unwrap();
            assert_only_member_in(point);
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mount = "mount -t tmpfs none \"$0\" || exit 77; exec \"$@\"";
        let test = "durable::staged_dir::tests::a_mount_point_is_filled_in_place";
        let outcome = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(CHILD, dir.path())
            .output();
        match outcome {
            Ok(output) if output.status.success() => {
                assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
            }
            Ok(output) if output.status.code() == Some(101) => {
                panic!("{}", String::from_utf8_lossy(&output.stdout));
            }
            _ => eprintln!("skipped: no rights to mount a file system in a user namespace"),
        }
    }
}
