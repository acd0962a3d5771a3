//! The index of an archive: found where it is, and never trusted beyond that.

use std::io::{Read, Write};

use super::super::index::find_index;
use super::super::layout::{BLOCK_LEN, TAR_BLOCK};
use super::super::tar_header;
use super::*;

#[test]
fn every_block_of_an_index_inflates_alone_to_its_part_of_the_tar() {
    for compression in BOTH {
        let snapshot = snapshot(2 * BLOCK_LEN + 4096);
        let bytes = archive(compression, &snapshot);
        let index = find_index(&bytes).unwrap();

        assert_eq!(3, index.blocks());
        assert_eq!(None, index.raw(3));
        assert_eq!(None, index.packed(3));
        let mut tar = Vec::new();
        for number in 0..3 {
            let packed = index.packed(number).unwrap();
            let raw = index.raw(number).unwrap();
            assert_eq!(tar.len() as u64, raw.start);
            tar.extend(alone(compression, &bytes[packed.start as usize..packed.end as usize]));
            assert_eq!(tar.len() as u64, raw.end);
        }
        assert_eq!(tar.len() as u64, index.len());
        assert_eq!(snapshot, tar[512..][..snapshot.len()]);
    }
}

#[test]
fn files_without_an_index_have_none() {
    let snapshot = snapshot(4096);
    let tar = zstd::stream::decode_all(archive(Compression::Zstd, &snapshot).as_slice()).unwrap();
    for bytes in [gzip(&tar), zstd(&tar), tar, Vec::new(), vec![0; 9], snapshot] {
        assert_eq!(None, find_index(&bytes));
    }
}

#[test]
fn an_index_that_leaves_the_file_or_goes_back_is_none() {
    let bytes = archive(Compression::Gzip, &snapshot(4096));
    let lies = ["[10,10]", "[10]", "[]", "[0,10]", "[10,4000000000]", "[10,18446744073709551615]", "[10,5]"];
    for offsets in lies {
        let forged = with_offsets(&bytes, offsets);
        assert_eq!(None, find_index(&forged), "{offsets}");
        assert_eq!(read(&bytes).unwrap().1, read(&forged).unwrap().1, "{offsets}");
    }
}

fn alone(compression: Compression, packed: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Zstd => zstd::stream::decode_all(packed).unwrap(),
        Compression::Gzip => {
            let mut raw = Vec::with_capacity(2 * BLOCK_LEN);
            flate2::Decompress::new(false).decompress_vec(packed, &mut raw, flate2::FlushDecompress::Sync).unwrap();
            raw
        }
    }
}

/// The gzip archive with other offsets in its manifest, and all else as it should be.
fn with_offsets(bytes: &[u8], offsets: &str) -> Vec<u8> {
    let index = find_index(&bytes.to_vec()).unwrap();
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut tar).unwrap();
    let manifest = &tar[index.len() as usize..];
    let size = tar_header::parse(manifest.first_chunk().unwrap()).unwrap().size as usize;
    let text = String::from_utf8(manifest[TAR_BLOCK..][..size].to_vec()).unwrap();
    let (before, rest) = text.split_once("\"offsets\":").unwrap();
    let text = [before, "\"offsets\":", offsets, &rest[rest.find(']').unwrap() + 1..]].concat();

    tar.truncate(index.len() as usize);
    tar.extend(tar_header::render("manifest.json", text.len() as u64, 0).unwrap());
    tar.extend(text.bytes());
    tar.resize(tar.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK, 0);
    let mut last = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    last.write_all(&tar[index.len() as usize..]).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&tar);
    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    [&bytes[..index.end() as usize], &last.finish().unwrap(), &trailer].concat()
}
