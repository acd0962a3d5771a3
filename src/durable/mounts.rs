//! What is mounted where.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What this process sees mounted, a line each; the fifth word is the mount point (`proc_pid_mountinfo(5)`).
const MOUNTINFO: &str = "/proc/self/mountinfo";
const MOUNT_POINT: usize = 4;

/// A mount point below `directory`, which is an absolute path without links; bind mounts of the same file system count.
pub(super) fn below(directory: &Path) -> Option<PathBuf> {
    let mounted = fs::read(MOUNTINFO).unwrap_or_default();
    mount_points(&mounted).find(|point| point != directory && point.starts_with(directory))
}

fn mount_points(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    let words =
        mountinfo.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(MOUNT_POINT));
    words.map(|word| PathBuf::from(OsString::from_vec(unescaped(word))))
}

/// Space, tab, line feed and backslash stand there as three octal digits behind a backslash.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind
            .first_chunk::<3>()
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = behind.get(if escaped.is_some() { 3.. } else { 0.. }).unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_the_characters_that_are_spelled_in_octal() {
        let mountinfo = b"22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n\
                          40 22 0:33 / /var/lib/a\\040b\\134c rw shared:1 - tmpfs tmpfs rw\n";

        let found: Vec<PathBuf> = mount_points(mountinfo).collect();

        assert_eq!(found, [PathBuf::from("/"), PathBuf::from("/var/lib/a b\\c")]);
    }

    #[test]
    fn what_is_mounted_here_lies_below_the_root() {
        assert!(below(Path::new("/")).is_some());
        assert_eq!(below(Path::new("/nowhere")), None);
    }
}
