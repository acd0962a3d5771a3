//! Archives as wholes: written, read back, damaged, and made by others.

mod damage;
mod foreign;
mod hostile;
mod index;
mod random;
mod round_trip;
mod sweep;

use std::path::Path;

use sha2::{Digest, Sha256};

use super::Compression;
use super::encoder::Encoder;
use super::layout::META_MAGIC;
use super::manifest::Manifest;
use super::manifest::tests::example;
use super::pool::Pool;
use super::reader::{Extracted, Extraction, worthwhile};
use super::writer::ArchiveWriter;
use crate::error::{Error, Result};
use crate::progress::NoProgress;

pub(super) const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

/// Bytes that start as a database does, compress a little, and end with their SHA-256.
pub(super) fn snapshot(database_len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 23) as u8
    })
    .take(database_len)
    .collect();
    for (to, from) in bytes.iter_mut().skip(16).zip(META_MAGIC) {
        *to = from;
    }
    let hash = Sha256::digest(&bytes);
    bytes.extend(hash);
    bytes
}

/// An archive of `snapshot`, a database and the 32 bytes of its SHA-256.
pub(crate) fn archive(compression: Compression, snapshot: &[u8]) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new(), compression, snapshot.len() as u64, 1_700_000_000).unwrap();
    for part in snapshot.chunks(32768) {
        writer.write_snapshot(part).unwrap();
    }
    writer.finish(&example()).unwrap()
}

fn archive_with_threads(compression: Compression, snapshot: &[u8], threads: usize) -> Vec<u8> {
    let pool = Pool::with_threads(compression, threads).unwrap();
    let encoder = Encoder::with_pool(Vec::new(), compression, pool).unwrap();
    let mut writer = ArchiveWriter::with_encoder(encoder, compression, snapshot.len() as u64, 1_700_000_000).unwrap();
    writer.write_snapshot(snapshot).unwrap();
    writer.finish(&example()).unwrap()
}

/// What `extract` says of a file with these bytes, and what its sink got.
fn read(bytes: &[u8]) -> Result<(Extracted, Vec<u8>)> {
    let mut database = Vec::new();
    let mut sink = |part: &[u8]| {
        database.extend_from_slice(part);
        Ok(())
    };
    let input = bytes.to_vec();
    let work =
        Extraction { input: &input, index: worthwhile(&input), path: Path::new("archive"), progress: &NoProgress };
    let (extracted, ()) = work.run(&mut sink, |_| Ok(()))?;
    Ok((extracted, database))
}

/// The code of the one defect that `extract` finds.
fn defect(bytes: &[u8]) -> &'static str {
    match read(bytes) {
        Err(Error::Corrupt { defects, .. }) => {
            assert_eq!(1, defects.len());
            assert!(defects[0].offset.is_some(), "{defects:?}");
            defects[0].code
        }
        other => panic!("{other:?}"),
    }
}

/// The reason why `extract` takes a file for something else.
fn reason(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(Error::NotASnapshot { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn manifest_text() -> Vec<u8> {
    serde_json::to_vec(&example()).unwrap()
}

fn example_manifest() -> Manifest {
    example()
}
