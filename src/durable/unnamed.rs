//! A file without a name.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

use super::litter;

/// Opens a new file on the file system of `directory`, mode 0600, that is gone when it is closed.
///
/// Where the file system has no `O_TMPFILE` (NFS, the overlays of containers on kernels before 6.1), the file has a
/// name for an instant; a kill right there leaves an empty hidden file.
///
/// # Errors
/// What the system says.
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    match tmpfile(directory)? {
        Some(file) => Ok(file),
        None => named_for_an_instant(directory),
    }
}

/// Opens a new file on the file system of `directory`, mode 0600, that is gone when it is closed, unless it was given
/// a name; `None` where the file system has no `O_TMPFILE`, or there is no `/proc`.
///
/// # Errors
/// What the system says.
pub(super) fn nameable_file(directory: &Path) -> io::Result<Option<File>> {
    Ok(tmpfile(directory)?.filter(|file| fs::symlink_metadata(descriptor(file)).is_ok()))
}

/// Gives a [`nameable_file`] the name `path`, which must be on the same file system, and free.
pub(super) fn give_name(file: &File, path: &Path) -> rustix::io::Result<()> {
    // By way of the descriptor itself, without /proc, only the superuser may.
    linkat(CWD, descriptor(file), CWD, path, AtFlags::SYMLINK_FOLLOW)
}

fn descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn tmpfile(directory: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn named_for_an_instant(directory: &Path) -> io::Result<File> {
    let path = directory.join(litter::fresh(&litter::prefix(OsStr::new("dcos-etcd"), "unnamed")));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn an_unnamed_file_can_be_written_and_read_and_is_seen_by_nobody() {
        for make in [unnamed_file, named_for_an_instant] {
            let dir = tempfile::tempdir().unwrap();
            let file = make(dir.path()).unwrap();
            file.write_all_at(b"bytes", 3).unwrap();
            let mut read = [0; 8];
            file.read_exact_at(&mut read, 0).unwrap();

            assert_eq!(b"\0\0\0bytes", &read);
            assert_eq!(0, fs::read_dir(dir.path()).unwrap().count());
            assert!(make(&dir.path().join("absent")).is_err());
        }
    }
}
