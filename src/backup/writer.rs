//! The thread that hashes the stream and writes the archive.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use super::report::{BackupReport, Skipped};
use super::sender::settle;
use super::watch::Counter;
use crate::archive::{ArchiveWriter, Compression, HASH_LEN, Manifest};
use crate::durable::{NewFile, WriteBack};
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::threads;

/// Pieces that may wait for the thread: 2 MiB, enough to bridge the writing of a block.
const PIECES_WAITING: usize = 8;

/// Time that a stopped backup waits for its thread to clean up. It takes moments; only a sync of much data to a slow
/// disk takes longer, and then the thread cleans up after the caller has gone on.
const CLEANUP_TIME: Duration = Duration::from_secs(5);

/// What the thread is handed.
pub(super) enum Piece {
    /// Bytes of the database, as they came.
    Database(Vec<Vec<u8>>),
    /// The server's SHA-256.
    Hash([u8; 32]),
    /// The stream ended as it should: here is what remains to be written and told.
    Finish(Box<Ending>),
}

/// What is known at the end of the stream.
pub(super) struct Ending {
    /// `sha256` is filled in by the thread.
    pub(super) manifest: Manifest,
    pub(super) skipped: Vec<Skipped>,
    pub(super) warnings: Vec<String>,
    pub(super) started: Instant,
}

/// What the thread needs from the start.
pub(super) struct Job {
    pub(super) file: NewFile,
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    pub(super) endpoint: String,
    pub(super) database_len: u64,
    pub(super) mtime: u64,
}

/// Where the thread leaves its result, for whoever waits: the backup, or the one who cleans up after it.
#[derive(Clone)]
pub(super) struct Desk {
    stop: Arc<AtomicBool>,
    counter: Arc<Counter>,
    outcome: Arc<Mutex<Option<Result<BackupReport>>>>,
    /// `None` until the thread runs, then whether it has ended.
    ended: Arc<watch::Sender<Option<bool>>>,
}

impl Desk {
    pub(super) fn new(counter: Arc<Counter>) -> Self {
        Self { stop: Arc::default(), counter, outcome: Arc::default(), ended: Arc::new(watch::Sender::new(None)) }
    }

    /// Starts the thread; it ends when the sender is dropped. Where there is no thread to be had, that is the outcome, and
    /// nobody takes what is sent.
    pub(super) fn start(&self, job: Job) -> mpsc::Sender<Piece> {
        let (sender, pieces) = mpsc::channel(PIECES_WAITING);
        let desk = self.clone();
        let path = job.path.clone();
        self.ended.send_replace(Some(false));
        // Not one of the runtime's: that panics where it gets no thread, or waits for one that never ends.
        let started = threads::start("dcos-etcd-write", move || {
            // Tells of the end in a panic too: nobody must wait for ever.
            let _end = TellEnd(desk.clone());
            desk.leave(job.run(&desk, pieces));
        });
        if let Err(error) = started {
            self.leave(Err(Error::io("writing", &path)(error)));
            self.ended.send_replace(Some(true));
        }
        sender
    }

    fn leave(&self, outcome: Result<BackupReport>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// Asks the thread to leave no archive; too late once that has its name.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the thread, if there is one, and takes its result.
    pub(super) async fn outcome(&self) -> Option<Result<BackupReport>> {
        let mut ended = self.ended.subscribe();
        if ended.borrow().is_none() {
            return None;
        }
        let _ = ended.wait_for(|ended| *ended == Some(true)).await;
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(outcome.unwrap_or_else(|| {
            let source = std::io::Error::other("the writing thread ended without a result");
            Err(Error::Io { action: "writing", path: PathBuf::from("the archive"), source })
        }))
    }

    /// Stops the thread and waits a while for it to clean up. A result means that it was done already.
    pub(super) async fn abandon(&self) -> Option<BackupReport> {
        self.stop();
        tokio::time::timeout(CLEANUP_TIME, self.outcome()).await.ok()??.ok()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

struct TellEnd(Desk);

impl Drop for TellEnd {
    fn drop(&mut self) {
        self.0.ended.send_replace(Some(true));
    }
}

impl Job {
    fn run(self, desk: &Desk, mut pieces: mpsc::Receiver<Piece>) -> Result<BackupReport> {
        let writing = |error| Error::io("writing", &self.path)(error);
        let mut archive = ArchiveWriter::new(
            WriteBack::new(self.file.file()),
            self.compression,
            self.database_len + HASH_LEN,
            self.mtime,
        )
        .map_err(writing)?;
        let mut hash = Sha256::new();
        let mut received = 0;
        let ending = loop {
            match pieces.blocking_recv() {
                Some(_) if desk.is_stopped() => return Err(Error::Interrupted),
                Some(Piece::Database(batch)) => {
                    for bytes in batch {
                        hash.update(&bytes);
                        received += bytes.len() as u64;
                        archive.write_snapshot(&bytes).map_err(writing)?;
                    }
                }
                Some(Piece::Hash(announced)) => {
                    received += HASH_LEN;
                    self.compare(announced, hash.clone().finalize().into(), received)?;
                    archive.write_snapshot(&announced).map_err(writing)?;
                }
                Some(Piece::Finish(ending)) => break ending,
                // The stream failed or nobody wants the archive any more.
                None => return Err(Error::Interrupted),
            }
        };
        desk.counter.syncing();
        let Ending { mut manifest, skipped, mut warnings, started } = *ending;
        manifest.sha256 = hex(&hash.finalize());
        let sent = self.file.file().try_clone().and_then(|file| archive.end_snapshot(file)).map_err(writing)?;
        warnings.extend(settle(&mut manifest, sent));
        archive.finish(&manifest).map_err(writing)?;
        let archive_size = self.file.file().metadata().map_err(writing)?.len();
        // The long part of the commit, done before the last look at whether the archive is still wanted.
        self.file.file().sync_all().map_err(Error::io("syncing", &self.path))?;
        if desk.is_stopped() {
            return Err(Error::Interrupted);
        }
        self.file.commit()?;
        Ok(BackupReport {
            path: self.path,
            compression: match self.compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            },
            archive_size,
            endpoint: self.endpoint,
            skipped,
            manifest,
            duration_seconds: started.elapsed().as_secs_f64(),
            warnings,
        })
    }

    fn compare(&self, announced: [u8; 32], computed: [u8; 32], received: u64) -> Result<()> {
        if announced == computed {
            return Ok(());
        }
        Err(Error::BrokenStream {
            endpoint: self.endpoint.clone(),
            received,
            reason: format!("the SHA-256 of what came is {}, and the server says {}", hex(&computed), hex(&announced)),
        })
    }
}

/// The compression that a path or the caller asks for.
pub(super) fn compression(path: &Path, asked: Option<Compression>) -> Compression {
    asked.unwrap_or_else(|| Compression::for_path(path))
}
