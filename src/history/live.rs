//! Is somebody writing to this file?

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where a member keeps its database, below its data directory.
const IN_DATA_DIR: &str = "member/snap/db";

/// What should be said of a bare database that is no snapshot; `None` where nothing shows that it is not one.
///
/// etcd holds an exclusive `flock` on its database, which the kernel lists; asking for a lock of our own could make a
/// server wait that is just starting.
pub(super) fn warning(path: &Path, metadata: &Metadata) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    if is_locked(&locks, metadata.dev(), metadata.ino()) {
        return Some(format!(
            "{} is not a snapshot but the database of a running etcd, which may change while it is read: take a backup",
            path.display()
        ));
    }
    let resolved = path.canonicalize().ok()?;
    resolved.ends_with(IN_DATA_DIR).then(|| {
        format!(
            "{} is not a snapshot but the database of a member: what its log holds beyond it is not in it",
            path.display()
        )
    })
}

/// Whether `/proc/locks` lists a write lock on this file: `1: FLOCK  ADVISORY  WRITE 812 fd:01:5243 0 EOF`.
fn is_locked(locks: &str, device: u64, inode: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.any(|word| word == "WRITE") && words.any(|word| word == file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_lock_on_this_very_file_counts() {
        let locks = "1: POSIX  ADVISORY  WRITE 17 fe:01:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 fe:01:5243 0 EOF\n\
                     2: -> FLOCK  ADVISORY  READ 900 fe:01:5243 0 EOF\n3: FLOCK  ADVISORY  READ 813 fe:01:77 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 1);

        assert!(is_locked(locks, device, 5243));
        assert!(!is_locked(locks, device, 77), "a reader's lock");
        assert!(!is_locked(locks, device, 99), "not the lock that bbolt takes");
        assert!(!is_locked(locks, rustix::fs::makedev(0xfe, 2), 5243), "another device");
    }

    #[test]
    fn a_database_in_a_data_directory_is_told_by_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let snap = directory.path().join("m1.etcd/member/snap");
        fs::create_dir_all(&snap).unwrap();
        for (path, warned) in [(snap.join("db"), true), (directory.path().join("db"), false)] {
            fs::write(&path, b"x").unwrap();
            let warning = warning(&path, &fs::metadata(&path).unwrap());
            assert_eq!(warning.is_some_and(|text| text.contains("is not a snapshot")), warned, "{}", path.display());
        }
    }
}
