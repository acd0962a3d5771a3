//! The verb itself.

use std::mem;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::choose::{Candidate, Candidates};
use super::report::{BackupOptions, BackupReport, Skipped};
use super::watch::{Counter, is_stop, watched};
use super::writer::{Desk, Ending, Job, Piece, compression};
use crate::archive::{FORMAT_VERSION, Manifest, ManifestMember};
use crate::client::{Chunk, Connector, Failure, FailureKind, SnapshotStream, Unopened, nobody};
use crate::clock::{rfc3339, unix_seconds};
use crate::durable::NewFile;
use crate::error::{Error, Result};
use crate::facts::{Member, MemberStatus};
use crate::hex::hex_id;
use crate::progress::Progress;
use crate::version::Version;

/// Bytes of the stream that are handed over together. A server sends 32 KiB at a time, and each handing over may wake
/// a thread.
pub(super) const BATCH_LEN: usize = 256 << 10;

/// Bytes between two reports, beside those of the timer.
const REPORT_STEP: u64 = 1 << 20;

/// Streams a snapshot of the cluster into an archive at `path`.
///
/// The first endpoint that answers healthy is used; where none is, the first that answers at all, with a warning in
/// the report. Once bytes have come, a failure is final: no other endpoint is asked in its place.
///
/// Dropping the future stops the backup. So does `progress`, which is asked at least every 100 ms.
///
/// # Errors
/// `ArchiveExists` and `Io` for the destination; `InvalidArgument` for what was given; `Unavailable` and `Denied` when
/// no endpoint could be used; `Stalled` and `BrokenStream` when the snapshot did not come whole; `Interrupted`. After
/// any of them there is no archive.
pub async fn backup(path: &Path, options: &BackupOptions, progress: Arc<dyn Progress>) -> Result<BackupReport> {
    let started = Instant::now();
    if options.stall_timeout.is_zero() {
        return Err(Error::invalid("--stall-timeout must be greater than 0"));
    }
    if options.max_rate == Some(0) {
        return Err(Error::invalid("--max-rate must be greater than 0"));
    }
    let connector = Connector::new(&options.access)?;
    // First of all: a destination that can't be used is told before anybody is asked.
    let file = NewFile::create(path)?;
    let counter = Arc::new(Counter::default());
    let desk = Desk::new(Arc::clone(&counter));
    let _stop_when_dropped = StopWhenDropped(desk.clone());
    let run =
        Run { path, options, connector: &connector, progress: &progress, counter: &counter, desk: &desk, started };
    match Box::pin(watched(&*progress, &counter, run.run(file))).await {
        // Whoever stopped it came too late: the archive is whole and has its name.
        Err(error) if is_stop(&error) => desk.abandon().await.ok_or(error),
        Err(error) => {
            desk.abandon().await;
            Err(error)
        }
        done => done,
    }
}

/// Tells the thread when the future is dropped, finished or not: nobody waits for the archive any more.
struct StopWhenDropped(Desk);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Run<'a> {
    path: &'a Path,
    options: &'a BackupOptions,
    connector: &'a Connector,
    progress: &'a Arc<dyn Progress>,
    counter: &'a Arc<Counter>,
    desk: &'a Desk,
    started: Instant,
}

impl Run<'_> {
    async fn run(&self, file: NewFile) -> Result<BackupReport> {
        let mut candidates = Candidates::new(self.connector);
        let mut only_error = None;
        while let Some(candidate) = candidates.next().await {
            let described = self.describe(&candidate).await;
            let endpoint = candidate.connection.endpoint();
            match SnapshotStream::open(&candidate.connection, self.options.stall_timeout).await {
                Ok(_) if is_another(&candidate, &described).await => {
                    let message = "another member answers there now: try again".to_owned();
                    let failure = Failure { kind: FailureKind::Answered, message };
                    candidates.skipped.push((endpoint.to_string(), failure));
                }
                Ok(stream) => {
                    let skipped = candidates.skipped.into_iter().map(skipped).collect();
                    return self.receive(file, stream, described, skipped).await;
                }
                // The same everywhere in the cluster.
                Err(Unopened::Failed(failure)) if failure.is_denied() => return Err(refused(&candidate, failure)),
                Err(Unopened::Failed(failure)) => candidates.skipped.push((endpoint.to_string(), failure)),
                Err(Unopened::Broken(error)) => {
                    let failure = Failure { kind: FailureKind::Answered, message: error.to_string() };
                    candidates.skipped.push((endpoint.to_string(), failure));
                    only_error = Some(error);
                }
            }
        }
        match only_error {
            // With one endpoint its own error says more than a list of one.
            Some(error) if candidates.skipped.len() == 1 => Err(error),
            _ => Err(nobody(&candidates.skipped)),
        }
    }

    /// Collects what the manifest says of the cluster, before the stream is opened: the snapshot holds at least this.
    async fn describe(&self, candidate: &Candidate) -> Described {
        let list = candidate.connection.member_list().await;
        let mut warnings = Vec::new();
        if let Some(doubt) = &candidate.doubt {
            warnings.push(format!(
                "no endpoint is healthy; the snapshot holds what this member has, and may lack the newest writes: {doubt}"
            ));
        }
        let status = candidate.status.clone().unwrap_or_else(|| {
            warnings.push(
                "the member's status is not known to this user: version, revision and raft index are missing \
                           in the manifest"
                    .to_owned(),
            );
            let header = list.as_ref().map(|list| list.header.clone()).unwrap_or_default();
            MemberStatus {
                cluster_id: header.cluster_id,
                member_id: header.member_id,
                raft_term: header.raft_term,
                ..MemberStatus::default()
            }
        });
        warnings.extend(status.errors.iter().map(|error| format!("the member reports: {}", error.trim())));
        if Version::parse(&status.version).is_some_and(Version::loses_data) {
            warnings.push(format!(
                "etcd {} can lose data when a server is killed; compare the members (dcos-etcdctl diagnostic), upgrade",
                status.version
            ));
        }
        let members = match list {
            Ok(list) => list.members,
            Err(failure) => {
                warnings.push(format!("the members are missing in the manifest: {failure}"));
                Vec::new()
            }
        };
        Described { endpoint: candidate.connection.endpoint().to_string(), status, members, warnings }
    }

    async fn receive(
        &self,
        file: NewFile,
        mut stream: SnapshotStream,
        described: Described,
        skipped: Vec<Skipped>,
    ) -> Result<BackupReport> {
        let now = unix_seconds();
        self.counter.announce(stream.total_len());
        let sender = self.desk.start(Job {
            file,
            path: self.path.to_owned(),
            compression: compression(self.path, self.options.compression),
            endpoint: described.endpoint.clone(),
            database_len: stream.database_len(),
            mtime: now,
        });
        if let Some(rate) = self.options.max_rate {
            stream.limit(rate);
        }
        let mut pump = Pump { stream, sender, counter: Arc::clone(self.counter), progress: Arc::clone(self.progress) };
        // On a thread of the runtime, which is the one that reads the socket: a message then wakes no other thread.
        let mut pumps = JoinSet::new();
        pumps.spawn(async move { pump.run().await.map(|taken| (taken, pump)) });
        let pumped = match pumps.join_next().await {
            Some(Ok(pumped)) => pumped,
            Some(Err(failed)) if failed.is_panic() => panic::resume_unwind(failed.into_panic()),
            _ => Err(Error::Interrupted),
        };
        let (taken, Pump { stream, sender, .. }) = pumped?;
        if taken {
            let warnings = described.warnings.clone();
            let manifest = described.manifest(&stream, now);
            let ending = Ending { manifest, skipped, warnings, started: self.started };
            // A thread that has failed takes nothing any more; its own error follows.
            let _ = sender.send(Piece::Finish(Box::new(ending))).await;
        }
        drop(sender);
        self.desk.outcome().await.unwrap_or(Err(Error::Interrupted))
    }
}

/// Hands the stream to the thread.
struct Pump {
    stream: SnapshotStream,
    sender: mpsc::Sender<Piece>,
    counter: Arc<Counter>,
    progress: Arc<dyn Progress>,
}

impl Pump {
    /// `false` when the thread has ended before the stream.
    async fn run(&mut self) -> Result<bool> {
        let mut batch = Vec::new();
        let (mut batched, mut reported) = (0, 0);
        while let Some(chunk) = self.stream.next().await? {
            let hash = match chunk {
                Chunk::Database(bytes) => {
                    batched += bytes.len();
                    batch.push(bytes);
                    None
                }
                Chunk::Hash(hash) => Some(Piece::Hash(hash)),
            };
            if batched >= BATCH_LEN || hash.is_some() {
                batched = 0;
                let pieces = [Piece::Database(mem::take(&mut batch))].into_iter().chain(hash);
                for piece in pieces {
                    if self.sender.send(piece).await.is_err() {
                        return Ok(false);
                    }
                }
            }
            let received = self.stream.received();
            self.counter.received(received);
            if received - reported >= REPORT_STEP || received == self.stream.total_len() {
                reported = received;
                self.counter.report(&*self.progress)?;
            }
        }
        Ok(true)
    }
}

/// Whether another member than the one that was described answers on this connection, which makes itself anew when it
/// broke: its revision may be below the one that the manifest names. The stream hangs on the same connection.
async fn is_another(candidate: &Candidate, described: &Described) -> bool {
    let before = described.status.member_id;
    before != 0 && candidate.connection.status().await.is_ok_and(|now| now.member_id != before)
}

/// What is told of the cluster in the manifest.
struct Described {
    endpoint: String,
    status: MemberStatus,
    members: Vec<Member>,
    warnings: Vec<String>,
}

impl Described {
    fn manifest(self, stream: &SnapshotStream, now: u64) -> Manifest {
        let storage_version = if stream.version().is_empty() { &self.status.storage_version } else { stream.version() };
        Manifest {
            format_version: FORMAT_VERSION,
            created_at: rfc3339(now),
            tool: concat!("dcos-etcd ", env!("CARGO_PKG_VERSION")).to_owned(),
            endpoint: self.endpoint,
            cluster_id: hex_id(self.status.cluster_id),
            member_id: hex_id(self.status.member_id),
            etcd_version: self.status.version,
            storage_version: storage_version.to_owned(),
            revision: self.status.revision,
            raft_term: self.status.raft_term,
            raft_index: self.status.raft_index,
            members: self.members.into_iter().map(manifest_member).collect(),
            size: stream.database_len(),
            sha256: String::new(),
        }
    }
}

fn manifest_member(member: Member) -> ManifestMember {
    ManifestMember {
        id: hex_id(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        is_learner: member.is_learner,
    }
}

fn refused(candidate: &Candidate, mut failure: Failure) -> Error {
    if let Some(reason) = candidate.connection.without_token() {
        failure.message = format!(
            "{reason}, and without a token the snapshot is refused; a client certificate (--cert, --key) whose common \
             name is a user with the role root needs no leader"
        );
    }
    failure.into_error(candidate.connection.endpoint())
}

fn skipped((endpoint, failure): (String, Failure)) -> Skipped {
    Skipped { endpoint, reason: failure.message }
}
