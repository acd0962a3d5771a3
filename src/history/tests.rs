//! Databases made by hand, read at their revisions.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::archive::Compression;
use crate::archive::tests::archive;
use crate::bbolt::{Builder, Entries, Meta};
use crate::error::Error;
use crate::progress::{NoProgress, Progress, Stage};
use crate::proto::{put_bytes, put_uint};
use crate::schema::{Revision, buckets};
use crate::snapshot::{VerifyOptions, verify};

type Buckets = BTreeMap<Vec<u8>, Entries>;

const PAGE_SIZE: u32 = 4096;

fn at(main: i64, sub: i64) -> Vec<u8> {
    Revision { main, sub }.to_bytes().to_vec()
}

/// The entries of bucket `key`, as a server writes them.
#[derive(Default)]
struct Writer {
    key: Entries,
    live: BTreeMap<Vec<u8>, (i64, i64)>,
}

impl Writer {
    fn put(mut self, main: i64, sub: i64, key: &[u8], value: &[u8], lease: u64) -> Self {
        let (create, version) = self.live.get(key).map_or((main, 1), |(create, version)| (*create, version + 1));
        self.live.insert(key.to_vec(), (create, version));
        let mut stored = Vec::new();
        put_bytes(&mut stored, 1, key);
        put_uint(&mut stored, 2, create.unsigned_abs());
        put_uint(&mut stored, 3, main.unsigned_abs());
        put_uint(&mut stored, 4, version.unsigned_abs());
        put_bytes(&mut stored, 5, value);
        put_uint(&mut stored, 6, lease);
        self.key.insert(at(main, sub), stored);
        self
    }

    fn delete(mut self, main: i64, sub: i64, key: &[u8]) -> Self {
        self.live.remove(key);
        let mut stored = Vec::new();
        put_bytes(&mut stored, 1, key);
        self.key.insert([at(main, sub).as_slice(), b"t"].concat(), stored);
        self
    }

    fn buckets(self) -> Buckets {
        let meta = Entries::from([(buckets::META_CONSISTENT_INDEX.to_vec(), 9_u64.to_be_bytes().to_vec())]);
        Buckets::from([(buckets::KEY.to_vec(), self.key), (buckets::META.to_vec(), meta)])
    }
}

/// `a` thrice and deleted at 5, `b` from 3 on, `c` on lease 7.
fn example() -> Buckets {
    let written = Writer::default()
        .put(2, 0, b"a", b"1", 0)
        .put(3, 0, b"a", b"2", 0)
        .put(3, 1, b"b", b"", 0)
        .put(4, 0, b"c", b"on a lease", 7)
        .delete(5, 0, b"a")
        .put(6, 0, b"a", b"3", 0);
    let mut buckets = written.buckets();
    let lease = Entries::from([(7_i64.to_be_bytes().to_vec(), b"\x08\x07\x10\x3c".to_vec())]);
    buckets.insert(buckets::LEASE.to_vec(), lease);
    buckets
}

fn compacted(mut buckets: Buckets, revision: i64) -> Buckets {
    let meta = buckets.get_mut(buckets::META).unwrap();
    meta.insert(buckets::META_SCHEDULED_COMPACT.to_vec(), at(revision, 0));
    buckets
}

fn many(count: i64) -> Buckets {
    let mut writer = Writer::default();
    for number in 0..count {
        let key = format!("/many/{:06}", number * 7919 % count);
        writer = writer.put(number + 2, 0, key.as_bytes(), &[b'v'; 100], 0);
    }
    writer.buckets()
}

struct Opened {
    _directory: TempDir,
    store: Arc<Store>,
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) -> Result<Arc<Store>, Error> {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    Store::open(&path, &NoProgress).map(Arc::new)
}

fn open(buckets: &Buckets) -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let bytes = Builder::new(PAGE_SIZE).build(buckets).unwrap();
    let store = write(&directory, "db", &bytes).unwrap();
    Opened { _directory: directory, store }
}

/// An archive of `database`, without its hash.
fn archived(compression: Compression, database: &[u8]) -> Vec<u8> {
    archive(compression, &[database, &[0; 32]].concat())
}

fn rows(store: &Arc<Store>, range: &KeyRange, revision: Option<i64>) -> Vec<Row> {
    let mut cursor = Cursor::new(Arc::clone(store), range, revision, None, false, &NoProgress).unwrap();
    std::iter::from_fn(|| Some(cursor.next_batch(&NoProgress).unwrap()).filter(|rows| !rows.is_empty()))
        .flatten()
        .collect()
}

fn values(store: &Arc<Store>, revision: i64) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows(store, &KeyRange::all(), Some(revision)).into_iter().map(|row| (row.key, row.value)).collect()
}

#[test]
fn keys_are_read_as_of_each_revision() {
    let Opened { store, .. } = open(&example());
    let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());

    assert_eq!(6, store.current_revision());
    assert_eq!(values(&store, 1), []);
    assert_eq!(values(&store, 2), [pair(b"a", b"1")]);
    assert_eq!(values(&store, 4), [pair(b"a", b"2"), pair(b"b", b""), pair(b"c", b"on a lease")]);
    assert_eq!(values(&store, 5), [pair(b"b", b""), pair(b"c", b"on a lease")]);
    let again = store.get(b"a", None, &NoProgress).unwrap().unwrap();
    assert_eq!((6, 6, 1), (again.create_revision, again.mod_revision, again.version));
    assert!(!store.contains(b"a", Some(5), &NoProgress).unwrap());
}

#[test]
fn compacted_and_future_revisions_are_refused_with_their_numbers() {
    let Opened { store, .. } = open(&compacted(example(), 4));

    assert!(matches!(store.resolve(Some(3)), Err(Error::Compacted { revision: 3, compact_revision: 4 })));
    assert!(matches!(store.resolve(Some(7)), Err(Error::FutureRevision { revision: 7, current_revision: 6 })));
    assert!(matches!(store.resolve(Some(0)), Err(Error::InvalidArgument { .. })));
    assert_eq!(4, store.resolve(Some(4)).unwrap());
    assert_eq!(6, store.resolve(None).unwrap());
}

#[test]
fn a_history_is_the_same_with_the_index_and_without_it() {
    let Opened { store, .. } = open(&example());

    let read = store.history(b"a", &NoProgress).unwrap();
    assert!(store.built_index().is_none());
    store.index(&NoProgress).unwrap();
    assert_eq!(read, store.history(b"a", &NoProgress).unwrap());

    let told: Vec<_> = read.iter().map(|(row, deleted)| (row.mod_revision, row.version, *deleted)).collect();
    assert_eq!(told, [(2, 1, false), (3, 2, false), (5, 0, true), (6, 1, false)]);
    assert_eq!(store.history(b"nothing", &NoProgress).unwrap(), []);
    assert_eq!(store.history(b"", &NoProgress).unwrap(), []);
}

#[test]
fn the_marker_of_a_revision_bump_is_no_key() {
    let mut bumped = example();
    bumped.get_mut(buckets::KEY).unwrap().insert(at(100, 0), Vec::new());
    let Opened { store, .. } = open(&bumped);
    assert_eq!(store.history(b"", &NoProgress).unwrap(), []);
    assert_eq!(store.current_revision(), 100);
    assert_eq!(values(&store, 100).len(), 3);
    assert!(!store.contains(b"", None, &NoProgress).unwrap());
    assert_eq!(store.get(b"", None, &NoProgress).unwrap(), None);
    assert_eq!(store.history(b"", &NoProgress).unwrap(), []);
}

#[test]
fn leases_hold_the_keys_that_are_live() {
    let Opened { store, .. } = open(&example());

    let leases = store.leases(&NoProgress).unwrap();

    assert_eq!(leases.len(), 1);
    assert_eq!((7, 60), (leases[0].lease.id, leases[0].lease.ttl));
    assert_eq!(leases[0].keys, [b"c".to_vec()]);
    assert!(store.built_index().is_none(), "leases need no index");
}

#[test]
fn a_scan_gives_the_revisions_in_their_order_and_rests_between() {
    let Opened { store, .. } = open(&many(5000));
    let mut seen = Vec::new();
    let mut scan = Scan::history(Arc::clone(&store), KeyRange::all());
    while !scan.is_done() {
        let mut left = 700;
        scan.next(&NoProgress, &mut |stored| {
            seen.push(stored.at.revision.main);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    }
    assert_eq!(seen, (2..5002).collect::<Vec<_>>());
    assert!(store.built_index().is_none());

    let mut until = 0;
    let mut scan = Scan::history(store, KeyRange::all()).until(100);
    scan.next(&NoProgress, &mut |_| {
        until += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((99, true), (until, scan.is_done()));
}

#[test]
fn rows_come_in_key_order_whatever_holds_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = Builder::new(PAGE_SIZE).build(&many(20_000)).unwrap();
    let expected: Vec<Vec<u8>> = (0..20_000).map(|number| format!("/many/{number:06}").into_bytes()).collect();
    for (name, bytes) in [
        ("db", database.clone()),
        ("tar.gz", archived(Compression::Gzip, &database)),
        ("tar.zst", archived(Compression::Zstd, &database)),
    ] {
        let store = write(&directory, name, &bytes).unwrap();
        let found: Vec<_> = rows(&store, &KeyRange::all(), None).into_iter().map(|row| row.key).collect();
        assert!(found == expected, "{name}");
        assert!(store.warnings().is_empty(), "{:?}", store.warnings());
    }
}

#[test]
fn a_limit_ends_a_range_and_no_value_is_read_for_keys_alone() {
    let Opened { store, .. } = open(&many(100));
    let mut cursor =
        Cursor::new(Arc::clone(&store), &KeyRange::prefix(b"/many/"), None, Some(20), true, &NoProgress).unwrap();

    let first = cursor.next_batch(&NoProgress).unwrap();
    let second = cursor.next_batch(&NoProgress).unwrap();

    assert_eq!((16, 4), (first.len(), second.len()));
    assert!(first.iter().all(|row| row.value.is_empty() && row.version == 1));
    assert!(cursor.next_batch(&NoProgress).unwrap().is_empty());
}

#[test]
fn a_hash_leaves_out_what_compaction_will_remove() {
    let all = open(&example()).store.hash_kv(None, HashRule::default(), &NoProgress).unwrap();
    let after = open(&compacted(example(), 4)).store.hash_kv(None, HashRule::default(), &NoProgress).unwrap();
    let mut removed = example();
    let key = removed.get_mut(buckets::KEY).unwrap();
    // At 6, of what is compacted, `b` and `c` are live; `a` was written anew.
    for gone in [at(2, 0), at(3, 0)] {
        key.remove(&gone);
    }
    let finished = open(&compacted(removed, 4)).store.hash_kv(None, HashRule::default(), &NoProgress).unwrap();

    assert_eq!((-1, 4), (all.compact_revision, after.compact_revision));
    assert_ne!(all.hash, after.hash);
    assert_eq!(after, finished);
}

#[test]
fn a_deletion_at_the_compaction_counts_by_the_old_rule_only_where_nothing_is_kept() {
    let written = Writer::default().put(2, 0, b"a", b"1", 0).delete(3, 0, b"a").buckets();
    let Opened { store, .. } = open(&compacted(written, 3));

    let new = store.hash_kv(None, HashRule::SkipsTombstone, &NoProgress).unwrap();
    let old = store.hash_kv(None, HashRule::CountsTombstone, &NoProgress).unwrap();

    assert_ne!(new.hash, old.hash);
}

#[test]
fn stats_add_up_by_prefix() {
    let Opened { store, .. } = open(&example());

    let stats = store.stats(&KeyRange::all(), None, 1, 2, 3, &NoProgress).unwrap();
    let before = store.stats(&KeyRange::all(), Some(2), 1, 2, 3, &NoProgress).unwrap();

    let Group { keys, key_bytes, value_bytes, versions, tombstones, version_bytes } = stats.total;
    assert_eq!((3, 3, 11, 5, 1, 13), (keys, key_bytes, value_bytes, versions, tombstones, version_bytes));
    assert_eq!(stats.groups, [(Vec::new(), stats.total)]);
    assert_eq!(stats.largest[0], Top { key: b"c".to_vec(), figure: 10 });
    assert_eq!(stats.most_rewritten[0], Top { key: b"a".to_vec(), figure: 3 });
    assert_eq!((1, 1), (before.total.keys, before.total.versions));
    let counted = |figure: fn(&Span) -> u64| stats.spans.iter().map(figure).sum::<u64>();
    assert_eq!(
        (counted(|span| span.versions), counted(|span| span.tombstones), counted(|span| span.version_bytes)),
        (versions, tombstones, version_bytes)
    );
    assert_eq!(before.spans, [Span { first: 2, last: 2, versions: 1, tombstones: 0, version_bytes: 1 }]);
}

#[test]
fn a_revision_out_of_order_or_malformed_is_a_defect_with_its_place() {
    let mut malformed = example();
    malformed.get_mut(buckets::KEY).unwrap().insert(at(7, 0), b"\x0a\x05ab".to_vec());
    let mut foreign = example();
    foreign.get_mut(buckets::KEY).unwrap().insert(b"no revision".to_vec(), Vec::new());
    for (buckets, code) in [(malformed, "value-malformed"), (foreign, "revision-malformed")] {
        let directory = tempfile::tempdir().unwrap();
        let bytes = Builder::new(PAGE_SIZE).build(&buckets).unwrap();
        let read = write(&directory, "db", &bytes).and_then(|store| store.index(&NoProgress).map(drop));
        let Err(Error::Corrupt { defects, .. }) = read else { panic!("{read:?}") };
        assert_eq!(defects[0].code, code);
    }
}

/// A database of one leaf, which lies on page `page`, as of transaction `txid`.
fn transaction(txid: u64, page: u64) -> Vec<u8> {
    let revision = i64::try_from(txid).unwrap();
    let written = Writer::default().put(revision + 1, 0, b"a", b"", 0).buckets();
    let bytes = Builder::new(PAGE_SIZE).build(&compacted(written, revision)).unwrap();
    let meta = Meta::decode(&bytes, 0).unwrap();
    assert_eq!((2, 3), (meta.root, meta.high_water_mark), "small buckets lie inline");
    let mut root = bytes[2 * PAGE_SIZE as usize..].to_vec();
    root[..8].copy_from_slice(&page.to_le_bytes());
    let meta = Meta { root: page, high_water_mark: page + 1, txid, ..meta };
    [meta.encode(txid % 2), root].concat()
}

/// Writes a transaction as bbolt does: its pages first, then one of the two metas.
fn commit(file: &fs::File, txid: u64, page: u64) {
    let written = transaction(txid, page);
    let (meta, root) = written.split_at(PAGE_SIZE as usize);
    file.write_all_at(root, page * u64::from(PAGE_SIZE)).unwrap();
    file.write_all_at(meta, txid % 2 * u64::from(PAGE_SIZE)).unwrap();
}

#[test]
fn a_file_that_goes_on_while_it_is_read_is_told_apart_from_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let file = fs::File::create(&path).unwrap();
    commit(&file, 2, 2);
    commit(&file, 3, 3);
    let store = Store::open(&path, &NoProgress).map(Arc::new).unwrap();
    assert_eq!(1, store.count(&KeyRange::all(), None, &NoProgress).unwrap());
    // The last one lies behind what was the end of the file when it was opened.
    for (txid, page) in [(4, 2), (5, 9)] {
        commit(&file, txid, page);
        let read = store.get(b"a", None, &NoProgress);
        assert!(matches!(read, Err(Error::Changed { before: 3, now, .. }) if now == txid), "{read:?}");
    }
}

#[test]
fn what_is_read_when_a_file_is_opened_is_of_one_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let file = fs::File::create(&path).unwrap();
    (2..4).for_each(|txid| commit(&file, txid, txid % 2 + 2));
    let is_done = AtomicBool::new(false);
    let (mut changed, mut other) = (0, Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            // Pages of the transaction before the last one are written over.
            let later = (4..).take_while(|_| !is_done.load(Ordering::Relaxed));
            later.for_each(|txid| commit(&file, txid, txid % 2 + 2));
        });
        while changed < 200 && other.is_empty() {
            match Store::open(&path, &NoProgress) {
                Ok(store) if store.compact_revision() == Some(store.current_revision() - 1) => {}
                Ok(store) => other.push(format!("{:?} and {}", store.compact_revision(), store.current_revision())),
                Err(Error::Changed { .. }) => changed += 1,
                Err(error) => other.push(error.to_string()),
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!((200, Vec::new()), (changed, other));
}

#[test]
fn an_interrupted_index_is_built_by_the_next_who_asks() {
    struct Stop;
    impl Progress for Stop {
        fn update(&self, _stage: Stage, _done: u64, _total: Option<u64>) -> bool {
            false
        }
    }
    let Opened { store, .. } = open(&many(5000));

    assert!(matches!(store.index(&Stop), Err(Error::Interrupted)));
    assert_eq!(5000, store.count(&KeyRange::all(), None, &NoProgress).unwrap());
}

#[test]
fn a_database_that_is_not_etcds_or_of_a_later_etcd_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut without = example();
    without.remove(buckets::KEY);
    let bytes = Builder::new(PAGE_SIZE).build(&without).unwrap();
    let Err(Error::Corrupt { defects, .. }) = write(&directory, "db", &bytes) else { panic!("it was opened") };
    assert_eq!("bucket-missing", defects[0].code);

    for (version, refused) in [("3.7.0", false), ("3.8.0", true), ("4.0.0", true)] {
        let mut later = example();
        later.get_mut(buckets::META).unwrap().insert(buckets::META_STORAGE_VERSION.to_vec(), version.into());
        let opened = write(&directory, "db", &Builder::new(PAGE_SIZE).build(&later).unwrap());
        assert_eq!(refused, matches!(opened, Err(Error::StorageVersion { .. })), "{version}");
        let options = VerifyOptions { skip_hash_check: true };
        let verified = verify(&directory.path().join("db"), options, &NoProgress);
        assert_eq!(refused, matches!(verified, Err(Error::StorageVersion { .. })), "{version}");
        assert_eq!(refused, verified.is_err());
    }
}
