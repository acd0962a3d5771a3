//! What is written is read back, block edges included.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::layout::{BLOCK_LEN, TAR_BLOCK};
use super::super::manifest::{self, Blocks};
use super::super::{Kind, Look, extract, look};
use super::*;
use crate::progress::{Progress, Stage};

#[test]
fn a_snapshot_of_any_length_comes_back_with_its_hash_and_manifest() {
    let edge = BLOCK_LEN - TAR_BLOCK - 32;
    for compression in BOTH {
        for len in [0, 1, 31, 32, 511, 512, 4096, edge - 512, edge, edge + 512, 2 * BLOCK_LEN, 3 * BLOCK_LEN + 4096] {
            let snapshot = snapshot(len);
            let (extracted, database) = read(&archive(compression, &snapshot)).unwrap();
            let kind = if compression == Compression::Gzip { Kind::TarGzip } else { Kind::TarZstd };

            assert_eq!(kind, extracted.kind);
            assert_eq!(Some(example_manifest()), extracted.manifest);
            assert_eq!(database.len() as u64, extracted.database_len);
            assert_eq!(Sha256::digest(&database).as_slice(), extracted.sha256);
            if len % 512 == 0 {
                assert!(snapshot[..len] == database, "{len}");
                assert_eq!(Some(extracted.sha256), extracted.trailer, "{len}");
            } else {
                assert!(snapshot == database, "{len}");
                assert_eq!(None, extracted.trailer, "{len}");
            }
        }
    }
}

#[test]
fn an_empty_entry_is_an_empty_database() {
    for compression in BOTH {
        let (extracted, database) = read(&archive(compression, b"")).unwrap();
        assert_eq!((0, None), (extracted.database_len, extracted.trailer));
        assert!(database.is_empty());
    }
}

#[test]
fn databases_without_a_tar_are_read_bare_and_compressed() {
    for len in [4096, 8192, 300_000 / 512 * 512, BLOCK_LEN] {
        let snapshot = snapshot(len);
        for (bytes, kind) in [
            (snapshot.clone(), Kind::Database),
            (gzip(&snapshot), Kind::GzipDatabase),
            (zstd(&snapshot), Kind::ZstdDatabase),
        ] {
            let (extracted, database) = read(&bytes).unwrap();
            assert_eq!((kind, None), (extracted.kind, extracted.manifest));
            assert!(snapshot[..len] == database);
            assert_eq!(Some(extracted.sha256), extracted.trailer);

            let (extracted, database) = read(&bytes[..if kind == Kind::Database { len } else { bytes.len() }]).unwrap();
            assert!(snapshot[..len] == database);
            assert_eq!(kind != Kind::Database, extracted.trailer.is_some());
        }
    }
}

#[test]
fn the_bytes_written_do_not_depend_on_the_number_of_threads() {
    let snapshot = snapshot(5 * BLOCK_LEN + 4096);
    for compression in BOTH {
        let one = archive_with_threads(compression, &snapshot, 1);
        for threads in [2, 3, 8] {
            assert!(one == archive_with_threads(compression, &snapshot, threads), "{threads} threads");
        }
        assert!(one == archive(compression, &snapshot));
    }
}

#[test]
fn each_gzip_block_inflates_alone_from_the_offset_in_the_manifest() {
    let snapshot = snapshot(2 * BLOCK_LEN + 12288);
    let bytes = archive(Compression::Gzip, &snapshot);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut tar).unwrap();
    let section = TAR_BLOCK + snapshot.len().next_multiple_of(TAR_BLOCK);

    // As a reader would find it: from the end of the file to a flush marker with the manifest's header behind it.
    let last = (0..bytes.len() - 4).rev().filter(|at| bytes[*at..].starts_with(&[0, 0, 0xff, 0xff])).find(|at| {
        let mut header = [0; TAR_BLOCK];
        let inflated = flate2::read::DeflateDecoder::new(&bytes[at + 4..]).read_exact(&mut header);
        inflated.is_ok() && header.starts_with(b"manifest.json\0")
    });
    let last = last.unwrap() + 4;
    let mut block = Vec::new();
    flate2::read::DeflateDecoder::new(&bytes[last..]).read_to_end(&mut block).unwrap();
    assert!(tar[section..] == block);

    let text = block[TAR_BLOCK..].split_inclusive(|byte| *byte == b'\n').take_while(|line| line[0] != 0);
    let text: Vec<u8> = text.flatten().copied().collect();
    let (_, blocks) = manifest::parse(&text).unwrap();
    let Blocks { size, offsets, crc32 } = blocks.unwrap();
    assert_eq!(BLOCK_LEN as u64, size);
    assert_eq!(section.div_ceil(BLOCK_LEN) + 1, offsets.len());
    assert_eq!(Some(&(last as u64)), offsets.last());
    assert_eq!(offsets.len() - 1, crc32.len());
    let offsets: Vec<usize> = offsets.into_iter().map(|offset| offset.try_into().unwrap()).collect();
    for (i, pair) in offsets.windows(2).enumerate() {
        let part = &bytes[pair[0]..pair[1]];
        assert!(part.ends_with(&[0, 0, 0xff, 0xff]));
        let end = section.min((i + 1) * BLOCK_LEN);
        let mut inflated = vec![0; end - i * BLOCK_LEN];
        flate2::read::DeflateDecoder::new(part).read_exact(&mut inflated).unwrap();
        assert!(tar[i * BLOCK_LEN..end] == inflated);
        let mut crc = flate2::Crc::new();
        crc.update(&inflated);
        assert_eq!(crc.sum(), crc32[i]);
    }
}

#[test]
fn the_seek_table_of_a_zstd_archive_leads_to_every_block() {
    let snapshot = snapshot(2 * BLOCK_LEN + 12288);
    let bytes = archive(Compression::Zstd, &snapshot);
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let end = bytes.len();
    assert_eq!(0x8F92_EAB1, number(end - 4));
    assert_eq!(0, bytes[end - 5]);
    let count = number(end - 9) as usize;
    let table = end - 9 - 8 * count;
    assert_eq!((0x184D_2A5E, 9 + 8 * count), (number(table - 8), number(table - 4) as usize));

    let (mut at, mut tar) = (0, Vec::new());
    for i in 0..count {
        let (packed, raw) = (number(table + 8 * i) as usize, number(table + 8 * i + 4) as usize);
        let frame = zstd::bulk::decompress(&bytes[at..at + packed], raw).unwrap();
        assert_eq!(raw, frame.len());
        tar.extend(frame);
        at += packed;
    }
    assert_eq!(table - 8, at);
    assert!(snapshot == tar[TAR_BLOCK..TAR_BLOCK + snapshot.len()]);
}

#[test]
fn more_or_less_than_was_announced_is_an_error() {
    for compression in BOTH {
        let mut writer = ArchiveWriter::new(Vec::new(), compression, 100, 0).unwrap();
        writer.write_snapshot(&[0; 60]).unwrap();
        assert_eq!(io::ErrorKind::InvalidInput, writer.write_snapshot(&[0; 41]).unwrap_err().kind());

        let mut writer = ArchiveWriter::new(Vec::new(), compression, 100, 0).unwrap();
        writer.write_snapshot(&[0; 99]).unwrap();
        assert_eq!(io::ErrorKind::InvalidInput, writer.finish(&example_manifest()).err().unwrap().kind());
    }
}

/// Takes so many bytes, refuses once, and then takes the rest.
#[derive(Clone)]
struct Full {
    left: Rc<RefCell<Option<usize>>>,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = self.left.borrow_mut();
        match *left {
            Some(room) if room < bytes.len() => {
                *left = None;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(room) => {
                *left = Some(room - bytes.len());
                Ok(bytes.len())
            }
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_once_fails_the_archive_for_good() {
    let snapshot = snapshot(20 * BLOCK_LEN);
    for compression in BOTH {
        for room in [0, 10, 5_000_000] {
            let out = Full { left: Rc::new(RefCell::new(Some(room))) };
            let outcome = ArchiveWriter::new(out, compression, snapshot.len() as u64, 0).and_then(|mut writer| {
                // The caller goes on in spite of errors.
                let errors = snapshot.chunks(BLOCK_LEN).filter(|part| writer.write_snapshot(part).is_err()).count();
                let outcome = writer.finish(&example_manifest()).map(|_| ());
                assert!(outcome.is_err(), "{errors} errors before");
                outcome
            });
            assert!(outcome.is_err());
        }
    }
}

#[test]
fn a_writer_that_is_dropped_in_the_middle_does_not_wait_for_anything() {
    for compression in BOTH {
        let mut writer = ArchiveWriter::new(Vec::new(), compression, 1 << 40, 0).unwrap();
        writer.write_snapshot(&vec![7; 3 * BLOCK_LEN]).unwrap();
        drop(writer);
    }
}

#[test]
fn files_are_known_by_content_whatever_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.txt");
    let snapshot = snapshot(BLOCK_LEN);
    let (len, unknown) = (snapshot.len(), None);
    for (bytes, expected, announced) in [
        (archive(Compression::Gzip, &snapshot), Kind::TarGzip, Some(len)),
        (archive(Compression::Zstd, &snapshot), Kind::TarZstd, Some(len)),
        (snapshot.clone(), Kind::Database, Some(len)),
        (gzip(&snapshot), Kind::GzipDatabase, unknown),
        (zstd(&snapshot), Kind::ZstdDatabase, unknown),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let announced_len = announced.unwrap_or(bytes.len()) as u64;
        assert_eq!(Look { kind: expected, announced_len }, look(&path).unwrap());
        let extracted = extract(&path, &mut |_| Ok(()), &NoProgress).unwrap();
        assert_eq!((expected, bytes.len() as u64), (extracted.kind, extracted.file_len));
    }
    assert!(matches!(look(dir.path()).unwrap_err(), Error::NotASnapshot { .. }));
    assert!(matches!(look(Path::new("/dev/null")).unwrap_err(), Error::NotASnapshot { .. }));
    assert!(matches!(look(&dir.path().join("missing")).unwrap_err(), Error::Io { .. }));
}

/// Stops after so many bytes.
struct StopAt(u64, AtomicU64);

impl Progress for StopAt {
    fn update(&self, stage: Stage, done: u64, total: Option<u64>) -> bool {
        assert_eq!(Stage::Read, stage);
        assert!(total.is_some_and(|total| done <= total));
        assert!(self.1.swap(done, Ordering::Relaxed) <= done);
        done < self.0
    }
}

#[test]
fn progress_counts_bytes_of_the_file_and_can_stop_the_work() {
    let snapshot = snapshot(8 * BLOCK_LEN);
    for bytes in [archive(Compression::Gzip, &snapshot), archive(Compression::Zstd, &snapshot), snapshot.clone()] {
        let len = bytes.len() as u64;
        let run = |limit: u64| {
            let progress = StopAt(limit, AtomicU64::new(0));
            let work =
                Extraction { input: &bytes, index: worthwhile(&bytes), path: Path::new("x"), progress: &progress };
            let outcome = work.run(&mut |_| Ok(()), |_| Ok(()));
            (outcome, progress.1.into_inner())
        };
        let (outcome, seen) = run(u64::MAX);
        assert!(outcome.is_ok());
        assert!(seen > len / 2);
        assert!(matches!(run(len / 2).0.unwrap_err(), Error::Interrupted));
    }
}

#[test]
fn what_the_sink_says_is_the_outcome() {
    let bytes = archive(Compression::Gzip, &snapshot(8 * BLOCK_LEN));
    let mut calls = 0;
    let mut sink = |_: &[u8]| {
        calls += 1;
        if calls < 3 { Ok(()) } else { Err(Error::invalid("enough")) }
    };
    let work = Extraction { input: &bytes, index: None, path: Path::new("x"), progress: &NoProgress };
    let error = work.run(&mut sink, |_| Ok(())).unwrap_err();
    assert_eq!("enough", error.to_string());
    assert_eq!(3, calls);
}
