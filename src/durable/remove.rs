//! Removal of a directory with all below it, and of nothing that is mounted there.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, fstat, openat, openat2, unlinkat};
use rustix::io::Errno;

/// Removes `path`, a directory, with all below it. What is mounted below, and what lies on another file system, is
/// another one's and ends it; so does `go_on` when it says so, which is asked before each name.
///
/// # Errors
/// What the system says; [`io::ErrorKind::CrossesDevices`] for what belongs elsewhere, [`io::ErrorKind::Interrupted`]
/// when told to stop. What was removed by then is gone.
pub(super) fn remove_tree(path: &Path, go_on: &dyn Fn() -> bool) -> io::Result<()> {
    let directory = openat(CWD, path, flags(), Mode::empty())?;
    let device = fstat(&directory)?.st_dev;
    empty(&directory, device, go_on)?;
    fs::remove_dir(path)
}

fn empty(directory: &OwnedFd, device: u64, go_on: &dyn Fn() -> bool) -> io::Result<()> {
    for entry in Dir::read_from(directory)?.collect::<rustix::io::Result<Vec<_>>>()? {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            unlinked => {
                unlinked?;
                continue;
            }
        }
        let below = open_within(directory, name)?;
        if fstat(&below)?.st_dev != device {
            return Err(foreign(name));
        }
        empty(&below, device, go_on)?;
        unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Opens a directory on the same mount.
fn open_within(directory: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match openat2(&directory, name, flags(), Mode::empty(), within) {
        Err(Errno::XDEV) => Err(foreign(name)),
        // Before Linux 5.6, or in a sandbox of that time: a bind mount of the same file system is not told apart here.
        Err(Errno::NOSYS | Errno::PERM) => Ok(openat(&directory, name, flags(), Mode::empty())?),
        opened => Ok(opened?),
    }
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn foreign(name: &CStr) -> io::Error {
    let message = format!("{} in it is mounted, or is another file system's", name.to_string_lossy());
    io::Error::new(io::ErrorKind::CrossesDevices, message)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(dir: &Path) -> std::path::PathBuf {
        let top = dir.join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::write(top.join("a/b/file"), b"").unwrap();
        fs::write(dir.join("precious"), b"kept").unwrap();
        symlink(dir, top.join("a/link")).unwrap();
        top
    }

    #[test]
    fn a_tree_goes_as_a_whole_and_what_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let top = tree(dir.path());

        remove_tree(&top, &|| true).unwrap();

        assert!(!top.exists());
        assert_eq!(fs::read(dir.path().join("precious")).unwrap(), b"kept");
    }

    #[test]
    fn it_ends_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let top = tree(dir.path());
        let asked = Cell::new(0);
        let twice = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };

        let error = remove_tree(&top, &twice).unwrap_err();

        assert_eq!((error.kind(), asked.get()), (io::ErrorKind::Interrupted, 3));
        assert!(top.join("a").is_dir());
    }

    #[test]
    fn a_link_to_a_directory_is_no_tree() {
        let dir = tempfile::tempdir().unwrap();
        let top = tree(dir.path());
        symlink(&top, dir.path().join("link")).unwrap();

        assert!(remove_tree(&dir.path().join("link"), &|| true).is_err());
        assert!(top.join("a/b/file").exists());
    }
}
