//! Where the blocks of an archive of ours lie, so that they can be inflated side by side, or one of them alone.
//!
//! A gzip archive says it in its manifest, which stands in the last blocks; a zstd archive in its seek table. Either
//! may be missing, stale or forged. What comes out of here is a hint that fits the file's length and nothing more: who
//! uses it has to see that every block inflates, alone, to the length that the index gives it.

use std::io::Read;
use std::ops::Range;

use flate2::bufread::DeflateDecoder;

use super::decoder::Wrapping;
use super::layout::{
    GZIP_HEADER, MANIFEST_ENTRY, SEEK_ENTRY_LEN, SEEK_FOOTER_LEN, SEEK_TABLE_MAGIC, SEEKABLE_MAGIC, SNAPSHOT_ENTRY,
    SYNC_MARKER, TAR_BLOCK, TAR_BLOCK_U64, ZSTD_MAGIC,
};
use super::manifest::{self, Blocks};
use super::tar_header;
use crate::read_at::ReadAt;

/// How far back from the end of a gzip file the manifest is looked for, step by step. 256 KiB hold that of a database
/// of some 50 GiB, the last step more than any manifest that is read.
const STEPS: [u64; 3] = [256 << 10, 2 << 20, manifest::LONGEST];

/// Flush markers behind which the manifest is looked for.
const MOST_MARKERS: u32 = 1024;

/// Blocks of this length or less are inflated side by side; bounds the memory. Ours have 1 MiB.
const LONGEST_BLOCK: u64 = 4 << 20;

/// Bytes of the first block that are read for the tar header in it; its Huffman codes take less than 400.
const HEAD: u64 = 64 << 10;

/// Blocks in an index: as many as an archive of 1 TiB has.
const MOST_BLOCKS: usize = 1 << 20;

/// The blocks from the start of the tar stream on, without those at its end that no index tells of: for gzip the
/// manifest's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    wrapping: Wrapping,
    block_len: u64,
    len: u64,
    /// Where each block starts in the file, and where the last one ends: ascending, within the file.
    starts: Vec<u64>,
    /// CRC-32 of what each gzip block holds; none in the archives of releases that did not write them.
    sums: Vec<u32>,
}

impl Index {
    /// Of blocks that were just written, each of `block_len` bytes but the last one. `starts` has one number more than
    /// there are blocks.
    pub(super) fn written(wrapping: Wrapping, block_len: u64, len: u64, starts: Vec<u64>, sums: Vec<u32>) -> Self {
        Self { wrapping, block_len, len, starts, sums }
    }

    /// What the blocks are compressed with; never plain.
    pub(super) fn wrapping(&self) -> Wrapping {
        self.wrapping
    }

    /// Number of blocks; one or more.
    pub(crate) fn blocks(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Bytes of the tar stream in each block; the last one may be shorter.
    pub(crate) fn block_len(&self) -> u64 {
        self.block_len
    }

    /// Bytes of the tar stream in all blocks together.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where block `number` lies in the file.
    pub(crate) fn packed(&self, number: usize) -> Option<Range<u64>> {
        Some(*self.starts.get(number)?..*self.starts.get(number + 1)?)
    }

    /// The bytes of the tar stream that block `number` holds.
    pub(crate) fn raw(&self, number: usize) -> Option<Range<u64>> {
        let start = u64::try_from(number).ok()?.checked_mul(self.block_len)?;
        (number < self.blocks()).then(|| start..self.len.min(start + self.block_len))
    }

    /// CRC-32 of the bytes that block `number` holds, if the index tells it.
    pub(super) fn sum(&self, number: usize) -> Option<u32> {
        self.sums.get(number).copied()
    }

    /// Where the last block ends in the file.
    pub(crate) fn end(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Lets an index pass that keeps its own promises in a file of `file_len` bytes.
    fn checked(self, file_len: u64) -> Option<Self> {
        let blocks = self.blocks();
        if !(TAR_BLOCK_U64..=LONGEST_BLOCK).contains(&self.block_len) {
            return None;
        }
        let longest = self.block_len + self.block_len / 8 + 1024;
        let fits = (1..=MOST_BLOCKS).contains(&blocks)
            && self.len.div_ceil(self.block_len) == blocks as u64
            && (self.sums.is_empty() || self.sums.len() == blocks)
            && self.starts.windows(2).all(|pair| matches!(pair, [start, end] if start < end && end - start <= longest))
            && self.end() <= file_len;
        fits.then_some(self)
    }
}

/// The index of the archive in `source`; `None` where there is none that could be right, or it can't be read.
pub(crate) fn find_index<S: ReadAt + ?Sized>(source: &S) -> Option<Index> {
    let first: [u8; GZIP_HEADER.len()] = array(source, 0)?;
    if first == GZIP_HEADER {
        return gzip(source);
    }
    if first.starts_with(&ZSTD_MAGIC) { zstd(source) } else { None }
}

/// Looks back from the end of the file for the block with the manifest.
fn gzip<S: ReadAt + ?Sized>(source: &S) -> Option<Index> {
    let file_len = source.len();
    let mut searched = file_len;
    let mut markers = 0;
    for step in STEPS {
        let start = file_len.saturating_sub(step);
        let tail = bytes(source, start..file_len)?;
        let ends = tail.windows(SYNC_MARKER.len()).enumerate().rev();
        for (at, _) in ends.filter(|(_, window)| *window == SYNC_MARKER) {
            let block = start + (at + SYNC_MARKER.len()) as u64;
            if block > searched {
                continue;
            }
            markers += 1;
            if markers > MOST_MARKERS {
                return None;
            }
            if let Some(blocks) = tail.get(at + SYNC_MARKER.len()..).and_then(manifest_block) {
                return from_manifest(source, blocks, block)?.checked(file_len);
            }
        }
        searched = start + SYNC_MARKER.len() as u64;
    }
    None
}

/// What the manifest says, if a block that starts with its tar header starts here.
fn manifest_block(packed: &[u8]) -> Option<Blocks> {
    let mut inflate = DeflateDecoder::new(packed);
    let size = entry(&mut inflate, MANIFEST_ENTRY).filter(|size| *size <= manifest::LONGEST)?;
    let mut text = Vec::new();
    inflate.take(size).read_to_end(&mut text).ok()?;
    manifest::parse(&text).ok()?.1
}

fn from_manifest<S: ReadAt + ?Sized>(source: &S, blocks: Blocks, last: u64) -> Option<Index> {
    let Blocks { size: block_len, offsets: starts, crc32: sums } = blocks;
    let (first, end) = (*starts.first()?, *starts.last()?);
    if first != GZIP_HEADER.len() as u64 || end != last {
        return None;
    }
    let head = bytes(source, first..end.min(first + HEAD))?;
    let snapshot_len = entry(&mut DeflateDecoder::new(head.as_slice()), SNAPSHOT_ENTRY)?;
    let len = snapshot_len.checked_next_multiple_of(TAR_BLOCK_U64)?.checked_add(TAR_BLOCK_U64)?;
    Some(Index { wrapping: Wrapping::Gzip, block_len, len, starts, sums })
}

/// The size of the entry whose header comes next, if it has this name.
fn entry(tar: &mut impl Read, name: &str) -> Option<u64> {
    let mut block = [0; TAR_BLOCK];
    tar.read_exact(&mut block).ok()?;
    let header = tar_header::parse(&block).ok()?;
    (header.name == name.as_bytes()).then_some(header.size)
}

/// Reads the seek table at the end of the file.
fn zstd<S: ReadAt + ?Sized>(source: &S) -> Option<Index> {
    const MAGIC_AND_LEN: usize = 8;
    let file_len = source.len();
    let footer: [u8; SEEK_FOOTER_LEN] = array(source, file_len.checked_sub(SEEK_FOOTER_LEN as u64)?)?;
    let (count, rest) = footer.split_first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    if *rest != *[&[0], SEEKABLE_MAGIC.to_le_bytes().as_slice()].concat() || count > MOST_BLOCKS {
        return None;
    }
    let table_len = count * SEEK_ENTRY_LEN + SEEK_FOOTER_LEN;
    let table = file_len.checked_sub((MAGIC_AND_LEN + table_len) as u64)?;
    let head = [SEEK_TABLE_MAGIC, u32::try_from(table_len).ok()?].map(u32::to_le_bytes).concat();
    let packed = bytes(source, table..file_len)?;
    let entries = packed.strip_prefix(head.as_slice())?.get(..count * SEEK_ENTRY_LEN)?;
    let entries = entries.as_chunks::<4>().0.as_chunks::<2>().0.iter();
    let mut entries = entries.map(|entry| entry.map(|number| u64::from(u32::from_le_bytes(number)))).peekable();
    let [_, block_len] = *entries.peek()?;
    let (mut starts, mut len) = (vec![0], 0);
    for [packed_len, raw_len] in entries {
        starts.push(starts.last()? + packed_len);
        len += raw_len;
        // Blocks behind a shorter one are not where its number says.
        if raw_len != block_len {
            break;
        }
    }
    Index { wrapping: Wrapping::Zstd, block_len, len, starts, sums: Vec::new() }.checked(table)
}

fn array<S: ReadAt + ?Sized, const N: usize>(source: &S, offset: u64) -> Option<[u8; N]> {
    let mut array = [0; N];
    source.read_exact_at(&mut array, offset).ok()?;
    Some(array)
}

fn bytes<S: ReadAt + ?Sized>(source: &S, range: Range<u64>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
    source.read_exact_at(&mut bytes, range.start).ok()?;
    Some(bytes)
}
