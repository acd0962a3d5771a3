//! What leaves come to, noted while their bytes pass by, so that the walk need not read them once more.
//!
//! A note is taken of a leaf that knows its own number and in which nothing is wrong by itself: its element table, its
//! elements, the order of its keys, and each entry as far as the [`Scribe`] judges it. What only the tree can tell of a
//! leaf (who refers to it, between which keys it lies, what came before it) is asked by the walk, of the note. Where a
//! leaf has no note, or the answer is not a plain yes, the walk reads the page: so every defect is found and worded in
//! one place.
//!
//! A page that is free may hold an old leaf; its note is never asked for.

use std::ops::Range;

use super::meta::Meta;
use super::order::Bounds;
use super::page::{Header, Kind, Page};
use super::subtrees::read_leaf;
use super::visitor::Part;
use crate::proto::{put_varint, varint};

/// Bytes of notes that are kept, some 1.5 GiB of database with values of a KiB; leaves beyond are read by the walk.
const MOST: usize = 20 << 20;

/// Bytes that a leaf of bucket `key` takes in a branch, at least: its element and a revision. So many leaves as fit one
/// branch may be all that there are; then the walk itself reads them, which has no notes, so they are not spared.
const CHILD: usize = 32;

/// Notes what the entries of one leaf come to. It is filled as any [`Part`] is.
pub trait Scribe: Part {
    /// Appends the note, from which a part of the visitor can take in the leaf ([`Part::noted`]), and forgets the leaf.
    fn write(&mut self, note: &mut Vec<u8>);

    /// Forgets what it was filled with.
    fn forget(&mut self);
}

/// The first and the last key of a leaf.
#[derive(Debug, Default)]
pub struct Ends {
    /// The least one.
    pub first: Vec<u8>,
    /// The greatest one.
    pub last: Vec<u8>,
}

/// Notes of leaves, by page number.
///
/// Whoever hands in the bytes has to see to it that they are those which the walk would read.
#[derive(Debug, Default)]
pub struct Notes {
    /// 0 until it is known; a database whose first meta is damaged gets no notes.
    page_size: usize,
    /// Ascending.
    sheets: Vec<Sheet>,
    /// Bytes that the sheets take.
    size: usize,
    /// Bytes that passed by.
    passed: u64,
    /// Leaves that were noted.
    leaves: usize,
    covered: Vec<Range<usize>>,
    text: Vec<u8>,
    note: Vec<u8>,
}

/// Notes of the leaves that begin in one stretch of bytes.
#[derive(Debug)]
struct Sheet {
    first: u64,
    /// For each page one more than where its note begins in `text`; 0 where there is none.
    starts: Box<[u16]>,
    text: Box<[u8]>,
}

/// Where a note begins in its sheet, one more than that, and how many pages its leaf spans.
struct Place {
    place: u16,
    pages: usize,
}

impl Notes {
    /// Looks at the next bytes of the database, and says which of them the walk will not need, for they are of leaves that
    /// were noted: whole pages, and how large these are. A page that lies in two stretches is passed over.
    pub fn take<S: Scribe>(&mut self, scribe: &mut S, bytes: &[u8]) -> (&[Range<usize>], usize) {
        self.covered.clear();
        let offset = self.passed;
        self.passed = self.passed.saturating_add(bytes.len() as u64);
        if offset == 0 {
            self.page_size = Meta::decode(bytes, 0).map_or(0, |meta| meta.page_size as usize);
        }
        if self.page_size == 0 || self.size >= MOST {
            return (&self.covered, self.page_size);
        }
        let first = offset.div_ceil(self.page_size as u64);
        let skip = first.saturating_mul(self.page_size as u64) - offset;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let whole = bytes.get(skip..).unwrap_or_default();
        if whole.len() >= self.page_size {
            let sheet = self.sheet(scribe, first, whole);
            self.size += size_of::<Sheet>() + size_of_val(&*sheet.starts) + sheet.text.len();
            self.sheets.push(sheet);
            for range in &mut self.covered {
                *range = range.start + skip..range.end + skip;
            }
        }
        (&self.covered, self.page_size)
    }

    /// Notes of the leaves in `bytes`, which begin with page `first`.
    fn sheet<S: Scribe>(&mut self, scribe: &mut S, first: u64, bytes: &[u8]) -> Sheet {
        let mut starts = vec![0; bytes.len() / self.page_size].into_boxed_slice();
        // Pages of a hostile file may claim one another for their overflow; no byte is read more than twice on average.
        let mut room = 2 * starts.len() as u64;
        self.text.clear();
        let mut behind = 0;
        for (index, start) in starts.iter_mut().enumerate() {
            let number = first.saturating_add(index as u64);
            let rest = bytes.get(index * self.page_size..).unwrap_or_default();
            let Some(header) = Header::decode(rest) else { break };
            if let Some(span) = self.note(scribe, number, header, rest, &mut room) {
                *start = span.place;
                self.leaves += 1;
                if self.leaves <= self.page_size / CHILD {
                    continue;
                }
                behind = behind.max(index.saturating_add(span.pages));
            } else if index >= behind || header.id == number {
                // Of a page that some leaf has for its overflow, but that may be one of its own.
                continue;
            }
            self.cover(index);
        }
        Sheet { first, starts, text: self.text.as_slice().into() }
    }

    /// Notes the leaf at page `number`, with which `bytes` begin, and says where in the text. `None` where there is
    /// none, it is empty, not sound by itself, or goes on behind `bytes`.
    fn note<S: Scribe>(
        &mut self,
        scribe: &mut S,
        number: u64,
        header: Header,
        bytes: &[u8],
        room: &mut u64,
    ) -> Option<Place> {
        if header.id != number || header.kind() != Kind::Leaf || header.count == 0 {
            return None;
        }
        let pages = usize::try_from(header.span()).ok()?;
        let leaf = Page::new(
            number,
            number.checked_mul(self.page_size as u64)?,
            bytes.get(..pages.checked_mul(self.page_size)?)?,
        )?;
        let place = u16::try_from(self.text.len() + 1).ok()?;
        *room = room.checked_sub(header.span())?;
        if read_leaf(&leaf, Bounds::default(), scribe).is_err() {
            scribe.forget();
            return None;
        }
        self.note.clear();
        scribe.write(&mut self.note);
        put_varint(&mut self.text, header.span());
        put_varint(&mut self.text, self.note.len() as u64);
        self.text.extend_from_slice(&self.note);
        Some(Place { place, pages })
    }

    /// Counts the page at place `index` of the stretch to those that are not needed.
    fn cover(&mut self, index: usize) {
        let (start, end) = (index * self.page_size, (index + 1) * self.page_size);
        match self.covered.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => self.covered.push(start..end),
        }
    }

    /// Whether these are of a database with pages of so many bytes.
    pub(super) fn fit(&self, page_size: u64) -> bool {
        self.page_size as u64 == page_size
    }

    /// How many pages the leaf at page `number` spans, and its note.
    pub(super) fn of(&self, number: u64) -> Option<(u64, &[u8])> {
        let behind = self.sheets.partition_point(|sheet| sheet.first <= number);
        let sheet = self.sheets.get(behind.checked_sub(1)?)?;
        let start = *sheet.starts.get(usize::try_from(number - sheet.first).ok()?)?;
        let (span, text) = varint(sheet.text.get(usize::from(start.checked_sub(1)?)..)?).ok()?;
        let (len, text) = varint(text).ok()?;
        Some((span, text.get(..usize::try_from(len).ok()?)?))
    }
}
