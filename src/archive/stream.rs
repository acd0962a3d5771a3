//! The decoded stream, made on a thread of its own, taken in pieces.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::decoder::{Decoder, Ending, Failure};
use super::index::Index;
use super::parallel;
use super::tar_header;
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::read_at::ReadAt;

/// Bytes that go from thread to thread at once: few enough to stay in the processor's cache.
pub(super) const CHUNK: usize = 256 << 10;

/// Chunks that may wait between two threads.
pub(super) const QUEUE: usize = 8;

/// Inflated blocks that may wait; they are larger than chunks, and others are under way.
const BLOCK_QUEUE: usize = 2;

enum Message {
    /// Decoded bytes, and how far in the file their last one was.
    Chunk(Vec<u8>, u64),
    End(Ending),
}

/// Part of a chunk, without a copy. The chunk is used again when its last piece is dropped.
#[derive(Clone)]
pub(super) struct Piece {
    chunk: Arc<Shared>,
    start: usize,
    end: usize,
}

/// A chunk that finds its way back to the decoder.
struct Shared {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The decoder may be done; then nobody wants it.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.chunk.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

impl Piece {
    /// The first `count` bytes, leaving the rest.
    pub(super) fn split_to(&mut self, count: usize) -> Self {
        let middle = self.end.min(self.start + count);
        let first = Self { chunk: Arc::clone(&self.chunk), start: self.start, end: middle };
        self.start = middle;
        first
    }
}

/// Takes the decoded stream from start to end.
pub(super) struct Stream<'a> {
    messages: Receiver<std::result::Result<Message, Failure>>,
    home: Sender<Vec<u8>>,
    current: Option<Piece>,
    ending: Option<Ending>,
    /// Bytes taken so far.
    offset: u64,
    path: &'a Path,
    file_len: u64,
    progress: &'a dyn Progress,
}

impl<'a> Stream<'a> {
    /// Starts the thread that reads and decodes `input`, block by block where there is an index. It ends soon after
    /// the stream is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        (input, index): (&'scope dyn ReadAt, Option<Index>),
        path: &'a Path,
        progress: &'a dyn Progress,
    ) -> Result<(Self, ScopedJoinHandle<'scope, ()>)> {
        let file_len = input.len();
        let (sender, messages) = sync_channel(if index.is_some() { BLOCK_QUEUE } else { QUEUE });
        let (home, returned) = channel();
        let outlet = Outlet { sender, returned };
        let thread = Builder::new()
            .name("dcos-etcd-unpack".to_owned())
            .spawn_scoped(scope, move || match (index, Decoder::new(input)) {
                (Some(index), _) => parallel::unpack(input, &index, &outlet),
                (None, Ok(decoder)) => decode(decoder, 0, &outlet),
                (None, Err(error)) => outlet.fail(error.into()),
            })
            .map_err(Error::io("starting a thread to read", path))?;
        let stream = Self { messages, home, current: None, ending: None, offset: 0, path, file_len, progress };
        Ok((stream, thread))
    }

    /// The file, for messages.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// Bytes of the decoded stream that were taken.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that come next, without taking them: a whole chunk at the start of the stream. Empty at its end.
    pub(super) fn peek(&mut self) -> Result<&[u8]> {
        self.advance()?;
        Ok(self.current.as_deref().unwrap_or_default())
    }

    /// At most `most` of the next bytes; `None` at the end.
    pub(super) fn piece(&mut self, most: u64) -> Result<Option<Piece>> {
        self.advance()?;
        let piece = self
            .current
            .as_mut()
            .map(|current| current.split_to(usize::try_from(most).unwrap_or(usize::MAX).min(current.len())));
        self.offset += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// The next block of a tar; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<tar_header::Block>> {
        let start = self.offset;
        let mut bytes = Vec::with_capacity(size_of::<tar_header::Block>());
        while bytes.len() < bytes.capacity() {
            match self.piece((bytes.capacity() - bytes.len()) as u64)? {
                Some(piece) => bytes.extend_from_slice(&piece),
                None if bytes.is_empty() => return Ok(None),
                None => return Err(self.damage("truncated", "the tar stream ends inside a block", start)),
            }
        }
        Ok(bytes.first_chunk().copied())
    }

    /// What the decoder said at the end; waits for it.
    pub(super) fn ending(&mut self) -> Result<Ending> {
        while self.piece(u64::MAX)?.is_some() {}
        Ok(self.ending.unwrap_or_default())
    }

    /// The error for a defect of this file.
    pub(super) fn damage(&self, code: &'static str, message: impl Into<String>, offset: u64) -> Error {
        self.corrupt(Defect::new(code, message).at(offset))
    }

    pub(super) fn corrupt(&self, defect: Defect) -> Error {
        Error::Corrupt { path: self.path.to_owned(), defects: vec![defect] }
    }

    /// Makes sure that there is a current piece with bytes in it, unless the stream is at its end.
    fn advance(&mut self) -> Result<()> {
        while self.ending.is_none() && self.current.as_ref().is_none_or(|piece| piece.is_empty()) {
            self.current = None;
            match self.messages.recv() {
                Ok(Ok(Message::Chunk(bytes, consumed))) => {
                    self.progress.step(Stage::Read, consumed, Some(self.file_len))?;
                    let end = bytes.len();
                    let chunk = Arc::new(Shared { bytes, home: self.home.clone() });
                    self.current = Some(Piece { chunk, start: 0, end });
                }
                Ok(Ok(Message::End(ending))) => self.ending = Some(ending),
                Ok(Err(failure)) => return Err(error(failure, self.path)),
                Err(_) => {
                    let source = std::io::Error::other("the reading thread ended before its time");
                    return Err(Error::Io { action: "reading", path: self.path.to_owned(), source });
                }
            }
        }
        Ok(())
    }
}

/// The error of the crate for a failure to decode `path`.
pub(super) fn error(failure: Failure, path: &Path) -> Error {
    match failure {
        Failure::Io(source) => Error::Io { action: "reading", path: path.to_owned(), source },
        Failure::Damage(defect) => Error::Corrupt { path: path.to_owned(), defects: vec![defect] },
    }
}

/// The end of the stream that decoded bytes go into.
pub(super) struct Outlet {
    sender: SyncSender<std::result::Result<Message, Failure>>,
    returned: Receiver<Vec<u8>>,
}

impl Outlet {
    /// A buffer to fill, with whatever bytes are in it.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.returned.try_recv().unwrap_or_default()
    }

    /// Hands on decoded bytes; `consumed` is how far in the file their last one was. `false` when the taker has seen
    /// enough.
    pub(super) fn send(&self, bytes: Vec<u8>, consumed: u64) -> bool {
        self.sender.send(Ok(Message::Chunk(bytes, consumed))).is_ok()
    }

    /// Ends the stream with a failure.
    pub(super) fn fail(&self, failure: Failure) {
        let _ = self.sender.send(Err(failure));
    }
}

/// Sends all that is decoded from here on and its end, the first `skip` bytes left out. What was decoded before a
/// failure is sent before it, so that the taker knows what kind of file it was.
pub(super) fn decode(mut decoder: Decoder<'_>, mut skip: u64, outlet: &Outlet) {
    loop {
        let mut chunk = outlet.spare();
        chunk.resize(CHUNK, 0);
        let mut filled = 0;
        let outcome = decoder.fill(&mut chunk, &mut filled);
        let last = filled < chunk.len();
        chunk.truncate(filled);
        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(filled);
        skip -= known as u64;
        chunk.drain(..known);
        if !chunk.is_empty() && !outlet.send(chunk, decoder.offset()) {
            return;
        }
        if let Err(failure) = outcome {
            return outlet.fail(failure);
        }
        if last {
            let _ = outlet.sender.send(Ok(Message::End(decoder.ending())));
            return;
        }
    }
}
