//! SHA-256 of a database on a thread of its own: of the pieces that pass by, or of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, Scope};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::stream::{CHUNK, Piece, QUEUE};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// Time between two calls of the progress callback while nothing but the hash is missing.
const REPORT_EVERY: Duration = Duration::from_millis(100);

enum Message {
    Piece(Piece),
    /// The length of the database.
    End(u64),
}

/// The hash of a database whose bytes are still to come.
pub(super) struct Hasher {
    messages: SyncSender<Message>,
    pending: Pending,
}

/// The hash of a database whose end is known.
pub(super) struct Pending {
    answer: Receiver<io::Result<[u8; 32]>>,
    given_up: Arc<AtomicBool>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Hasher {
    /// Starts the thread. What it is not given piece by piece it reads from `file`, if there is one.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        file: Option<&'scope File>,
        path: &Path,
    ) -> Result<Self> {
        let (messages, queue) = sync_channel(QUEUE);
        let (result, answer) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::default());
        let work = Work { file, given_up: Arc::clone(&given_up), hash: Sha256::new(), at: 0, buffer: Vec::new() };
        Builder::new()
            .name("dcos-etcd-hash".to_owned())
            // Nobody listens any more when the snapshot was given up.
            .spawn_scoped(scope, move || result.send(work.run(queue)).is_ok())
            .map_err(Error::io("starting a thread to hash", path))?;
        Ok(Self { messages, pending: Pending { answer, given_up } })
    }

    /// Takes the next bytes; waits while too many are waiting.
    pub(super) fn take(&self, piece: Piece) -> io::Result<()> {
        self.messages.send(Message::Piece(piece)).map_err(|_| dead())
    }

    /// Says that the database has this length.
    pub(super) fn end(self, len: u64) -> io::Result<Pending> {
        self.messages.send(Message::End(len)).map_err(|_| dead())?;
        Ok(self.pending)
    }
}

impl Pending {
    /// Waits for the hash, and tells `progress` meanwhile that `file_len` bytes of the file at `path` are read.
    pub(super) fn wait(&self, path: &Path, file_len: u64, progress: &dyn Progress) -> Result<[u8; 32]> {
        loop {
            match self.answer.recv_timeout(REPORT_EVERY) {
                Ok(hash) => return hash.map_err(Error::io("hashing", path)),
                Err(RecvTimeoutError::Timeout) => progress.step(Stage::Read, file_len, Some(file_len))?,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::io("hashing", path)(dead())),
            }
        }
    }
}

/// The thread's.
struct Work<'a> {
    file: Option<&'a File>,
    given_up: Arc<AtomicBool>,
    hash: Sha256,
    at: u64,
    buffer: Vec<u8>,
}

impl Work<'_> {
    fn run(mut self, queue: Receiver<Message>) -> io::Result<[u8; 32]> {
        for message in queue {
            match message {
                Message::Piece(piece) => {
                    self.hash.update(&*piece);
                    self.at += piece.len() as u64;
                }
                Message::End(len) => {
                    self.read(len)?;
                    return Ok(self.hash.finalize().into());
                }
            }
        }
        Err(dead())
    }

    /// Hashes what the file holds up to `end`.
    fn read(&mut self, end: u64) -> io::Result<()> {
        while self.at < end {
            if self.given_up.load(Ordering::Relaxed) {
                return Err(dead());
            }
            let file = self.file.ok_or_else(dead)?;
            self.buffer.resize(CHUNK, 0);
            let count = usize::try_from(end - self.at).unwrap_or(CHUNK).min(CHUNK);
            let room = self.buffer.get_mut(..count).unwrap_or_default();
            file.read_exact_at(room, self.at)?;
            self.hash.update(room);
            self.at += count as u64;
        }
        Ok(())
    }
}

fn dead() -> io::Error {
    io::Error::other("the hashing thread ended before its time")
}
