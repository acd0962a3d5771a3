//! Sets of page numbers.

use std::collections::BTreeMap;

const WORD_BITS: u64 = 64;
/// Few, so that page numbers far apart, of which a hostile freelist may be made, take little each.
const CHUNK_WORDS: usize = 64;
const CHUNK_BITS: u64 = WORD_BITS * CHUNK_WORDS as u64;

/// A bitmap that is there only where it has bits: a sparse file may claim any number of pages, and memory is taken
/// for those that were seen.
#[derive(Debug, Default)]
pub(super) struct PageSet {
    chunks: BTreeMap<u64, Box<[u64]>>,
    len: u64,
}

impl PageSet {
    /// Whether `page` was new.
    pub(super) fn insert(&mut self, page: u64) -> bool {
        let (chunk, word, bit) = place(page);
        let words = self.chunks.entry(chunk).or_insert_with(|| vec![0; CHUNK_WORDS].into_boxed_slice());
        let Some(word) = words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        self.len += u64::from(new);
        new
    }

    /// Puts `count` pages from `first` on into the set.
    pub(super) fn insert_all(&mut self, first: u64, count: u64) {
        for (chunk, word, mask) in masks(first, count) {
            let words = self.chunks.entry(chunk).or_insert_with(|| vec![0; CHUNK_WORDS].into_boxed_slice());
            if let Some(word) = words.get_mut(word) {
                self.len += u64::from((mask & !*word).count_ones());
                *word |= mask;
            }
        }
    }

    /// Whether any of `count` pages from `first` on is in the set.
    pub(super) fn has_any(&self, first: u64, count: u64) -> bool {
        masks(first, count).any(|(chunk, word, mask)| self.word(chunk, word) & mask != 0)
    }

    pub(super) fn contains(&self, page: u64) -> bool {
        let (chunk, word, bit) = place(page);
        self.word(chunk, word) & bit != 0
    }

    /// Number of pages in the set.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Calls `found(first, count)` for each run of pages below `end` that are in neither set.
    pub(super) fn gaps(&self, other: &Self, end: u64, found: &mut dyn FnMut(u64, u64)) {
        let mut start = None;
        let mut page = 0;
        while page < end {
            let (chunk, word, _) = place(page);
            if page % CHUNK_BITS == 0 && !self.chunks.contains_key(&chunk) && !other.chunks.contains_key(&chunk) {
                start = start.or(Some(page));
                page = page.saturating_add(CHUNK_BITS);
                continue;
            }
            let taken = self.word(chunk, word) | other.word(chunk, word);
            for bit in 0..WORD_BITS.min(end - page) {
                if taken & (1 << bit) == 0 {
                    start = start.or(Some(page + bit));
                } else if let Some(first) = start.take() {
                    found(first, page + bit - first);
                }
            }
            page += WORD_BITS;
        }
        if let Some(first) = start {
            found(first, end - first);
        }
    }

    fn word(&self, chunk: u64, word: usize) -> u64 {
        self.chunks.get(&chunk).and_then(|words| words.get(word)).copied().unwrap_or_default()
    }
}

fn place(page: u64) -> (u64, usize, u64) {
    let within = page % CHUNK_BITS;
    // Below CHUNK_WORDS, so it fits whatever usize is.
    let word = usize::try_from(within / WORD_BITS).unwrap_or_default();
    (page / CHUNK_BITS, word, 1 << (within % WORD_BITS))
}

/// The words that hold `count` pages from `first` on, each with the bits of those pages.
fn masks(first: u64, count: u64) -> impl Iterator<Item = (u64, usize, u64)> {
    let end = first.saturating_add(count);
    let mut page = first;
    std::iter::from_fn(move || {
        if page >= end {
            return None;
        }
        let (chunk, word, bit) = place(page);
        let bits = (WORD_BITS - page % WORD_BITS).min(end - page);
        page += bits;
        let ones = if bits == WORD_BITS { u64::MAX } else { (1 << bits) - 1 };
        Some((chunk, word, ones * bit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_new_once() {
        let mut set = PageSet::default();
        for page in [0, 1, 63, 64, 32767, 32768, u64::MAX] {
            assert!(!set.contains(page));
            assert!(set.insert(page));
            assert!(!set.insert(page));
            assert!(set.contains(page));
        }
        assert_eq!(set.len(), 7);
    }

    #[test]
    fn a_stretch_goes_in_as_its_pages_would() {
        for (first, count) in [(0, 1), (5, 0), (62, 4), (64, 64), (4_090, 70), (100, 9_000)] {
            let (mut whole, mut single) = (PageSet::default(), PageSet::default());
            for set in [&mut whole, &mut single] {
                set.insert(first + 1);
            }
            whole.insert_all(first, count);
            for page in first..first + count {
                single.insert(page);
            }
            assert_eq!((whole.len(), &whole.chunks), (single.len(), &single.chunks), "{first} {count}");
            assert_eq!(whole.has_any(first, count), count > 0);
            let end = (first + count).max(first + 2);
            assert!(!whole.has_any(end, 10_000), "{first} {count}");
            assert!(whole.has_any(first, end + 1));
        }
    }

    #[test]
    fn gaps_are_the_runs_that_are_in_neither_set() {
        let (mut one, mut other) = (PageSet::default(), PageSet::default());
        for page in [0, 1, 5, 100_000] {
            one.insert(page);
        }
        for page in [2, 6, 64] {
            other.insert(page);
        }
        let mut runs = Vec::new();
        one.gaps(&other, 100_010, &mut |first, count| runs.push((first, count)));
        assert_eq!(runs, [(3, 2), (7, 57), (65, 99_935), (100_001, 9)]);
    }

    #[test]
    fn a_huge_claim_costs_little() {
        let mut runs = Vec::new();
        let mut set = PageSet::default();
        set.insert(0);
        set.gaps(&PageSet::default(), 1 << 35, &mut |first, count| runs.push((first, count)));
        assert_eq!(runs, [(1, (1 << 35) - 1)]);
    }
}
