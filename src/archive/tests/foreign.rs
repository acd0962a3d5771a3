//! Our archives in the hands of ordinary tools, and theirs in ours. A tool that is not installed is skipped.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::layout::BLOCK_LEN;
use super::super::{Kind, extract};
use super::*;

/// Runs a tool; `false` when it is not installed.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn run<S: AsRef<OsStr>>(directory: &Path, program: &str, arguments: &[S]) -> bool {
    let output = Command::new(program).args(arguments).current_dir(directory).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("skipped: no {program}");
        return false;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    assert_eq!("", errors, "{program} has complaints");
    true
}

/// Whether a tool that another tool calls is there.
fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

struct Room {
    dir: tempfile::TempDir,
    snapshot: Vec<u8>,
}

impl Room {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), snapshot: snapshot(2 * BLOCK_LEN + 4096) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_archives(&self) {
        fs::write(self.path("a.tar.gz"), archive(Compression::Gzip, &self.snapshot)).unwrap();
        fs::write(self.path("a.tar.zst"), archive(Compression::Zstd, &self.snapshot)).unwrap();
    }

    fn assert_unpacked_in(&self, name: &str) {
        assert!(self.snapshot == fs::read(self.path(name).join("etcd_snapshot.db")).unwrap());
        let manifest: Manifest =
            serde_json::from_slice(&fs::read(self.path(name).join("manifest.json")).unwrap()).unwrap();
        assert_eq!(example_manifest(), manifest);
    }

    fn assert_reads(&self, name: &str, kind: Kind) {
        let mut database = Vec::new();
        let mut sink = |part: &[u8]| {
            database.extend_from_slice(part);
            Ok(())
        };
        let extracted = extract(&self.path(name), &mut sink, &NoProgress).unwrap();
        assert_eq!((kind, None), (extracted.kind, extracted.manifest));
        assert_eq!(Some(extracted.sha256), extracted.trailer);
        assert!(self.snapshot[..self.snapshot.len() - 32] == database);
    }
}

#[test]
fn gzip_and_zstd_find_our_archives_whole() {
    let room = Room::new();
    room.write_archives();
    run(room.dir.path(), "gzip", &["-t", "a.tar.gz"]);
    run(room.dir.path(), "zstd", &["-tq", "a.tar.zst"]);
}

#[test]
fn gnu_tar_extracts_our_archives() {
    let room = Room::new();
    room.write_archives();
    for (name, into, option) in [("a.tar.gz", "gzip", "--gzip"), ("a.tar.zst", "zstd", "--zstd")] {
        fs::create_dir(room.path(into)).unwrap();
        if installed(into) && run(room.dir.path(), "tar", &[option, "-C", into, "-xf", name]) {
            room.assert_unpacked_in(into);
        }
    }
}

#[test]
fn python_extracts_our_archives_in_both_of_its_modes() {
    let room = Room::new();
    room.write_archives();
    for (mode, name) in [("r:gz", "random"), ("r|gz", "stream")] {
        let script =
            "import sys, tarfile\nwith tarfile.open('a.tar.gz', sys.argv[1]) as t:\n    t.extractall(sys.argv[2])\n";
        if run(room.dir.path(), "python3", &["-W", "ignore", "-c", script, mode, name]) {
            room.assert_unpacked_in(name);
        }
    }
}

#[test]
fn archives_of_python_are_read_in_each_of_its_formats() {
    let room = Room::new();
    fs::write(room.path("etcd_snapshot.db"), &room.snapshot).unwrap();
    for format in ["USTAR", "GNU", "PAX"] {
        let script = "import sys, tarfile\nformat = getattr(tarfile, sys.argv[1] + '_FORMAT')\n\
                      with tarfile.open('p.tar.gz', 'w:gz', format=format) as t:\n    t.add('etcd_snapshot.db')\n";
        if run(room.dir.path(), "python3", &["-c", script, format]) {
            room.assert_reads("p.tar.gz", Kind::TarGzip);
        }
    }
}

#[test]
fn archives_of_gnu_tar_are_read_in_each_of_its_formats() {
    let room = Room::new();
    fs::write(room.path("etcd_snapshot.db"), &room.snapshot).unwrap();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        for name in ["etcd_snapshot.db", "./etcd_snapshot.db"] {
            for (file, kind) in [("t.tar", Kind::Tar), ("t.tar.gz", Kind::TarGzip)] {
                if run(room.dir.path(), "tar", &["--format", format, "-caf", file, name]) {
                    room.assert_reads(file, kind);
                }
            }
        }
    }
    if installed("zstd") && run(room.dir.path(), "tar", &["--zstd", "-cf", "t.tar.zst", "etcd_snapshot.db"]) {
        room.assert_reads("t.tar.zst", Kind::TarZstd);
    }
}

#[test]
fn databases_that_gzip_and_zstd_compressed_are_read() {
    let room = Room::new();
    fs::write(room.path("snapshot.db"), &room.snapshot).unwrap();
    room.assert_reads("snapshot.db", Kind::Database);
    if run(room.dir.path(), "gzip", &["-k", "snapshot.db"]) {
        room.assert_reads("snapshot.db.gz", Kind::GzipDatabase);
    }
    for level in ["-1", "-19", "--no-check"] {
        if run(room.dir.path(), "zstd", &["-qfk", level, "snapshot.db"]) {
            room.assert_reads("snapshot.db.zst", Kind::ZstdDatabase);
        }
    }
}
