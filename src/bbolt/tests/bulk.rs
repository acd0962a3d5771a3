//! Databases of the bulk writer through our own reader and walk.

use std::io::{Cursor, ErrorKind};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::super::{BulkLayout, BulkWriter, Database, Walked};
use super::{Buckets, as_entries, clean, judge, numbered};

fn layout(page_size: u32, fill_percent: u8, inline: bool) -> BulkLayout {
    BulkLayout { page_size, fill_percent, inline }
}

fn written(layout: BulkLayout, buckets: &Buckets) -> Vec<u8> {
    let mut writer = BulkWriter::new(Cursor::new(Vec::new()), layout);
    for (name, entries) in buckets {
        writer.bucket(name, 7).unwrap();
        for (key, value) in entries {
            writer.entry(key, value).unwrap();
        }
    }
    let (file, meta) = writer.finish(9).unwrap();
    let bytes = file.into_inner();
    assert_eq!(bytes.len() as u64, meta.high_water_mark * u64::from(meta.page_size));
    bytes
}

/// Every page is in use: nothing is free, and nothing lies twice.
fn all_in_use(bytes: &Vec<u8>) -> bool {
    let (_, Walked { pages_reachable, pages_free, pages }) = judge(bytes).unwrap();
    (pages_reachable, pages_free) == (pages, 0)
}

#[test]
fn what_is_written_is_read_again_with_its_sequences_and_no_free_page() {
    let buckets = Buckets::from([
        (b"alarm".to_vec(), numbered(0, 0)),
        (b"key".to_vec(), numbered(5000, 100)),
        (b"meta".to_vec(), numbered(3, 8)),
    ]);
    let bytes = written(BulkLayout::default(), &buckets);

    assert_eq!(clean(&bytes), as_entries(&buckets));
    assert!(all_in_use(&bytes));
    let db = Database::open(&bytes).unwrap();
    assert_eq!((db.meta().txid, db.meta().sequence), (2, 9));
    assert!(db.invalid_meta().is_none());
    let inline: Vec<_> = db.buckets().unwrap().iter().map(|it| (it.sequence(), it.root_page().is_none())).collect();
    assert_eq!(inline, [(7, true), (7, false), (7, true)]);
}

#[test]
fn a_database_without_buckets_is_one() {
    let bytes = written(BulkLayout::default(), &Buckets::new());
    assert_eq!(bytes.len(), 3 * 4096);
    assert_eq!(clean(&bytes), as_entries(&Buckets::new()));
}

#[test]
fn values_of_any_length_round_trip() {
    let sizes = [0, 1, 100, 4064, 4065, 5000, 70_000, 3, 1 << 20, (3 << 20) + 1, 0, 0, 9000];
    let entries = (0_u32..).zip(sizes).map(|(n, size)| (n.to_be_bytes().to_vec(), vec![1; size])).collect();
    let buckets = Buckets::from([(b"key".to_vec(), entries)]);
    for page_size in [512, 4096, 65536] {
        let bytes = written(layout(page_size, 100, true), &buckets);
        assert_eq!(clean(&bytes), as_entries(&buckets), "{page_size}");
        assert!(all_in_use(&bytes));
    }
}

#[test]
fn keys_of_the_greatest_length_make_branches_that_overflow() {
    let key = |n: u32| [n.to_be_bytes().to_vec(), vec![7; 32_764]].concat();
    let buckets = Buckets::from([(b"key".to_vec(), (0..50).map(|n| (key(n), vec![1; 10])).collect())]);
    let bytes = written(layout(512, 50, true), &buckets);
    assert_eq!(clean(&bytes), as_entries(&buckets));
    assert!(all_in_use(&bytes));
}

#[test]
fn more_elements_than_a_page_may_count_go_on_the_next() {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(200_000, 0))]);
    let bytes = written(layout(16 << 20, 100, true), &buckets);
    assert_eq!(clean(&bytes), as_entries(&buckets));
}

#[test]
fn a_million_entries_stream_through_bounded_memory_into_full_pages() {
    let mut writer = BulkWriter::new(Cursor::new(Vec::new()), BulkLayout::default());
    writer.bucket(b"key", 0).unwrap();
    for n in 0..1_000_000_u64 {
        writer.entry(&n.to_be_bytes(), b"value").unwrap();
    }
    let (file, _) = writer.finish(0).unwrap();
    let bytes = file.into_inner();
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.defects, []);
    assert_eq!(seen.buckets[b"key".as_slice()].len(), 1_000_000);
    assert!(bytes.len() < 1_000_000 * 30, "{} bytes for 29 bytes an entry", bytes.len());
}

#[test]
fn many_buckets_make_a_tree_of_the_root_bucket() {
    let buckets: Buckets = (0..3000_u32).map(|n| (n.to_be_bytes().to_vec(), numbered(n % 40, 20))).collect();
    let bytes = written(BulkLayout::default(), &buckets);
    assert_eq!(clean(&bytes), as_entries(&buckets));
    assert!(all_in_use(&bytes));
}

#[test]
fn half_filled_pages_take_twice_the_room() {
    let buckets = Buckets::from([(b"key".to_vec(), numbered(20_000, 80))]);
    let full = written(layout(4096, 100, true), &buckets).len();
    let half = written(layout(4096, 50, true), &buckets).len();
    assert!((19 * full / 10..21 * full / 10).contains(&half), "{half} to {full}");
}

#[test]
fn what_no_database_may_hold_is_refused() {
    let refused = |entries: &[(&[u8], &[u8])]| {
        let mut writer = BulkWriter::new(Cursor::new(Vec::new()), BulkLayout::default());
        writer.bucket(b"key", 0).unwrap();
        let result = entries.iter().try_for_each(|(key, value)| writer.entry(key, value));
        result.and_then(|()| writer.finish(0).map(drop)).unwrap_err()
    };
    for (error, word) in [
        (refused(&[(b"", b"")]), "key of 0 bytes"),
        (refused(&[(&vec![1; 32_769], b"")]), "key of 32769 bytes"),
        (refused(&[(b"b", b""), (b"a", b"")]), "ascend"),
        (refused(&[(b"b", b""), (b"b", b"")]), "ascend"),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
    }
    let mut writer = BulkWriter::new(Cursor::new(Vec::new()), BulkLayout::default());
    assert_eq!(writer.entry(b"k", b"v").unwrap_err().kind(), ErrorKind::InvalidInput);
    writer.bucket(b"b", 0).unwrap();
    writer.bucket(b"a", 0).unwrap();
    assert_eq!(writer.finish(0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn buckets() -> impl Strategy<Value = Buckets> {
    let entries = btree_map(vec(any::<u8>(), 1..40), vec(any::<u8>(), 0..900), 0..120);
    btree_map(vec(any::<u8>(), 1..20), entries, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_buckets_round_trip_at_any_page_size_and_fill(
        buckets in buckets(), power in 9_u32..14, fill in 0_u8..=255, inline: bool,
    ) {
        let bytes = written(layout(1 << power, fill, inline), &buckets);
        prop_assert_eq!(clean(&bytes), as_entries(&buckets));
        prop_assert!(all_in_use(&bytes));
    }
}
