//! The database as a whole: what one part writes, the others read and judge.

mod bulk;
mod hostile;
mod patching;
mod properties;
mod rules;
mod shape;

use std::collections::BTreeMap;

use super::layout::{PAGE_HEADER_SIZE, put, u64_at};
use super::walk::walk_on;
use super::{
    Database, Element, Ends, Entries, Entry, Meta, Notes, Part, Patch, PatchPages, Scribe, Visitor, Walked,
    check_patched,
};
use crate::defect::Defect;
use crate::progress::NoProgress;
use crate::proto::{put_varint, varint};
use crate::read_at::ReadAt;

pub(super) type Buckets = BTreeMap<Vec<u8>, Entries>;

/// Remembers everything that a walk tells.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) buckets: BTreeMap<Vec<u8>, Vec<Entry>>,
    pub(super) nested: Vec<Vec<u8>>,
    pub(super) defects: Vec<Defect>,
    /// Bytes of keys and values that were handed over.
    pub(super) bytes: u64,
    /// Subtrees that came from a thread.
    pub(super) parts: u64,
    name: Vec<u8>,
}

/// Some entries, and the bytes of them.
#[derive(Debug, Default)]
pub(super) struct SeenPart {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Part for SeenPart {
    fn entry(&mut self, element: Element<'_>) -> bool {
        self.entries.push((element.key.to_vec(), element.value.to_vec()));
        true
    }

    fn bytes(&mut self, stretch: &[u8]) {
        self.bytes.extend_from_slice(stretch);
    }

    fn noted(&mut self, mut note: &[u8], ends: &mut Ends) -> bool {
        let before = self.entries.len();
        while !note.is_empty() {
            let [key, value] = [(); 2].map(|()| {
                let (len, rest) = varint(note).unwrap();
                let (text, rest) = rest.split_at(usize::try_from(len).unwrap());
                note = rest;
                text.to_vec()
            });
            self.bytes.extend([key.as_slice(), &value].concat());
            self.entries.push((key, value));
        }
        ends.first.clone_from(&self.entries[before].0);
        ends.last.clone_from(&self.entries.last().unwrap().0);
        true
    }
}

impl Scribe for SeenPart {
    fn write(&mut self, note: &mut Vec<u8>) {
        for text in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            put_varint(note, text.len() as u64);
            note.extend_from_slice(text);
        }
        self.forget();
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

/// A database without the pages whose leaves were noted.
struct Holes {
    bytes: Vec<u8>,
    left_out: Vec<bool>,
    page_size: usize,
}

impl ReadAt for Holes {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn holds(&self, offset: u64, len: u64) -> bool {
        let page = |at: u64| usize::try_from(at).unwrap() / self.page_size;
        !self.left_out[page(offset)..=page(offset + len.max(1) - 1)].contains(&true)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.bytes.read_exact_at(buf, offset)
    }
}

/// Both metas with `change` made and a new checksum.
fn with_meta(mut bytes: Vec<u8>, change: impl Fn(&mut Meta)) -> Vec<u8> {
    for page in 0..2 {
        let size = Meta::decode(&bytes, 0).unwrap().page_size as usize;
        let mut meta = Meta::decode(&bytes[page * size..], page as u64).unwrap();
        change(&mut meta);
        put(&mut bytes, page * size, &meta.encode(page as u64)[..size]);
    }
    bytes
}

/// Takes notes of a database that comes in stretches of so many bytes; what is left of it, too.
fn noted(bytes: &[u8], stretch: usize) -> (Notes, Holes) {
    let (mut notes, mut scribe) = (Notes::default(), SeenPart::default());
    let mut holes = Holes { bytes: bytes.to_vec(), left_out: vec![false; bytes.len() + 1], page_size: 1 };
    for (number, piece) in bytes.chunks(stretch).enumerate() {
        let (ranges, page_size) = notes.take(&mut scribe, piece);
        holes.page_size = page_size.max(1);
        for range in ranges {
            let (start, end) = (number * stretch + range.start, number * stretch + range.end);
            assert_eq!((start % page_size, end % page_size), (0, 0));
            holes.bytes[start..end].fill(0);
            holes.left_out[start / page_size..end / page_size].fill(true);
        }
    }
    (notes, holes)
}

impl Visitor for Seen {
    type Part = SeenPart;

    fn bucket(&mut self, name: &[u8]) {
        self.name = name.to_vec();
        self.buckets.entry(name.to_vec()).or_default();
    }

    fn entry(&mut self, element: Element<'_>) {
        self.bytes += (element.key.len() + element.value.len()) as u64;
        let entries = self.buckets.entry(self.name.clone()).or_default();
        entries.push((element.key.to_vec(), element.value.to_vec()));
    }

    fn nested_bucket(&mut self, element: Element<'_>) {
        self.nested.push(element.key.to_vec());
    }

    fn defect(&mut self, defect: Defect) {
        self.defects.push(defect);
    }

    fn part(&self) -> Option<SeenPart> {
        Some(SeenPart::default())
    }

    fn take(&mut self, part: SeenPart) -> bool {
        self.parts += 1;
        self.bytes += part.bytes.len() as u64;
        assert_eq!(
            part.bytes,
            part.entries.iter().flat_map(|(key, value)| [key.as_slice(), value].concat()).collect::<Vec<_>>()
        );
        self.buckets.entry(self.name.clone()).or_default().extend(part.entries);
        true
    }
}

impl Seen {
    pub(super) fn codes(&self) -> Vec<&'static str> {
        self.defects.iter().map(|defect| defect.code).collect()
    }
}

/// Opens and walks, with threads and without, and by notes, which must come to the same. What was left out because it
/// was noted may be missed: then there is a defect.
pub(super) fn judge(bytes: &Vec<u8>) -> Result<(Seen, Walked), Vec<Defect>> {
    let db = Database::open(bytes)?;
    let mut seen = Seen::default();
    let walked = walk_on(&db, None, &mut seen, &NoProgress, 1).unwrap();
    assert_eq!(seen.parts, 0);
    let mut beside = Seen::default();
    assert_eq!(walk_on(&db, None, &mut beside, &NoProgress, 2).unwrap(), walked);
    assert_eq!((&beside.buckets, &beside.nested, &beside.defects), (&seen.buckets, &seen.nested, &seen.defects));
    let (notes, holes) = noted(bytes, 40 * usize::try_from(db.page_size()).unwrap() + 77);
    let mut by_notes = Seen::default();
    assert_eq!(walk_on(&db, Some(&notes), &mut by_notes, &NoProgress, 1).unwrap(), walked);
    assert_eq!((&by_notes.buckets, &by_notes.nested, &by_notes.defects), (&seen.buckets, &seen.nested, &seen.defects));
    if let Ok(db) = Database::open(holes) {
        let mut by_holes = Seen::default();
        let counted = walk_on(&db, Some(&notes), &mut by_holes, &NoProgress, 1).unwrap();
        if by_holes.defects.is_empty() {
            assert_eq!((&by_holes.buckets, counted, [].as_slice()), (&seen.buckets, walked, seen.defects.as_slice()));
        }
    }
    seen.parts = beside.parts;
    Ok((seen, walked))
}

/// What a walk of a good database saw.
pub(super) fn clean(bytes: &Vec<u8>) -> BTreeMap<Vec<u8>, Vec<Entry>> {
    let (seen, _) = judge(bytes).unwrap();
    assert_eq!(seen.defects, []);
    seen.buckets
}

/// Codes of all that is wrong.
pub(super) fn codes(bytes: &Vec<u8>) -> Vec<&'static str> {
    match judge(bytes) {
        Ok((seen, _)) => seen.codes(),
        Err(defects) => defects.iter().map(|defect| defect.code).collect(),
    }
}

pub(super) fn as_entries(buckets: &Buckets) -> BTreeMap<Vec<u8>, Vec<Entry>> {
    buckets.iter().map(|(name, entries)| (name.clone(), entries.clone().into_iter().collect())).collect()
}

/// The file that a patch makes.
pub(super) fn apply(bytes: &Vec<u8>, patch: &Patch) -> Vec<u8> {
    let db = Database::open(bytes).unwrap();
    let PatchPages { tail, metas, new_high_water_mark } = patch.render(&db).unwrap();
    let mut patched = bytes[..usize::try_from(db.size()).unwrap()].to_vec();
    patched.extend_from_slice(&tail);
    assert_eq!(patched.len() as u64, new_high_water_mark * db.page_size());
    put(&mut patched, 0, &metas[0]);
    put(&mut patched, metas[0].len(), &metas[1]);
    assert_eq!(None, check_patched(&Database::open(&patched).unwrap(), db.meta()).unwrap());
    patched
}

/// `count` entries of bucket `key`, with values of `size` bytes.
pub(super) fn numbered(count: u32, size: usize) -> Entries {
    let value = |number: u32| number.to_be_bytes().into_iter().cycle().take(size).collect();
    (0..count).map(|number| (number.to_be_bytes().to_vec(), value(number))).collect()
}

/// One inline bucket, one tree of three levels with overflow pages, one empty bucket; in pages of 512 bytes.
pub(super) fn sample() -> Buckets {
    let mut key = numbered(400, 30);
    key.insert(100_u32.to_be_bytes().to_vec(), vec![7; 1500]);
    Buckets::from([
        (b"alarm".to_vec(), Entries::new()),
        (b"key".to_vec(), key),
        (b"meta".to_vec(), Entries::from([(b"consistent_index".to_vec(), vec![0; 8])])),
    ])
}

/// Numbers of the pages of a sound file that have these flags, ascending; overflow pages are not told apart, so the
/// content of values must not look like pages.
pub(super) fn pages_with(bytes: &[u8], page_size: usize, flags: u16) -> Vec<usize> {
    let whole = |number: &usize| {
        let page = &bytes[number * page_size..];
        u64_at(page, 0) == Some(*number as u64) && page[8..10] == flags.to_le_bytes()
    };
    (0..bytes.len() / page_size).filter(whole).collect()
}

/// Offset of element `index` of the page at `page`.
pub(super) fn element(page: usize, index: usize) -> usize {
    page + PAGE_HEADER_SIZE + 16 * index
}
