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
use super::sender::{Described, open};
use super::watch::{Counter, is_stop, watched};
use super::writer::{Desk, Ending, Job, Piece, compression};
use crate::client::{Chunk, Connector, Failure, FailureKind, SnapshotStream, Unopened, nobody};
use crate::clock::unix_seconds;
use crate::durable::NewFile;
use crate::error::{Error, Result};
use crate::progress::Progress;

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
            let endpoint = candidate.connection.endpoint();
            match open(&candidate, self.options.stall_timeout).await {
                Ok((stream, described)) => {
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
