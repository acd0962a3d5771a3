//! What the tests share: a destination, options, and runs that must not take long.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dcos_etcd::Result;
use dcos_etcd::backup::{BackupOptions, BackupReport, backup};
use dcos_etcd::client::Access;
use dcos_etcd::progress::{NoProgress, Progress, Stage};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// Longer than any of these tests may take; a hang is a failure.
const LIMIT: Duration = Duration::from_mins(1);

/// For servers that are played: short, and longer than a busy machine takes to pass a message on.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// For real servers: longer than a disk takes in bad moments.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on its own runtime.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("the test hangs") })
}

/// A port on loopback at which nobody listens, and that nobody is given who asks for any, while the socket is there.
///
/// A server that is told its number may listen on it all the same, as Go's do with `SO_REUSEADDR`.
pub(crate) fn held_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// An empty directory with a name in it for an archive.
pub(crate) struct Destination {
    dir: TempDir,
}

impl Destination {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("etcd.tar.gz")
    }

    /// Everything in the directory, hidden files too.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Options with timeouts for loopback.
pub(crate) fn options(endpoints: &[&str]) -> BackupOptions {
    let mut access = Access::new(endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect());
    access.dial_timeout = Duration::from_secs(3);
    access.command_timeout = Duration::from_secs(3);
    BackupOptions { access, stall_timeout: STALL_TIMEOUT, compression: None, max_rate: None }
}

/// Options for a real cluster.
pub(crate) fn patient_options(access: Access) -> BackupOptions {
    BackupOptions { access, stall_timeout: PATIENCE, ..options(&[]) }
}

pub(crate) async fn back_up(destination: &Destination, endpoints: &[&str]) -> Result<BackupReport> {
    backup(&destination.path(), &options(endpoints), Arc::new(NoProgress)).await
}

/// Remembers every call and stops after a number of them.
pub(crate) struct Recorder {
    pub(crate) calls: Mutex<Vec<(Stage, u64, Option<u64>)>>,
    stop_after: usize,
}

impl Recorder {
    pub(crate) fn new(stop_after: usize) -> Arc<Self> {
        Arc::new(Self { calls: Mutex::default(), stop_after })
    }
}

impl Progress for Recorder {
    fn update(&self, stage: Stage, done: u64, total: Option<u64>) -> bool {
        let mut calls = self.calls.lock().unwrap();
        calls.push((stage, done, total));
        calls.len() < self.stop_after
    }
}
