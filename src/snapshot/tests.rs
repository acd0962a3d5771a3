//! Databases made by hand, each with one thing wrong, and what is said of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, ThreadId};

use flate2::write::GzEncoder;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::note::KeyNotes;
use super::sparse::{Sparse, SparseWriter};
use super::*;
use crate::bbolt::{Database, Entries, Meta, build};
use crate::error::Error;
use crate::progress::NoProgress;
use crate::proto::{put_bytes, put_uint};
use crate::read_at::ReadAt;
use crate::schema::{Revision, buckets};

type Buckets = BTreeMap<Vec<u8>, Entries>;

const PAGE_SIZE: u32 = 4096;

fn key_value(key: &[u8], create: u64, modified: u64, version: u64, value: &[u8], lease: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, key);
    put_uint(&mut out, 2, create);
    put_uint(&mut out, 3, modified);
    put_uint(&mut out, 4, version);
    put_bytes(&mut out, 5, value);
    if lease != 0 {
        put_uint(&mut out, 6, lease);
    }
    out
}

fn at(main: i64, sub: i64) -> Vec<u8> {
    Revision { main, sub }.to_bytes().to_vec()
}

fn tombstone(main: i64) -> Vec<u8> {
    [at(main, 0).as_slice(), b"t"].concat()
}

/// `a` put twice, `b` put and deleted, `c` on lease 7.
fn sound() -> Buckets {
    let key = Entries::from([
        (at(2, 0), key_value(b"a", 2, 2, 1, b"1", 0)),
        (at(3, 0), key_value(b"a", 2, 3, 2, b"2", 0)),
        (at(4, 0), key_value(b"b", 4, 4, 1, b"", 0)),
        (tombstone(5), b"\x0a\x01b".to_vec()),
        (at(6, 0), key_value(b"c", 6, 6, 1, b"3", 7)),
    ]);
    let meta = Entries::from([(buckets::META_CONSISTENT_INDEX.to_vec(), 9_u64.to_be_bytes().to_vec())]);
    let lease = Entries::from([(7_i64.to_be_bytes().to_vec(), b"\x08\x07\x10\x3c".to_vec())]);
    BTreeMap::from([
        (buckets::KEY.to_vec(), key),
        (buckets::META.to_vec(), meta),
        (buckets::LEASE.to_vec(), lease),
        (buckets::MEMBERS.to_vec(), Entries::new()),
    ])
}

fn put(buckets: &mut Buckets, bucket: &[u8], key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
    buckets.entry(bucket.to_vec()).or_default().insert(key.into(), value.into());
}

fn with_trailer(mut database: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&database);
    database.extend_from_slice(&digest);
    database
}

struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.0.path().join("snapshot.db");
        fs::write(&path, content).unwrap();
        path
    }
}

fn judged(buckets: &Buckets) -> std::result::Result<VerifyReport, Vec<&'static str>> {
    let scratch = Scratch::new();
    let database = build(PAGE_SIZE, buckets);
    judged_by_notes(&database);
    let path = scratch.file(&with_trailer(database));
    match verify(&path, VerifyOptions::default(), &NoProgress) {
        Ok(report) => Ok(report),
        Err(Error::Corrupt { defects, .. }) => Err(defects.iter().map(|defect| defect.code).collect()),
        Err(other) => panic!("{other}"),
    }
}

/// Judges by notes, which must come to what a walk through everything comes to; says whether the leaves that were noted
/// could be left out meanwhile.
fn judged_by_notes(database: &Vec<u8>) -> bool {
    let opened = Database::open(database).unwrap();
    let plain = Contents::read(&opened, &NoProgress).unwrap();
    for stretch in [database.len(), 50_001] {
        let mut notes = KeyNotes::default();
        for bytes in database.chunks(stretch) {
            notes.take(bytes);
        }
        assert_eq!(Contents::read_noted(&opened, Some(&notes), &NoProgress).unwrap(), plain);
    }
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&with_trailer(database.clone())).unwrap();
    let scratch = Scratch::new();
    let glanced = open::glanced(&scratch.file(&packed.finish().unwrap()), &NoProgress).unwrap();
    if let Some((_, traversed)) = &glanced {
        let Ok((_, contents, walked, defects)) = &traversed.0 else { panic!("what was glanced at was not opened") };
        assert_eq!((contents, walked, defects), (&plain.0, &plain.1, &plain.2));
    }
    glanced.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn a_tree_of_many_leaves_is_judged_by_their_notes(
        records in proptest::collection::vec((0..3_000_u32, 0..20_u8, 0..9_000_usize), 20_000),
    ) {
        let mut buckets = sound();
        for (main, (key, what, len)) in (10_u64..).zip(records) {
            let (key, stored) = (key.to_be_bytes(), at(main.cast_signed(), 0));
            // A few values of several pages; deletions; leases that are stored and that are not; wrong revisions.
            let value = vec![7; if len < 8_900 { len % 90 } else { len }];
            match what {
                0..3 => {
                    let mut deletion = Vec::new();
                    put_bytes(&mut deletion, 1, &key);
                    put(&mut buckets, buckets::KEY, tombstone(main.cast_signed()), deletion);
                }
                3..6 => put(&mut buckets, buckets::KEY, stored, key_value(&key, main, main, 1, &value, what.into())),
                6..8 => put(&mut buckets, buckets::KEY, stored, key_value(&key, main, main, 1, &value, 7)),
                8 => put(&mut buckets, buckets::KEY, stored, key_value(&key, main, main - 1, 1, &value, 0)),
                _ => put(&mut buckets, buckets::KEY, stored, key_value(&key, main, main, 1, &value, 0)),
            }
        }
        // Three levels and four.
        for page_size in [PAGE_SIZE, PAGE_SIZE / 4] {
            let mut database = build(page_size, &buckets);
            prop_assert!(judged_by_notes(&database));
            // What is wrong anywhere is found by the walk that reads all.
            database[2_000_000] ^= 1;
            judged_by_notes(&database);
        }
    }
}

#[test]
fn a_tree_of_two_levels_with_large_values_is_unpacked_once() {
    let mut buckets = sound();
    for main in 10..70_u32 {
        let revision = u64::from(main);
        let value = key_value(&main.to_be_bytes(), revision, revision, 1, &vec![7; 100_000], 0);
        put(&mut buckets, buckets::KEY, at(main.into(), 0), value);
    }
    assert!(judged_by_notes(&build(PAGE_SIZE, &buckets)));
}

/// A database without the leaves that were noted, of which no thread but the one that made it gets a byte once it is
/// walked for the second time.
struct Faltering {
    source: Sparse,
    walks: AtomicU32,
    home: ThreadId,
}

impl ReadAt for Faltering {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn holds(&self, offset: u64, len: u64) -> bool {
        self.source.holds(offset, len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        // A walk begins with the whole of the first page.
        let begun = u32::from(offset == 0 && buf.len() == PAGE_SIZE as usize);
        let walks = self.walks.fetch_add(begun, Ordering::Relaxed) + begun;
        if walks > 1 && thread::current().id() != self.home {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.source.read_exact_at(buf, offset)
    }
}

#[test]
fn a_second_reading_by_notes_counts_what_the_first_did_or_says_that_it_can_not() {
    let mut buckets = sound();
    let key = buckets.get_mut(buckets::KEY).unwrap();
    // More keys on missing leases than are remembered at a time.
    for main in 10..132_000_u32 {
        let revision = u64::from(main);
        key.insert(at(main.into(), 0), key_value(&main.to_be_bytes(), revision, revision, 1, b"", 99));
    }
    let database = build(PAGE_SIZE, &buckets);
    assert!(judged_by_notes(&database));

    let file = tempfile::tempfile().unwrap();
    let (mut notes, mut writer) = (KeyNotes::default(), SparseWriter::new(&file));
    for bytes in database.chunks(1 << 16) {
        let (left_out, page_size) = notes.take(bytes);
        writer.write(bytes, left_out, page_size).unwrap();
    }
    let source = writer.finish().unwrap();
    let source = Faltering { source, walks: AtomicU32::new(0), home: thread::current().id() };
    let (_, _, defects) = Contents::read_noted(&Database::open(source).unwrap(), Some(&notes), &NoProgress).unwrap();
    assert_eq!(["page-left-out"].as_slice(), defects.iter().map(|defect| defect.code).collect::<Vec<_>>());
}

/// Bytes a page of a [`tree_of_small_pages`].
const SMALL: usize = 512;

/// Bucket `key` of three levels, one revision of which is both a put and a deletion if asked for; and a leaf of two
/// pages in a bucket of which no notes are taken.
fn tree_of_small_pages(twice: Option<u64>) -> Vec<u8> {
    let mut buckets = sound();
    for main in 10..2_000_u64 {
        let (revision, key) = (main.cast_signed(), main.to_be_bytes());
        put(&mut buckets, buckets::KEY, at(revision, 0), key_value(&key, main, main, 1, b"", 0));
        if twice == Some(main) {
            let mut deletion = Vec::new();
            put_bytes(&mut deletion, 1, &key);
            put(&mut buckets, buckets::KEY, tombstone(revision), deletion);
        }
    }
    put(&mut buckets, b"other", b"name".as_slice(), vec![7; 700]);
    build(PAGE_SIZE / 8, &buckets)
}

/// A page number as it is stored.
fn number_of(page: usize) -> [u8; 8] {
    (page as u64).to_le_bytes()
}

fn page(database: &[u8], number: usize) -> &[u8] {
    &database[number * SMALL..][..SMALL]
}

/// The first page with these flags and this overflow.
fn first_page(database: &[u8], flags: u8, overflow: u8) -> usize {
    let found = |number: &usize| {
        let page = page(database, *number);
        (page[..8] == number_of(*number)) && (page[8], page[12]) == (flags, overflow)
    };
    (2..database.len() / SMALL).find(found).unwrap()
}

/// The page at `number`, as it would be at `id`.
fn moved(database: &[u8], number: usize, id: usize) -> Vec<u8> {
    [number_of(id).as_slice(), &page(database, number)[8..]].concat()
}

/// Counts all pages of the file to the database.
fn raise_high_water_mark(database: &mut [u8]) {
    for number in 0..2 {
        let mut meta = Meta::decode(page(database, number), number as u64).unwrap();
        meta.high_water_mark = (database.len() / SMALL) as u64;
        database[number * SMALL..][..SMALL].copy_from_slice(&meta.encode(number as u64));
    }
}

#[test]
fn a_revision_twice_is_found_wherever_a_leaf_ends() {
    for main in 100..130 {
        assert!(!judged_by_notes(&tree_of_small_pages(Some(main))));
    }
}

#[test]
fn a_noted_leaf_behind_the_high_water_mark_is_found() {
    let mut database = tree_of_small_pages(None);
    assert!(judged_by_notes(&database));
    let (branch, behind) = (first_page(&database, 1, 0), database.len() / SMALL);
    // Its last child.
    let child = branch * SMALL + usize::from(page(&database, branch)[10]) * 16 + 8;
    let leaf = usize::try_from(u64::from_le_bytes(database[child..child + 8].try_into().unwrap())).unwrap();
    database.extend(moved(&database, leaf, behind));
    database[child..child + 8].copy_from_slice(&number_of(behind));

    assert!(!judged_by_notes(&database));
    raise_high_water_mark(&mut database);
    assert!(judged_by_notes(&database));
}

#[test]
fn a_page_that_was_left_out_for_an_old_leaf_is_missed() {
    let mut database = tree_of_small_pages(None);
    let (old, wide, behind) = (first_page(&database, 2, 0), first_page(&database, 2, 1), database.len() / SMALL);
    // A free page that was a leaf and claims the two behind it, which are a leaf in use.
    let mut free = moved(&database, old, behind);
    free[12] = 2;
    let tail = [free, moved(&database, wide, behind + 1), page(&database, wide + 1).to_vec()].concat();
    let root = [b"other", number_of(wide).as_slice()].concat();
    let root = 5 + database.windows(root.len()).position(|bytes| bytes == root).unwrap();
    database[root..root + 8].copy_from_slice(&number_of(behind + 1));
    database.extend(tail);
    raise_high_water_mark(&mut database);

    assert!(Contents::read(&Database::open(&database).unwrap(), &NoProgress).unwrap().2.is_empty());
    assert!(!judged_by_notes(&database));
}

#[test]
fn a_sound_database_is_counted_as_etcd_counts_it() {
    let report = judged(&sound()).unwrap();

    assert_eq!((6, 2), (report.status.revision, report.status.total_key));
    assert_eq!(report.database_size, report.status.total_size);
    assert!(report.hash_checked);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn a_key_that_is_deleted_and_put_again_is_live_and_an_empty_bump_counts_once() {
    let mut buckets = sound();
    put(&mut buckets, buckets::KEY, at(8, 0), key_value(b"b", 8, 8, 1, b"x", 0));
    put(&mut buckets, buckets::KEY, at(1_000, 0), Vec::new());

    let report = judged(&buckets).unwrap();

    assert_eq!((1_000, 4), (report.status.revision, report.status.total_key));
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn each_malformed_entry_is_a_defect_of_its_bucket() {
    type Case = (&'static [u8], Vec<u8>, Vec<u8>, &'static str);
    let cases: [Case; 15] = [
        (buckets::KEY, b"short".to_vec(), Vec::new(), "revision-malformed"),
        (buckets::KEY, at(-5, 0), Vec::new(), "revision-malformed"),
        (buckets::KEY, at(9, 0), b"\x0a\x05x".to_vec(), "value-malformed"),
        (buckets::KEY, tombstone(6), b"\x0a\x01c".to_vec(), "revision-twice"),
        (buckets::META, buckets::META_TERM.to_vec(), b"1".to_vec(), "meta-malformed"),
        (buckets::META, buckets::META_SCHEDULED_COMPACT.to_vec(), b"1".to_vec(), "meta-malformed"),
        (buckets::LEASE, b"x".to_vec(), Vec::new(), "lease-malformed"),
        (buckets::MEMBERS, b"xyz".to_vec(), b"{}".to_vec(), "member-malformed"),
        (buckets::MEMBERS, b"1f".to_vec(), b"{\"id\":32}".to_vec(), "member-malformed"),
        (buckets::MEMBERS_REMOVED, b"xyz".to_vec(), b"removed".to_vec(), "member-malformed"),
        (buckets::ALARM, b"\x0a\x01x".to_vec(), Vec::new(), "alarm-malformed"),
        (buckets::AUTH_USERS, b"root".to_vec(), b"\x0a\x04toor".to_vec(), "user-malformed"),
        (buckets::AUTH_ROLES, b"root".to_vec(), b"\x0a\x09r".to_vec(), "role-malformed"),
        (buckets::AUTH, buckets::AUTH_REVISION.to_vec(), b"1".to_vec(), "auth-malformed"),
        (buckets::CLUSTER, buckets::CLUSTER_VERSION.to_vec(), b"\xff".to_vec(), "cluster-malformed"),
    ];
    for (bucket, key, value, code) in cases {
        let mut broken = sound();
        put(&mut broken, bucket, key.clone(), value);

        assert_eq!(Err(vec![code]), judged(&broken), "key {key:?} of bucket {}", String::from_utf8_lossy(bucket));
    }
}

#[test]
fn a_version_from_a_revision_to_come_is_a_defect_wherever_its_leaf_is_judged() {
    let mut buckets = sound();
    for main in 10..40_000_u32 {
        let (revision, ahead) = (u64::from(main), u64::from(main == 39_000));
        let value = key_value(&main.to_be_bytes(), revision, revision + ahead, 1, b"", 0);
        put(&mut buckets, buckets::KEY, at(main.into(), 0), value);
    }

    assert_eq!(Err(vec!["revision-ahead"]), judged(&buckets));
}

#[test]
fn a_branch_key_that_is_not_the_first_one_below_it_is_a_defect_wherever_its_leaf_is_judged() {
    let mut database = tree_of_small_pages(None);
    let branch = first_page(&database, 1, 0) * SMALL;
    // Its second key, now behind the last one before it and ahead of the first one below it.
    let key = branch + 32 + usize::from(database[branch + 32]);
    database[key + 7] -= 1;
    database[key + 16] = 9;

    let (.., defects) = Contents::read(&Database::open(&database).unwrap(), &NoProgress).unwrap();

    assert_eq!(["branch-key"].as_slice(), defects.iter().map(|defect| defect.code).collect::<Vec<_>>());
    judged_by_notes(&database);
}

#[test]
fn a_database_without_etcds_buckets_is_not_etcds() {
    for missing in [buckets::KEY, buckets::META] {
        let mut broken = sound();
        broken.remove(missing);

        assert_eq!(Err(vec!["bucket-missing"]), judged(&broken));
    }
}

#[test]
fn what_should_be_known_before_a_restore_is_a_warning() {
    let mut buckets = sound();
    put(&mut buckets, buckets::ALARM, b"\x08\x05\x10\x01".to_vec(), Vec::new());
    put(&mut buckets, buckets::AUTH, buckets::AUTH_ENABLED, vec![1]);
    put(&mut buckets, buckets::KEY, at(7, 0), key_value(b"d", 7, 7, 1, b"", 99));
    put(&mut buckets, buckets::KEY, at(8, 0), key_value(b"e", 7, 7, 1, b"", 0));
    put(&mut buckets, buckets::CLUSTER, buckets::CLUSTER_DOWNGRADE, br#"{"target-version":"3.5.0","enabled":true}"#);
    // 2^35 - 1 seconds.
    put(&mut buckets, buckets::LEASE, 8_i64.to_be_bytes(), b"\x08\x08\x10\xff\xff\xff\xff\x7f");

    let warnings = judged(&buckets).unwrap().warnings.join("\n");

    for word in
        ["alarm NOSPACE of member 5", "authentication", "1 live keys", "1 versions", "downgrade", "1 leases last"]
    {
        assert!(warnings.contains(word), "{word} is not in {warnings}");
    }
}

#[test]
fn a_finished_downgrade_is_no_warning() {
    let mut buckets = sound();
    put(&mut buckets, buckets::CLUSTER, buckets::CLUSTER_DOWNGRADE, br#"{"target-version":"","enabled":false}"#);

    assert!(judged(&buckets).unwrap().warnings.is_empty());
}

#[test]
fn a_missing_hash_is_accepted_on_demand_and_a_wrong_one_is_not() {
    let scratch = Scratch::new();
    let database = build(PAGE_SIZE, &sound());
    let skip = VerifyOptions { skip_hash_check: true };
    let path = scratch.file(&database);

    assert!(matches!(verify(&path, VerifyOptions::default(), &NoProgress), Err(Error::MissingHash { .. })));
    assert!(!verify(&path, skip, &NoProgress).unwrap().hash_checked);

    let path = scratch.file(&[database.as_slice(), &[0; 32]].concat());
    let Err(Error::Corrupt { defects, .. }) = verify(&path, VerifyOptions::default(), &NoProgress) else {
        panic!("a wrong hash passed");
    };
    assert_eq!(vec!["hash-mismatch"], defects.iter().map(|defect| defect.code).collect::<Vec<_>>());
    assert!(verify(&path, skip, &NoProgress).is_ok());
}

#[test]
fn a_bare_database_that_is_cut_short_says_so_rather_than_that_its_hash_is_missing() {
    let scratch = Scratch::new();
    let mut database = build(PAGE_SIZE, &sound());
    database.truncate(database.len() - 4096);

    let Err(Error::Corrupt { defects, .. }) = verify(&scratch.file(&database), VerifyOptions::default(), &NoProgress)
    else {
        panic!("a cut database passed");
    };

    assert_eq!("database-truncated", defects[0].code);
}

#[test]
fn status_reads_what_verify_judges_and_asks_for_no_hash() {
    let scratch = Scratch::new();
    let database = build(PAGE_SIZE, &sound());
    let expected = judged(&sound()).unwrap().status;

    assert_eq!(expected, status(&scratch.file(&database), &NoProgress).unwrap().0);
    assert_eq!(expected, status(&scratch.file(&with_trailer(database)), &NoProgress).unwrap().0);
}

#[test]
fn the_list_of_defects_is_bounded_and_says_how_many_are_left_out() {
    let mut broken = sound();
    let key = broken.get_mut(buckets::KEY).unwrap();
    for number in 0..10_050_u32 {
        key.insert(number.to_be_bytes().to_vec(), Vec::new());
    }

    let codes = judged(&broken).unwrap_err();

    assert_eq!((10_001, Some(&"more-defects")), (codes.len(), codes.last()));
}
