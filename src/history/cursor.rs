//! Keys in their order at one revision, a batch at a time; and the revisions of one key.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::index::{Index, KeyId, Place, Record};
use super::range::KeyRange;
use super::scan::{Scan, Stored};
use super::store::{Store, Watch};
use crate::bbolt::Element;
use crate::defect::Defect;
use crate::error::Result;
use crate::progress::Progress;
use crate::schema::RevisionKey;

/// Rows of the first batch: the first row of many must not wait for the others.
const FIRST_ROWS: usize = 16;
/// Each batch may have so many times the rows of the one before.
const GROWTH: usize = 4;
/// Rows of a batch out of a file.
const ROWS: usize = 1 << 16;
/// Bytes of keys and values in a batch out of a file, one row at least.
const BYTES: u64 = 16 << 20;
/// The same for an archive. Keys in order lie at random in it, and each batch may inflate all of its blocks.
const COMPRESSED_ROWS: usize = 1 << 18;
const COMPRESSED_BYTES: u64 = 64 << 20;
/// Bytes, and entries, that are passed over rather than that the next entry is sought anew.
const NEAR: u64 = 16 << 10;
const NEAR_ENTRIES: u64 = 256;

/// A version of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The value; empty for a deletion, and when only keys were asked for.
    pub value: Vec<u8>,
    /// Main revision of the put that made the key; 0 for a deletion.
    pub create_revision: i64,
    /// Main revision of the change.
    pub mod_revision: i64,
    /// 1 for the put that made the key, then counting up; 0 for a deletion, as in etcd's events.
    pub version: i64,
    /// Lease that the key hangs on, 0 for none.
    pub lease: i64,
}

/// Keys of a range as they were at a revision, in key order.
#[derive(Debug)]
pub struct Cursor {
    pub(super) store: Arc<Store>,
    pub(super) index: Arc<Index>,
    revision: i64,
    positions: Range<usize>,
    left: u64,
    keys_only: bool,
    rows: usize,
    pub(super) digests: usize,
}

/// A row that is to be read, and its place in the batch.
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) id: KeyId,
    pub(super) record: Record,
    pub(super) row: usize,
}

impl Cursor {
    /// The first `limit` keys of `range`, all of them for `None`, as etcd's Range gives them at `revision`.
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`].
    pub fn new(
        store: Arc<Store>,
        range: &KeyRange,
        revision: Option<i64>,
        limit: Option<u64>,
        keys_only: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let revision = store.resolve(revision)?;
        let index = store.index(progress)?;
        let (positions, left) = (index.positions(range), limit.unwrap_or(u64::MAX));
        let (rows, digests) = (FIRST_ROWS, Self::FIRST_DIGESTS);
        Ok(Self { store, index, revision, positions, left, keys_only, rows, digests })
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) with page and offset; [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn next_batch(&mut self, progress: &dyn Progress) -> Result<Vec<Row>> {
        let wanted = self.choose();
        read(&self.store, &self.index, wanted, self.keys_only, progress)
    }

    /// The keys of the next rows; none at the end. Reads nothing of the file.
    pub fn next_keys(&mut self) -> Vec<Vec<u8>> {
        self.choose().iter().map(|one| self.index.key(one.id).to_vec()).collect()
    }

    /// Takes the next keys that are there, as many as a batch may have.
    fn choose(&mut self) -> Vec<Wanted> {
        let (most_rows, most_bytes) =
            if self.store.is_compressed() { (COMPRESSED_ROWS, COMPRESSED_BYTES) } else { (ROWS, BYTES) };
        let rows = self.rows;
        self.rows = (rows * GROWTH).min(most_rows);
        self.take(rows, most_bytes)
    }

    /// Takes the next keys that are there: `rows` at most, and fewer when they have more than `most_bytes`.
    pub(super) fn take(&mut self, rows: usize, most_bytes: u64) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut bytes = 0_u64;
        while wanted.len() < rows && self.left > 0 {
            let Some(id) = self.positions.next().and_then(|position| self.index.at(position)) else { break };
            let Some(place) = self.index.live(id, self.revision) else { continue };
            let Some(record) = self.index.record(place) else { continue };
            wanted.push(Wanted { place, id, record, row: wanted.len() });
            self.left -= 1;
            bytes += u64::from(record.size) + self.index.key(id).len() as u64;
            if bytes >= most_bytes {
                break;
            }
        }
        wanted
    }
}

impl Store {
    /// The version of `key` that was there at `revision`.
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`]; [`Error::Corrupt`](crate::Error::Corrupt) with page and offset.
    pub fn get(self: &Arc<Self>, key: &[u8], revision: Option<i64>, progress: &dyn Progress) -> Result<Option<Row>> {
        let range = KeyRange::one(key);
        let mut cursor = Cursor::new(Arc::clone(self), &range, revision, Some(1), false, progress)?;
        Ok(cursor.next_batch(progress)?.pop())
    }

    /// The versions of `keys` that were there at `revision`, in the order of `keys`, without those that were not.
    ///
    /// # Errors
    /// Those of [`Store::get`].
    pub fn get_all<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
        revision: Option<i64>,
        progress: &dyn Progress,
    ) -> Result<Vec<Row>> {
        let revision = self.resolve(revision)?;
        let index = self.index(progress)?;
        let mut wanted = Vec::new();
        for id in keys.filter(|key| !key.is_empty()).filter_map(|key| index.find(key)) {
            let found = index.live(id, revision).and_then(|place| Some((place, index.record(place)?)));
            wanted.extend(found.map(|(place, record)| Wanted { place, id, record, row: wanted.len() }));
        }
        read(self, &index, wanted, false, progress)
    }

    /// Whether `key` was there at `revision`. Reads no value.
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`].
    pub fn contains(&self, key: &[u8], revision: Option<i64>, progress: &dyn Progress) -> Result<bool> {
        self.count(&KeyRange::one(key), revision, progress).map(|count| count > 0)
    }

    /// Every version of `key` that is in the file, oldest first, each with whether it was a deletion.
    ///
    /// What compaction has not removed yet is there too. Without an index that is built already this reads the
    /// whole file, and keeps nothing of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) with page and offset; [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn history(self: &Arc<Self>, key: &[u8], progress: &dyn Progress) -> Result<Vec<(Row, bool)>> {
        if let Some(index) = self.built_index() {
            let Some(id) = index.find(key).filter(|_| !key.is_empty()) else { return Ok(Vec::new()) };
            let mut wanted: Vec<Wanted> = index
                .history(id)
                .filter_map(|place| Some(Wanted { place, id, record: index.record(place)?, row: 0 }))
                .collect();
            wanted.reverse();
            let tombstones: Vec<bool> = wanted.iter().map(|one| one.record.tombstone).collect();
            wanted.iter_mut().enumerate().for_each(|(row, one)| one.row = row);
            return Ok(read(self, &index, wanted, false, progress)?.into_iter().zip(tombstones).collect());
        }
        let mut found = Vec::new();
        Scan::history(Arc::clone(self), KeyRange::one(key)).next(progress, &mut |stored| {
            found.push((row(&stored, false), stored.at.tombstone));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

/// Reads what is wanted, in the order of the file, into rows in the order of the batch.
fn read(
    store: &Store,
    index: &Index,
    wanted: Vec<Wanted>,
    keys_only: bool,
    progress: &dyn Progress,
) -> Result<Vec<Row>> {
    let mut rows = vec![Row::default(); wanted.len()];
    visit(store, index, wanted, progress, &mut |at, stored| {
        if let Some(slot) = rows.get_mut(at) {
            *slot = row(stored, keys_only);
        }
    })?;
    Ok(rows)
}

/// Hands over what is wanted in the order of the file, each with its place in the batch.
pub(super) fn visit(
    store: &Store,
    index: &Index,
    mut wanted: Vec<Wanted>,
    progress: &dyn Progress,
    each: &mut dyn FnMut(usize, &Stored<'_>),
) -> Result<()> {
    let mut watch = Watch::new(store, progress);
    let entry = store.size() / index.revisions().max(1);
    let near = (NEAR / entry.max(1)).clamp(1, NEAR_ENTRIES);
    wanted.sort_unstable_by_key(|one| one.place);
    let mut rest = wanted.as_slice();
    while let Some((first, _)) = rest.split_first() {
        let from = key_of(first.record);
        let mut place = first.place.number();
        store.visit_from(store.key_bucket(), Some(&from), &mut |element| {
            watch.step(&element)?;
            let Some((next, behind)) = rest.split_first() else { return Ok(ControlFlow::Break(())) };
            if place == next.place.number() {
                let stored = expect(index, next, &element).map_err(|defect| store.fail(defect))?;
                each(next.row, &stored);
                rest = behind;
            }
            let follows = rest.first().is_some_and(|next| next.place.number() - place <= near);
            place += 1;
            Ok(if follows { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if rest.first().is_some_and(|next| next.place == first.place) {
            return Err(store.fail(missing(first.record)));
        }
    }
    store.unchanged()
}

/// The entry that the index had seen here.
fn expect<'a>(index: &Index, wanted: &Wanted, element: &Element<'a>) -> std::result::Result<Stored<'a>, Defect> {
    let stored = Stored::parse(element)?;
    let Record { revision, tombstone, .. } = wanted.record;
    if stored.at == (RevisionKey { revision, tombstone }) && stored.kv.key == index.key(wanted.id) {
        return Ok(stored);
    }
    Err(missing(wanted.record).on_page(element.page).at(element.offset))
}

fn missing(record: Record) -> Defect {
    let message = format!("revision {}_{} is not where it was", record.revision.main, record.revision.sub);
    Defect::new("revision-missing", message)
}

fn key_of(record: Record) -> Vec<u8> {
    let mut key = record.revision.to_bytes().to_vec();
    if record.tombstone {
        key.push(b't');
    }
    key
}

fn row(stored: &Stored<'_>, keys_only: bool) -> Row {
    let kv = &stored.kv;
    Row {
        key: kv.key.to_vec(),
        value: if keys_only { Vec::new() } else { kv.value.to_vec() },
        create_revision: kv.create_revision,
        mod_revision: stored.mod_revision(),
        version: kv.version,
        lease: kv.lease,
    }
}
