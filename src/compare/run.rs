//! Two key spaces, wherever they are, side by side.

use std::collections::VecDeque;

use super::merge::{Counts, Difference, Merge, Side};
use super::source::Source;
use crate::error::Result;
use crate::progress::Progress;

/// Differences that are handed over at once: few enough to keep an event loop that takes them for a moment only.
const MOST: usize = 256;
/// Bytes of values that are handed over at once, one difference at least.
const VALUE_BYTES: u64 = 8 << 20;
/// Differences whose values are read at once where a side is compressed. Keys in order lie at random in it, and each time
/// it may have to inflate all of its blocks.
const COMPRESSED_MOST: usize = 1 << 16;
/// The same for the bytes of their values, one difference at least.
const COMPRESSED_VALUE_BYTES: u64 = 64 << 20;

/// A difference, with its values where they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What differs.
    pub difference: Difference,
    /// The value in A; `None` too where values are not wanted.
    pub value_a: Option<Vec<u8>>,
    /// The value in B.
    pub value_b: Option<Vec<u8>>,
}

impl Found {
    fn value_bytes(&self) -> u64 {
        [&self.value_a, &self.value_b].into_iter().flatten().map(|value| value.len() as u64).sum()
    }
}

/// A comparison on its way.
pub struct Comparison {
    a: Source,
    b: Source,
    values: bool,
    merge: Merge,
    /// What is found, with its values, and not handed over yet.
    ready: VecDeque<Found>,
}

/// Feeds a side that has run dry, and says whether there was one. A snapshot comes before a cluster, which is then asked
/// for the keys that lie beside those of the snapshot.
///
/// # Errors
/// Those of [`Source::next`].
pub async fn feed(
    merge: &mut Merge,
    (a, b): (&mut Source, &mut Source),
    keep: bool,
    progress: &dyn Progress,
) -> Result<bool> {
    let dry = [Side::A, Side::B].into_iter().filter(|side| merge.is_dry(*side));
    let page_keys = |side| if side == Side::A { a.page_keys() } else { b.page_keys() };
    let Some(side) = dry.min_by_key(|side| page_keys(*side).is_some()) else { return Ok(false) };
    let near = page_keys(side).and_then(|keys| merge.ahead(side, keys));
    let source = if side == Side::A { a } else { b };
    let batch = source.next(near, keep, progress).await?;
    merge.feed(side, batch);
    Ok(true)
}

impl Comparison {
    /// Begins to compare; `values` says whether differences come with their values.
    #[must_use]
    pub fn new(a: Source, b: Source, values: bool) -> Self {
        Self { a, b, values, merge: Merge::new(), ready: VecDeque::new() }
    }

    /// The revisions that are compared.
    #[must_use]
    pub fn revisions(&self) -> (i64, i64) {
        (self.a.revision(), self.b.revision())
    }

    /// The next differences in the order of their keys; none at the end.
    ///
    /// # Errors
    /// Those of [`Source::next`].
    pub async fn next(&mut self, progress: &dyn Progress) -> Result<Vec<Found>> {
        while self.ready.is_empty() {
            let found = self.take();
            if !found.is_empty() {
                self.ready = self.with_values(found, progress)?;
            } else if !feed(&mut self.merge, (&mut self.a, &mut self.b), self.values, progress).await? {
                break;
            }
        }
        Ok(self.hand_over())
    }

    /// The first of what is ready.
    fn hand_over(&mut self) -> Vec<Found> {
        let mut handed = Vec::new();
        let mut bytes = 0;
        while handed.len() < MOST && bytes < VALUE_BYTES {
            let Some(found) = self.ready.pop_front() else { break };
            bytes += found.value_bytes();
            handed.push(found);
        }
        handed
    }

    /// What was counted so far, which may be ahead of what is handed over.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.merge.counts()
    }

    /// The differences among what is fed.
    fn take(&mut self) -> Vec<Difference> {
        let compressed = self.values && (self.a.is_compressed() || self.b.is_compressed());
        let (most, most_bytes) =
            if compressed { (COMPRESSED_MOST, COMPRESSED_VALUE_BYTES) } else { (MOST, VALUE_BYTES) };
        let mut found = Vec::new();
        let mut bytes = 0;
        while found.len() < most && bytes < most_bytes {
            let Some(difference) = self.merge.next_difference() else { break };
            if self.values {
                bytes += [difference.a, difference.b].iter().flatten().map(|digest| digest.size).sum::<u64>();
            }
            found.push(difference);
        }
        found
    }

    fn with_values(&self, differences: Vec<Difference>, progress: &dyn Progress) -> Result<VecDeque<Found>> {
        if !self.values {
            let found = |difference| Found { difference, value_a: None, value_b: None };
            return Ok(differences.into_iter().map(found).collect());
        }
        let keys = |of: fn(&Difference) -> bool| differences.iter().filter(move |one| of(one)).map(|one| &*one.key);
        let mut a = self.a.values(keys(|one| one.a.is_some()), progress)?.into_iter();
        let mut b = self.b.values(keys(|one| one.b.is_some()), progress)?.into_iter();
        let found = |difference: Difference| {
            let value_a = difference.a.and_then(|_| a.next());
            let value_b = difference.b.and_then(|_| b.next());
            Found { difference, value_a, value_b }
        };
        Ok(differences.into_iter().map(found).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use tokio::runtime::Builder;

    use super::*;
    use crate::archive::Compression;
    use crate::archive::tests::archive;
    use crate::compose::{Change, make_snapshot};
    use crate::history::{KeyRange, Store};
    use crate::progress::NoProgress;

    const KEYS: usize = 3000;
    /// What a snapshot gives first.
    const FIRST: usize = 1024;

    fn value(number: usize, side: &str) -> Vec<u8> {
        format!("{side}{number}").into_bytes()
    }

    /// A snapshot whose keys do not lie in their order.
    fn snapshot(directory: &Path, side: &str) -> Vec<u8> {
        let change = |number| Change { key: format!("/{number:05}").into_bytes(), value: Some(value(number, side)) };
        let changes: Vec<_> = (0..KEYS).map(|number| change(number * 7 % KEYS)).collect();
        let path = directory.join(side);
        make_snapshot(&path, &changes).unwrap();
        fs::read(path).unwrap()
    }

    /// Compares two snapshots of other values, A archived or not; gives what came at once, and what was ready then.
    fn compared(packed: bool) -> Vec<(Vec<Found>, usize)> {
        let directory = tempfile::tempdir().unwrap();
        let source = |side: &str, packed: bool| {
            let bytes = snapshot(directory.path(), side);
            let path = directory.path().join(format!("{side} as it is read"));
            fs::write(&path, if packed { archive(Compression::Zstd, &bytes) } else { bytes }).unwrap();
            let store = Arc::new(Store::open(&path, &NoProgress).unwrap());
            assert_eq!(store.is_compressed(), packed);
            Source::stored(store, &KeyRange::all(), None, &NoProgress).unwrap()
        };
        let mut comparison = Comparison::new(source("a", packed), source("b", false), true);
        let runtime = Builder::new_current_thread().build().unwrap();
        let handed = || {
            let found = runtime.block_on(comparison.next(&NoProgress)).unwrap();
            Some((found, comparison.ready.len())).filter(|(found, _)| !found.is_empty())
        };
        std::iter::from_fn(handed).collect()
    }

    #[test]
    fn values_of_an_archive_are_read_many_at_once_and_handed_over_few_at_once() {
        for (packed, first, most) in [(true, FIRST - MOST, KEYS - FIRST - MOST), (false, 0, 0)] {
            let handed = compared(packed);
            assert!(handed.iter().all(|(found, _)| found.len() <= MOST));
            assert_eq!(handed.first().map(|(found, ready)| (found.len(), *ready)), Some((MOST, first)));
            assert_eq!(handed.iter().map(|(_, ready)| *ready).max(), Some(most));
            let found: Vec<_> = handed.into_iter().flat_map(|(found, _)| found).collect();
            assert_eq!(found.len(), KEYS);
            for (number, one) in found.into_iter().enumerate() {
                assert_eq!(one.difference.key, format!("/{number:05}").into_bytes());
                assert_eq!((one.value_a, one.value_b), (Some(value(number, "a")), Some(value(number, "b"))));
            }
        }
    }
}
