//! The merge.

use std::cmp::Ordering;

use crate::history::{Digest, Digests};

/// One of the two key spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first one.
    A,
    /// The second one, to which the first has changed.
    B,
}

/// What became of a key on the way from A to B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Only B has it.
    Added,
    /// Only A has it.
    Removed,
    /// The values differ.
    Value,
    /// The same value hangs on another lease.
    Lease,
    /// The same value on the same lease, of another revision or version.
    Rewritten,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Value => "value",
            Self::Lease => "lease",
            Self::Rewritten => "rewritten",
        }
    }

    fn between(a: &Digest, b: &Digest) -> Option<Self> {
        let revisions = |digest: &Digest| (digest.create_revision, digest.mod_revision, digest.version);
        if !a.same_value(b) {
            Some(Self::Value)
        } else if a.lease != b.lease {
            Some(Self::Lease)
        } else if revisions(a) != revisions(b) {
            Some(Self::Rewritten)
        } else {
            None
        }
    }
}

/// A key that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Vec<u8>,
    /// What became of it.
    pub change: Change,
    /// The key in A, if it is there.
    pub a: Option<Digest>,
    /// The key in B, if it is there.
    pub b: Option<Digest>,
}

/// How many keys were seen, and how many of them are of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Keys of A.
    pub keys_a: u64,
    /// Keys of B.
    pub keys_b: u64,
    /// Only in B.
    pub added: u64,
    /// Only in A.
    pub removed: u64,
    /// Of another value.
    pub value: u64,
    /// Of the same value on another lease.
    pub lease: u64,
    /// Of the same value on the same lease, and another revision or version.
    pub rewritten: u64,
    /// The same in all.
    pub same: u64,
}

impl Counts {
    fn count(&mut self, change: Option<Change>) {
        let counter = match change {
            Some(Change::Added) => &mut self.added,
            Some(Change::Removed) => &mut self.removed,
            Some(Change::Value) => &mut self.value,
            Some(Change::Lease) => &mut self.lease,
            Some(Change::Rewritten) => &mut self.rewritten,
            None => &mut self.same,
        };
        *counter += 1;
        self.keys_a += u64::from(change != Some(Change::Added));
        self.keys_b += u64::from(change != Some(Change::Removed));
    }
}

/// One side: the batch that is being merged, and how far.
#[derive(Debug, Default)]
struct Half {
    batch: Digests,
    at: usize,
    ended: bool,
}

impl Half {
    fn head(&self) -> Option<(&[u8], &Digest)> {
        self.batch.get(self.at)
    }

    fn is_dry(&self) -> bool {
        !self.ended && self.at >= self.batch.len()
    }
}

/// Finds the differences of two key spaces whose keys come in order.
#[derive(Debug, Default)]
pub struct Merge {
    a: Half,
    b: Half,
    counts: Counts,
}

impl Merge {
    /// Nothing is fed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this side must be fed before there can be another difference; neither must at the end.
    #[must_use]
    pub fn is_dry(&self, side: Side) -> bool {
        match side {
            Side::A => self.a.is_dry(),
            Side::B => self.b.is_dry(),
        }
    }

    /// The key that is so many keys ahead on the other side, or the last one that is fed there.
    #[must_use]
    pub fn ahead(&self, side: Side, keys: usize) -> Option<&[u8]> {
        let other = match side {
            Side::A => &self.b,
            Side::B => &self.a,
        };
        let last = other.batch.len().checked_sub(1).filter(|last| other.at <= *last)?;
        other.batch.get(last.min(other.at.saturating_add(keys))).map(|(key, _)| key)
    }

    /// Takes the next keys of a side that is dry; none says that there are no more.
    pub fn feed(&mut self, side: Side, batch: Digests) {
        let half = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        };
        *half = Half { ended: batch.is_empty(), batch, at: 0 };
    }

    /// The next difference; `None` when a side [is dry](Self::is_dry), and at the end. Keys that are the same
    /// are only counted.
    pub fn next_difference(&mut self) -> Option<Difference> {
        while !self.a.is_dry() && !self.b.is_dry() {
            let (order, key, a, b) = match (self.a.head(), self.b.head()) {
                (None, None) => return None,
                (Some((key, a)), None) => (Ordering::Less, key, Some(*a), None),
                (None, Some((key, b))) => (Ordering::Greater, key, None, Some(*b)),
                (Some((key, a)), Some((other, b))) => match key.cmp(other) {
                    Ordering::Less => (Ordering::Less, key, Some(*a), None),
                    Ordering::Equal => (Ordering::Equal, key, Some(*a), Some(*b)),
                    Ordering::Greater => (Ordering::Greater, other, None, Some(*b)),
                },
            };
            let change = match (&a, &b) {
                (Some(a), Some(b)) => Change::between(a, b),
                (Some(_), None) => Some(Change::Removed),
                (None, _) => Some(Change::Added),
            };
            let found = change.map(|change| Difference { key: key.to_vec(), change, a, b });
            self.a.at += usize::from(order != Ordering::Greater);
            self.b.at += usize::from(order != Ordering::Less);
            self.counts.count(change);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// Value, lease and mod revision.
    type Version = (Vec<u8>, i64, i64);
    type Space = BTreeMap<Vec<u8>, Version>;

    fn digest(version: &Version) -> Digest {
        let (value, lease, mod_revision) = version;
        Digest { lease: *lease, mod_revision: *mod_revision, ..Digest::default() }.with_value(value)
    }

    fn batches(space: &Space, rows: usize) -> Vec<Digests> {
        let entries: Vec<_> = space.iter().collect();
        let batch = |chunk: &[(&Vec<u8>, &Version)]| {
            let mut digests = Digests::default();
            for (key, version) in chunk {
                digests.push(key, digest(version));
            }
            digests
        };
        entries.chunks(rows).map(batch).collect()
    }

    fn differences(a: &Space, b: &Space, rows: (usize, usize)) -> (Vec<Difference>, Counts) {
        let (mut a, mut b) = (batches(a, rows.0).into_iter(), batches(b, rows.1).into_iter());
        let mut merge = Merge::new();
        let mut found = Vec::new();
        loop {
            found.extend(std::iter::from_fn(|| merge.next_difference()));
            if merge.is_dry(Side::A) {
                merge.feed(Side::A, a.next().unwrap_or_default());
            } else if merge.is_dry(Side::B) {
                merge.feed(Side::B, b.next().unwrap_or_default());
            } else {
                return (found, merge.counts());
            }
        }
    }

    fn expected(a: &Space, b: &Space) -> Vec<(Vec<u8>, Change)> {
        let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).cloned().collect();
        let change = |key: &Vec<u8>| match (a.get(key), b.get(key)) {
            (None, _) => Some(Change::Added),
            (_, None) => Some(Change::Removed),
            (Some(a), Some(b)) if a.0 != b.0 => Some(Change::Value),
            (Some(a), Some(b)) if a.1 != b.1 => Some(Change::Lease),
            (Some(a), Some(b)) if a.2 != b.2 => Some(Change::Rewritten),
            _ => None,
        };
        keys.into_iter().filter_map(|key| change(&key).map(|change| (key, change))).collect()
    }

    fn spaces() -> impl Strategy<Value = Space> {
        let key = vec(0_u8..3, 1..4);
        btree_map(key, (vec(0_u8..2, 0..2), 0_i64..2, 2_i64..4), 0..30)
    }

    proptest! {
        #[test]
        fn the_differences_are_those_of_two_maps(a in spaces(), b in spaces(), rows in (1_usize..7, 1_usize..7)) {
            let (found, counts) = differences(&a, &b, rows);

            prop_assert_eq!(expected(&a, &b), found.iter().map(|one| (one.key.clone(), one.change)).collect::<Vec<_>>());
            for one in &found {
                prop_assert_eq!(one.a, a.get(&one.key).map(digest));
                prop_assert_eq!(one.b, b.get(&one.key).map(digest));
            }
            prop_assert_eq!((counts.keys_a, counts.keys_b), (a.len() as u64, b.len() as u64));
            let differing = counts.added + counts.removed + counts.value + counts.lease + counts.rewritten;
            prop_assert_eq!(differing, found.len() as u64);
            prop_assert_eq!(counts.same, a.iter().filter(|(key, version)| b.get(*key) == Some(version)).count() as u64);
        }
    }

    #[test]
    fn nothing_differs_from_nothing() {
        assert_eq!(differences(&Space::new(), &Space::new(), (1, 1)), (Vec::new(), Counts::default()));
    }
}
