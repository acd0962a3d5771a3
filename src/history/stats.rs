//! What takes the room: keys, bytes and revisions by prefix, the largest values, the most rewritten keys.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::index::Record;
use super::range::KeyRange;
use super::store::Store;
use crate::error::Result;
use crate::progress::Progress;

/// What separates the parts of a key.
const SEPARATOR: u8 = b'/';

/// The figures of the keys under one prefix, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Group {
    /// Keys that are there.
    pub keys: u64,
    /// Bytes of those keys.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Versions in the file, of deleted keys too, deletions not counted.
    pub versions: u64,
    /// Deletions in the file.
    pub tombstones: u64,
    /// Bytes of the values of all those versions.
    pub version_bytes: u64,
}

/// A key that stands out, with what it stands out by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The key.
    pub key: Vec<u8>,
    /// Bytes of the value, or the number of versions in the file.
    pub figure: u64,
}

/// What was written in some revisions on end, as far as it is still in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first revision.
    pub first: i64,
    /// The last revision, included.
    pub last: i64,
    /// Versions, deletions not counted.
    pub versions: u64,
    /// Deletions.
    pub tombstones: u64,
    /// Bytes of the values of those versions.
    pub version_bytes: u64,
}

/// Figures of a key space at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The revision.
    pub revision: i64,
    /// All keys together.
    pub total: Group,
    /// By prefix, in the order of the prefixes.
    pub groups: Vec<(Vec<u8>, Group)>,
    /// The largest values, the largest first.
    pub largest: Vec<Top>,
    /// The keys with the most versions in the file, the most first.
    pub most_rewritten: Vec<Top>,
    /// From the oldest revision in the file to this one, in spans of one width but for the last.
    pub spans: Vec<Span>,
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.key_bytes += other.key_bytes;
        self.value_bytes += other.value_bytes;
        self.versions += other.versions;
        self.tombstones += other.tombstones;
        self.version_bytes += other.version_bytes;
    }
}

impl Store {
    /// The figures of the keys of `range` at `revision`, of later revisions nothing: grouped by their first `depth`
    /// parts, the `top` that stand out, and what was written when, in at most `spans`. Reads no values.
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`].
    pub fn stats(
        &self,
        range: &KeyRange,
        revision: Option<i64>,
        depth: usize,
        top: usize,
        spans: usize,
        progress: &dyn Progress,
    ) -> Result<Stats> {
        let revision = self.resolve(revision)?;
        let index = self.index(progress)?;
        let mut total = Group::default();
        let mut groups = BTreeMap::<&[u8], Group>::new();
        let mut spans = Spans::new(index.first_revision().unwrap_or(revision).min(revision), revision, spans);
        let (mut largest, mut most) = (Best::new(top), Best::new(top));
        for id in index.positions(range).filter_map(|position| index.at(position)) {
            let key = index.key(id);
            let mut one = Group::default();
            for record in index.history(id).filter_map(|place| index.record(place)) {
                if record.revision.main > revision {
                    continue;
                }
                if one.versions + one.tombstones == 0 && !record.tombstone {
                    one.keys = 1;
                    one.key_bytes = key.len() as u64;
                    one.value_bytes = record.size.into();
                    largest.offer(record.size.into(), key);
                }
                one.versions += u64::from(!record.tombstone);
                one.tombstones += u64::from(record.tombstone);
                one.version_bytes += u64::from(record.size);
                spans.add(&record);
            }
            if one.versions + one.tombstones == 0 {
                continue;
            }
            most.offer(one.versions, key);
            total.add(&one);
            groups.entry(prefix(key, depth)).or_default().add(&one);
        }
        let groups = groups.into_iter().map(|(prefix, group)| (prefix.to_vec(), group)).collect();
        Ok(Stats {
            revision,
            total,
            groups,
            largest: largest.into_sorted(),
            most_rewritten: most.into_sorted(),
            spans: spans.counted,
        })
    }
}

/// The spans of a history while they are counted.
struct Spans {
    first: i64,
    width: i64,
    counted: Vec<Span>,
}

impl Spans {
    /// At most `most` spans for the revisions from `first` to `last`; fewer where there are fewer revisions.
    fn new(first: i64, last: i64, most: usize) -> Self {
        let revisions = last.saturating_sub(first).saturating_add(1).max(1);
        let most = i64::try_from(most).unwrap_or(i64::MAX).clamp(0, revisions);
        let width = revisions.checked_div(most).map_or(1, |width| width + i64::from(revisions % most != 0));
        let count = if most == 0 { 0 } else { (revisions - 1) / width + 1 };
        let span = |number: i64| Span {
            first: first + number * width,
            last: last.min((first + number * width).saturating_add(width - 1)),
            ..Span::default()
        };
        Self { first, width, counted: (0..count).map(span).collect() }
    }

    fn add(&mut self, record: &Record) {
        let number =
            usize::try_from(record.revision.main.saturating_sub(self.first) / self.width).unwrap_or(usize::MAX);
        if let Some(span) = self.counted.get_mut(number) {
            span.versions += u64::from(!record.tombstone);
            span.tombstones += u64::from(record.tombstone);
            span.version_bytes += u64::from(record.size);
        }
    }
}

/// The first `depth` parts of `key`, with the separator behind them; where there are fewer, all but the last part. A
/// separator at the very start begins the first part.
fn prefix(key: &[u8], depth: usize) -> &[u8] {
    let separators = key.iter().enumerate().skip(1).filter(|(_, byte)| **byte == SEPARATOR).map(|(at, _)| at);
    let end = separators.take(depth).last().map_or(0, |at| at + 1);
    let leading = usize::from(depth > 0 && end == 0 && key.first() == Some(&SEPARATOR));
    key.get(..end.max(leading)).unwrap_or_default()
}

/// The keys with the greatest figures; of equal ones those that come first.
struct Best<'a> {
    most: usize,
    heap: BinaryHeap<(Reverse<u64>, &'a [u8])>,
}

impl<'a> Best<'a> {
    fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, figure: u64, key: &'a [u8]) {
        self.heap.push((Reverse(figure), key));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    fn into_sorted(self) -> Vec<Top> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|(Reverse(figure), key)| Top { key: key.to_vec(), figure }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_so_many_parts_or_all_but_the_last() {
        for (key, depth, expected) in [
            (&b"/a/b/c"[..], 1, &b"/a/"[..]),
            (b"/a/b/c", 2, b"/a/b/"),
            (b"/a/b/c", 3, b"/a/b/"),
            (b"/a", 1, b"/"),
            (b"a/b/c", 1, b"a/"),
            (b"a/b/c", 2, b"a/b/"),
            (b"plain", 1, b""),
            (b"/a/b", 0, b""),
            (b"//b", 1, b"//"),
            (b"a/", 1, b"a/"),
        ] {
            assert_eq!(prefix(key, depth), expected, "{} at {depth}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn spans_cover_every_revision_once() {
        for (first, last, most) in [(1, 10, 3), (1, 10, 10), (5, 5, 4), (1, 3, 10), (2, 21, 6), (7, i64::MAX, 10)] {
            let spans = Spans::new(first, last, most).counted;

            assert!(!spans.is_empty() && spans.len() <= most, "{first} to {last} in {most}");
            assert_eq!((spans[0].first, spans[spans.len() - 1].last), (first, last));
            assert!(spans.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
            assert!(spans.iter().all(|span| span.first <= span.last));
        }
        assert_eq!(Spans::new(1, 10, 0).counted, []);
    }

    #[test]
    fn the_best_are_the_greatest_and_of_equals_the_first() {
        let mut best = Best::new(2);
        for (figure, key) in [(1, &b"a"[..]), (5, b"d"), (5, b"c"), (2, b"b"), (5, b"e")] {
            best.offer(figure, key);
        }

        let found: Vec<_> = best.into_sorted().into_iter().map(|top| (top.figure, top.key)).collect();
        assert_eq!(found, [(5, b"c".to_vec()), (5, b"d".to_vec())]);
    }
}
