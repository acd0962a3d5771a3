//! The database inside an archive of ours, read at any offset without unpacking it.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::decoder::Wrapping;
use super::index::{Index, find_index};
use super::layout::{HASH_LEN, HASH_REST, PAGE_UNIT, SNAPSHOT_ENTRY, TAR_BLOCK, TAR_BLOCK_U64};
use super::tar_header;
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::read_at::{FileSource, ReadAt};

/// Bytes of inflated blocks that are kept, one block at least.
const CACHE: usize = 32 << 20;

/// Type flags of a regular file.
const REGULAR: [u8; 2] = *b"0\0";
/// Type flag of records about the entry that follows, with which Python's `tarfile` tells times.
const EXTENDED: u8 = b'x';
/// Bytes of such records that are looked at.
const LONGEST_EXTENDED: u64 = 64 << 10;

/// An archive whose blocks can be inflated one by one, or a bare tar.
///
/// Each block that is read must inflate, alone, to the length that the index gives it, and use up its bytes; and its
/// checksum must fit, which a zstd frame has itself and the manifest tells of gzip blocks. What was inflated last is
/// kept, up to [`CACHE`] bytes.
pub struct RandomArchive {
    file: FileSource,
    blocks: Option<Blocks>,
    /// Where the database begins in the tar stream, and its bytes.
    start: u64,
    len: u64,
}

struct Blocks {
    index: Index,
    /// Inflated blocks, the one used last at the end.
    cache: Mutex<VecDeque<(usize, Arc<Vec<u8>>)>>,
}

impl fmt::Debug for RandomArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RandomArchive").field("len", &self.len).finish_non_exhaustive()
    }
}

impl RandomArchive {
    /// Opens the archive at `path`; `None` for a file that is not known to be in blocks and must be read from its start.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] when the first block is damaged.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let len = file.metadata().map_err(Error::io("reading", path))?.len();
        let file = FileSource::new(file, len);
        let mut first = [0; TAR_BLOCK];
        match file.read_exact_at(&mut first, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(Error::io("reading", path))?,
        }
        let blocks = if Wrapping::of(&first) == Wrapping::Plain {
            None
        } else {
            let Some(index) = find_index(&file) else { return Ok(None) };
            Some(Blocks { index, cache: Mutex::default() })
        };
        let stream_len = blocks.as_ref().map_or(len, |blocks| blocks.index.len());
        let archive = Self { file, blocks, start: 0, len: 0 };
        let found = archive.find_snapshot(stream_len).map_err(|error| match defect_in(&error) {
            Some(defect) => Error::Corrupt { path: path.to_owned(), defects: vec![defect.clone()] },
            None => Error::io("reading", path)(error),
        })?;
        Ok(found.map(|(start, len)| Self { start, len, ..archive }))
    }

    /// What [`ArchiveWriter`](super::ArchiveWriter) has written of a snapshot of `snapshot_len` bytes, its hash included,
    /// which is the first entry.
    pub(super) fn written(file: FileSource, index: Index, snapshot_len: u64) -> Self {
        let blocks = Some(Blocks { index, cache: Mutex::default() });
        Self { file, blocks, start: TAR_BLOCK_U64, len: snapshot_len.saturating_sub(HASH_LEN) }
    }

    /// Where the database lies in the tar stream, if the snapshot is the first entry and plainly told; `None` leaves it
    /// to the reader of whole archives.
    fn find_snapshot(&self, stream_len: u64) -> io::Result<Option<(u64, u64)>> {
        let mut at = 0_u64;
        loop {
            let mut block = [0; TAR_BLOCK];
            match self.read_stream(&mut block, at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            let Ok(header) = tar_header::parse(&block) else { return Ok(None) };
            let start = at + TAR_BLOCK_U64;
            if header.kind == EXTENDED && at == 0 && header.size <= LONGEST_EXTENDED {
                let mut records = vec![0; usize::try_from(header.size).unwrap_or_default()];
                self.read_stream(&mut records, start)?;
                // What changes the next entry's name or size is not looked into here.
                if [&b" path="[..], b" size="].iter().any(|key| records.windows(key.len()).any(|found| found == *key)) {
                    return Ok(None);
                }
                at = start + header.size.next_multiple_of(TAR_BLOCK_U64);
                continue;
            }
            let fits = start.checked_add(header.size).is_some_and(|end| end <= stream_len);
            if header.name != SNAPSHOT_ENTRY.as_bytes() || !REGULAR.contains(&header.kind) || !fits {
                return Ok(None);
            }
            let hash = if header.size % PAGE_UNIT == HASH_REST { HASH_LEN } else { 0 };
            return Ok(Some((start, header.size - hash)));
        }
    }

    /// Whether blocks have to be inflated.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.blocks.is_some()
    }

    /// Reads from the tar stream.
    fn read_stream(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(blocks) = &self.blocks else { return self.file.read_exact_at(buf, offset) };
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let number = usize::try_from(at / blocks.index.block_len()).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let within = usize::try_from(at % blocks.index.block_len()).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let block = blocks.get(&self.file, number)?;
            let found = block.get(within..).filter(|found| !found.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
            let (now, later) = rest.split_at_mut(found.len().min(rest.len()));
            now.copy_from_slice(found.get(..now.len()).unwrap_or_default());
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

impl ReadAt for RandomArchive {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.read_stream(buf, offset + self.start),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Blocks {
    /// Block `number`, inflated; two threads that ask for one at once may both inflate it.
    fn get(&self, file: &FileSource, number: usize) -> io::Result<Arc<Vec<u8>>> {
        if let Some(block) = self.cached(number) {
            return Ok(block);
        }
        let (packed, raw) =
            self.index.packed(number).zip(self.index.raw(number)).ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = |range: &std::ops::Range<u64>| usize::try_from(range.end.saturating_sub(range.start));
        let (packed_len, raw_len) = size(&packed).and_then(|len| Ok((len, size(&raw)?))).map_err(io::Error::other)?;
        let mut bytes = vec![0; packed_len];
        file.file().read_exact_at(&mut bytes, packed.start)?;
        let inflated = match self.index.wrapping() {
            Wrapping::Gzip => inflate(&bytes, raw_len, self.index.sum(number)),
            _ => decompress(&bytes, raw_len),
        };
        let block = inflated.map_err(|reason| {
            let message = format!("block {number} of the archive, at byte {} of the file: {reason}", packed.start);
            io::Error::other(Defect::new("block-damaged", message).at(packed.start))
        })?;
        Ok(self.keep(number, Arc::new(block)))
    }

    fn cached(&self, number: usize) -> Option<Arc<Vec<u8>>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cache.iter().rposition(|(kept, _)| *kept == number)?;
        let entry = cache.remove(found)?;
        let block = Arc::clone(&entry.1);
        cache.push_back(entry);
        Some(block)
    }

    fn keep(&self, number: usize, block: Arc<Vec<u8>>) -> Arc<Vec<u8>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_back((number, Arc::clone(&block)));
        let mut bytes: usize = cache.iter().map(|(_, block)| block.len()).sum();
        while bytes > CACHE && cache.len() > 1 {
            bytes -= cache.pop_front().map_or(0, |(_, block)| block.len());
        }
        block
    }
}

/// The defect that an error of a read carries, if a damaged block was the cause.
pub(crate) fn defect_in(error: &io::Error) -> Option<&Defect> {
    error.get_ref()?.downcast_ref()
}

/// Inflates a block that starts with an empty window and ends with a flush, not with the stream.
pub(super) fn inflate(packed: &[u8], raw_len: usize, sum: Option<u32>) -> std::result::Result<Vec<u8>, String> {
    let mut inflate = Decompress::new(false);
    // One byte more than there should be, to see that there is none, and the flush behind the last one.
    let mut raw = vec![0; raw_len + 1];
    let status = inflate.decompress(packed, &mut raw, FlushDecompress::Sync).map_err(|error| error.to_string())?;
    let (taken, made) = (inflate.total_in(), inflate.total_out());
    if status == Status::StreamEnd || taken != packed.len() as u64 || made != raw_len as u64 {
        return Err(format!("{taken} of {} bytes inflate to {made}, not {raw_len}", packed.len()));
    }
    raw.truncate(raw_len);
    let mut crc = Crc::new();
    crc.update(&raw);
    match sum.filter(|sum| *sum != crc.sum()) {
        Some(sum) => Err(format!("its bytes have CRC-32 {:08x}, the manifest says {sum:08x}", crc.sum())),
        None => Ok(raw),
    }
}

/// Decompresses one zstd frame, which has a checksum of its own.
fn decompress(packed: &[u8], raw_len: usize) -> std::result::Result<Vec<u8>, String> {
    let raw = zstd::bulk::decompress(packed, raw_len).map_err(|error| error.to_string())?;
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(format!("{} bytes decompress to {}, not {raw_len}", packed.len(), raw.len()))
    }
}
