//! SHA-256 of a database on a thread of its own, from the pieces that pass by or from the file that they went into.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, Scope};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::stream::{CHUNK, Piece, QUEUE};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// How far the hash may stay behind what was written, in bytes. What is read back should still be in the system's
/// cache.
const MOST_BEHIND: u64 = 512 << 20;

/// Time between two calls of the progress callback while nothing but the hash is missing.
const REPORT_EVERY: Duration = Duration::from_millis(100);

enum Message {
    /// Bytes, and their offset in the database.
    Piece(u64, Piece),
    /// The length of the database.
    End(u64),
}

/// The hash of a database whose bytes are still to come.
pub(super) struct Hasher {
    messages: SyncSender<Message>,
    /// Whether pieces may be left out, to be read back from a file.
    readable: bool,
    pending: Pending,
}

/// The hash of a database whose end is known.
pub(super) struct Pending {
    answer: Receiver<io::Result<[u8; 32]>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    hashed: AtomicU64,
    given_up: AtomicBool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.given_up.store(true, Ordering::Relaxed);
    }
}

impl Hasher {
    /// Starts the thread. Every byte that it is told of must be in `file` by then, if there is one.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        file: Option<&'scope File>,
        path: &Path,
    ) -> Result<Self> {
        let (messages, queue) = sync_channel(QUEUE);
        let (result, answer) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let work = Work { file, shared: Arc::clone(&shared), hash: Sha256::new(), at: 0, buffer: Vec::new() };
        Builder::new()
            .name("dcos-etcd-hash".to_owned())
            // Nobody listens any more when the snapshot was given up.
            .spawn_scoped(scope, move || result.send(work.run(queue)).is_ok())
            .map_err(Error::io("starting a thread to hash", path))?;
        Ok(Self { messages, readable: file.is_some(), pending: Pending { answer, shared } })
    }

    /// Takes the bytes at `offset`; those before it were taken already.
    pub(super) fn take(&self, offset: u64, piece: Piece) -> io::Result<()> {
        let behind = offset.saturating_sub(self.pending.shared.hashed.load(Ordering::Relaxed));
        let message = Message::Piece(offset, piece);
        if !self.readable || behind > MOST_BEHIND {
            return self.messages.send(message).map_err(|_| dead());
        }
        match self.messages.try_send(message) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(dead()),
        }
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
    shared: Arc<Shared>,
    hash: Sha256,
    at: u64,
    buffer: Vec<u8>,
}

impl Work<'_> {
    fn run(mut self, queue: Receiver<Message>) -> io::Result<[u8; 32]> {
        for message in queue {
            match message {
                Message::Piece(offset, piece) => {
                    self.read_back(offset)?;
                    self.hash.update(&*piece);
                    self.hashed(piece.len());
                }
                Message::End(len) => {
                    self.read_back(len)?;
                    return Ok(self.hash.finalize().into());
                }
            }
        }
        Err(dead())
    }

    /// Hashes what the file holds up to `end`.
    fn read_back(&mut self, end: u64) -> io::Result<()> {
        while self.at < end {
            if self.shared.given_up.load(Ordering::Relaxed) {
                return Err(dead());
            }
            let file = self.file.ok_or_else(dead)?;
            self.buffer.resize(CHUNK, 0);
            let count = usize::try_from(end - self.at).unwrap_or(CHUNK).min(CHUNK);
            let room = self.buffer.get_mut(..count).unwrap_or_default();
            file.read_exact_at(room, self.at)?;
            self.hash.update(room);
            self.hashed(count);
        }
        Ok(())
    }

    fn hashed(&mut self, count: usize) {
        self.at += count as u64;
        self.shared.hashed.store(self.at, Ordering::Relaxed);
    }
}

fn dead() -> io::Error {
    io::Error::other("the hashing thread ended before its time")
}
