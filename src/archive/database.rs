//! The database on its way to the sink: hashed beside it, and parted from the hash at its end.

use std::collections::VecDeque;
use std::path::Path;

use super::hash::{Hasher, Pending};
use super::layout::{HASH_LEN, HASH_REST, PAGE_UNIT};
use super::stream::Piece;
use crate::error::{Error, Result};

/// Takes the bytes of a database.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Passes pieces of a snapshot on to the sink and to the thread that hashes them, holding back so much that the
/// hash at its end, of which only the end tells that it is one, never gets through.
pub(super) struct Database<'a> {
    sink: &'a mut Sink<'a>,
    hasher: Hasher,
    held: VecDeque<Piece>,
    held_len: u64,
    len: u64,
    path: &'a Path,
}

/// What a database turned out to be.
pub(super) struct Facts {
    pub(super) len: u64,
    pub(super) hash: Pending,
    pub(super) trailer: Option<[u8; 32]>,
}

/// Whether the last bytes of a snapshot of this length are the hash, by etcd's own rule: whole pages, and so much
/// more.
pub(super) fn has_trailer(len: u64) -> bool {
    len % PAGE_UNIT == HASH_REST
}

impl<'a> Database<'a> {
    pub(super) fn new(sink: &'a mut Sink<'a>, hasher: Hasher, path: &'a Path) -> Self {
        Self { sink, hasher, held: VecDeque::new(), held_len: 0, len: 0, path }
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
        let mut rest = self.held_len - if has_trailer(total) { HASH_LEN } else { 0 };
        let mut trailer = Vec::new();
        while let Some(mut piece) = self.held.pop_front() {
            let first = piece.split_to(usize::try_from(rest).unwrap_or(usize::MAX));
            rest -= first.len() as u64;
            self.emit(&first)?;
            trailer.extend_from_slice(&piece);
        }
        let hash = self.hasher.end(self.len).map_err(Error::io("hashing", self.path))?;
        Ok(Facts { len: self.len, hash, trailer: trailer.first_chunk().copied() })
    }

    fn emit(&mut self, piece: &Piece) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.hasher.take(piece.clone()).map_err(Error::io("hashing", self.path))?;
        (self.sink)(piece)?;
        self.len += piece.len() as u64;
        Ok(())
    }
}
