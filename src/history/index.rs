//! Keys in order, each with its revisions: etcd's treeIndex, without generations and without values.

use std::hash::BuildHasher;
use std::ops::{Bound, Range};
use std::sync::OnceLock;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::range::KeyRange;
use crate::defect::Defect;
use crate::schema::Revision;

/// No record.
const NONE: u32 = u32::MAX;
/// Bit of a size that says: a deletion. bbolt's values are shorter than 2^31 bytes.
const TOMBSTONE: u32 = 1 << 31;

/// Every key of the file with its revisions.
///
/// A revision is known by its place in the file, counted from 0, so that places ascend as revisions do. The revisions
/// of a key hang together from the newest backwards: most reads ask for the newest, and nothing has to be moved when
/// the index is built.
#[derive(Debug, Default)]
pub struct Index {
    /// Keys one behind the other, as they first came.
    arena: Vec<u8>,
    /// Where each key ends in the arena.
    ends: Vec<u64>,
    /// Place of each key's newest revision.
    newest: Vec<u32>,
    /// Keys in the order of their bytes, sorted when a read first asks for it.
    order: OnceLock<Vec<u32>>,
    /// Bytes that all keys have in common at their start.
    common: usize,
    /// By place: main revision.
    mains: Vec<i64>,
    /// By place: sub-revision.
    subs: Vec<u32>,
    /// By place: the revision of the same key before this one.
    older: Vec<u32>,
    /// By place: bytes of the value, and whether it is a deletion.
    sizes: Vec<u32>,
}

/// A key of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyId(u32);

/// A revision of the index, by its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    pub(super) fn number(self) -> u64 {
        self.0.into()
    }
}

/// What the index knows of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) revision: Revision,
    pub(super) tombstone: bool,
    /// Bytes of the value.
    pub(super) size: u32,
}

impl Index {
    /// Number of keys, deleted ones included.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Number of revisions in the file.
    #[must_use]
    pub fn revisions(&self) -> u64 {
        self.mains.len() as u64
    }

    /// The oldest main revision in the file.
    pub(super) fn first_revision(&self) -> Option<i64> {
        self.mains.first().copied()
    }

    /// Bytes of memory that are taken.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let by_place = self.mains.capacity() * size_of::<i64>()
            + (self.subs.capacity() + self.older.capacity() + self.sizes.capacity()) * size_of::<u32>();
        let by_key = self.ends.capacity() * size_of::<u64>()
            + (self.newest.capacity() + self.order().capacity()) * size_of::<u32>();
        (self.arena.capacity() + by_place + by_key) as u64
    }

    pub(super) fn key(&self, id: KeyId) -> &[u8] {
        let at = id.0 as usize;
        let end = self.ends.get(at).copied().unwrap_or_default();
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        // The arena lies in memory, so that its offsets fit.
        self.arena
            .get(usize::try_from(start).unwrap_or_default()..usize::try_from(end).unwrap_or_default())
            .unwrap_or_default()
    }

    /// Positions, for [`Index::at`], of the keys of `range`.
    pub(super) fn positions(&self, range: &KeyRange) -> Range<usize> {
        let order = self.order();
        let start = order.partition_point(|id| self.key(KeyId(*id)) < range.start());
        let end = match range.end() {
            Bound::Excluded(end) => order.partition_point(|id| self.key(KeyId(*id)) < end),
            _ => order.len(),
        };
        start..end.max(start)
    }

    /// The key at a position in the order of keys.
    pub(super) fn at(&self, position: usize) -> Option<KeyId> {
        self.order().get(position).copied().map(KeyId)
    }

    /// The key of these bytes.
    pub(super) fn find(&self, key: &[u8]) -> Option<KeyId> {
        let found = self.order().binary_search_by(|id| self.key(KeyId(*id)).cmp(key)).ok()?;
        self.at(found)
    }

    pub(super) fn record(&self, place: Place) -> Option<Record> {
        let at = place.0 as usize;
        let size = *self.sizes.get(at)?;
        let revision = Revision { main: *self.mains.get(at)?, sub: i64::from(*self.subs.get(at)?) };
        Some(Record { revision, tombstone: size & TOMBSTONE != 0, size: size & !TOMBSTONE })
    }

    /// The revisions of a key, the newest first.
    pub(super) fn history(&self, id: KeyId) -> impl Iterator<Item = Place> + '_ {
        let newest = self.newest.get(id.0 as usize).copied().unwrap_or(NONE);
        let older = |place: &u32| self.older.get(*place as usize).copied().filter(|older| *older != NONE);
        std::iter::successors(Some(newest).filter(|place| *place != NONE), older).map(Place)
    }

    /// Where the key stood at `revision`: the newest change that is not later. `None` when it was not there, be it
    /// deleted or not written yet.
    pub(super) fn live(&self, id: KeyId, revision: i64) -> Option<Place> {
        let place = self.history(id).find(|place| self.main(*place) <= revision)?;
        let size = self.sizes.get(place.0 as usize)?;
        (size & TOMBSTONE == 0).then_some(place)
    }

    fn main(&self, place: Place) -> i64 {
        self.mains.get(place.0 as usize).copied().unwrap_or(i64::MAX)
    }

    /// The places of the keys of `range` that were there at `revision`.
    pub(super) fn live_places(&self, revision: i64, range: &KeyRange) -> Places {
        let mut places = Places { words: vec![0; self.mains.len().div_ceil(64)], len: 0 };
        for (id, _) in (0..).map(KeyId).zip(&self.ends).filter(|(id, _)| range.contains(self.key(*id))) {
            if let Some(place) = self.live(id, revision) {
                places.insert(place);
            }
        }
        places
    }

    fn order(&self) -> &Vec<u32> {
        self.order.get_or_init(|| {
            // Most comparisons are settled by the first bytes that can differ, without a look into the arena.
            let head = |id: u32| {
                let rest = self.key(KeyId(id)).get(self.common..).unwrap_or_default();
                let mut head = [0; 8];
                head.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                u64::from_be_bytes(head)
            };
            let keys = u32::try_from(self.ends.len()).unwrap_or(NONE);
            let mut sorted: Vec<(u64, u32)> = (0..keys).map(|id| (head(id), id)).collect();
            sorted.sort_unstable_by(|(head, id), (other, second)| {
                head.cmp(other).then_with(|| self.key(KeyId(*id)).cmp(self.key(KeyId(*second))))
            });
            sorted.into_iter().map(|(_, id)| id).collect()
        })
    }
}

/// A set of places.
#[derive(Debug)]
pub(super) struct Places {
    words: Vec<u64>,
    len: u64,
}

impl Places {
    fn insert(&mut self, place: Place) {
        if let Some(word) = self.words.get_mut(place.0 as usize / 64) {
            *word |= 1 << (place.0 % 64);
            self.len += 1;
        }
    }

    pub(super) fn contains(&self, place: u64) -> bool {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.words.get(word)).copied().unwrap_or_default();
        word & 1 << (place % 64) != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// An index under construction.
#[derive(Default)]
pub(super) struct Builder {
    index: Index,
    /// Ids by key. The hasher is keyed at random in each process, so that nobody can write keys ahead that collide.
    ids: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Builder {
    /// Takes the next revision of the file.
    pub(super) fn push(&mut self, key: &[u8], revision: Revision, tombstone: bool, size: usize) -> Result<(), Defect> {
        let too_many = || {
            let message = format!("more than {NONE} revisions or keys are more than an index holds");
            Defect::new("index-size", message)
        };
        let place = u32::try_from(self.index.mains.len()).ok().filter(|place| *place != NONE).ok_or_else(too_many)?;
        let sub = u32::try_from(revision.sub).map_err(|_| too_many())?;
        let size = u32::try_from(size).ok().filter(|size| size & TOMBSTONE == 0).ok_or_else(too_many)?;
        let id = self.id(key).ok_or_else(too_many)?;
        let index = &mut self.index;
        let newest = index.newest.get_mut(id as usize).ok_or_else(too_many)?;
        index.older.push(std::mem::replace(newest, place));
        index.mains.push(revision.main);
        index.subs.push(sub);
        index.sizes.push(if tombstone { size | TOMBSTONE } else { size });
        Ok(())
    }

    /// The index of what was pushed.
    pub(super) fn finish(self) -> Index {
        let mut index = self.index;
        index.arena.shrink_to_fit();
        index.ends.shrink_to_fit();
        index.newest.shrink_to_fit();
        index.mains.shrink_to_fit();
        index.subs.shrink_to_fit();
        index.older.shrink_to_fit();
        index.sizes.shrink_to_fit();
        index
    }

    fn id(&mut self, key: &[u8]) -> Option<u32> {
        let Self { index, ids, hasher } = self;
        if let Some(id) = ids.find(hasher.hash_one(key), |id| index.key(KeyId(*id)) == key) {
            return Some(*id);
        }
        let id = u32::try_from(index.ends.len()).ok()?;
        let first = index.key(KeyId(0));
        let alike = first.iter().zip(key).take_while(|(one, other)| one == other).count();
        index.common = if id == 0 { key.len() } else { index.common.min(alike) };
        index.arena.extend_from_slice(key);
        index.ends.push(index.arena.len() as u64);
        index.newest.push(NONE);
        ids.insert_unique(hasher.hash_one(key), id, |id| hasher.hash_one(index.key(KeyId(*id))));
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(changes: &[(&[u8], i64, i64, bool)]) -> Index {
        let mut builder = Builder::default();
        for &(key, main, sub, tombstone) in changes {
            builder.push(key, Revision { main, sub }, tombstone, 3).unwrap();
        }
        builder.finish()
    }

    fn live(index: &Index, revision: i64) -> Vec<(&[u8], i64)> {
        let ids = (0..).map_while(|position| index.at(position));
        ids.filter_map(|id| {
            let place = index.live(id, revision)?;
            Some((index.key(id), index.record(place).unwrap().revision.main))
        })
        .collect()
    }

    #[test]
    fn a_key_is_live_from_its_put_to_its_deletion_and_again_after_the_next_put() {
        let index = index(&[
            (b"b", 2, 0, false),
            (b"a", 3, 0, false),
            (b"b", 3, 1, false),
            (b"b", 5, 0, true),
            (b"b", 7, 0, false),
        ]);

        assert_eq!(live(&index, 1), []);
        assert_eq!(live(&index, 2), [(&b"b"[..], 2)]);
        assert_eq!(live(&index, 4), [(&b"a"[..], 3), (b"b", 3)]);
        assert_eq!(live(&index, 5), [(&b"a"[..], 3)]);
        assert_eq!(live(&index, i64::MAX), [(&b"a"[..], 3), (b"b", 7)]);
        assert_eq!((index.keys(), index.revisions()), (2, 5));
    }

    #[test]
    fn positions_are_those_of_the_keys_in_the_range() {
        let index = index(&[(b"c", 2, 0, false), (b"", 3, 0, false), (b"a", 4, 0, false), (b"b", 5, 0, false)]);

        assert_eq!(index.positions(&KeyRange::all()), 1..4);
        assert_eq!(index.positions(&KeyRange::between(b"b", None)), 2..4);
        assert_eq!(index.positions(&KeyRange::between(b"b", Some(b"c"))), 2..3);
        assert_eq!(index.positions(&KeyRange::between(b"c", Some(b"a"))), 3..3);
        assert_eq!(index.find(b"b").map(|id| index.key(id)), Some(&b"b"[..]));
        assert_eq!(index.find(b"bb"), None);
    }

    #[test]
    fn memory_is_what_the_documentation_says() {
        let mut builder = Builder::default();
        for number in 0..50_000_i64 {
            let key = format!("/key/{:08}", number % 10_000);
            builder.push(key.as_bytes(), Revision { main: number + 2, sub: 0 }, false, 100).unwrap();
        }

        assert_eq!(builder.finish().memory(), 50_000 * 20 + 10_000 * (13 + 16));
    }

    #[test]
    fn live_places_are_the_newest_ones() {
        let index = index(&[(b"a", 2, 0, false), (b"b", 3, 0, false), (b"a", 4, 0, false), (b"b", 5, 0, true)]);

        let places = index.live_places(5, &KeyRange::all());

        assert_eq!((0..5).filter(|place| places.contains(*place)).collect::<Vec<_>>(), [2]);
        assert!(index.live_places(1, &KeyRange::all()).is_empty());
        assert!(index.live_places(4, &KeyRange::one(b"b")).contains(1));
    }
}
