//! Live keys, counted exactly and in bounded memory.
//!
//! What lives is decided by the order of puts and tombstones alone, as in `etcdutl`: no claim of a record about its
//! key (`create_revision`, `version`) is relied on. Counting by such claims would need no table, but a file in which
//! one key is created twice would be miscounted without a sign; and to notice that takes memory for every key, or
//! several readings. So there is a table of fingerprints of fixed size. A database with more live keys than it holds is
//! read again, once for each share of the keys that it does hold.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Most fingerprints in the table, of 8 bytes each.
const MAX_SLOTS: usize = 5 << 20;
/// Least bytes of a database that a live key takes: an element, a revision and a key value.
const BYTES_PER_KEY: u64 = 32;
/// Most keys on missing leases that are remembered at a time.
const MAX_DANGLING: usize = 128 << 10;
/// Most stored leases that keys are compared with, of 8 bytes each.
pub(super) const MAX_LEASES: usize = 1 << 20;

/// A key by 96 bits.
///
/// Two keys with one fingerprint would make the count one too small. The two hashers are keyed at random in each
/// process, so no file can be made to bring that about. Of the first half the table keeps only where it put the
/// second: two keys are one to it when the second halves agree and the first ones lead to the same run of slots,
/// which for four million keys happens once in 10^11 readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint {
    pub(super) place: u32,
    pub(super) tag: u64,
}

/// Makes fingerprints; the same on every thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashers(Arc<(RandomState, RandomState)>);

impl Hashers {
    pub(super) fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        // The upper half decides where among the slots it begins.
        let place = u32::try_from(self.0.0.hash_one(key) >> 32).unwrap_or_default();
        Fingerprint { place, tag: self.0.1.hash_one(key) }
    }
}

/// What a record does to the set of live keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Put,
    /// With a lease that is not stored.
    PutDangling,
    Delete,
}

/// What a record does to which key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    key: Fingerprint,
    act: Act,
}

/// Makes changes of records; the same on every thread.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    hashers: Hashers,
    /// Ids of the stored leases, ascending; `None` where they are not compared.
    leases: Option<Arc<[i64]>>,
    share: Share,
}

/// Which of all keys are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    index: u64,
    of: u64,
}

impl Share {
    fn has(self, key: Fingerprint) -> bool {
        scaled(key.tag, self.of) == self.index
    }
}

impl Reading {
    /// What a record does; `None` where its key is in another share.
    pub(super) fn change(&self, key: &[u8], lease: i64, tombstone: bool) -> Option<Change> {
        self.change_of(self.hashers.fingerprint(key), lease, tombstone)
    }

    /// What a record of the key with this fingerprint does.
    pub(super) fn change_of(&self, key: Fingerprint, lease: i64, tombstone: bool) -> Option<Change> {
        let stored = || self.leases.as_ref().is_none_or(|leases| leases.binary_search(&lease).is_ok());
        let act = if tombstone {
            Act::Delete
        } else if lease == 0 || stored() {
            Act::Put
        } else {
            Act::PutDangling
        };
        self.share.has(key).then_some(Change { key, act })
    }
}

/// What the changes add up to.
#[derive(Debug)]
pub(super) struct Census {
    reading: Reading,
    table: Table,
    dangling: HashSet<Fingerprint>,
    max_dangling: usize,
    /// Puts of all readings' first, which are no fewer than keys.
    puts: u64,
    dangling_puts: u64,
    full: bool,
    /// Of the shares that are done.
    live: u64,
    on_missing_leases: u64,
}

impl Census {
    /// For a database of `size` bytes that stores `leases` (`None` where they are not to be compared).
    pub(super) fn new(size: u64, hashers: Hashers, leases: Option<Vec<i64>>) -> Self {
        let slots = usize::try_from(size / BYTES_PER_KEY).unwrap_or(MAX_SLOTS);
        Self::with_limits(slots.clamp(1 << 10, MAX_SLOTS), MAX_DANGLING, hashers, leases)
    }

    fn with_limits(slots: usize, max_dangling: usize, hashers: Hashers, leases: Option<Vec<i64>>) -> Self {
        let leases = leases.map(|mut leases| {
            leases.sort_unstable();
            leases.into()
        });
        let share = Share { index: 0, of: 1 };
        Self {
            reading: Reading { hashers, leases, share },
            table: Table::new(slots),
            dangling: HashSet::new(),
            max_dangling,
            puts: 0,
            dangling_puts: 0,
            full: false,
            live: 0,
            on_missing_leases: 0,
        }
    }

    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Takes in the next change, in the order of revisions.
    pub(super) fn take(&mut self, change: Change) {
        let Change { key, act } = change;
        if self.reading.share.of == 1 {
            self.puts += u64::from(act != Act::Delete);
            self.dangling_puts += u64::from(act == Act::PutDangling);
        }
        if self.full {
            return;
        }
        let taken = match act {
            Act::Put | Act::PutDangling => self.table.insert(key),
            Act::Delete => {
                self.table.remove(key);
                true
            }
        };
        if act == Act::PutDangling {
            self.dangling.insert(key);
        } else if !self.dangling.is_empty() {
            self.dangling.remove(&key);
        }
        self.full = !taken || self.dangling.len() > self.max_dangling;
    }

    /// Ends a reading. `true` when the database has to be read once more.
    pub(super) fn next_reading(&mut self) -> bool {
        let Share { index, of } = self.reading.share;
        self.reading.share = if !self.full {
            self.live += self.table.live as u64;
            self.on_missing_leases += self.dangling.len() as u64;
            Share { index: index + 1, of }
        } else if of == 1 {
            // Shares are even, so that a little room is enough.
            let shares = |all: u64, room: usize| all.div_ceil((room as u64 / 16 * 15).max(1));
            let of = shares(self.puts, self.table.room).max(shares(self.dangling_puts, self.max_dangling)).max(2);
            Share { index: 0, of }
        } else {
            // By chance a share did not fit; smaller ones begin anew.
            (self.live, self.on_missing_leases) = (0, 0);
            Share { index: 0, of: of * 2 }
        };
        self.full = false;
        self.dangling.clear();
        let more = self.reading.share.index < self.reading.share.of;
        if more {
            self.table.clear();
        }
        more
    }

    /// Live keys, after the last reading.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Live keys on a lease that is not stored, after the last reading.
    pub(super) fn on_missing_leases(&self) -> u64 {
        self.on_missing_leases
    }
}

/// A set of fingerprints in one array: linear probing from `place`, `tag` in the slot.
#[derive(Debug)]
struct Table {
    slots: Vec<u64>,
    live: usize,
    /// Slots that are not [`EMPTY`].
    used: usize,
    /// Most that may be used.
    room: usize,
}

const EMPTY: u64 = 0;
/// Of a key that was removed: probing goes on behind it.
const REMOVED: u64 = 1;

impl Table {
    fn new(slots: usize) -> Self {
        Self { slots: vec![EMPTY; slots], live: 0, used: 0, room: slots / 8 * 7 }
    }

    fn clear(&mut self) {
        self.slots.fill(EMPTY);
        (self.live, self.used) = (0, 0);
    }

    /// `false` when there is no room for one more.
    fn insert(&mut self, key: Fingerprint) -> bool {
        let tag = tag(key);
        let mut free = None;
        for at in self.probe(key) {
            match self.slots.get(at).copied() {
                Some(REMOVED) => free = free.or(Some(at)),
                Some(EMPTY) | None => {
                    if free.is_none() {
                        if self.used >= self.room {
                            return false;
                        }
                        self.used += 1;
                    }
                    self.put(free.unwrap_or(at), tag);
                    self.live += 1;
                    return true;
                }
                Some(found) if found == tag => return true,
                Some(_) => {}
            }
        }
        false
    }

    fn remove(&mut self, key: Fingerprint) {
        let tag = tag(key);
        for at in self.probe(key) {
            match self.slots.get(at).copied() {
                Some(EMPTY) | None => return,
                Some(found) if found == tag => {
                    self.live -= 1;
                    self.vacate(at);
                    return;
                }
                Some(_) => {}
            }
        }
    }

    /// Empties the slot `at`. It need not be stepped over where probing ends behind it anyway.
    fn vacate(&mut self, mut at: usize) {
        self.put(at, REMOVED);
        let behind = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        if self.slots.get(behind) != Some(&EMPTY) {
            return;
        }
        while self.slots.get(at) == Some(&REMOVED) {
            self.put(at, EMPTY);
            self.used -= 1;
            at = at.checked_sub(1).unwrap_or(self.slots.len() - 1);
        }
    }

    fn put(&mut self, at: usize, tag: u64) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = tag;
        }
    }

    fn probe(&self, key: Fingerprint) -> impl Iterator<Item = usize> + use<> {
        let slots = self.slots.len();
        // Less than the number of slots, so it fits.
        let start = usize::try_from(scaled(u64::from(key.place) << 32, slots as u64)).unwrap_or_default();
        (start..slots).chain(0..start)
    }
}

/// What lies in the slot: never one of the two marks.
fn tag(key: Fingerprint) -> u64 {
    if key.tag > REMOVED { key.tag } else { key.tag + 2 }
}

/// `value` of all of `u64`, brought down to less than `end`.
fn scaled(value: u64, end: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(end)) >> 64;
    u64::try_from(scaled).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Record = (u16, Option<i64>);

    /// Live keys and those on missing leases, by the letter.
    fn expected(records: &[Record], leases: &[i64]) -> (u64, u64) {
        let mut live = BTreeMap::new();
        for (key, lease) in records {
            match lease {
                Some(lease) => live.insert(*key, *lease),
                None => live.remove(key),
            };
        }
        let dangling = live.values().filter(|lease| **lease != 0 && !leases.contains(lease)).count();
        (live.len() as u64, dangling as u64)
    }

    /// The same by as many readings as it takes, and their number.
    fn counted(census: &mut Census, records: &[Record]) -> (u64, u64, u32) {
        let mut readings = 0;
        loop {
            readings += 1;
            for (key, lease) in records {
                let change = census.reading().change(&key.to_be_bytes(), lease.unwrap_or_default(), lease.is_none());
                if let Some(change) = change {
                    census.take(change);
                }
            }
            if !census.next_reading() {
                return (census.live(), census.on_missing_leases(), readings);
            }
        }
    }

    proptest! {
        #[test]
        fn any_table_counts_as_a_map_does(
            records in proptest::collection::vec((0_u16..300, proptest::option::weighted(0.7, 0_i64..6)), 0..500),
            leases in proptest::collection::btree_set(1_i64..6, 0..6),
            slots in prop_oneof![Just(16_usize), Just(64), Just(1_000)],
            max_dangling in 1_usize..40,
        ) {
            let leases: Vec<i64> = BTreeSet::into_iter(leases).collect();
            let mut census = Census::with_limits(slots, max_dangling, Hashers::default(), Some(leases.clone()));
            let (live, dangling, _) = counted(&mut census, &records);
            prop_assert_eq!((live, dangling), expected(&records, &leases));
        }
    }

    #[test]
    fn what_fits_is_counted_in_one_reading_and_what_does_not_in_shares() {
        let records: Vec<Record> = (0..10_000).map(|key| (key, Some(0))).collect();
        for (slots, readings) in [(12_000, 1), (10_000, 3), (2_000, 8)] {
            let mut census = Census::with_limits(slots, MAX_DANGLING, Hashers::default(), None);
            assert_eq!(counted(&mut census, &records), (10_000, 0, readings), "{slots} slots");
        }
    }

    #[test]
    fn slots_of_removed_keys_are_used_again() {
        let churn = (0..60_000_u32).flat_map(|turn| {
            let key = u16::try_from(turn % 50_000).unwrap();
            [(key, Some(0)), (key, None)]
        });
        let records: Vec<Record> = churn.chain([(7, Some(0))]).collect();
        let mut census = Census::with_limits(64, MAX_DANGLING, Hashers::default(), None);
        assert_eq!(counted(&mut census, &records), (1, 0, 1));
    }

    #[test]
    fn the_table_is_as_large_as_the_database_may_need_and_no_larger_than_its_bound() {
        let slots = |size| Census::new(size, Hashers::default(), None).table.slots.len();
        assert_eq!(
            (slots(0), slots(1 << 20), slots(1 << 28), slots(1 << 40)),
            (1 << 10, 1 << 15, MAX_SLOTS, MAX_SLOTS)
        );
    }
}
