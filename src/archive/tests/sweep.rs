//! Every field of what is around a database, overwritten with every value that might hurt: refused, or the same database.

use std::fs;
use std::io::{Read, Write};

use super::super::RandomArchive;
use super::super::layout::{BLOCK_LEN, TAR_BLOCK};
use super::super::tar_header;
use super::*;
use crate::read_at::ReadAt;

/// Two blocks, so that the index counts.
const LEN: usize = BLOCK_LEN + 4096;
/// Where it does not, and many files are made.
const SMALL: usize = 8192;

/// Values for a field of `width` bytes that holds `before`.
fn values(before: u64, width: usize) -> Vec<u64> {
    let most = u64::MAX >> (64 - 8 * width);
    let sign = 1 << (8 * width - 1);
    let mut values =
        vec![0, 1, 2, 8, before.wrapping_sub(1), before + 1, before ^ sign, sign - 1, sign, most - 1, most];
    values.extend([512, 544, LEN as u64, LEN as u64 + 32, BLOCK_LEN as u64]);
    values.retain(|value| *value <= most && *value != before);
    values.sort_unstable();
    values.dedup();
    values
}

/// A file with this damage has to be refused, or to hold the same database; to a reader at random too.
fn same_or_refused(bytes: &[u8], expected: &[u8], what: &str) -> bool {
    let whole = read(bytes);
    match &whole {
        Ok((_, database)) => assert!(database == expected, "{what}: another database"),
        Err(Error::Corrupt { defects, .. }) => assert!(!defects.is_empty(), "{what}"),
        Err(Error::NotASnapshot { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    fs::write(&path, bytes).unwrap();
    let random = RandomArchive::open(&path);
    if whole.is_ok()
        && let Some(random) = random.unwrap()
    {
        let mut found = vec![0; usize::try_from(random.len()).unwrap()];
        random.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected, "{what}: another database at random");
    }
    whole.is_ok()
}

fn sweep(bytes: &[u8], expected: &[u8], fields: impl Iterator<Item = (usize, usize)>) -> (u32, u32) {
    let (mut same, mut refused) = (0, 0);
    for (at, width) in fields {
        let mut before = [0; 8];
        before[..width].copy_from_slice(&bytes[at..at + width]);
        for value in values(u64::from_le_bytes(before), width) {
            let mut bent = bytes.to_vec();
            bent[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            if same_or_refused(&bent, expected, &format!("{value:#x} at byte {at}")) {
                same += 1;
            } else {
                refused += 1;
            }
        }
    }
    (same, refused)
}

#[test]
fn every_field_of_the_headers_and_trailers_of_gzip_and_zstd() {
    let snapshot = snapshot(SMALL);
    for compression in BOTH {
        let bytes = archive(compression, &snapshot);
        let len = bytes.len();
        // Header, first block; trailer of gzip; the seek table of zstd and the frames' checksums before it.
        let fields =
            (0..24).map(|at| (at, 1)).chain([(4, 4), (5, 8)]).chain((len - 64..len - 3).step_by(4).map(|at| (at, 4)));
        let ends = [(len - 8, 4), (len - 4, 4), (len - 5, 1), (len - 9, 4)];
        let (same, refused) = sweep(&bytes, &snapshot[..SMALL], fields.chain(ends));
        assert!(refused > 300, "{same} {refused}");
    }
}

/// The tar in one of our archives.
fn unpacked(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    match compression {
        Compression::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut tar).unwrap(),
        Compression::Zstd => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut tar).unwrap(),
    };
    tar
}

fn with_checksum(tar: &mut [u8], at: usize) {
    let block = &mut tar[at..at + TAR_BLOCK];
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn every_field_of_the_headers_of_a_tar_with_a_checksum_that_fits() {
    let snapshot = snapshot(8192);
    let tar = unpacked(Compression::Zstd, &archive(Compression::Zstd, &snapshot));
    let manifest = TAR_BLOCK + snapshot.len().next_multiple_of(TAR_BLOCK);
    let sizes = [0_u64, 1, 31, 32, 511, 512, 8191, 8192, 8223, 8225, 8736, u64::from(u32::MAX), (1 << 33) - 1];
    let octal = sizes.map(|size| format!("{size:011o}\0").into_bytes());
    let binary = [0, 8224, 1 << 33, i64::MAX as u64, 1 << 63, u64::MAX]
        .map(|size: u64| [&[0x80, 0, 0, 0], size.to_be_bytes().as_slice()].concat());
    let odd = [b"            ".to_vec(), vec![0xff; 12], b"-0000000001\0".to_vec(), b"99999999999\0".to_vec()];
    let mut fields: Vec<(usize, Vec<u8>)> =
        [octal.as_slice(), &binary, &odd].concat().into_iter().map(|size| (124, size)).collect();
    let names: [&[u8]; 6] = [b"", b"..", b"/", b"./etcd_snapshot.db", b"manifest.json", &[0xff; 100]];
    fields.extend(names.map(|name| (0, [name, &vec![0; 100 - name.len()]].concat())));
    fields.extend((0..=255).map(|kind| (156, vec![kind])));
    fields.extend(
        [&b"ustar\x0000"[..], b"ustar  \0", b"\0\0\0\0\0\0\0\0", b"ustar\0xx"].map(|magic| (257, magic.to_vec())),
    );
    // Mode, owner, group, time, link, names, devices: nothing of it is the database.
    fields.extend([100, 108, 116, 136, 157, 265, 297, 329, 337, 345].map(|at| (at, vec![0xff; 8])));
    let (mut same, mut refused) = (0, 0);
    for (at, value) in fields {
        for header in [0, manifest] {
            let mut bent = tar.clone();
            bent[header + at..header + at + value.len()].copy_from_slice(&value);
            with_checksum(&mut bent, header);
            for packed in [bent.clone(), gzip(&bent), zstd(&bent)] {
                let outcome = read(&packed);
                // Another size makes it a shorter database, or one with padding: its hash and length are for `verify`.
                if let Ok((extracted, database)) = &outcome {
                    let same = database.iter().zip(&snapshot).all(|(found, byte)| found == byte);
                    assert!(same, "{value:?} at {at} of the header at {header}");
                    assert!(database.len() == 8192 || extracted.trailer != Some(extracted.sha256));
                }
                match outcome {
                    Ok(_) => same += 1,
                    Err(Error::Corrupt { .. } | Error::NotASnapshot { .. }) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    assert!(same > 60 && refused > 1_000, "{same} {refused}");
}

#[test]
fn every_number_and_text_of_the_manifest() {
    let snapshot = snapshot(LEN);
    for compression in BOTH {
        let bytes = archive(compression, &snapshot);
        let tar = unpacked(compression, &bytes);
        let at = TAR_BLOCK + snapshot.len().next_multiple_of(TAR_BLOCK);
        let size = usize::from_str_radix(std::str::from_utf8(&tar[at + 124..at + 135]).unwrap(), 8).unwrap();
        let text = std::str::from_utf8(&tar[at + TAR_BLOCK..][..size]).unwrap();
        let mut variants = Vec::new();
        for (start, piece) in pieces(text) {
            let hostile: &[&str] = if piece.starts_with('"') {
                &["\"\"", "\"\\u0000\"", "\"9999-99-99T99:99:99Z\"", "null", "{}", "0", "\"\\ud800\"", "[[[["]
            } else {
                &[
                    "0",
                    "1",
                    "-1",
                    "10",
                    "11",
                    "1048577",
                    "4294967296",
                    "9223372036854775807",
                    "18446744073709551615",
                    "1e999",
                    "null",
                    "\"0\"",
                    "0.5",
                ]
            };
            let (before, after) = (&text[..start], &text[start + piece.len()..]);
            variants.extend(hostile.iter().map(|value| [before, value, after].concat()));
        }
        assert!(variants.len() > 150, "{}", variants.len());
        let (mut same, mut refused) = (0, 0);
        for variant in &variants {
            let packed = with_manifest(&bytes, compression, &tar[..at], variant);
            if same_or_refused(&packed, &snapshot[..LEN], variant) { same += 1 } else { refused += 1 }
        }
        assert!(same > 20 && refused > 50, "{same} {refused}");
    }
}

/// Numbers and texts of a JSON document, each with its place.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c.is_ascii_digit()) {
        let start = text.len() - rest.len() + at;
        let tail = &text[start..];
        let len = match tail.strip_prefix('"') {
            Some(inside) => inside.find('"').unwrap() + 2,
            None => tail.find(|c: char| !c.is_ascii_digit()).unwrap(),
        };
        found.push((start, &tail[..len]));
        rest = &tail[len..];
    }
    found
}

/// The archive with another manifest in its last block, and all else as it should be.
fn with_manifest(bytes: &[u8], compression: Compression, before: &[u8], text: &str) -> Vec<u8> {
    let mut end = tar_header::render("manifest.json", text.len() as u64, 0).unwrap().to_vec();
    end.extend(text.bytes());
    end.resize(end.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK, 0);
    if compression == Compression::Zstd {
        return zstd(&[before, &end].concat());
    }
    let index = super::super::index::find_index(&bytes.to_vec()).unwrap();
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&end).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(before);
    crc.update(&end);
    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    [&bytes[..usize::try_from(index.end()).unwrap()], &packed.finish().unwrap(), &trailer].concat()
}
