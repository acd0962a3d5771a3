//! [`StagedDir`] against real directories.

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
    assert!(names(dir.path()).unwrap().is_empty());

    fs::create_dir(dir.path().join("data")).unwrap();
    let staged = StagedDir::create(&dir.path().join("data"), "data-dir").unwrap();
    fill(&staged);
    drop(staged);
    assert!(names(&dir.path().join("data")).unwrap().is_empty());
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
    assert!(names(&inside).unwrap().is_empty());

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
