//! Where the keys of one side come from.

use std::sync::Arc;

use crate::client::{LiveKey, LiveKeys};
use crate::error::Result;
use crate::history::{Cursor, Digest, Digests, KeyRange, Store};
use crate::progress::{Progress, Stage};

/// Keys in their order: those of a snapshot, or those of a live cluster.
pub enum Source {
    /// A snapshot at a revision.
    Stored {
        /// The snapshot.
        store: Arc<Store>,
        /// The revision.
        revision: i64,
        /// How far it is read.
        cursor: Cursor,
    },
    /// A cluster at a revision.
    Live {
        /// The pages that are still to come.
        keys: Box<LiveKeys>,
        /// The page that was read last, where values are wanted.
        page: Vec<LiveKey>,
        /// Bytes of keys and values that have come.
        received: u64,
    },
}

impl Source {
    /// The keys of `range` in a snapshot as of `revision`; the newest for `None`.
    ///
    /// # Errors
    /// Those of [`Cursor::new`].
    pub fn stored(store: Arc<Store>, range: &KeyRange, revision: Option<i64>, progress: &dyn Progress) -> Result<Self> {
        let revision = store.resolve(revision)?;
        let cursor = Cursor::new(Arc::clone(&store), range, Some(revision), None, false, progress)?;
        Ok(Self::Stored { store, revision, cursor })
    }

    /// The keys of a cluster.
    #[must_use]
    pub fn live(keys: LiveKeys) -> Self {
        Self::Live { keys: Box::new(keys), page: Vec::new(), received: 0 }
    }

    /// The revision that is read.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Stored { revision, .. } => *revision,
            Self::Live { keys, .. } => keys.revision(),
        }
    }

    /// Whether each look at values may have to inflate all of it.
    pub(super) fn is_compressed(&self) -> bool {
        match self {
            Self::Stored { store, .. } => store.is_compressed(),
            Self::Live { .. } => false,
        }
    }

    /// Whether it is a cluster, and how many keys of it may come next.
    pub(super) fn page_keys(&self) -> Option<usize> {
        match self {
            Self::Stored { .. } => None,
            Self::Live { keys, .. } => Some(keys.page_keys()),
        }
    }

    /// The next keys with their digests; none at the end. With `keep`, [`Source::values`] knows the values of these keys
    /// until it is called again. What a key `near` is good for, [`LiveKeys::next`] tells.
    ///
    /// # Errors
    /// Those of [`Cursor::next_digests`] and [`LiveKeys::next`].
    pub async fn next(&mut self, near: Option<&[u8]>, keep: bool, progress: &dyn Progress) -> Result<Digests> {
        match self {
            Self::Stored { cursor, .. } => cursor.next_digests(progress),
            Self::Live { keys, page, received } => {
                // Let go of the old page before there is a new one.
                page.clear();
                let found = keys.next(near).await?;
                let mut digests = Digests::default();
                for one in &found {
                    digests.push(&one.key, digest(one));
                    *received += (one.key.len() + one.value.len()) as u64;
                }
                progress.step(Stage::Read, *received, None)?;
                if keep {
                    *page = found;
                }
                Ok(digests)
            }
        }
    }

    /// The values of `keys`, which are in their order and among those that were read last, in the order of `keys`.
    ///
    /// # Errors
    /// Those of [`Store::get_all`].
    pub fn values<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, progress: &dyn Progress) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Stored { store, revision, .. } => {
                let rows = store.get_all(keys, Some(*revision), progress)?;
                Ok(rows.into_iter().map(|row| row.value).collect())
            }
            Self::Live { page, .. } => {
                let value = |key: &[u8]| {
                    let found = page.binary_search_by(|one| one.key.as_slice().cmp(key)).ok()?;
                    page.get(found).map(|one| one.value.clone())
                };
                Ok(keys.filter_map(value).collect())
            }
        }
    }
}

fn digest(one: &LiveKey) -> Digest {
    let (create_revision, mod_revision, version, lease) =
        (one.create_revision, one.mod_revision, one.version, one.lease);
    Digest { create_revision, mod_revision, version, lease, ..Digest::default() }.with_value(&one.value)
}
