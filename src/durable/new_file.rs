//! A file that appears whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, open, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::litter;
use super::sync::sync_dir;
use super::unnamed::{give_name, nameable_file};
use crate::error::{Error, Result};

/// What stands between a name and the random part of its temporary.
const TAG: &str = "partial";

/// What could not be done, as [`Error::Io`] tells it.
const CREATING: &str = "creating a file in";

/// A file that appears under its name only when it is whole and synced.
///
/// Until then it has no name at all (`O_TMPFILE`), so that nothing is left of it whatever ends the process. Where the
/// file system knows no such files, or `/proc` is missing, by which they get a name, it is `.NAME.partial-<random>` in the same
/// directory. The mode is 0600 either way. Dropped without [`NewFile::commit`], it is gone.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// The destination as the caller wrote it, for messages.
    shown: PathBuf,
    destination: PathBuf,
    parent: PathBuf,
    /// Where there has to be one.
    temporary: Option<Temporary>,
}

/// A hidden name, which goes with this value. The lock that tells it from litter is held by the file.
#[derive(Debug)]
struct Temporary {
    /// The directory itself, which is still the one when somebody has given it another name.
    directory: OwnedFd,
    name: OsString,
}

impl NewFile {
    /// Creates the file, and removes what killed runs left in the directory.
    ///
    /// # Errors
    /// [`Error::ArchiveExists`] when anything has that name, be it a link to nowhere; [`Error::InvalidArgument`]
    /// for a path without a file name; [`Error::Io`] that names the parent when that is missing, no directory, or
    /// not readable and writable.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_by(path, nameable_file)
    }

    /// `unnamed` makes a file without a name in a directory, or says with `None` that there can't be one.
    fn create_by(path: &Path, unnamed: fn(&Path) -> io::Result<Option<File>>) -> Result<Self> {
        let (parent, name) = split(path)?;
        // The commit has to open it for its sync: who may only write into it is to know before the file is whole.
        let directory = open_directory(&parent)?;
        let destination = parent.join(&name);
        match fs::symlink_metadata(&destination) {
            Ok(_) => return Err(Error::ArchiveExists { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { action: "looking at", path: path.to_owned(), source }),
        }
        litter::remove(&parent, &litter::prefix(&name, TAG));
        let (file, temporary) = match unnamed(&parent).map_err(Error::io(CREATING, &parent))? {
            Some(file) => (file, None),
            None => named(&parent, directory, &name).map(|(file, temporary)| (file, Some(temporary)))?,
        };
        litter::remove_of_any_name(&parent, TAG, &file);
        Ok(Self { file, shown: path.to_owned(), destination, parent, temporary })
    }

    /// The open file, for reading and writing through `&File`.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the content, gives it its name, and syncs the name.
    ///
    /// # Errors
    /// [`Error::ArchiveExists`] when the name was taken meanwhile; [`Error::Io`] otherwise. After any error
    /// neither the file nor its temporary is there.
    pub fn commit(mut self) -> Result<()> {
        // Survives a power cut after the naming: without it the name could outlive content that was never written.
        self.sync()?;
        // Survives a kill at any instant: before it there is no such name, after it the name has all the content.
        // None of the ways replaces anything, and none is a look before the act: somebody may take the name between the two.
        match &self.temporary {
            Some(temporary) => temporary.rename(&self.destination).map_err(|error| self.naming(error))?,
            None => match give_name(&self.file, &self.destination) {
                Ok(()) => {}
                Err(errno) if cannot_be_named(errno) => self.copy_and_rename()?,
                Err(errno) => return Err(self.naming(errno.into())),
            },
        }
        self.temporary = None;
        // Survives a power cut after the report of success: until both, the new name may live in memory only, and on
        // btrfs so do the extents of a file that had no name when it was synced.
        self.sync().and_then(|()| sync_dir(&self.parent)).inspect_err(|_| {
            // The caller will report a failure, so the name must not stay; nobody else can have made it.
            let _ = fs::remove_file(&self.destination);
        })
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::io("syncing", &self.shown))
    }

    /// The way out where a file without a name can be made and yet gets none: `/proc` is gone or forbidden, or the file
    /// system has no hard links.
    fn copy_and_rename(&mut self) -> Result<()> {
        let name = self.destination.file_name().unwrap_or_default();
        let (copy, temporary) = named(&self.parent, open_directory(&self.parent)?, name)?;
        self.file
            .rewind()
            .and_then(|()| io::copy(&mut &self.file, &mut &copy))
            .map_err(Error::io("writing", &self.shown))?;
        self.file = copy;
        self.sync()?;
        temporary.rename(&self.destination).map_err(|error| self.naming(error))
    }

    fn naming(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Error::ArchiveExists { path: self.shown.clone() };
        }
        Error::Io { action: "creating", path: self.shown.clone(), source: error }
    }
}

impl Temporary {
    /// Gives the file the name `destination`. The hidden name goes with this value, if it is still there.
    fn rename(&self, destination: &Path) -> io::Result<()> {
        match renameat_with(&self.directory, &self.name, CWD, destination, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(destination),
            renamed => Ok(renamed?),
        }
    }

    /// The rename for file systems that have no NOREPLACE (NFS, some FUSE): a hard link never replaces either. A
    /// kill before the hidden name is gone leaves that, of a whole file, and a later run removes it.
    fn link(&self, destination: &Path) -> io::Result<()> {
        match linkat(&self.directory, &self.name, CWD, destination, AtFlags::empty()) {
            // What link(2) and file systems in user space say where there are no hard links.
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => self.claim_and_rename(destination),
            linked => Ok(linked?),
        }
    }

    /// The rename for file systems that have no hard links either (object stores under FUSE): the name is taken by a
    /// file of its own, which the rename replaces. A kill between the two leaves that file, which is empty and so no
    /// archive to anyone, and the temporary.
    fn claim_and_rename(&self, destination: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(destination)?;
        renameat(&self.directory, &self.name, CWD, destination).map_err(|errno| {
            let _ = fs::remove_file(destination);
            errno.into()
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A name that was renamed away is not there, and nobody else can have it now.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

/// Creates a file under a hidden name in `parent`, which is open as `directory`.
fn named(parent: &Path, directory: OwnedFd, name: &OsStr) -> Result<(File, Temporary)> {
    let prefix = litter::prefix(name, TAG);
    for _ in 0..litter::ATTEMPTS {
        let name = litter::fresh(&prefix);
        let path = parent.join(&name);
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) if litter::claim(&file, &path) => return Ok((file, Temporary { directory, name })),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Io { action: CREATING, path: parent.to_owned(), source }),
        }
    }
    let source = io::ErrorKind::AlreadyExists.into();
    Err(Error::Io { action: CREATING, path: parent.to_owned(), source })
}

/// What linkat(2) says when this file gets no name here, whichever it is: `/proc` is not to be seen or not to be followed, the
/// file system has no hard links, or another one is mounted on the directory by now.
fn cannot_be_named(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL
    )
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let opened = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(|errno| Error::Io { action: "opening directory", path: path.to_owned(), source: errno.into() })
}

/// The directory, absolute, and the file name.
fn split(path: &Path) -> Result<(PathBuf, OsString)> {
    let bytes = path.as_os_str().as_bytes();
    let names_a_directory = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    match (path.file_name(), path.parent()) {
        (Some(name), Some(parent)) if !names_a_directory => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let parent = path::absolute(parent).map_err(Error::io("opening directory", parent))?;
            Ok((parent, name.to_owned()))
        }
        _ if fs::symlink_metadata(path).is_ok() => Err(Error::ArchiveExists { path: path.to_owned() }),
        _ => Err(Error::invalid(format!("\"{}\" does not name a file", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};
    use std::time::SystemTime;

    use super::*;

    /// Both ways: without a name where that can be, and with a hidden one as where it can't.
    const WAYS: [Way; 2] = [nameable_file, |_| Ok(None)];

    type Way = fn(&Path) -> io::Result<Option<File>>;

    /// Creates the file under a hidden name.
    fn create_named(path: &Path) -> NewFile {
        NewFile::create_by(path, WAYS[1]).unwrap()
    }

    fn names(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_has_the_name_before_commit_and_everything_after_it() {
        for (way, hidden) in WAYS.into_iter().zip([0, 1]) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.tar.gz");
            let new = NewFile::create_by(&path, way).unwrap();
            new.file().write_all(b"content").unwrap();

            assert!(!path.exists());
            assert_eq!(hidden, names(dir.path()).len());
            new.commit().unwrap();
            assert_eq!(b"content", fs::read(&path).unwrap().as_slice());
            assert_eq!(0o600, fs::metadata(&path).unwrap().permissions().mode() & 0o777);
            assert_eq!(vec![OsString::from("x.tar.gz")], names(dir.path()));
        }
    }

    #[test]
    fn dropping_without_commit_leaves_nothing() {
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            drop(NewFile::create_by(&dir.path().join("x"), way).unwrap());

            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_directory_that_is_moved_meanwhile_is_left_empty_and_the_one_in_its_place_gets_the_file() {
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let [asked, moved] = ["asked", "moved"].map(|name| dir.path().join(name));
            fs::create_dir(&asked).unwrap();
            let [lost, kept] = ["lost", "kept"].map(|name| NewFile::create_by(&asked.join(name), way).unwrap());
            fs::rename(&asked, &moved).unwrap();

            assert!(matches!(lost.commit().unwrap_err(), Error::Io { .. }));
            fs::create_dir(&asked).unwrap();
            kept.commit().unwrap();
            assert_eq!(vec![OsString::from("kept")], names(&asked));
            assert_eq!(names(&moved), [""; 0]);
        }
    }

    #[test]
    fn what_gets_no_name_is_copied_to_a_file_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let [mut first, mut second] = [0; 2].map(|_| NewFile::create(&dir.path().join("x")).unwrap());
        first.file().write_all(b"first").unwrap();
        first.copy_and_rename().unwrap();

        assert!(matches!(second.copy_and_rename().unwrap_err(), Error::ArchiveExists { .. }));
        drop((first, second));
        assert_eq!(b"first", fs::read(dir.path().join("x")).unwrap().as_slice());
        assert_eq!(vec![OsString::from("x")], names(dir.path()));
    }

    #[test]
    fn an_existing_destination_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"old").unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();

        for name in ["file", "directory", "dangling", "directory/"] {
            let error = NewFile::create(&dir.path().join(name)).unwrap_err();
            assert!(matches!(error, Error::ArchiveExists { .. }), "{name}: {error}");
        }
        assert_eq!(3, names(dir.path()).len());
    }

    #[test]
    fn a_destination_that_appears_before_commit_is_not_overwritten() {
        type Rival = fn(&Path);
        let rivals: [(&str, Rival); 3] = [
            ("file", |path| fs::write(path, b"theirs").unwrap()),
            ("directory", |path| fs::create_dir(path).unwrap()),
            ("dangling link", |path| symlink("nowhere", path).unwrap()),
        ];
        for (way, (what, rival)) in WAYS.into_iter().flat_map(|way| rivals.map(|rival| (way, rival))) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let new = NewFile::create_by(&path, way).unwrap();
            new.file().write_all(b"ours").unwrap();
            rival(&path);
            let before = fs::symlink_metadata(&path).unwrap();

            let error = new.commit().unwrap_err();
            assert!(matches!(error, Error::ArchiveExists { .. }), "{what}: {error}");
            assert_eq!(before.file_type(), fs::symlink_metadata(&path).unwrap().file_type(), "{what}");
            assert_eq!(vec![OsString::from("x")], names(dir.path()), "{what}");
        }
    }

    #[test]
    fn no_way_of_renaming_replaces_anything() {
        type Rename = fn(&Temporary, &Path) -> io::Result<()>;
        let ways: [Rename; 3] = [Temporary::rename, Temporary::link, Temporary::claim_and_rename];
        for rename in ways {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let [first, second] = [0; 2].map(|_| create_named(&path));
            first.file().write_all(b"first").unwrap();
            rename(first.temporary.as_ref().unwrap(), &path).unwrap();

            let refused = rename(second.temporary.as_ref().unwrap(), &path).unwrap_err();
            assert_eq!(io::ErrorKind::AlreadyExists, refused.kind());
            drop((first, second));
            assert_eq!(b"first", fs::read(&path).unwrap().as_slice());
            assert_eq!(vec![OsString::from("x")], names(dir.path()));
        }
    }

    #[test]
    fn of_two_at_once_the_second_commit_is_refused() {
        for (way, hidden) in WAYS.into_iter().zip([0, 2]) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let [first, second] = [0; 2].map(|_| NewFile::create_by(&path, way).unwrap());
            assert_eq!(hidden, names(dir.path()).len(), "a live temporary must not be taken for litter");
            first.file().write_all(b"first").unwrap();
            second.file().write_all(b"second").unwrap();
            first.commit().unwrap();

            assert!(matches!(second.commit().unwrap_err(), Error::ArchiveExists { .. }));
            assert_eq!(b"first", fs::read(&path).unwrap().as_slice());
            assert_eq!(1, names(dir.path()).len());
        }
    }

    #[test]
    fn the_litter_of_dead_runs_is_removed_whatever_they_were_to_make_and_strangers_stay() {
        let strangers = [".x.partial-", ".x.partial-zz", ".x.partial-0123456789ABCDEF", "x.partial-0123456789abcdef"];
        let links = [".x.partial-aaaaaaaaaaaaaaaa", ".y.partial-aaaaaaaaaaaaaaaa"];
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            for name in strangers {
                fs::write(dir.path().join(name), b"").unwrap();
            }
            for name in links {
                symlink("nowhere", dir.path().join(name)).unwrap();
            }
            fs::create_dir(dir.path().join(".y.partial-dddddddddddddddd")).unwrap();
            let live = create_named(&dir.path().join("z"));
            let before = names(dir.path());
            for name in [".x.partial-0123456789abcdef", ".y-0.tar.gz.partial-0123456789abcdef"] {
                let file = File::create(dir.path().join(name)).unwrap();
                // Where the lock alone is not enough, such as on tmpfs.
                file.set_modified(SystemTime::now() - 2 * litter::STILL).unwrap();
            }
            drop(NewFile::create_by(&dir.path().join("x"), way).unwrap());

            assert_eq!(before, names(dir.path()));
            drop(live);
        }
    }

    /// The same test in a child: it creates the file and waits to be killed.
    const CHILD: &str = "DCOS_ETCD_TEST_NEW_FILE";
    const TEST: &str = "durable::new_file::tests::\
                        a_killed_run_leaves_nothing_or_a_hidden_file_that_goes_with_the_next_run_for_that_name";

    #[test]
    fn a_killed_run_leaves_nothing_or_a_hidden_file_that_goes_with_the_next_run_for_that_name() {
        if let Some(path) = std::env::var_os(CHILD) {
            let way = WAYS[usize::from(path.as_bytes().ends_with(b"named"))];
            let new = NewFile::create_by(Path::new(&path), way).unwrap();
            new.file().write_all(b"half").unwrap();
            std::io::stderr().write_all(b"ready\n").unwrap();
            std::thread::sleep(std::time::Duration::from_mins(1));
            return;
        }
        for (name, hidden) in [("x", 0), ("named", 1)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture", TEST])
                .env(CHILD, &path)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stderr.take().unwrap()).lines();
            assert!(lines.map_while(std::result::Result::ok).any(|line| line == "ready"));
            drop(NewFile::create(&path).unwrap());
            assert_eq!(hidden, names(dir.path()).len(), "the child lives: its temporary stays");
            child.kill().unwrap();
            child.wait().unwrap();

            assert!(!path.exists());
            assert_eq!(hidden, names(dir.path()).len());
            NewFile::create(&path).unwrap().commit().unwrap();
            assert_eq!(vec![OsString::from(name)], names(dir.path()));
        }
    }

    #[test]
    fn a_parent_that_cannot_take_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        // /proc refuses new files even to root.
        for parent in [dir.path().join("missing"), file.clone(), file.join("below"), PathBuf::from("/proc/self")] {
            let error = NewFile::create(&parent.join("x.tar.gz")).unwrap_err();
            let Error::Io { path, .. } = &error else { panic!("{}: {error}", parent.display()) };
            assert_eq!(&parent, path);
        }
        assert_eq!(1, names(dir.path()).len());
    }

    #[test]
    fn paths_that_name_no_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(NewFile::create(Path::new("")).unwrap_err(), Error::InvalidArgument { .. }));
        assert!(matches!(NewFile::create(Path::new("/")).unwrap_err(), Error::ArchiveExists { .. }));
        assert!(matches!(NewFile::create(&dir.path().join("..")).unwrap_err(), Error::ArchiveExists { .. }));
        for name in ["new/", "new/."] {
            let error = NewFile::create(&dir.path().join(name)).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_path_without_a_parent_means_the_working_directory() {
        let (parent, name) = split(Path::new("x.tar.gz")).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), parent.components().as_path());
        assert_eq!("x.tar.gz", name);
        let (parent, _) = split(Path::new("a/../x.tar.gz")).unwrap();
        assert_eq!(std::env::current_dir().unwrap().join("a/.."), parent);
    }

    #[test]
    fn names_of_any_bytes_and_of_full_length_work() {
        let dir = tempfile::tempdir().unwrap();
        for name in [b"\xff\xfe.tar.gz".to_vec(), vec![b'n'; 255], [[b'n'; 254].as_slice(), b"m"].concat()] {
            let path = dir.path().join(OsStr::from_bytes(&name));
            NewFile::create(&path).unwrap().commit().unwrap();
            assert!(path.is_file());
        }
        assert_eq!(3, names(dir.path()).len());
        let error = NewFile::create(&dir.path().join("n".repeat(256))).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}
