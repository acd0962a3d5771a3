//! Any history, any selection: what is written is what a filter over all entries leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Seek};
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::pass::{Job, Outcome, read_back, write};
use super::{Repairs, Rewrite};
use crate::bbolt::{Append, Database, Element, Entries, Entry, Patch, Visitor, build, walk};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::progress::{NoProgress, Progress, Stage};
use crate::schema::{KeyValue, Revision, RevisionKey, buckets};
use crate::snapshot::Contents;

type Buckets = BTreeMap<Vec<u8>, Entries>;

/// One change of a transaction: a key, a lease for a put, nothing for a deletion.
type Change = (u8, Option<i64>);

fn key(number: u8) -> Vec<u8> {
    [b"/a/", b"/b/", b"\xff\xfe\xfd"][usize::from(number) % 3].iter().copied().chain([number]).collect()
}

/// A database with these transactions, the first of which is revision 2.
fn database(transactions: &[Vec<Change>]) -> Buckets {
    let mut versions = Entries::new();
    for (main, changes) in (2..).zip(transactions) {
        for (sub, (number, lease)) in (0..).zip(changes) {
            let mut name = Revision { main, sub }.to_bytes().to_vec();
            let user_key = key(*number);
            let mut kv = KeyValue { key: &user_key, ..KeyValue::default() };
            match lease {
                None => name.push(RevisionKey::TOMBSTONE),
                Some(lease) => {
                    kv = KeyValue { create_revision: main, mod_revision: main, version: 1, lease: *lease, ..kv };
                    kv.value = b"value";
                }
            }
            let mut value = Vec::new();
            kv.encode(&mut value);
            versions.insert(name, value);
        }
    }
    let lease = |id: i64| (id.to_be_bytes().to_vec(), vec![8, u8::try_from(id).unwrap(), 16, 60]);
    Buckets::from([
        (buckets::ALARM.to_vec(), Entries::from([(b"\x08\x05\x10\x01".to_vec(), Vec::new())])),
        (buckets::KEY.to_vec(), versions),
        (buckets::LEASE.to_vec(), Entries::from([lease(1), lease(2)])),
        (buckets::META.to_vec(), Entries::from([(buckets::META_TERM.to_vec(), vec![0; 8])])),
    ])
}

#[derive(Default)]
struct Seen {
    buckets: BTreeMap<Vec<u8>, Vec<Entry>>,
    name: Vec<u8>,
}

impl Visitor for Seen {
    type Part = ();

    fn bucket(&mut self, name: &[u8]) {
        self.name = name.to_vec();
        self.buckets.entry(name.to_vec()).or_default();
    }

    fn entry(&mut self, element: Element<'_>) {
        let entries = self.buckets.entry(self.name.clone()).or_default();
        entries.push((element.key.to_vec(), element.value.to_vec()));
    }

    fn defect(&mut self, defect: Defect) {
        panic!("{defect}");
    }

    fn part(&self) -> Option<()> {
        None
    }

    fn take(&mut self, (): ()) -> bool {
        false
    }
}

fn judged(bytes: &Vec<u8>) -> Contents {
    let (contents, _, defects) = Contents::read(&Database::open(bytes).unwrap(), &NoProgress).unwrap();
    assert_eq!(defects, []);
    contents
}

fn rewritten(
    bytes: &Vec<u8>,
    hash: u32,
    how: &Rewrite,
    revision: i64,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Outcome)> {
    bumped(bytes, hash, how, (revision, None), progress)
}

/// Rewritten at a revision, and perhaps moved on to another one.
fn bumped(
    bytes: &Vec<u8>,
    hash: u32,
    how: &Rewrite,
    (revision, bump_to): (i64, Option<i64>),
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Outcome)> {
    let meta = vec![(buckets::META_TERM.to_vec(), vec![0, 0, 0, 0, 0, 0, 0, 1])];
    let changes = Patch {
        replace: BTreeMap::from([(buckets::META.to_vec(), meta), (buckets::MEMBERS.to_vec(), Vec::new())]),
        append: bump_to.map(|main| Append {
            bucket: buckets::KEY.to_vec(),
            key: Revision { main, sub: 0 }.to_bytes().to_vec(),
            value: Vec::new(),
        }),
    };
    let database = Database::open(bytes).unwrap();
    let (from, to) = (Path::new("from"), Path::new("to"));
    let job = Job { database: &database, hash, from, rewrite: how, revision, changes: &changes, to };
    let mut file = tempfile::tempfile().unwrap();
    let written = write(&job, &file, progress)?;
    let (outcome, defects) = read_back(&file, written, how, to, progress)?;
    assert_eq!(defects, []);
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Ok((bytes, outcome))
}

/// Live keys among these versions, by hand.
fn live(versions: &[Entry]) -> BTreeSet<Vec<u8>> {
    let mut live = BTreeSet::new();
    for (name, value) in versions {
        let key = KeyValue::parse(value).unwrap().key.to_vec();
        if RevisionKey::parse(name).unwrap().tombstone {
            live.remove(&key)
        } else {
            live.insert(key)
        };
    }
    live
}

/// The versions that should be left, by hand.
fn left(versions: &Entries, how: &Rewrite, revision: i64) -> Vec<Entry> {
    let mut left = Vec::new();
    for (name, value) in versions {
        let kv = KeyValue::parse(value).unwrap();
        if RevisionKey::parse(name).unwrap().revision.main > revision || !how.takes(kv.key) {
            continue;
        }
        let mut value = value.clone();
        if how.repairs.drop_leases {
            value.clear();
            KeyValue { lease: 0, ..kv }.encode(&mut value);
        }
        left.push((name.clone(), value));
    }
    let last = left.last().map_or(1, |(name, _)| RevisionKey::parse(name).unwrap().revision.main);
    if last < revision {
        left.push(([Revision { main: revision, sub: 0 }.to_bytes().as_slice(), b"t"].concat(), Vec::new()));
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_written_is_what_was_asked_for_and_the_counts_tell_of_the_rest(
        transactions in vec(vec((any::<u8>(), proptest::option::of(0_i64..4)), 1..6), 1..120),
        back in 0_usize..130,
        (prefixes, exclude_prefixes) in (
            vec(prop_oneof![Just(b"/a".to_vec()), Just(b"\xff".to_vec()), Just(b"/a/\x06".to_vec())], 0..4),
            vec(prop_oneof![Just(b"/b/".to_vec()), Just(b"/a/\x03".to_vec())], 0..2)),
        (drop_leases, page_size) in (any::<bool>(), prop_oneof![Just(512_u32), Just(4096)]),
    ) {
        let buckets_before = database(&transactions);
        let bytes = build(page_size, &buckets_before);
        let before = judged(&bytes);
        let revision = before.current_revision().saturating_sub(i64::try_from(back).unwrap()).max(1);
        let repairs = Repairs { drop_leases, ..Repairs::default() };
        let how =
            Rewrite { revision: Some(revision), prefixes: prefixes.clone(), exclude_prefixes, compact: false, repairs };

        let (written, outcome) = rewritten(&bytes, before.hash, &how, revision, &NoProgress).unwrap();

        let after = Database::open(&written).unwrap();
        let mut read = Seen::default();
        let walked = walk(&after, &mut read, &NoProgress).unwrap();
        prop_assert_eq!(walked.pages_free, 0);
        prop_assert_eq!(outcome.size, written.len() as u64);
        prop_assert_eq!(&outcome.contents, &judged(&written));
        prop_assert_eq!(outcome.contents.current_revision(), revision);
        let versions = &buckets_before[buckets::KEY];
        let expected = left(versions, &how, revision);
        let held = u64::from(expected.last().is_some_and(|(_, value)| value.is_empty()));
        prop_assert_eq!(outcome.contents.revisions, expected.len() as u64);
        prop_assert_eq!(
            outcome.counts.later + outcome.counts.others + outcome.contents.revisions - held,
            versions.len() as u64
        );
        prop_assert_eq!(&read.buckets[buckets::KEY], &expected);
        let live = live(&expected);
        prop_assert_eq!(outcome.live_keys(), live.len() as u64);
        let has = |prefix: &Vec<u8>| live.iter().any(|key| key.starts_with(prefix));
        let barren: Vec<_> = outcome.barren.iter().map(|barren| barren.prefix.clone()).collect();
        prop_assert_eq!(barren, prefixes.iter().filter(|prefix| !has(prefix)).cloned().collect::<Vec<_>>());
        prop_assert_eq!(read.buckets[buckets::LEASE].len(), if drop_leases { 0 } else { 2 });
        prop_assert_eq!(read.buckets[buckets::ALARM].len(), 1);
        prop_assert_eq!(&read.buckets[buckets::META][0].1, &vec![0, 0, 0, 0, 0, 0, 0, 1]);
        prop_assert!(read.buckets[buckets::MEMBERS].is_empty());
    }
}

#[test]
fn the_version_of_a_bump_is_no_key_that_is_restored() {
    let bytes = build(4096, &database(&[vec![(1, Some(0))], vec![(2, Some(0))]]));
    let whole = Rewrite { compact: true, ..Rewrite::default() };
    let (once, outcome) = bumped(&bytes, judged(&bytes).hash, &whole, (3, Some(100)), &NoProgress).unwrap();
    assert_eq!((outcome.contents.total_key, outcome.live_keys(), outcome.contents.revisions), (3, 2, 3));

    // The version of an earlier bump is none either; nor is the deletion that holds a revision.
    let (_, again) = bumped(&once, judged(&once).hash, &whole, (100, Some(200)), &NoProgress).unwrap();
    assert_eq!((again.contents.total_key, again.live_keys()), (3, 2));
    let (_, kept) = rewritten(&once, judged(&once).hash, &whole, 100, &NoProgress).unwrap();
    assert_eq!((kept.contents.total_key, kept.live_keys()), (3, 2));
    let some = Rewrite { prefixes: vec![b"/b".to_vec()], ..Rewrite::default() };
    let (_, some) = rewritten(&once, judged(&once).hash, &some, 100, &NoProgress).unwrap();
    assert_eq!((some.contents.total_key, some.live_keys(), some.contents.revisions), (1, 1, 2));
}

#[test]
fn a_prefix_has_live_keys_although_the_one_that_came_first_is_deleted() {
    // /a/0 and /a/3 are there, and /a/0 goes: /a/3 is found when the others are counted. Of /b/ none stays.
    let history = [vec![(0, Some(0)), (3, Some(0)), (1, Some(0))], vec![(0, None)], vec![(1, None)]];
    let bytes = build(4096, &database(&history));
    let how = Rewrite { prefixes: vec![b"/a/".to_vec(), b"/b/".to_vec(), b"/c/".to_vec()], ..Rewrite::default() };
    let (_, outcome) = rewritten(&bytes, judged(&bytes).hash, &how, 4, &NoProgress).unwrap();

    let barren: Vec<_> = outcome.barren.iter().map(|barren| (barren.prefix.as_slice(), barren.versions)).collect();
    assert_eq!(barren, [(b"/b/".as_slice(), 2), (b"/c/".as_slice(), 0)]);
}

#[test]
fn a_database_that_changed_since_it_was_verified_is_refused() {
    let bytes = build(4096, &database(&[vec![(1, Some(0))]]));
    let hash = judged(&bytes).hash;
    let error = rewritten(&bytes, hash ^ 1, &Rewrite::default(), 2, &NoProgress).unwrap_err();
    assert!(matches!(error, Error::Corrupt { defects, .. } if defects[0].code == "database-changed"));
}

#[test]
fn what_can_not_be_read_back_is_told_with_its_place() {
    let bytes = build(4096, &database(&[vec![(1, Some(0))]]));
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("db");
    let database = Database::open(&bytes).unwrap();
    let (from, hash) = (Path::new("from"), judged(&bytes).hash);
    let changes = Patch { replace: BTreeMap::new(), append: None };
    let job =
        Job { database: &database, hash, from, rewrite: &Rewrite::default(), revision: 2, changes: &changes, to: &to };
    let file = fs::File::create_new(&to).unwrap();
    let written = write(&job, &file, &NoProgress).unwrap();
    // Behind the metas nothing can be read any more.
    file.set_len(2 * 4096).unwrap();

    let file = fs::File::open(&to).unwrap();
    let (_, defects) = read_back(&file, written, &Rewrite::default(), &to, &NoProgress).unwrap();

    assert_eq!((defects[0].code, defects[0].offset), ("truncated", Some(2 * 4096)));
}

#[test]
fn stopping_is_obeyed() {
    struct Stopping;
    impl Progress for Stopping {
        fn update(&self, stage: Stage, _: u64, _: Option<u64>) -> bool {
            stage != Stage::Write
        }
    }
    let bytes = build(4096, &database(&[vec![(1, Some(0))]]));
    let hash = judged(&bytes).hash;
    let error = rewritten(&bytes, hash, &Rewrite::default(), 2, &Stopping).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
}
