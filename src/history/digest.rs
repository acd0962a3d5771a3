//! Keys in order with a digest instead of the value: what it takes to tell two key spaces apart.

use sha2::{Digest as _, Sha256};

use super::cursor::{Cursor, visit};
use crate::error::Result;
use crate::progress::Progress;

/// Bytes of SHA-256 that are kept of a value: nobody finds two values that agree in them.
const HASH_LEN: usize = 16;
/// Rows of a batch: keys in order lie at random in a file, and each batch may read all of it.
const ROWS: usize = 1 << 19;
/// Rows of the first batch, so that a difference among the first keys is found at once.
const FIRST_ROWS: usize = 1 << 10;
/// Each batch may have so many times the rows of the one before.
const GROWTH: usize = 16;

/// A version of a key without key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// Bytes of the value.
    pub size: u64,
    /// Main revision of the put that made the key.
    pub create_revision: i64,
    /// Main revision of the change.
    pub mod_revision: i64,
    /// 1 for the put that made the key, then counting up.
    pub version: i64,
    /// Lease that the key hangs on, 0 for none.
    pub lease: i64,
    /// The first bytes of the SHA-256 of the value.
    pub hash: [u8; HASH_LEN],
}

impl Digest {
    /// Puts the digest of `value` in place.
    #[must_use]
    pub fn with_value(mut self, value: &[u8]) -> Self {
        self.size = value.len() as u64;
        self.hash = [0; HASH_LEN];
        for (kept, byte) in self.hash.iter_mut().zip(Sha256::digest(value)) {
            *kept = byte;
        }
        self
    }

    /// Whether both have the same value.
    #[must_use]
    pub fn same_value(&self, other: &Self) -> bool {
        (self.size, self.hash) == (other.size, other.hash)
    }
}

/// Keys in their order, each with its digest.
#[derive(Debug, Default)]
pub struct Digests {
    /// Keys one behind the other.
    arena: Vec<u8>,
    /// Where each key ends in the arena, and its digest.
    rows: Vec<(usize, Digest)>,
}

impl Digests {
    /// Puts the next key behind the others.
    pub fn push(&mut self, key: &[u8], digest: Digest) {
        self.arena.extend_from_slice(key);
        self.rows.push((self.arena.len(), digest));
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A key with its digest.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<(&[u8], &Digest)> {
        let (end, digest) = self.rows.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |(end, _)| *end);
        Some((self.arena.get(start..*end)?, digest))
    }
}

impl Cursor {
    /// The next keys with their digests, none at the end; values are read in the order of the file, and not kept.
    ///
    /// A batch takes some 60 bytes a key beside the key itself, for at most 524288 keys.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) with page and offset; [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn next_digests(&mut self, progress: &dyn Progress) -> Result<Digests> {
        let rows = self.digests;
        self.digests = (rows * GROWTH).min(ROWS);
        let wanted = self.take(rows, u64::MAX);
        let mut digests = Digests::default();
        for one in &wanted {
            digests.push(self.index.key(one.id), Digest::default());
        }
        visit(&self.store, &self.index, wanted, progress, &mut |at, stored| {
            if let Some((_, digest)) = digests.rows.get_mut(at) {
                let kv = &stored.kv;
                let (size, hash) = (0, [0; HASH_LEN]);
                let mod_revision = stored.mod_revision();
                let (create_revision, version, lease) = (kv.create_revision, kv.version, kv.lease);
                *digest = Digest { size, create_revision, mod_revision, version, lease, hash }.with_value(kv.value);
            }
        })?;
        Ok(digests)
    }

    /// Rows of the first batch of digests.
    pub(super) const FIRST_DIGESTS: usize = FIRST_ROWS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_digest_are_the_same() {
        let digest = |value: &[u8]| Digest { mod_revision: 7, ..Digest::default() }.with_value(value);

        assert!(digest(b"abc").same_value(&Digest::default().with_value(b"abc")));
        assert!(!digest(b"abc").same_value(&digest(b"abd")));
        assert!(!digest(b"").same_value(&digest(b"\0")));
        assert_eq!((digest(b"abc").size, digest(b"abc").mod_revision), (3, 7));
    }

    #[test]
    fn keys_come_back_as_they_were_pushed() {
        let mut digests = Digests::default();
        for key in [&b"a"[..], b"", b"bc"] {
            digests.push(key, Digest { size: key.len() as u64, ..Digest::default() });
        }

        let found: Vec<_> = (0..4).map_while(|at| digests.get(at)).map(|(key, digest)| (key, digest.size)).collect();
        assert_eq!(found, [(&b"a"[..], 1), (b"", 0), (b"bc", 2)]);
    }
}
