//! What a leaf of bucket `key` comes to, small enough to be kept until the walk asks for it.
//!
//! Its layout is nobody's but this module's: it never leaves the process.

use std::ops::Range;

use crate::bbolt::{Element, Ends, Notes, Part, Scribe};
use crate::proto::{put_varint, varint};
use crate::schema::{Revision, RevisionKey};

use super::census::{Fingerprint, Hashers};
use super::judge::Version;

/// What a record of a key is; behind [`LEASED`] stands the lease.
const PUT: u8 = 0;
const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;

/// Notes of the leaves of a database whose bytes pass by.
#[derive(Debug, Default)]
pub(super) struct KeyNotes {
    scribe: KeyScribe,
    notes: Notes,
}

impl KeyNotes {
    /// Looks at the next bytes of the database, and says which of them, whole pages of which size, the walk will not
    /// need.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (&[Range<usize>], usize) {
        self.notes.take(&mut self.scribe, bytes)
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Those by which the keys in the notes are told apart.
    pub(super) fn hashers(&self) -> Hashers {
        self.scribe.hashers.clone()
    }
}

/// What the entries of one leaf come to so far.
#[derive(Debug, Default)]
struct KeyScribe {
    hashers: Hashers,
    crc: u32,
    len: u64,
    revisions: u64,
    misfiled: u64,
    first: Option<RevisionKey>,
    last: Option<RevisionKey>,
    records: Vec<u8>,
}

impl Part for KeyScribe {
    fn entry(&mut self, element: Element<'_>) -> bool {
        let Ok(at) = RevisionKey::parse(element.key) else { return false };
        if self.last.is_some_and(|last| last.revision == at.revision) {
            return false;
        }
        let Ok(version) = Version::parse(at, element.value) else { return false };
        self.first = self.first.or(Some(at));
        self.last = Some(at);
        self.revisions += 1;
        self.misfiled += u64::from(version.misfiled);
        let Fingerprint { place, tag } = self.hashers.fingerprint(version.key);
        self.records.extend_from_slice(&place.to_le_bytes());
        self.records.extend_from_slice(&tag.to_le_bytes());
        match (at.tombstone, version.lease) {
            (true, _) => self.records.push(TOMBSTONE),
            (false, 0) => self.records.push(PUT),
            (false, lease) => {
                self.records.push(LEASED);
                self.records.extend_from_slice(&lease.to_le_bytes());
            }
        }
        true
    }

    fn bytes(&mut self, stretch: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, stretch);
        self.len += stretch.len() as u64;
    }
}

impl Scribe for KeyScribe {
    fn write(&mut self, note: &mut Vec<u8>) {
        note.extend_from_slice(&self.crc.to_le_bytes());
        for number in [self.len, self.revisions, self.misfiled] {
            put_varint(note, number);
        }
        for end in [self.first, self.last] {
            // Never absent: no note is taken of an empty leaf, and one without them would be read as malformed.
            let Some(RevisionKey { revision: Revision { main, sub }, tombstone }) = end else { continue };
            put_varint(note, main.cast_unsigned());
            put_varint(note, sub.cast_unsigned());
            note.push(u8::from(tombstone));
        }
        note.extend_from_slice(&self.records);
        self.forget();
    }

    fn forget(&mut self) {
        (self.crc, self.len, self.revisions, self.misfiled) = (0, 0, 0, 0);
        (self.first, self.last) = (None, None);
        self.records.clear();
    }
}

/// Whose, its lease, and whether it is a tombstone.
type Record = (Fingerprint, i64, bool);

/// A note that is read.
pub(super) struct Noted<'a> {
    pub(super) crc: u32,
    pub(super) len: usize,
    pub(super) revisions: u64,
    pub(super) misfiled: u64,
    pub(super) first: RevisionKey,
    pub(super) last: RevisionKey,
    records: &'a [u8],
}

impl<'a> Noted<'a> {
    pub(super) fn parse(note: &'a [u8]) -> Option<Self> {
        let (crc, rest) = note.split_first_chunk()?;
        let (len, rest) = varint(rest).ok()?;
        let (revisions, rest) = varint(rest).ok()?;
        let (misfiled, rest) = varint(rest).ok()?;
        let (first, rest) = end(rest)?;
        let (last, records) = end(rest)?;
        let (crc, len) = (u32::from_le_bytes(*crc), usize::try_from(len).ok()?);
        Some(Self { crc, len, revisions, misfiled, first, last, records })
    }

    /// Puts the keys at both ends in place of what is there.
    pub(super) fn put_ends(&self, ends: &mut Ends) {
        for (end, at) in [(&mut ends.first, self.first), (&mut ends.last, self.last)] {
            end.clear();
            end.extend_from_slice(&at.revision.to_bytes());
            if at.tombstone {
                end.push(RevisionKey::TOMBSTONE);
            }
        }
    }

    /// The records in their order. One that can't be read is the last.
    pub(super) fn records(&self) -> impl Iterator<Item = Option<Record>> + use<'a> {
        let mut rest = Some(self.records);
        std::iter::from_fn(move || {
            let records = rest.filter(|records| !records.is_empty())?;
            let read = record(records);
            rest = read.as_ref().map(|(_, rest)| *rest);
            Some(read.map(|(record, _)| record))
        })
    }
}

fn end(bytes: &[u8]) -> Option<(RevisionKey, &[u8])> {
    let (main, rest) = varint(bytes).ok()?;
    let (sub, rest) = varint(rest).ok()?;
    let (tombstone, rest) = rest.split_first()?;
    let revision = Revision { main: main.cast_signed(), sub: sub.cast_signed() };
    Some((RevisionKey { revision, tombstone: *tombstone != 0 }, rest))
}

fn record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (place, rest) = bytes.split_first_chunk()?;
    let (tag, rest) = rest.split_first_chunk()?;
    let (act, rest) = rest.split_first()?;
    let key = Fingerprint { place: u32::from_le_bytes(*place), tag: u64::from_le_bytes(*tag) };
    match *act {
        LEASED => {
            let (lease, rest) = rest.split_first_chunk()?;
            Some(((key, i64::from_le_bytes(*lease), false), rest))
        }
        act => Some(((key, 0, act == TOMBSTONE), rest)),
    }
}
