//! The database on its way to the sink: hashed beside it, and parted from the hash at its end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use sha2::{Digest, Sha256};

use super::layout::{HASH_LEN, HASH_REST, PAGE_UNIT};
use super::stream::{Piece, QUEUE};
use crate::error::{Error, Result};

/// Takes the bytes of a database.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Passes pieces of a snapshot on to the sink and to the thread that hashes them, holding back so much that the
/// hash at its end, of which only the end tells that it is one, never gets through.
pub(super) struct Database<'a, 'scope> {
    sink: &'a mut Sink<'a>,
    hasher: Option<(SyncSender<Piece>, ScopedJoinHandle<'scope, [u8; 32]>)>,
    held: VecDeque<Piece>,
    held_len: u64,
    len: u64,
    path: &'a Path,
}

/// What a database turned out to be.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) len: u64,
    pub(super) sha256: [u8; 32],
    pub(super) trailer: Option<[u8; 32]>,
}

impl<'a, 'scope> Database<'a, 'scope> {
    pub(super) fn new(scope: &'scope Scope<'scope, '_>, sink: &'a mut Sink<'a>, path: &'a Path) -> Result<Self> {
        let (pieces, queue) = sync_channel::<Piece>(QUEUE);
        let thread = Builder::new()
            .name("dcos-etcd-hash".to_owned())
            .spawn_scoped(scope, move || {
                let mut hash = Sha256::new();
                for piece in queue {
                    hash.update(&*piece);
                }
                hash.finalize().into()
            })
            .map_err(Error::io("starting a thread to hash", path))?;
        let hasher = Some((pieces, thread));
        Ok(Self { sink, hasher, held: VecDeque::new(), held_len: 0, len: 0, path })
    }

    /// Takes the next bytes of the snapshot.
    pub(super) fn push(&mut self, piece: Piece) -> Result<()> {
        self.held_len += piece.len() as u64;
        self.held.push_back(piece);
        while let Some(first) = self.held.pop_front() {
            let behind = self.held_len - first.len() as u64;
            if behind < HASH_LEN {
                self.held.push_front(first);
                break;
            }
            self.held_len = behind;
            self.emit(&first)?;
        }
        Ok(())
    }

    /// Ends the snapshot.
    pub(super) fn finish(mut self) -> Result<Facts> {
        let total = self.len + self.held_len;
        // etcd's own rule: what is left over from whole pages is the hash.
        let has_trailer = total % PAGE_UNIT == HASH_REST;
        let mut rest = self.held_len - if has_trailer { HASH_LEN } else { 0 };
        let mut trailer = Vec::new();
        while let Some(mut piece) = self.held.pop_front() {
            let first = piece.split_to(usize::try_from(rest).unwrap_or(usize::MAX));
            rest -= first.len() as u64;
            self.emit(&first)?;
            trailer.extend_from_slice(&piece);
        }
        let hasher = self.hasher.take().and_then(|(pieces, thread)| {
            drop(pieces);
            thread.join().ok()
        });
        let sha256 = hasher.ok_or_else(|| self.dead())?;
        Ok(Facts { len: self.len, sha256, trailer: trailer.first_chunk().copied() })
    }

    fn emit(&mut self, piece: &Piece) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        match &self.hasher {
            Some((pieces, _)) => pieces.send(piece.clone()).map_err(|_| self.dead())?,
            None => return Err(self.dead()),
        }
        self.len += piece.len() as u64;
        (self.sink)(piece)
    }

    fn dead(&self) -> Error {
        let source = std::io::Error::other("the hashing thread ended before its time");
        Error::Io { action: "hashing", path: self.path.to_owned(), source }
    }
}
