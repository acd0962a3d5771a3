//! A patched database is a sound one that holds what the patch says.

use std::collections::BTreeMap;

use super::super::layout::{BRANCH_PAGE_FLAG, LEAF_PAGE_FLAG, MAX_TXID};
use super::super::{Append, Bucket, Builder, Database, Entry, Meta, PGID_NO_FREELIST, Patch, build, check_patched};
use super::{Buckets, apply, as_entries, clean, codes, judge, numbered, pages_with, sample, with_meta};

fn append(bucket: &[u8], key: &[u8], value: &[u8]) -> Patch {
    let (bucket, key, value) = (bucket.to_vec(), key.to_vec(), value.to_vec());
    Patch { append: Some(Append { bucket, key, value }), ..Patch::default() }
}

fn replace(buckets: &[(&str, Vec<Entry>)]) -> Patch {
    let replace = buckets.iter().map(|(name, entries)| (name.as_bytes().to_vec(), entries.clone())).collect();
    Patch { replace, ..Patch::default() }
}

fn entry(key: &str, value: &str) -> Entry {
    (key.as_bytes().to_vec(), value.as_bytes().to_vec())
}

#[test]
fn buckets_are_replaced_whether_tree_inline_or_missing() {
    let bytes = build(512, &sample());
    let new = vec![entry("a", "1"), entry("b", "2")];
    let patch = replace(&[("key", new.clone()), ("meta", vec![]), ("members", new.clone())]);
    let mut expected = as_entries(&sample());
    expected.insert(b"key".to_vec(), new.clone());
    expected.insert(b"meta".to_vec(), vec![]);
    expected.insert(b"members".to_vec(), new);
    assert_eq!(clean(&apply(&bytes, &patch)), expected);
}

#[test]
fn pages_in_use_stay_as_they_are() {
    let bytes = build(512, &sample());
    let patched = apply(&bytes, &replace(&[("meta", vec![entry("a", "1")])]));
    assert_eq!(bytes[1024..], patched[1024..bytes.len()]);
}

#[test]
fn both_metas_name_the_new_root() {
    for sequence in [0, 7] {
        let mut bytes = Builder::new(4096).sequence(sequence).freelist(3).build(&sample()).unwrap();
        for txid in 3..6 {
            bytes = apply(&bytes, &replace(&[("meta", vec![entry("a", "1")])]));
            let db = Database::open(&bytes).unwrap();
            assert_eq!((db.meta().txid, db.meta().freelist), (txid, PGID_NO_FREELIST));
            assert_eq!(db.meta().sequence, sequence);
            let at = |page: usize| crate::bbolt::Meta::decode(&bytes[page * 4096..], 0).unwrap();
            let winner = usize::from(txid % 2 == 1);
            assert_eq!((at(winner).txid, at(1 - winner).txid), (txid, txid - 1));
            assert_eq!(at(0).root, at(1).root);
            assert_eq!(at(0).high_water_mark, at(1).high_water_mark);
        }
    }
}

#[test]
fn the_greatest_transaction_id_is_not_passed() {
    let bytes = build(512, &sample());
    for txid in [MAX_TXID - 1, MAX_TXID] {
        let patched = apply(&with_meta(bytes.clone(), |meta| meta.txid = txid), &replace(&[("meta", vec![])]));
        assert_eq!(codes(&patched), [""; 0]);
        let at = |page: usize| Meta::decode(&patched[page * 512..], page as u64).unwrap().txid;
        assert_eq!([at(0), at(1)], [MAX_TXID, MAX_TXID - 1]);
    }
}

#[test]
fn sequences_of_buckets_stay() {
    let bytes = Builder::new(512).sequence(42).build(&sample()).unwrap();
    let patch = Patch { append: append(b"key", &[0xff], b"v").append, ..replace(&[("meta", vec![])]) };
    let patched = apply(&bytes, &patch);
    let sequences: Vec<_> = Database::open(&patched).unwrap().buckets().unwrap().iter().map(Bucket::sequence).collect();
    assert_eq!(sequences, [42, 42, 42]);
}

#[test]
fn a_root_bucket_of_several_leaves_is_taken_over_whole() {
    let buckets: Buckets = (0..300_u32).map(|n| (n.to_be_bytes().to_vec(), numbered(1, 5))).collect();
    let bytes = build(512, &buckets);
    assert!(pages_with(&bytes, 512, BRANCH_PAGE_FLAG).len() > 1, "the root is a tree");
    let patched = apply(&bytes, &replace(&[("zzz", vec![entry("a", "1")])]));
    let mut expected = as_entries(&buckets);
    expected.insert(b"zzz".to_vec(), vec![entry("a", "1")]);
    assert_eq!(clean(&patched), expected);
}

#[test]
fn a_key_is_appended_to_a_tree_of_any_depth_and_the_way_down_is_copied() {
    for (page_size, count) in [(512, 1), (512, 40), (512, 3000), (4096, 3000), (16384, 3000), (65536, 30_000)] {
        let buckets = Buckets::from([(b"key".to_vec(), numbered(count, 20))]);
        let mut bytes = Builder::new(page_size).without_inline().build(&buckets).unwrap();
        let mut expected = as_entries(&buckets).remove(b"key".as_slice()).unwrap();
        for key in [[0xf0, 0], [0xf0, 1], [0xf0, 2]] {
            bytes = apply(&bytes, &append(b"key", &key, &[5; 3000]));
            expected.push((key.to_vec(), vec![5; 3000]));
        }
        assert_eq!(clean(&bytes), BTreeMap::from([(b"key".to_vec(), expected)]), "{page_size} {count}");
    }
}

#[test]
fn a_key_is_appended_to_an_inline_an_empty_and_a_missing_bucket() {
    let bytes = build(512, &sample());
    for bucket in ["meta", "alarm", "nobody"] {
        let patched = apply(&bytes, &append(bucket.as_bytes(), b"zz", b"v"));
        let mut expected = as_entries(&sample());
        expected.entry(bucket.as_bytes().to_vec()).or_default().push(entry("zz", "v"));
        assert_eq!(clean(&patched), expected);
    }
}

#[test]
fn a_key_is_appended_to_an_empty_leaf() {
    let bytes = Builder::new(512).without_inline().build(&sample()).unwrap();
    let patched = apply(&bytes, &append(b"alarm", b"zz", b"v"));
    assert_eq!(clean(&patched)[b"alarm".as_slice()], [entry("zz", "v")]);
}

#[test]
fn a_key_is_appended_after_the_replacing() {
    let bytes = build(512, &sample());
    let patch = Patch { append: append(b"key", b"b", b"2").append, ..replace(&[("key", vec![entry("a", "1")])]) };
    assert_eq!(clean(&apply(&bytes, &patch))[b"key".as_slice()], [entry("a", "1"), entry("b", "2")]);
}

#[test]
fn a_new_root_larger_than_a_page_takes_overflow_pages() {
    let bytes = build(4096, &sample());
    let entries: Vec<_> = (0..500).map(|n| entry(&format!("{n:05}"), "0123456789")).collect();
    let patched = apply(&bytes, &replace(&[("members", entries.clone())]));
    assert!(patched.len() - bytes.len() >= 4 * 4096);
    assert_eq!(clean(&patched)[b"members".as_slice()], entries);
}

#[test]
fn a_key_that_is_not_the_greatest_is_refused() {
    let bytes = build(512, &sample());
    let db = Database::open(&bytes).unwrap();
    for (bucket, key) in [("key", 399_u32.to_be_bytes().to_vec()), ("key", vec![0]), ("meta", b"a".to_vec())] {
        let defect = append(bucket.as_bytes(), &key, b"").render(&db).unwrap_err();
        assert_eq!(defect.code, "append-order");
    }
    assert!(append(b"key", &399_u32.to_be_bytes(), b"").render(&db).is_err());
    assert!(append(b"key", &[0, 0, 1, 143, 0], b"").render(&db).is_ok());
}

#[test]
fn entries_that_do_not_ascend_are_refused() {
    let bytes = build(512, &sample());
    let db = Database::open(&bytes).unwrap();
    for entries in [vec![entry("b", ""), entry("a", "")], vec![entry("a", ""), entry("a", "")]] {
        assert_eq!(replace(&[("meta", entries)]).render(&db).unwrap_err().code, "patch-order");
    }
}

#[test]
fn what_no_page_can_hold_is_refused() {
    let bytes = build(512, &sample());
    let db = Database::open(&bytes).unwrap();
    assert_eq!(append(b"key", &vec![0xff; 40_000], b"").render(&db).unwrap_err().code, "too-large");
    assert_eq!(replace(&[("meta", vec![entry("", "")])]).render(&db).unwrap_err().code, "too-large");
}

#[test]
fn the_pages_left_behind_are_free() {
    let bytes = Builder::new(512).freelist(10).build(&sample()).unwrap();
    let (before, after) = (judge(&bytes).unwrap().1, judge(&apply(&bytes, &append(b"key", &[0xff], b""))).unwrap().1);
    assert_eq!(before.pages_free, 10);
    // The ten, the freelist's own page, the old root and a leaf and two branches of the old path.
    let depth = after.pages - before.pages;
    assert_eq!(after.pages_free, 10 + 1 + depth);
    assert_eq!(pages_with(&bytes, 512, LEAF_PAGE_FLAG).len() + 2, {
        let patched = apply(&bytes, &append(b"key", &[0xff], b""));
        pages_with(&patched, 512, LEAF_PAGE_FLAG).len()
    });
}

#[test]
fn neither_patch_nor_pages_print_what_they_hold() {
    let bytes = build(512, &sample());
    let patch =
        Patch { append: append(b"key", &[0xff], b"secret").append, ..replace(&[("m", vec![entry("secret", "")])]) };
    let pages = patch.render(&Database::open(&bytes).unwrap()).unwrap();
    let printed = format!("{patch:?} {pages:?}");
    assert!(!printed.contains("secret") && !printed.contains("115") && printed.contains("key"), "{printed}");
}

#[test]
fn get_and_last_find_what_a_patch_wrote() {
    let bytes = apply(&build(512, &sample()), &append(b"key", &[0xff], b"v"));
    let db = Database::open(&bytes).unwrap();
    let bucket = db.bucket(b"key").unwrap().unwrap();
    assert_eq!(db.last(&bucket).unwrap(), Some((vec![0xff], b"v".to_vec())));
    assert_eq!(db.get(&bucket, &[0xff]).unwrap(), Some(b"v".to_vec()));
    assert_eq!(db.get(&bucket, &[0xfe]).unwrap(), None);
    for (key, value) in &sample()[b"key".as_slice()] {
        assert_eq!(db.get(&bucket, key).unwrap().as_ref(), Some(value));
    }
    assert_eq!(db.bucket(b"nobody").unwrap(), None);
    let empty = db.bucket(b"alarm").unwrap().unwrap();
    assert_eq!((db.last(&empty).unwrap(), db.entries(&empty).unwrap()), (None, vec![]));
}

#[test]
fn a_flipped_bit_in_what_a_patch_wrote_is_found_as_a_walk_finds_it() {
    let bytes = build(512, &sample());
    let db = Database::open(&bytes).unwrap();
    let patch = Patch { append: append(b"key", &[0xff], b"v").append, ..replace(&[("meta", vec![entry("a", "1")])]) };
    let mut patched = apply(&bytes, &patch);
    let places: Vec<usize> = (0..1024).chain(usize::try_from(db.size()).unwrap()..patched.len()).collect();
    let mut found = 0;
    for bit in places.into_iter().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        patched[bit.0] ^= 1 << bit.1;
        let walked = codes(&patched);
        let checked = match Database::open(&patched) {
            Ok(patched) => check_patched(&patched, db.meta()).unwrap(),
            Err(defects) => defects.into_iter().next(),
        };
        assert!(walked.is_empty() || checked.is_some(), "bit {bit:?}: {walked:?}");
        found += usize::from(checked.is_some());
        patched[bit.0] ^= 1 << bit.1;
    }
    assert!(found > 1000, "{found}");
}

#[test]
fn a_new_root_that_leads_elsewhere_than_the_old_one_is_found() {
    let bytes = build(512, &sample());
    let db = Database::open(&bytes).unwrap();
    let patched = apply(&bytes, &replace(&[("meta", vec![entry("a", "1")])]));
    let new = Database::open(&patched).unwrap();
    let trees: Vec<u64> = new.buckets().unwrap().iter().filter_map(Bucket::root_page).collect();
    let tail = usize::try_from(db.size()).unwrap();
    let mut tried = 0;
    for tree in &trees {
        for other in 2..db.meta().high_water_mark {
            let Some(at) = patched[tail..].windows(8).position(|bytes| bytes == tree.to_le_bytes()) else { continue };
            let mut forged = patched.clone();
            forged[tail + at..][..8].copy_from_slice(&other.to_le_bytes());
            let defect = check_patched(&Database::open(&forged).unwrap(), db.meta()).unwrap();
            assert_eq!(*tree == other, defect.is_none(), "{tree} to {other}: {defect:?}");
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}
