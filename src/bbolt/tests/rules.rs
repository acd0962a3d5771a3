//! One broken rule at a time: each is reported, by its code, and what can still be read is read.

use super::super::layout::{
    BRANCH_KSIZE, BRANCH_PAGE_FLAG, BRANCH_PGID, FREELIST_PAGE_FLAG, LEAF_FLAGS, LEAF_KSIZE, LEAF_PAGE_FLAG, LEAF_POS,
    LEAF_VSIZE, META, META_CHECKSUM, META_FREELIST, META_MAGIC, META_PAGE_SIZE, META_VERSION, PAGE_COUNT, PAGE_FLAGS,
    PAGE_ID, PAGE_OVERFLOW, put, u32_at,
};
use super::super::meta::{Meta, PGID_NO_FREELIST};
use super::super::{Builder, Database, build};
use super::{Buckets, codes, element, judge, numbered, pages_with, sample, with_meta};
use crate::bbolt::Entries;

const SIZE: usize = 512;

fn good() -> Vec<u8> {
    build(512, &sample())
}

fn leaves(bytes: &[u8]) -> Vec<usize> {
    pages_with(bytes, SIZE, LEAF_PAGE_FLAG)
}

fn branches(bytes: &[u8]) -> Vec<usize> {
    pages_with(bytes, SIZE, BRANCH_PAGE_FLAG)
}

/// The good file with `field` written at byte `at`.
fn bent(at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    put(&mut bytes, at, field);
    bytes
}

#[test]
fn the_good_file_is_good() {
    let bytes = good();
    let (seen, walked) = judge(&bytes).unwrap();
    assert_eq!(seen.defects, []);
    assert_eq!(walked.pages, (bytes.len() / SIZE) as u64);
    assert_eq!((walked.pages_reachable, walked.pages_free), (walked.pages, 0));
    assert!(branches(&bytes).len() > 2 && leaves(&bytes).len() > 10);
}

#[test]
fn a_meta_with_another_magic_is_an_invalid_database() {
    assert_eq!(codes(&bent(META + META_MAGIC, b"x")), ["meta-magic"]);
    assert_eq!(codes(&bent(SIZE + META + META_MAGIC, b"x")), ["meta-magic"]);
}

#[test]
fn a_meta_of_another_version_is_a_version_mismatch() {
    assert_eq!(codes(&bent(META + META_VERSION, &[3])), ["meta-version"]);
}

#[test]
fn a_meta_with_a_wrong_checksum_is_a_checksum_error() {
    for page in [0, SIZE] {
        let bytes = bent(page + META + META_CHECKSUM, &[0; 8]);
        let (seen, _) = judge(&bytes).unwrap();
        assert_eq!(seen.codes(), ["meta-checksum"]);
        assert!(seen.defects[0].message.contains("checksum error"));
    }
}

#[test]
fn a_meta_that_names_another_page_size_than_the_file_has_is_invalid() {
    let mut second = Meta::decode(&good()[SIZE..], 1).unwrap();
    second.page_size = 1024;
    assert_eq!(codes(&bent(SIZE, &second.encode(1)[..SIZE])), ["meta-page-size"]);
    assert!(codes(&bent(META + META_PAGE_SIZE, &[1])).contains(&"meta-checksum"));
}

#[test]
fn a_transaction_id_leaves_room_for_later_ones() {
    for (txid, expected) in [(1 << 63, vec![]), ((1 << 63) + 1, vec!["meta-txid"]), (u64::MAX, vec!["meta-txid"])] {
        assert_eq!(codes(&with_meta(good(), |meta| meta.txid = txid)), expected, "{txid}");
    }
}

#[test]
fn without_any_valid_meta_nothing_opens() {
    let mut bytes = bent(META, &[0; 64]);
    put(&mut bytes, SIZE + META, &[0; 64]);
    assert_eq!(codes(&bytes), ["meta-magic", "meta-missing"]);
}

#[test]
fn a_file_without_room_for_two_metas_is_too_small() {
    assert_eq!(codes(&Vec::new()), ["database-too-small", "meta-missing"]);
    let defects = Database::open(good()[..560].to_vec()).unwrap_err();
    assert_eq!(defects[0].message, "page 1: the database has 560 bytes, its meta ends at 592");
}

#[test]
fn a_file_shorter_than_its_high_water_mark_is_truncated() {
    let bytes = good();
    for length in [1024, bytes.len() / 2, bytes.len() - 1] {
        let defects = Database::open(bytes[..length].to_vec()).unwrap_err();
        assert_eq!(defects[0].code, "database-truncated");
        assert!(defects[0].message.ends_with(&format!("take {} bytes, the database has {length}", bytes.len())));
    }
    let huge = with_meta(bytes, |meta| meta.high_water_mark = u64::MAX);
    assert_eq!(codes(&huge), ["database-truncated"]);
}

#[test]
fn bytes_behind_the_high_water_mark_do_not_matter() {
    let mut bytes = good();
    bytes.extend_from_slice(&[0xff; 3000]);
    assert_eq!(codes(&bytes), [] as [&str; 0]);
}

#[test]
fn a_page_that_does_not_know_its_number_is_told_of_and_read() {
    let bytes = good();
    for page in [vec![0, 1], leaves(&bytes), branches(&bytes)].concat() {
        let bytes = bent(page * SIZE + PAGE_ID, &77_777_u64.to_le_bytes());
        let (seen, _) = judge(&bytes).unwrap();
        assert_eq!(seen.codes(), ["page-id"], "page {page}");
        let message = format!("page {page}: page expected to be {page}, but self identifies as 77777");
        assert_eq!((seen.defects[0].page, seen.defects[0].message.as_str()), (Some(page as u64), message.as_str()));
        assert_eq!(seen.buckets[b"key".as_slice()].len(), 400);
    }
}

#[test]
fn a_page_of_no_or_of_another_type_is_invalid() {
    let bytes = good();
    for flags in [0_u16, 3, 4, 0x10, 0x8002] {
        let page = leaves(&bytes)[3];
        let bytes = bent(page * SIZE + PAGE_FLAGS, &flags.to_le_bytes());
        assert_eq!(codes(&bytes), ["page-type"], "{flags:x}");
    }
    assert_eq!(codes(&bent(PAGE_FLAGS, &2_u16.to_le_bytes())), ["page-type"]);
}

#[test]
fn a_root_beyond_the_high_water_mark_is_out_of_bounds() {
    for root in [1_u64 << 40, u64::MAX] {
        let bytes = with_meta(good(), |meta| meta.root = root);
        let (seen, walked) = judge(&bytes).unwrap();
        assert_eq!(seen.codes(), ["page-out-of-bounds"]);
        assert_eq!(seen.defects[0].message, format!("page {root}: out of bounds: {}", walked.pages));
        assert!(Database::open(&bytes).unwrap().buckets().is_err());
    }
}

#[test]
fn a_child_beyond_the_high_water_mark_is_out_of_bounds_and_its_siblings_are_read() {
    let branch = branches(&good())[0];
    let bytes = bent(element(branch * SIZE, 1) + BRANCH_PGID, &(1_u64 << 50).to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["page-out-of-bounds"]);
    assert!(seen.buckets[b"key".as_slice()].len() > 350);
}

#[test]
fn a_meta_page_as_a_root_is_referenced_twice() {
    let bytes = with_meta(good(), |meta| meta.root = 0);
    assert_eq!(codes(&bytes), ["page-multiple-references"]);
}

#[test]
fn a_page_with_two_parents_is_referenced_twice() {
    let branch = branches(&good())[0];
    let sibling = good()[element(branch * SIZE, 0) + BRANCH_PGID..][..8].to_vec();
    let bytes = bent(element(branch * SIZE, 1) + BRANCH_PGID, &sibling);
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["page-multiple-references"]);
    let page = u64::from_le_bytes(sibling.try_into().unwrap());
    assert_eq!(seen.defects[0].message, format!("page {page}: multiple references"));
}

#[test]
fn a_branch_that_is_its_own_child_is_referenced_twice() {
    let branch = branches(&good())[0];
    let bytes = bent(element(branch * SIZE, 1) + BRANCH_PGID, &(branch as u64).to_le_bytes());
    assert_eq!(codes(&bytes), ["page-multiple-references"]);
}

#[test]
fn an_overflow_into_another_page_is_a_second_reference() {
    let page = leaves(&good())[3];
    let bytes = bent(page * SIZE + PAGE_OVERFLOW, &1_u32.to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["page-multiple-references"]);
    assert_eq!(seen.defects[0].page, Some(page as u64 + 1));
}

#[test]
fn an_overflow_beyond_the_high_water_mark_is_out_of_bounds() {
    let bytes = good();
    let last = *leaves(&bytes).last().unwrap();
    let bytes = bent(last * SIZE + PAGE_OVERFLOW, &5_u32.to_le_bytes());
    assert_eq!(codes(&bytes)[0], "page-out-of-bounds");
}

#[test]
fn a_page_that_claims_more_than_memory_is_taken_for_is_not_read() {
    let page = leaves(&good())[3];
    let bytes = bent(page * SIZE + PAGE_OVERFLOW, &u32::MAX.to_le_bytes());
    assert_eq!(codes(&bytes), ["page-span"]);
}

#[test]
fn a_branch_without_elements_is_empty() {
    let branch = branches(&good())[0];
    let bytes = bent(branch * SIZE + PAGE_COUNT, &[0, 0]);
    assert_eq!(codes(&bytes), ["page-empty-branch"]);
}

#[test]
fn a_table_longer_than_its_page_is_reported() {
    for page in [branches(&good())[0], leaves(&good())[0]] {
        let bytes = bent(page * SIZE + PAGE_COUNT, &[0xff, 0xff]);
        assert_eq!(codes(&bytes)[0], "page-element-table");
    }
}

#[test]
fn an_element_outside_its_page_is_out_of_bounds_and_the_others_are_read() {
    let page = leaves(&good())[2] * SIZE;
    for (field, value) in [(LEAF_POS, 5000), (LEAF_VSIZE, 600), (LEAF_POS, u32::MAX), (LEAF_VSIZE, u32::MAX)] {
        let bytes = bent(element(page, 1) + field, &u32::to_le_bytes(value));
        let (seen, _) = judge(&bytes).unwrap();
        assert_eq!(seen.codes(), ["element-out-of-bounds"]);
        assert_eq!(seen.buckets[b"key".as_slice()].len(), 399);
    }
}

#[test]
fn a_branch_element_outside_its_page_keeps_its_child() {
    let branch = branches(&good())[0];
    let bytes = bent(element(branch * SIZE, 1), &u32::MAX.to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["element-out-of-bounds"]);
    assert_eq!(seen.buckets[b"key".as_slice()].len(), 400);
}

#[test]
fn elements_that_share_bytes_overlap() {
    let page = leaves(&good())[2] * SIZE;
    let pos = u32_at(&good(), element(page, 1) + LEAF_POS).unwrap();
    let bytes = bent(element(page, 1) + LEAF_POS, &(pos - 1).to_le_bytes());
    assert_eq!(codes(&bytes), ["element-overlap"]);
}

#[test]
fn element_flags_that_nobody_writes_are_reported() {
    let page = leaves(&good())[2] * SIZE;
    assert_eq!(codes(&bent(element(page, 1) + LEAF_FLAGS, &[2])), ["element-flags"]);
}

#[test]
fn keys_have_1_to_32768_bytes() {
    let page = leaves(&good())[2] * SIZE;
    for size in [0_u32, 32_769, u32::MAX] {
        assert_eq!(codes(&bent(element(page, 1) + LEAF_KSIZE, &size.to_le_bytes())), ["key-size"]);
    }
    let branch = branches(&good())[0] * SIZE;
    assert_eq!(codes(&bent(element(branch, 1) + BRANCH_KSIZE, &[0; 4])), ["key-size"]);
}

/// Byte offset of key `number` of the bucket `key`.
fn key_at(number: u32) -> usize {
    let db = Database::open(good()).unwrap();
    let bucket = db.bucket(b"key").unwrap().unwrap();
    let mut offset = 0;
    db.for_each(&bucket, &mut |element| {
        if element.key == number.to_be_bytes() {
            offset = element.offset;
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    usize::try_from(offset).unwrap()
}

/// A key that is neither the first nor the last of its leaf.
fn inner_key(bytes: &[u8]) -> u32 {
    let page = leaves(bytes)[1] * SIZE;
    let at = element(page, 2);
    let pos = u32_at(bytes, at + LEAF_POS).unwrap() as usize;
    u32::from_be_bytes(bytes[at + pos..][..4].try_into().unwrap())
}

#[test]
fn keys_ascend_strictly_within_a_page() {
    let key = inner_key(&good());
    for other in [key - 1, key - 2] {
        let (seen, _) = judge(&bent(key_at(key), &other.to_be_bytes())).unwrap();
        assert_eq!(seen.codes()[0], "key-order");
        assert!(seen.defects[0].message.contains(if other == key - 1 { "(found =)" } else { "(found <)" }));
        assert_eq!(seen.buckets[b"key".as_slice()].len(), 400, "entries out of order are handed over");
    }
}

#[test]
fn a_first_key_is_not_below_the_key_of_its_branch() {
    let first = inner_key(&good()) - 2;
    assert_eq!(codes(&bent(key_at(first), &(first - 1).to_be_bytes())), ["key-below-branch"]);
}

#[test]
fn a_last_key_is_below_the_next_key_of_the_branch() {
    let last = inner_key(&good()) - 3;
    let codes = codes(&bent(key_at(last), &(last + 1).to_be_bytes()));
    assert_eq!(codes, ["key-above-branch", "key-order"]);
}

#[test]
fn the_keys_of_a_branch_ascend() {
    let branch = branches(&good())[0] * SIZE;
    let at = element(branch, 2);
    let pos = u32_at(&good(), at).unwrap() as usize;
    let codes = codes(&bent(at + pos, &[0; 4]));
    assert!(codes.contains(&"key-order"), "{codes:?}");
}

#[test]
fn an_entry_in_the_root_bucket_is_reported() {
    let root = *leaves(&good()).last().unwrap() * SIZE;
    assert_eq!(codes(&bent(element(root, 2) + LEAF_FLAGS, &[0])), ["root-entry"]);
}

#[test]
fn a_bucket_value_shorter_than_its_header_is_reported() {
    let root = *leaves(&good()).last().unwrap() * SIZE;
    for vsize in [0_u32, 15] {
        let (seen, _) = judge(&bent(element(root, 1) + LEAF_VSIZE, &vsize.to_le_bytes())).unwrap();
        assert_eq!(seen.codes(), ["bucket-header"]);
        assert_eq!(seen.buckets.len(), 2);
    }
    assert_eq!(codes(&bent(element(root, 0) + LEAF_VSIZE, &31_u32.to_le_bytes())), ["bucket-header"]);
}

/// Byte offset of the page image of inline bucket `meta`.
fn image_at(bytes: &[u8]) -> usize {
    let at = element(*leaves(bytes).last().unwrap() * SIZE, 2);
    at + u32_at(bytes, at + LEAF_POS).unwrap() as usize + "meta".len() + 16
}

#[test]
fn an_inline_bucket_is_a_leaf_with_id_0_and_no_overflow() {
    let image = image_at(&good());
    for (field, byte) in [(PAGE_ID, 9), (PAGE_OVERFLOW, 1)] {
        let (seen, _) = judge(&bent(image + field, &[byte])).unwrap();
        assert_eq!(seen.codes(), ["bucket-inline"]);
        assert_eq!(seen.buckets[b"meta".as_slice()].len(), 1);
    }
    let (seen, _) = judge(&bent(image + PAGE_FLAGS, &[1])).unwrap();
    assert_eq!(seen.codes(), ["bucket-inline"]);
}

#[test]
fn the_elements_of_an_inline_bucket_are_checked() {
    let image = image_at(&good());
    assert_eq!(codes(&bent(image + PAGE_COUNT, &[9])), ["page-element-table", "element-overlap", "key-size"]);
    assert_eq!(codes(&bent(element(image, 0) + LEAF_KSIZE, &[0])), ["key-size"]);
    assert_eq!(codes(&bent(element(image, 0) + LEAF_VSIZE, &[9])), ["element-out-of-bounds"]);
}

#[test]
fn a_bucket_in_an_inline_bucket_is_reported() {
    let image = image_at(&good());
    // The 8 bytes of its value are no bucket header either.
    let (seen, _) = judge(&bent(element(image, 0) + LEAF_FLAGS, &[1])).unwrap();
    assert_eq!((seen.codes(), seen.nested.len()), (vec!["bucket-header"], 1));
    let buckets = Buckets::from([(b"b".to_vec(), Entries::from([(b"k".to_vec(), 4_u128.to_le_bytes().to_vec())]))]);
    let mut bytes = build(512, &buckets);
    let root = leaves(&bytes)[0] * SIZE;
    let image = element(root, 1) + 1 + 16;
    put(&mut bytes, element(image, 0) + LEAF_FLAGS, &[1]);
    assert_eq!(codes(&bytes), ["bucket-inline-nested"]);
}

#[test]
fn a_bucket_in_a_bucket_is_told_of_and_its_pages_are_checked() {
    let mut entries = numbered(60, 16);
    entries.insert(vec![0xff], 2_u128.to_le_bytes().to_vec());
    let other = Buckets::from([(b"a".to_vec(), numbered(60, 16)), (b"b".to_vec(), entries)]);
    let mut bytes = build(512, &other);
    // The first bucket's tree moves into the second one, in place of an entry.
    let db = Database::open(bytes.clone()).unwrap();
    let root = db.bucket(b"a").unwrap().unwrap().root_page().unwrap();
    let last_leaf = leaves(&bytes).into_iter().rev().nth(1).unwrap() * SIZE;
    let count = usize::from(bytes[last_leaf + PAGE_COUNT]);
    let at = element(last_leaf, count - 1);
    let value = at + u32_at(&bytes, at + LEAF_POS).unwrap() as usize + 1;
    put(&mut bytes, at + LEAF_FLAGS, &[1]);
    put(&mut bytes, value, &root.to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!((seen.codes(), seen.nested.as_slice()), (vec!["page-multiple-references"], [vec![0xff]].as_slice()));
    assert_eq!(seen.buckets[b"b".as_slice()].len(), 60);
    let first = *leaves(&bytes).last().unwrap() * SIZE;
    let at = element(first, 0);
    let value = at + u32_at(&bytes, at + LEAF_POS).unwrap() as usize + 1;
    put(&mut bytes, value, &u64::MAX.to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["page-out-of-bounds"]);
}

fn with_freelist(free: u64) -> Vec<u8> {
    Builder::new(512).freelist(free).build(&sample()).unwrap()
}

fn freelist_at(bytes: &[u8]) -> usize {
    pages_with(bytes, SIZE, FREELIST_PAGE_FLAG)[0] * SIZE
}

#[test]
fn a_persisted_freelist_accounts_for_every_page() {
    for free in [0, 1, 5, 61, 62, 70_000] {
        let bytes = with_freelist(free);
        let (seen, walked) = judge(&bytes).unwrap();
        assert_eq!(seen.defects, []);
        assert_eq!((walked.pages_free, walked.pages_reachable), (free, walked.pages - free));
    }
}

#[test]
fn a_page_that_is_neither_free_nor_reachable_is_reported() {
    let mut bytes = with_freelist(5);
    let at = freelist_at(&bytes);
    put(&mut bytes, at + PAGE_COUNT, &[3]);
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["page-unreachable-unfreed"]);
    let last_two = at / 512 - 2;
    assert_eq!(seen.defects[0].message, format!("page {last_two}: unreachable unfreed (and 1 pages after it)"));
}

#[test]
fn a_page_that_is_free_twice_is_already_freed() {
    let mut bytes = with_freelist(5);
    let at = freelist_at(&bytes);
    let first = at / 512 - 5;
    put(&mut bytes, at + 16 + 8, &(first as u64).to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    assert_eq!(seen.codes(), ["page-already-freed", "page-unreachable-unfreed"]);
    assert_eq!(seen.defects[0].message, format!("page {first}: already freed"));
}

#[test]
fn a_page_that_is_free_and_in_use_is_reachable_freed() {
    let mut bytes = with_freelist(5);
    let at = freelist_at(&bytes);
    let leaf = leaves(&bytes)[0] as u64;
    put(&mut bytes, at + 16, &leaf.to_le_bytes());
    put(&mut bytes, at + 24, &(at as u64 / 512).to_le_bytes());
    let (seen, _) = judge(&bytes).unwrap();
    let expected = ["page-reachable-freed", "page-reachable-freed", "page-unreachable-unfreed"];
    assert_eq!(seen.codes(), expected);
    assert_eq!(seen.defects[1].message, format!("page {leaf}: reachable freed"));
}

#[test]
fn free_pages_that_are_none_are_out_of_bounds() {
    for id in [0_u64, 1, 1 << 30, u64::MAX] {
        let mut bytes = with_freelist(5);
        let at = freelist_at(&bytes);
        put(&mut bytes, at + 16, &id.to_le_bytes());
        assert_eq!(codes(&bytes), ["page-out-of-bounds", "page-unreachable-unfreed"]);
    }
}

#[test]
fn a_freelist_longer_than_its_page_is_reported() {
    for count in [63_u16, 0xfffe, 0xffff] {
        let mut bytes = with_freelist(5);
        let at = freelist_at(&bytes);
        put(&mut bytes, at + 16, &u64::MAX.to_le_bytes());
        put(&mut bytes, at + PAGE_COUNT, &count.to_le_bytes());
        assert!(codes(&bytes).contains(&"freelist-count"));
    }
}

#[test]
fn a_freelist_that_is_none_is_reported_and_the_trees_are_read() {
    let leaf = leaves(&good())[0] as u64;
    for (freelist, code) in [(leaf, "page-type"), (0, "page-multiple-references"), (u64::MAX - 1, "page-out-of-bounds")]
    {
        let (seen, _) = judge(&with_meta(good(), |meta| meta.freelist = freelist)).unwrap();
        assert_eq!(seen.codes()[0], code);
        assert_eq!(seen.buckets.len(), 3);
    }
    let at = META + META_FREELIST;
    assert_eq!(good()[at..at + 8], PGID_NO_FREELIST.to_le_bytes());
}

#[test]
fn a_tree_of_too_many_levels_is_cut_off() {
    use crate::bbolt::encode::{Item, branch_image, bucket_value, leaf_image, seal};
    for (levels, expected) in [(60, vec![]), (80, vec!["page-depth"])] {
        let mut bytes = vec![0; 1024];
        let mut page = |image: Vec<u8>| {
            let number = (bytes.len() / 512) as u64;
            bytes.extend(seal(image, number, 512).unwrap());
            number
        };
        let mut child = page(leaf_image(&[Item::entry(b"k", b"v")]).unwrap());
        for _ in 0..levels {
            child = page(branch_image(&[(b"k", child)]).unwrap());
        }
        let root = page(leaf_image(&[Item::bucket(b"b", &bucket_value(child, 0))]).unwrap());
        let meta =
            Meta { page_size: 512, root, sequence: 0, freelist: PGID_NO_FREELIST, high_water_mark: root + 1, txid: 2 };
        put(&mut bytes, 0, &meta.encode(0));
        put(&mut bytes, 512, &meta.encode(1));
        let found: Vec<_> = codes(&bytes).into_iter().filter(|code| *code != "page-single-child").collect();
        assert_eq!(found, expected);
        let db = Database::open(&bytes).unwrap();
        let bucket = db.bucket(b"b").unwrap().unwrap();
        assert_eq!(db.get(&bucket, b"k").is_ok(), expected.is_empty());
        assert_eq!(db.last(&bucket).is_ok(), expected.is_empty());
        assert_eq!(db.entries(&bucket).is_ok(), expected.is_empty());
    }
}

#[test]
fn stopping_is_obeyed_within_a_mebibyte() {
    use crate::progress::{Progress, Stage};
    use std::sync::Mutex;
    struct Stop(Mutex<Vec<u64>>);
    impl Progress for Stop {
        fn update(&self, stage: Stage, done: u64, total: Option<u64>) -> bool {
            assert_eq!(stage, Stage::Check);
            let mut calls = self.0.lock().unwrap();
            calls.push(done);
            Some(done) < total && calls.len() < 4
        }
    }
    let bytes = build(4096, &Buckets::from([(b"key".to_vec(), numbered(6000, 1000))]));
    let db = Database::open(&bytes).unwrap();
    let stop = Stop(Mutex::new(Vec::new()));
    let stopped = crate::bbolt::walk(&db, &mut super::Seen::default(), &stop);
    assert!(matches!(stopped, Err(crate::Error::Interrupted)));
    let calls = stop.0.into_inner().unwrap();
    assert_eq!(calls.len(), 4);
    assert!(calls.windows(2).all(|pair| pair[1] - pair[0] <= 1 << 20));
}

#[test]
fn branches_of_leaves_are_read_by_threads_unless_something_is_wrong_in_them() {
    let bytes = build(512, &sample());
    let (seen, walked) = judge(&bytes).unwrap();
    assert!(seen.parts > 1, "{} subtrees", seen.parts);
    let leaves = pages_with(&bytes, 512, LEAF_PAGE_FLAG);
    let mut broken = bytes.clone();
    put(&mut broken, leaves[0] * 512 + PAGE_ID, &7_777_u64.to_le_bytes());
    let (found, again) = judge(&broken).unwrap();
    assert_eq!((found.codes(), found.parts, again), (vec!["page-id"], seen.parts - 1, walked));
    assert_eq!(found.buckets, seen.buckets);
}
