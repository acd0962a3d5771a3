//! A file that appears whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};
use rustix::io::Errno;

use super::litter;
use super::sync::sync_dir;
use crate::error::{Error, Result};

/// A file that appears under its name only when it is whole and synced.
///
/// Until then it is `.NAME.partial-<random>` in the same directory, mode 0600. Dropped without
/// [`NewFile::commit`], it is removed.
#[derive(Debug)]
pub struct NewFile {
    /// Locked while this value lives, so that no other run takes the temporary for litter.
    file: File,
    /// The destination as the caller wrote it, for messages.
    shown: PathBuf,
    destination: PathBuf,
    temporary: PathBuf,
    parent: PathBuf,
    named: bool,
}

impl NewFile {
    /// Creates the temporary, and removes those that killed runs left for the same name.
    ///
    /// # Errors
    /// [`Error::ArchiveExists`] when anything has that name, be it a link to nowhere; [`Error::InvalidArgument`]
    /// for a path without a file name; [`Error::Io`] that names the parent when that is missing, no directory, or
    /// not readable and writable.
    pub fn create(path: &Path) -> Result<Self> {
        let (parent, name) = split(path)?;
        // The commit has to open it for its sync: who may only write into it is to know before the file is whole.
        if let Err(errno) = open(&parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            return Err(Error::Io { action: "opening directory", path: parent, source: errno.into() });
        }
        let destination = parent.join(&name);
        match fs::symlink_metadata(&destination) {
            Ok(_) => return Err(Error::ArchiveExists { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { action: "looking at", path: path.to_owned(), source }),
        }
        let prefix = litter::prefix(&name, "partial");
        litter::remove(&parent, &prefix);
        for _ in 0..litter::ATTEMPTS {
            let temporary = parent.join(litter::fresh(&prefix));
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&temporary);
            match opened {
                Ok(file) if litter::claim(&file, &temporary) => {
                    let shown = path.to_owned();
                    return Ok(Self { file, shown, destination, temporary, parent, named: false });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Io { action: "creating a file in", path: parent, source }),
            }
        }
        let source = io::ErrorKind::AlreadyExists.into();
        Err(Error::Io { action: "creating a file in", path: parent, source })
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
        // Survives a power cut after the rename: without it the name could outlive content that was never written.
        self.file.sync_all().map_err(Error::io("syncing", &self.shown))?;
        // Survives a kill at any instant: before it there is no such name, after it the name has all the content.
        // NOREPLACE, and not a look before the rename: somebody may take the name between the two.
        match renameat_with(CWD, &self.temporary, CWD, &self.destination, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link()?,
            Err(errno) => return Err(self.naming(errno.into())),
        }
        self.named = true;
        // Survives a power cut after the report of success: until it, the new name may live in memory only.
        sync_dir(&self.parent).inspect_err(|_| {
            // The caller will report a failure, so the name must not stay; nobody else can have made it.
            let _ = fs::remove_file(&self.destination);
        })
    }

    /// The rename for file systems that have no NOREPLACE (NFS, some FUSE): a hard link never replaces either. A
    /// kill between the two steps leaves a second, hidden name of a whole file, which the next run removes.
    fn link(&self) -> Result<()> {
        match fs::hard_link(&self.temporary, &self.destination) {
            Ok(()) => {
                let _ = fs::remove_file(&self.temporary);
                Ok(())
            }
            // What link(2) and file systems in user space say where there are no hard links.
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP)) =>
            {
                self.claim_and_rename().map_err(|error| self.naming(error))
            }
            Err(error) => Err(self.naming(error)),
        }
    }

    /// The rename for file systems that have no hard links either (object stores under FUSE): the name is taken by a
    /// file of its own, which the rename replaces. A kill between the two leaves that file, which is empty and so no
    /// archive to anyone, and the temporary.
    fn claim_and_rename(&self) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.destination)?;
        fs::rename(&self.temporary, &self.destination).inspect_err(|_| {
            let _ = fs::remove_file(&self.destination);
        })
    }

    fn naming(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Error::ArchiveExists { path: self.shown.clone() };
        }
        Error::Io { action: "creating", path: self.shown.clone(), source: error }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.temporary);
        }
    }
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
    use std::ffi::OsStr;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};

    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_has_the_name_before_commit_and_everything_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar.gz");
        let new = NewFile::create(&path).unwrap();
        new.file().write_all(b"content").unwrap();

        assert!(!path.exists());
        assert_eq!(1, names(dir.path()).len());
        new.commit().unwrap();
        assert_eq!(b"content", fs::read(&path).unwrap().as_slice());
        assert_eq!(0o600, fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        assert_eq!(vec![OsString::from("x.tar.gz")], names(dir.path()));
    }

    #[test]
    fn dropping_without_commit_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(NewFile::create(&dir.path().join("x")).unwrap());

        assert!(names(dir.path()).is_empty());
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
        for (what, rival) in rivals {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let new = NewFile::create(&path).unwrap();
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
    fn no_way_of_giving_the_name_replaces_anything() {
        type Way = fn(&NewFile) -> io::Result<()>;
        let link: Way = |new| new.link().map_err(|_| io::ErrorKind::AlreadyExists.into());
        for way in [link, NewFile::claim_and_rename] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let [first, second] = [0; 2].map(|_| NewFile::create(&path).unwrap());
            first.file().write_all(b"first").unwrap();
            way(&first).unwrap();

            assert_eq!(io::ErrorKind::AlreadyExists, way(&second).unwrap_err().kind());
            drop((first, second));
            assert_eq!(b"first", fs::read(&path).unwrap().as_slice());
            assert_eq!(vec![OsString::from("x")], names(dir.path()));
        }
    }

    #[test]
    fn of_two_at_once_the_second_commit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let first = NewFile::create(&path).unwrap();
        let second = NewFile::create(&path).unwrap();
        assert_eq!(2, names(dir.path()).len(), "the live temporary of the first must not be taken for litter");
        first.file().write_all(b"first").unwrap();
        second.file().write_all(b"second").unwrap();
        first.commit().unwrap();

        assert!(matches!(second.commit().unwrap_err(), Error::ArchiveExists { .. }));
        assert_eq!(b"first", fs::read(&path).unwrap().as_slice());
        assert_eq!(1, names(dir.path()).len());
    }

    #[test]
    fn the_litter_of_a_dead_run_is_removed_and_strangers_stay() {
        let dir = tempfile::tempdir().unwrap();
        let strangers = [".x.partial-", ".x.partial-zz", ".y.partial-0123456789abcdef", "x.partial-0123456789abcdef"];
        for stranger in strangers {
            fs::write(dir.path().join(stranger), b"").unwrap();
        }
        symlink("nowhere", dir.path().join(".x.partial-aaaaaaaaaaaaaaaa")).unwrap();
        fs::write(dir.path().join(".x.partial-0123456789abcdef"), b"half").unwrap();
        drop(NewFile::create(&dir.path().join("x")).unwrap());

        let left = names(dir.path());
        assert_eq!(strangers.len() + 1, left.len(), "{left:?}");
        assert!(!left.contains(&OsString::from(".x.partial-0123456789abcdef")));
    }

    /// The same test in a child: it creates the file and waits to be killed.
    const CHILD: &str = "DCOS_ETCD_TEST_NEW_FILE";

    #[test]
    fn a_killed_run_leaves_no_file_and_its_litter_goes_with_the_next_run() {
        if let Some(path) = std::env::var_os(CHILD) {
            let new = NewFile::create(Path::new(&path)).unwrap();
            new.file().write_all(b"half").unwrap();
            std::io::stderr().write_all(b"ready\n").unwrap();
            std::thread::sleep(std::time::Duration::from_mins(1));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("durable::new_file::tests::a_killed_run_leaves_no_file_and_its_litter_goes_with_the_next_run")
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.map_while(std::result::Result::ok).any(|line| line == "ready"));
        drop(NewFile::create(&path).unwrap());
        assert_eq!(1, names(dir.path()).len(), "the child lives: its temporary stays");
        child.kill().unwrap();
        child.wait().unwrap();

        assert!(!path.exists());
        assert_eq!(1, names(dir.path()).len());
        NewFile::create(&path).unwrap().commit().unwrap();
        assert_eq!(vec![OsString::from("x")], names(dir.path()));
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
