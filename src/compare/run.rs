//! Two key spaces, wherever they are, side by side.

use super::merge::{Counts, Difference, Merge, Side};
use super::source::Source;
use crate::error::Result;
use crate::progress::Progress;

/// Differences that are handed over at once: few enough to keep an event loop that takes them for a moment only.
const MOST: usize = 256;
/// Bytes of values that are handed over at once, one difference at least.
const VALUE_BYTES: u64 = 8 << 20;

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

/// A comparison on its way.
pub struct Comparison {
    a: Source,
    b: Source,
    values: bool,
    merge: Merge,
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
        Self { a, b, values, merge: Merge::new() }
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
        loop {
            let found = self.take();
            if !found.is_empty() {
                return self.with_values(found, progress);
            }
            if !feed(&mut self.merge, (&mut self.a, &mut self.b), self.values, progress).await? {
                return Ok(Vec::new());
            }
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.merge.counts()
    }

    /// The differences among what is fed.
    fn take(&mut self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut bytes = 0;
        while found.len() < MOST && bytes < VALUE_BYTES {
            let Some(difference) = self.merge.next_difference() else { break };
            if self.values {
                bytes += [difference.a, difference.b].iter().flatten().map(|digest| digest.size).sum::<u64>();
            }
            found.push(difference);
        }
        found
    }

    fn with_values(&self, differences: Vec<Difference>, progress: &dyn Progress) -> Result<Vec<Found>> {
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
