//! Every field of every kind of page, overwritten with every value that might hurt.

use std::time::{Duration, Instant};

use super::super::layout::{
    BRANCH_PAGE_FLAG, FREELIST_PAGE_FLAG, LEAF_PAGE_FLAG, MAX_SPAN, META, PAGE_COUNT, PAGE_FLAGS, PAGE_ID,
    PAGE_OVERFLOW, put,
};
use super::super::meta::{Meta, PGID_NO_FREELIST};
use super::super::{Builder, Database};
use super::properties::survive;
use super::{Buckets, codes, element, numbered, pages_with, sample};
use crate::bbolt::build;
use crate::bbolt::encode::{Item, branch_image, bucket_value, leaf_image, seal};

const SIZE: usize = 512;

/// Values for a field, whatever its width: nothing, one, all, the limits, and the numbers of the file itself.
fn values(own: u64, end: u64) -> Vec<u64> {
    let numbers = [0, 1, 2, 3, own.wrapping_sub(1), own, own + 1, end - 1, end, end + 1, SIZE as u64];
    let limits = [0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, u64::MAX];
    [numbers.as_slice(), &limits, &[0xfffe, 32_768, 32_769, MAX_SPAN / SIZE as u64]].concat()
}

fn sweep(bytes: &[u8], page: usize, fields: &[(usize, usize)]) {
    let end = (bytes.len() / SIZE) as u64;
    for (at, width) in fields {
        for value in values(page as u64, end) {
            let mut bent = bytes.to_vec();
            put(&mut bent, *at, &value.to_le_bytes()[..*width]);
            survive(&bent);
        }
    }
}

fn header(page: usize) -> Vec<(usize, usize)> {
    let at = page * SIZE;
    vec![(at + PAGE_ID, 8), (at + PAGE_FLAGS, 2), (at + PAGE_COUNT, 2), (at + PAGE_OVERFLOW, 4)]
}

#[test]
fn every_field_of_the_pages_of_a_tree() {
    let bytes = Builder::new(512).freelist(5).build(&sample()).unwrap();
    for flags in [LEAF_PAGE_FLAG, BRANCH_PAGE_FLAG] {
        let pages = pages_with(&bytes, SIZE, flags);
        for page in [pages[0], pages[pages.len() / 2], pages[pages.len() - 1]] {
            let mut fields = header(page);
            for index in 0..3 {
                let at = element(page * SIZE, index);
                fields.extend([(at, 4), (at + 4, 4), (at + 8, 4), (at + 12, 4), (at + 8, 8)]);
            }
            sweep(&bytes, page, &fields);
        }
    }
}

#[test]
fn every_field_of_the_bucket_headers_and_inline_pages() {
    let bytes = build(512, &sample());
    let root = *pages_with(&bytes, SIZE, LEAF_PAGE_FLAG).last().unwrap();
    let fields: Vec<_> = (root * SIZE..root * SIZE + SIZE - 8).flat_map(|at| [(at, 8), (at, 2)]).collect();
    sweep(&bytes, root, &fields);
}

#[test]
fn every_field_of_a_freelist() {
    let bytes = Builder::new(512).freelist(5).build(&sample()).unwrap();
    let page = pages_with(&bytes, SIZE, FREELIST_PAGE_FLAG)[0];
    let mut fields = header(page);
    fields.extend((0..6).map(|index| (page * SIZE + 16 + 8 * index, 8)));
    sweep(&bytes, page, &fields);
}

#[test]
fn every_field_of_the_metas_with_a_checksum_that_fits() {
    let good = Builder::new(512).freelist(5).build(&sample()).unwrap();
    let end = (good.len() / SIZE) as u64;
    let original = Meta::decode(&good, 0).unwrap();
    for value in values(0, end) {
        for field in 0..6 {
            let mut meta = original.clone();
            match field {
                0 => meta.root = value,
                1 => meta.freelist = value,
                2 => meta.high_water_mark = value,
                3 => meta.txid = value,
                4 => meta.sequence = value,
                _ => meta.page_size = u32::try_from(value & 0xff_ffff).unwrap(),
            }
            for both in [false, true] {
                let mut bytes = good.clone();
                let encoded = meta.encode(0);
                let encoded = [encoded, vec![0; SIZE]].concat();
                put(&mut bytes, 0, &encoded[..META + 64]);
                if both {
                    put(&mut bytes, SIZE, &encoded[..META + 64]);
                }
                survive(&bytes);
            }
        }
    }
    sweep(&good, 0, &[header(0), header(1)].concat());
}

/// A file of `pages` behind the metas; the last but one is the root of the only bucket.
pub(super) fn file(mut bytes: Vec<u8>, root: u64) -> Vec<u8> {
    let next = (bytes.len() / SIZE) as u64;
    let leaf = leaf_image(&[Item::bucket(b"b", &bucket_value(root, 0))]).unwrap();
    bytes.extend(seal(leaf, next, SIZE).unwrap());
    let meta = Meta {
        page_size: 512,
        root: next,
        sequence: 0,
        freelist: PGID_NO_FREELIST,
        high_water_mark: next + 1,
        txid: 2,
    };
    put(&mut bytes, 0, &meta.encode(0));
    put(&mut bytes, SIZE, &meta.encode(1));
    bytes
}

#[test]
fn a_tree_that_would_take_for_ever_is_walked_at_once() {
    // Sixty branches, each of them with the next one twenty times over: 20^60 ways to the leaf.
    let mut bytes = vec![0; 2 * SIZE];
    let keys: Vec<[u8; 1]> = (0..20).map(|key| [key]).collect();
    for number in 2..62 {
        let children: Vec<(&[u8], u64)> = keys.iter().map(|key| (key.as_slice(), number + 1)).collect();
        bytes.extend(seal(branch_image(&children).unwrap(), number, SIZE).unwrap());
    }
    bytes.extend(seal(leaf_image(&[Item::entry(b"k", b"v")]).unwrap(), 62, SIZE).unwrap());
    let bytes = file(bytes, 2);
    let start = Instant::now();
    assert_eq!(codes(&bytes).iter().filter(|code| **code == "page-multiple-references").count(), 19 * 60);
    survive(&bytes);
    let db = Database::open(&bytes).unwrap();
    let bucket = db.bucket(b"b").unwrap().unwrap();
    assert_eq!(db.entries(&bucket).unwrap_err().code, "page-multiple-references");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn pages_that_all_claim_the_rest_of_the_file_are_walked_at_once() {
    let count = 20_000_u64;
    let mut bytes = vec![0; 2 * SIZE];
    let leaf = leaf_image(&[Item::entry(b"k", b"v")]).unwrap();
    for number in 2..2 + count {
        let mut page = seal(leaf.clone(), number, SIZE).unwrap();
        put(&mut page, PAGE_OVERFLOW, &u32::try_from(count + 1 - number).unwrap().to_le_bytes());
        bytes.extend(page);
    }
    let keys: Vec<[u8; 4]> = (0..count).map(|key| u32::try_from(key).unwrap().to_be_bytes()).collect();
    // The last page comes first, so that each takes one page more and meets those that are taken.
    let children: Vec<(&[u8], u64)> = keys.iter().map(<[u8; 4]>::as_slice).zip((2..2 + count).rev()).collect();
    let root = 2 + count;
    bytes.extend(seal(branch_image(&children).unwrap(), root, SIZE).unwrap());
    let bytes = file(bytes, root);
    let start = Instant::now();
    let found = codes(&bytes);
    assert_eq!(found.iter().filter(|code| **code == "page-multiple-references").count(), 20_000 - 1);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn elements_that_all_name_the_same_bytes_are_handed_out_once() {
    let items: Vec<_> = vec![Item::entry(b"k", b"v"); 1000];
    let mut page = seal(leaf_image(&items).unwrap(), 2, SIZE).unwrap();
    let end = page.len();
    for index in 0..1000 {
        let at = element(0, index);
        put(&mut page, at + 4, &u32::try_from(element(0, 1000) - at).unwrap().to_le_bytes());
        put(&mut page, at + 12, &u32::try_from(end - element(0, 1000) - 1).unwrap().to_le_bytes());
    }
    let bytes = file([vec![0; 2 * SIZE], page].concat(), 2);
    assert_eq!(codes(&bytes), ["element-overlap"; 999]);
    survive(&bytes);
}

#[test]
fn a_huge_sparse_file_costs_what_is_in_it() {
    /// An exbibyte, zeros behind the bytes.
    struct Sparse(Vec<u8>);
    impl crate::read_at::ReadAt for Sparse {
        fn len(&self) -> u64 {
            1 << 60
        }
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            let from = usize::try_from(offset).unwrap().min(self.0.len());
            let bytes = &self.0[from..self.0.len().min(from + buf.len())];
            buf.fill(0);
            buf[..bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }
    let mut bytes = build(512, &Buckets::from([(b"key".to_vec(), numbered(100, 100))]));
    for page in 0..2 {
        let mut meta = Meta::decode(&bytes[page * SIZE..], 0).unwrap();
        meta.high_water_mark = 1 << 51;
        put(&mut bytes, page * SIZE, &meta.encode(page as u64)[..META + 64]);
    }
    let db = Database::open(Sparse(bytes)).unwrap();
    let mut seen = super::Seen::default();
    let walked = crate::bbolt::walk(&db, &mut seen, &crate::progress::NoProgress).unwrap();
    assert_eq!((seen.codes(), walked.pages), (vec![], 1 << 51));
    assert_eq!(seen.buckets[b"key".as_slice()].len(), 100);
}
