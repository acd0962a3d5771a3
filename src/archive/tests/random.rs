//! The database inside an archive, read at any offset.

use std::fs;

use super::super::RandomArchive;
use super::super::layout::BLOCK_LEN;
use super::*;
use crate::read_at::ReadAt;

const LEN: usize = 3 * BLOCK_LEN + 8192;

fn opened(bytes: &[u8]) -> Option<RandomArchive> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    fs::write(&path, bytes).unwrap();
    RandomArchive::open(&path).unwrap()
}

fn tar(snapshot: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(snapshot.len() as u64);
    builder.append_data(&mut header, "etcd_snapshot.db", snapshot).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn any_part_of_the_database_is_read_and_never_its_hash() {
    let snapshot = snapshot(LEN);
    for bytes in [archive(Compression::Gzip, &snapshot), archive(Compression::Zstd, &snapshot), tar(&snapshot)] {
        let random = opened(&bytes).unwrap();
        assert_eq!(LEN as u64, random.len());
        for (offset, len) in [
            (0, 4096),
            (LEN - 4096, 4096),
            (BLOCK_LEN - 600, 300),
            (BLOCK_LEN - 600, 2000),
            (4096, 2 * BLOCK_LEN + 1),
            (0, LEN),
            (LEN, 0),
        ] {
            let mut read = vec![0; len];
            random.read_exact_at(&mut read, offset as u64).unwrap();
            assert!(snapshot[offset..offset + len] == read, "{len} bytes at {offset}");
        }
        assert!(random.read_exact_at(&mut [0; 2], LEN as u64 - 1).is_err());
        assert!(random.read_exact_at(&mut [0; 1], u64::MAX).is_err());
    }
}

#[test]
fn what_has_no_index_of_blocks_is_left_to_others() {
    let snapshot = snapshot(LEN);
    let mut records = tar(&snapshot);
    records[..16].copy_from_slice(b"something_else.x");
    for bytes in
        [gzip(&tar(&snapshot)), zstd(&tar(&snapshot)), gzip(&snapshot), records, tar(&snapshot)[..300].to_vec()]
    {
        assert!(opened(&bytes).is_none());
    }
}

#[test]
fn a_block_that_is_damaged_is_told_by_its_place_in_the_file() {
    let snapshot = snapshot(LEN);
    for compression in BOTH {
        let mut bytes = archive(compression, &snapshot);
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xaa);
        let random = opened(&bytes).unwrap();
        let mut read = vec![0; LEN];
        let error = random.read_exact_at(&mut read, 0).unwrap_err();
        let defect = error.get_ref().and_then(|cause| cause.downcast_ref::<crate::Defect>()).unwrap();
        assert_eq!("block-damaged", defect.code);
        assert!(defect.offset.unwrap() <= middle as u64, "{defect}");
    }
}

#[test]
fn no_damage_of_one_byte_is_read_as_something_else() {
    let snapshot = snapshot(BLOCK_LEN + 4096);
    for compression in BOTH {
        let whole = archive(compression, &snapshot);
        for at in (0..whole.len()).step_by(whole.len() / 97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("archive");
            fs::write(&path, bytes).unwrap();
            let Ok(Some(random)) = RandomArchive::open(&path) else { continue };
            let mut read = vec![0; usize::try_from(random.len()).unwrap()];
            let outcome = random.read_exact_at(&mut read, 0);
            assert!(outcome.is_err() || snapshot[..read.len()] == read, "byte {at}");
        }
    }
}
