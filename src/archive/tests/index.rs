//! The index of an archive: found where it is, and never trusted beyond that.

use std::io::{Read, Write};

use super::super::index::{Index, find_index};
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
            tar.extend(alone(compression, &bytes[at(packed.start)..at(packed.end)]));
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

/// What is said of a file with these bytes, by a reader that follows its index and by one that has none: it must be
/// the same.
fn both_ways(bytes: &[u8]) -> String {
    let input = bytes.to_vec();
    let outcome = |index| {
        let mut database = Vec::new();
        let mut sink = |part: &[u8]| {
            database.extend_from_slice(part);
            Ok(())
        };
        let work = Extraction { input: &input, index, path: Path::new("archive"), progress: &NoProgress };
        let outcome = work.run(&mut sink, |_| Ok(()));
        format!(
            "{outcome:?} {}",
            if outcome.is_ok() { crate::hex::hex(&Sha256::digest(&database)) } else { String::new() }
        )
    };
    let (with, without) = (outcome(worthwhile(&input)), outcome(None));
    assert_eq!(without, with);
    with
}

#[test]
fn an_index_that_lies_is_refused_whether_it_is_followed_or_not() {
    let snapshot = snapshot(3 * BLOCK_LEN + 4096);
    let bytes = archive(Compression::Gzip, &snapshot);
    let index = find_index(&bytes).unwrap();
    let starts: Vec<u64> = (0..4).map(|number| index.packed(number).unwrap().start).chain([index.end()]).collect();
    let honest = both_ways(&with_offsets(&bytes, &format!("{starts:?}")));
    assert!(honest.starts_with("Ok"), "{honest}");

    let mut lies = vec![vec![10, starts[2], starts[3], index.end()], vec![10, starts[1], index.end()]];
    for at in 1..4 {
        for by in [-5_i64, -4, -1, 1, 4, 5, 1000] {
            let mut lie = starts.clone();
            lie[at] = lie[at].saturating_add_signed(by);
            lies.push(lie);
        }
        let mut lie = starts.clone();
        lie[at] = starts[at - 1] + 1;
        lies.push(lie);
        lie = starts.clone();
        lie.insert(at, starts[at]);
        lies.push(lie);
        lie = starts.clone();
        lie.insert(at, starts[at] - 5);
        lies.push(lie);
    }
    let mut refused = 0;
    for lie in lies {
        let forged = with_offsets(&bytes, &format!("{lie:?}"));
        let outcome = both_ways(&forged);
        // An empty stored block may stand at the end of one block or at the start of the next.
        let harmless = find_index(&forged).is_none_or(|index| {
            let alone =
                |number| crate::archive::random::inflate(&forged[packed(&index, number)], len(&index, number), None);
            (0..index.blocks()).all(|number| alone(number).is_ok())
        });
        if harmless {
            // The hash of what the sink got.
            assert_eq!(honest.rsplit(' ').next(), outcome.rsplit(' ').next(), "{lie:?}");
        } else {
            assert!(outcome.contains("block-index"), "{lie:?}: {outcome}");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
}

fn packed(index: &Index, number: usize) -> std::ops::Range<usize> {
    let range = index.packed(number).unwrap();
    at(range.start)..at(range.end)
}

fn len(index: &Index, number: usize) -> usize {
    let range = index.raw(number).unwrap();
    at(range.end - range.start)
}

#[test]
fn a_seek_table_of_another_number_of_frames_is_refused_where_a_reader_would_follow_it() {
    let snapshot = snapshot(2 * BLOCK_LEN + 4096);
    let whole = archive(Compression::Zstd, &snapshot);
    let index = find_index(&whole).unwrap();
    let (first, table) = (packed(&index, 0), packed(&index, 2).end);
    // The frame with the manifest lies between; its entry is the last one.
    let entries = 4;
    let start = whole.len() - 9 - 8 * entries;
    assert!(start > table);
    let mut lie = whole[..start - 8].to_vec();
    lie.extend(0x184D_2A5E_u32.to_le_bytes());
    lie.extend((8_u32 * 3 + 9).to_le_bytes());
    // One frame of twice the length.
    lie.extend(u32::try_from(first.end - 1).unwrap().to_le_bytes());
    lie.extend(&whole[start + 4..start + 24]);
    lie.extend(3_u32.to_le_bytes());
    lie.extend(&whole[whole.len() - 5..]);

    assert!(find_index(&lie).is_some());
    let outcome = both_ways(&lie);
    assert!(outcome.contains("block-index"), "{outcome}");
}

#[test]
fn damage_is_named_alike_with_an_index_and_without() {
    let snapshot = snapshot(2 * BLOCK_LEN + 4096);
    for compression in BOTH {
        let mut bytes = archive(compression, &snapshot);
        let len = bytes.len();
        assert!(worthwhile(&bytes).is_some());
        assert!(both_ways(&bytes).starts_with("Ok"));
        let near_the_end = (1..40).map(|at| len - at);
        for at in (0..60).map(|part| part * len / 60).chain(0..20).chain(near_the_end) {
            bytes[at] ^= 1 << (at % 8);
            both_ways(&bytes);
            bytes[at] ^= 1 << (at % 8);
        }
        for cut in (0..20).map(|part| part * len / 20) {
            assert!(both_ways(&bytes[..cut]).starts_with("Err"));
        }
    }
}

fn at(offset: u64) -> usize {
    offset.try_into().unwrap()
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
    let manifest = &tar[at(index.len())..];
    let size = at(tar_header::parse(manifest.first_chunk().unwrap()).unwrap().size);
    let text = String::from_utf8(manifest[TAR_BLOCK..][..size].to_vec()).unwrap();
    let (before, rest) = text.split_once("\"offsets\":").unwrap();
    let text = [before, "\"offsets\":", offsets, &rest[rest.find(']').unwrap() + 1..]].concat();

    tar.truncate(at(index.len()));
    tar.extend(tar_header::render("manifest.json", text.len() as u64, 0).unwrap());
    tar.extend(text.bytes());
    tar.resize(tar.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK, 0);
    let mut last = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    last.write_all(&tar[at(index.len())..]).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&tar);
    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    [&bytes[..at(index.end())], &last.finish().unwrap(), &trailer].concat()
}
