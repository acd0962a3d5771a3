//! Archives of ours with a part cut off or a bit flipped.

use super::super::layout::{SNAPSHOT_ENTRY, TAR_BLOCK};
use super::super::tar_header;
use super::*;

#[test]
fn an_archive_cut_off_at_any_byte_is_refused() {
    for compression in BOTH {
        let bytes = archive(compression, &snapshot(2048));
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{compression:?} cut to {len} of {} bytes", bytes.len());
        }
        // Behind the few bytes that tell what it is, it is damaged rather than something else.
        for len in 700..bytes.len() {
            assert_eq!("truncated", defect(&bytes[..len]), "{compression:?} cut to {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_changes_nothing() {
    for compression in BOTH {
        let snapshot = snapshot(1024);
        let mut bytes = archive(compression, &snapshot);
        let expected = read(&bytes).unwrap();
        let mut harmless = Vec::new();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            match read(&bytes) {
                Ok(outcome) => {
                    assert_eq!(expected, outcome, "{compression:?} bit {bit}");
                    harmless.push(bit);
                }
                Err(Error::Corrupt { .. } | Error::NotASnapshot { .. }) => {}
                Err(error) => panic!("{compression:?} bit {bit}: {error}"),
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        // Time, flags and system in gzip's header; code lengths that nothing uses and bits that fill bytes.
        assert!(harmless.len() <= 128, "{compression:?} {harmless:?}");
    }
}

#[test]
fn a_bare_tar_cut_off_at_any_byte_is_refused() {
    let mut tar = Vec::new();
    let snapshot = snapshot(1024);
    tar.extend(tar_header::render(SNAPSHOT_ENTRY, snapshot.len() as u64, 0).unwrap());
    tar.extend(&snapshot);
    tar.resize(tar.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK, 0);
    assert!(read(&tar).is_ok());
    for len in 0..tar.len() {
        assert!(read(&tar[..len]).is_err(), "cut to {len} of {} bytes", tar.len());
    }
    for len in 16..tar.len() {
        assert_eq!("truncated", defect(&tar[..len]), "cut to {len} of {} bytes", tar.len());
    }
}

#[test]
fn bytes_behind_the_end_are_refused_and_zeros_behind_gzip_are_not() {
    let snapshot = snapshot(4096);
    for (compression, code) in [(Compression::Gzip, "gzip-trailing"), (Compression::Zstd, "zstd-trailing")] {
        let mut bytes = archive(compression, &snapshot);
        let len = bytes.len();
        bytes.push(b'x');
        assert_eq!(code, defect(&bytes));
        bytes.extend([b'x'; 100]);
        assert_eq!(code, defect(&bytes));
        bytes[len..].fill(0);
        assert_eq!(compression == Compression::Gzip, read(&bytes).is_ok());
        bytes.push(1);
        assert_eq!(code, defect(&bytes));
    }
}

#[test]
fn the_offset_of_damage_is_that_of_the_place() {
    let mut bytes = archive(Compression::Gzip, &snapshot(4096));
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    match read(&bytes).unwrap_err() {
        Error::Corrupt { defects, .. } => {
            assert_eq!(("gzip-crc", Some(at as u64)), (defects[0].code, defects[0].offset));
        }
        error => panic!("{error}"),
    }
}

#[test]
fn a_seek_table_that_contradicts_the_frames_is_refused() {
    let mut bytes = archive(Compression::Zstd, &snapshot(4096));
    let at = bytes.len() - 9 - 8;
    bytes[at] ^= 1;
    assert_eq!("zstd-seek-table", defect(&bytes));
}

#[test]
fn a_zstd_archive_that_was_compressed_anew_needs_no_seek_table() {
    let snapshot = snapshot(4096);
    let bytes = archive(Compression::Zstd, &snapshot);
    let tar = zstd::stream::decode_all(bytes.as_slice()).unwrap();
    for again in [zstd(&tar), gzip(&tar), tar.clone(), [zstd(&tar[..5000]), zstd(&tar[5000..])].concat()] {
        let (extracted, database) = read(&again).unwrap();
        assert!(snapshot[..4096] == database);
        assert_eq!(Some(example_manifest()), extracted.manifest);
    }
}
