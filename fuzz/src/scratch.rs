//! Files for what is read by its path. `fuzz/run.py` has them in memory and deletes them afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("dcos-etcd-fuzz-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("the directory for temporary files can be written to");
    directory
});

/// Where this process has its files.
pub fn directory() -> &'static Path {
    &DIRECTORY
}

/// A file of these bytes, which replaces the last one of the name.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = DIRECTORY.join(name);
    fs::write(&path, bytes).expect("there is room for temporary files");
    path
}

/// An empty directory, which replaces the last one of the name.
pub fn empty(name: &str) -> PathBuf {
    let path = DIRECTORY.join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("there is room for temporary files");
    path
}
