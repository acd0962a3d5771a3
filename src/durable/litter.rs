//! Temporary names, the lock that tells a live temporary from litter, and the removal of litter.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{OFlags, major};

use super::remove::remove_tree;

/// Longest file name of the file systems that matter, in bytes.
const NAME_MAX: usize = 255;

/// Hexadecimal digits of the random part of a temporary name.
const RANDOM_LEN: usize = 16;

/// No run goes without writing for so long, however slow its network.
pub(super) const STILL: Duration = Duration::from_hours(24);

/// Attempts to create a temporary before giving up; each one has a new random name.
pub(super) const ATTEMPTS: u32 = 16;

/// `.NAME.TAG-`: what all temporaries for the file name `name` start with. A long name is cut so that the whole
/// stays within [`NAME_MAX`]; two long names may then share a prefix, and the lock still keeps them apart.
pub(super) fn prefix(name: &OsStr, tag: &str) -> OsString {
    let room = NAME_MAX - RANDOM_LEN - tag.len() - ".".len() - ".".len() - "-".len();
    let kept = name.as_bytes().iter().take(room);
    let mut bytes = vec![b'.'];
    bytes.extend(kept);
    bytes.push(b'.');
    bytes.extend(tag.as_bytes());
    bytes.push(b'-');
    OsString::from_vec(bytes)
}

/// A name under `prefix` that nobody has, up to a chance of one in 2^64.
pub(super) fn fresh(prefix: &OsStr) -> OsString {
    // RandomState is keyed from the system's random source, and differs with every call.
    let random = RandomState::new().hash_one(std::process::id());
    let mut name = prefix.to_owned();
    name.push(format!("{random:0RANDOM_LEN$x}"));
    name
}

/// Whether `name` is a temporary under `prefix`.
pub(super) fn matches(name: &OsStr, prefix: &OsStr) -> bool {
    name.as_bytes().strip_prefix(prefix.as_bytes()).is_some_and(is_random)
}

/// Whether `name` is a temporary for any file name.
fn is_tagged(name: &OsStr, tag: &str) -> bool {
    let Some((rest, random)) = name.as_bytes().split_last_chunk::<RANDOM_LEN>() else { return false };
    let rest = rest.strip_suffix(b"-").and_then(|rest| rest.strip_suffix(tag.as_bytes()));
    let file_name = rest.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b"."));
    file_name.is_some_and(|file_name| !file_name.is_empty()) && is_random(random)
}

fn is_random(bytes: &[u8]) -> bool {
    bytes.len() == RANDOM_LEN && bytes.iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c))
}

/// Takes the maker's lock on a temporary that was just created at `path`. `false`: somebody's removal of litter
/// saw it before it was locked, and has taken or will take it away; make another one.
pub(super) fn claim(temporary: &File, path: &Path) -> bool {
    match temporary.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // Without locks on this file system nobody can take it for litter either.
        Err(TryLockError::Error(_)) => true,
        // The remover may have come and gone in between; the name is random, so nobody else can have it now.
        Ok(()) => fs::symlink_metadata(path).is_ok(),
    }
}

/// Removes what killed runs left in `directory` under `prefix`. Failures are ignored: litter is in nobody's way.
pub(super) fn remove(directory: &Path, prefix: &OsStr) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if matches(&entry.file_name(), prefix) {
            let _ = remove_if_dead(&entry.path(), |_| true);
        }
    }
}

/// Removes the files that killed runs left in `directory` as temporaries for whatever name, where nothing else can be
/// meant; `new` was just created there. Failures are ignored.
///
/// A free lock proves that a run is dead only if every machine that has the directory sees the same locks. A network file
/// system may be mounted so that each sees its own, and one in user space may not tell; so where there is no device of this
/// machine behind the directory, the file has to have lain still for [`STILL`], too.
pub(super) fn remove_of_any_name(directory: &Path, tag: &str, new: &File) {
    let (Ok(entries), Ok(new)) = (fs::read_dir(directory), new.metadata()) else { return };
    let is_ours = |found: &Metadata| {
        let still = || new.modified().ok()?.duration_since(found.modified().ok()?).ok();
        let quiet = major(found.dev()) != 0 || still().is_some_and(|still| still >= STILL);
        found.is_file() && found.uid() == new.uid() && found.dev() == new.dev() && quiet
    };
    for entry in entries.flatten() {
        if is_tagged(&entry.file_name(), tag) {
            let _ = remove_if_dead(&entry.path(), is_ours);
        }
    }
}

/// `may_go` is asked with what the file is, now that its lock is held.
fn remove_if_dead(path: &Path, may_go: impl Fn(&Metadata) -> bool) -> io::Result<()> {
    let is_dir = fs::symlink_metadata(path)?.is_dir();
    // NOFOLLOW and NONBLOCK: a link or a pipe of that name is not ours, and opening it must neither follow nor wait.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | if is_dir { OFlags::DIRECTORY } else { OFlags::empty() };
    let file = OpenOptions::new().read(true).write(!is_dir).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !is_dir && !file.metadata()?.is_file() {
        return Ok(());
    }
    if file.try_lock().is_err() || !may_go(&file.metadata()?) {
        return Ok(());
    }
    // The lock is held until the name is gone: a maker between creation and lock is refused it, or finds no name.
    if is_dir { remove_tree(path, &|| true) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_fits_even_for_the_longest_file_name() {
        let name = OsString::from_vec(vec![0xff; NAME_MAX]);
        assert_eq!(NAME_MAX, fresh(&prefix(&name, "partial")).len());
    }

    #[test]
    fn only_the_own_temporaries_match() {
        let prefix = prefix(OsStr::new("a.tar.gz"), "partial");
        assert_eq!(OsStr::new(".a.tar.gz.partial-"), prefix);
        assert!(matches(&fresh(&prefix), &prefix));

        for stranger in [
            "a.tar.gz",
            ".a.tar.gz.partial-",
            ".a.tar.gz.partial-0123",
            ".a.tar.gz.partial-0123456789abcdeg",
            ".a.tar.gz.partial-0123456789abcdef0",
            ".b.tar.gz.partial-0123456789abcdef",
        ] {
            assert!(!matches(OsStr::new(stranger), &prefix), "{stranger}");
        }
    }

    #[test]
    fn the_temporaries_of_any_name_have_one_and_their_tag() {
        for name in ["x", "etcd-2026.tar.zst", "..", "\u{e9}"] {
            assert!(is_tagged(&fresh(&prefix(OsStr::new(name), "partial")), "partial"), "{name}");
            assert!(!is_tagged(&fresh(&prefix(OsStr::new(name), "restore")), "partial"), "{name}");
        }
        for stranger in [
            "",
            "0123456789abcdef",
            ".partial-0123456789abcdef",
            "..partial-0123456789abcdef",
            "x.partial-0123456789abcdef",
            ".x-partial-0123456789abcdef",
            ".x.partial_0123456789abcdef",
            ".x.partial-0123456789abcdeg",
            ".x.partial-0123456789abcdef0",
            ".x.partial-0123456789abcdef~",
        ] {
            assert!(!is_tagged(OsStr::new(stranger), "partial"), "{stranger}");
        }
    }

    #[test]
    fn what_is_held_or_is_no_file_or_has_just_been_written_stays_where_locks_may_not_be_seen_by_all() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        assert_eq!(0, major(fs::metadata(dir.path()).unwrap().dev()), "no device is behind it");
        let [held, fresh, still] = ["1", "2", "3"].map(|digit| {
            let path = dir.path().join(format!(".x.partial-{}", digit.repeat(RANDOM_LEN)));
            (File::create(&path).unwrap(), path)
        });
        let long_ago = std::time::SystemTime::now() - STILL * 2;
        held.0.lock().unwrap();
        held.0.set_modified(long_ago).unwrap();
        still.0.set_modified(long_ago).unwrap();
        remove_of_any_name(dir.path(), "partial", &File::create(dir.path().join("new")).unwrap());

        assert_eq!([true, true, false], [held, fresh, still].map(|(_, path)| path.exists()));
    }
}
