//! Real members on loopback, each in a directory of its own, gone when the value is.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dcos_etcd::client::Access;
use dcos_etcd::diagnose::{DiagnoseOptions, Diagnosis, diagnose};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::support::held_port;

/// Time for a cluster to elect a leader on a busy machine.
const START_TIME: Duration = Duration::from_secs(40);

/// The etcd programs to test with: `DCOS_ETCD_BIN` names one directory; else each release in the cache that
/// `make etcd-binaries` fills.
pub(crate) fn programs() -> Vec<PathBuf> {
    if let Some(dir) = std::env::var_os("DCOS_ETCD_BIN") {
        return vec![PathBuf::from(dir).join("etcd")];
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|cache| cache.join("dcos-etcd/etcd"));
    let dir = std::env::var_os("DCOS_ETCD_BINARIES").map(PathBuf::from).or(cache);
    let releases = dir.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> =
        releases.map(|release| release.path().join("etcd")).filter(|program| program.is_file()).collect();
    programs.sort();
    programs
}

/// Runs a test with every program, or says that there is none.
pub(crate) fn with_each_program(test: &str, run: impl Fn(&Path)) {
    let programs = programs();
    if programs.is_empty() {
        eprintln!("skipped {test}: no etcd, set DCOS_ETCD_BIN or run `make etcd-binaries`");
    }
    for program in programs {
        run(&program);
    }
}

pub(crate) struct Cluster {
    pub(crate) endpoints: Vec<String>,
    members: Vec<Child>,
    _ports: Vec<TcpSocket>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts members and waits until all of them are healthy.
    pub(crate) async fn start(program: &Path, size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (held, ports): (Vec<TcpSocket>, Vec<u16>) = (0..2 * size).map(|_| held_port()).unzip();
        let (clients, peers) = ports.split_at(size);
        let initial: Vec<String> =
            peers.iter().enumerate().map(|(i, port)| format!("m{i}=http://127.0.0.1:{port}")).collect();
        let initial = initial.join(",");
        let mut members = Vec::new();
        for (i, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let log = std::fs::File::create(dir.path().join(format!("m{i}.log"))).unwrap();
            let mut command = Command::new(program);
            command.args(["--name", &format!("m{i}"), "--listen-client-urls", &client]);
            command.args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
            command.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &initial]);
            command.arg("--data-dir").arg(dir.path().join(format!("m{i}")));
            // A disk may take long in bad moments, and nobody is to be elected because of that.
            command.args(["--heartbeat-interval", "100", "--election-timeout", "1500"]);
            members.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        }
        let endpoints = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let cluster = Self { endpoints, members, _ports: held, _dir: dir };
        cluster.wait_until_healthy().await;
        cluster
    }

    async fn wait_until_healthy(&self) {
        let started = Instant::now();
        loop {
            let diagnosis = self.diagnose(&self.endpoints).await;
            if diagnosis.healthy {
                return;
            }
            assert!(started.elapsed() < START_TIME, "etcd does not start: {:?}", diagnosis.findings);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn access(&self) -> Access {
        let mut access = Access::new(self.endpoints.clone());
        access.command_timeout = Duration::from_secs(2);
        access
    }

    pub(crate) async fn diagnose(&self, endpoints: &[String]) -> Diagnosis {
        let mut access = self.access();
        access.endpoints = endpoints.to_vec();
        diagnose(&DiagnoseOptions { access, expect: Vec::new() }).await.unwrap()
    }

    /// Ends a member as a power cut would.
    pub(crate) fn kill(&mut self, index: usize) {
        let _ = self.members[index].kill();
        let _ = self.members[index].wait();
    }

    pub(crate) async fn client(&self) -> etcd_client::Client {
        etcd_client::Client::connect([&self.endpoints[0]], None).await.unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }
}
