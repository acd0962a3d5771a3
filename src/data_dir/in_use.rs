//! Does an etcd work in this directory right now, whoever started it?
//!
//! A server holds two locks of different kinds for as long as it lives: bbolt's `flock(2)` on `member/snap/db`, and an
//! open-file-description lock (`F_OFD_SETLK`) on each WAL segment that it may write. Both are looked at here without
//! disturbing anybody: the second is only asked for, the first is tried shared and let go at once, which delays a
//! server that starts in that instant by bbolt's 50 ms at the most.
//!
//! Sources: bbolt `bolt_unix.go`, etcd `client/pkg/fileutil/lock_linux.go` and `server/storage/wal/wal.go`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::OFlags;
use serde::Serialize;

use crate::error::{Error, Result};

/// A lock that somebody holds on a file of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InUse {
    /// The locked file: the database, or a segment of the WAL.
    pub path: PathBuf,
    /// Process that holds it, where the system tells: it must live in this process's pid namespace.
    pub pid: Option<u32>,
    /// Name of that process.
    pub program: Option<String>,
}

impl InUse {
    /// The holder in words: `etcd (pid 4711)`, or `a process`.
    #[must_use]
    pub fn holder(&self) -> String {
        match (&self.program, self.pid) {
            (Some(program), Some(pid)) => format!("{program} (pid {pid})"),
            (None, Some(pid)) => format!("the process {pid}"),
            _ => "a process".to_owned(),
        }
    }

    /// The error for those who need the directory for themselves.
    #[must_use]
    pub fn into_error(self) -> Error {
        let message = format!(
            "{} is locked by {}: stop the etcd that uses it; nothing was changed",
            self.path.display(),
            self.holder()
        );
        Error::InUse { path: self.path, message }
    }
}

/// The first lock that somebody holds on the member in `data_dir`, whose WAL lies in `wal_dir` (`None`: in
/// `member/wal`). A directory that is absent or holds no member is used by nobody.
///
/// # Errors
/// [`Error::Io`] for a file that is there and cannot be looked at.
pub fn in_use(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Option<InUse>> {
    let member = data_dir.join("member");
    let database = member.join("snap").join("db");
    let own_wal_dir = member.join("wal");
    let mut files = vec![database.clone()];
    files.extend(segments(wal_dir.unwrap_or(&own_wal_dir)));
    for path in files {
        let held = match open(&path) {
            Ok(file) => is_locked(&file).map(|held| held.then_some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let Some(file) = held.map_err(Error::io("looking for locks of", &path))? else { continue };
        // The lock on a segment names no process; the same server holds the database.
        let pid = pid_of(&file).or_else(|| pid_of(&open(&database).ok()?));
        let program = pid.and_then(program);
        return Ok(Some(InUse { path, pid, program }));
    }
    Ok(None)
}

/// Every file that may be a segment; those that cannot be listed are nobody's.
fn segments(wal_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(wal_dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "wal")).collect();
    paths.sort_unstable();
    paths
}

/// Opens without waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

fn is_locked(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Ok(true),
        // A file system without locks holds none.
        Err(TryLockError::Error(_)) => {}
        Ok(()) => file.unlock()?,
    }
    let mut lock = writers_lock();
    match fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)) {
        Ok(_) => Ok(i32::from(lock.l_type) != libc::F_UNLCK),
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOLCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The lock that etcd takes on a segment: exclusive, of the whole file.
fn writers_lock() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// The process that `/proc/locks` names for a `flock` on the file, by device and inode.
fn pid_of(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let device = metadata.dev();
    let wanted = format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `3: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF`
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let place = words.iter().position(|word| *word == wanted)?;
        words.get(place.checked_sub(1)?)?.parse().ok().filter(|pid| *pid != 0)
    })
}

fn program(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    fn member() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("member/snap/db");
        let segment = dir.path().join("member/wal/0000000000000000-0000000000000000.wal");
        for path in [&database, &segment] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"bytes").unwrap();
        }
        (dir, database, segment)
    }

    #[test]
    fn a_directory_without_a_lock_is_free_and_so_is_one_without_a_member() {
        let (dir, ..) = member();
        assert_eq!(in_use(dir.path(), None).unwrap(), None);
        assert_eq!(in_use(&dir.path().join("absent"), None).unwrap(), None);
        assert_eq!(in_use(dir.path(), Some(&dir.path().join("absent"))).unwrap(), None);
    }

    #[test]
    fn the_lock_of_bbolt_is_seen_with_its_process_and_left_alone() {
        let (dir, database, _) = member();
        let file = File::open(&database).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        for _ in 0..2 {
            let found = in_use(dir.path(), None).unwrap().unwrap();
            assert_eq!((found.path.as_path(), found.pid), (database.as_path(), Some(std::process::id())));
            assert!(found.holder().contains(&format!("(pid {})", std::process::id())));
        }
        drop(lock);
        assert_eq!(in_use(dir.path(), None).unwrap(), None);
    }

    #[test]
    fn the_lock_on_a_segment_is_seen_alone_and_wherever_the_wal_lies() {
        let (dir, _, segment) = member();
        let file = OpenOptions::new().write(true).open(&segment).unwrap();
        fcntl(&file, FcntlArg::F_OFD_SETLK(&writers_lock())).unwrap();

        let found = in_use(dir.path(), None).unwrap().unwrap();
        assert_eq!((found.path, found.pid), (segment.clone(), None));
        assert_eq!(in_use(&dir.path().join("other"), segment.parent()).unwrap().unwrap().path, segment);

        drop(file);
        assert_eq!(in_use(dir.path(), None).unwrap(), None);
    }
}
