//! Frames of a compressed stream around blocks that a pool compresses.

use std::io::{self, Write};

use flate2::Crc;

use super::compression::Compression;
use super::layout::{BLOCK_LEN, GZIP_HEADER, SEEK_ENTRY_LEN, SEEK_FOOTER_LEN, SEEK_TABLE_MAGIC, SEEKABLE_MAGIC};
use super::pool::Pool;

/// Compresses a stream in independent blocks into `out`.
pub(super) struct Encoder<W: Write> {
    out: W,
    compression: Compression,
    pool: Pool,
    /// The block that is being filled.
    block: Vec<u8>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    /// Bytes given to `out`.
    written: u64,
    crc: Crc,
    done: Vec<Block>,
    /// A write to `out` failed, or is under way: what it holds is not to be continued.
    broken: bool,
}

/// A block that is in the file.
struct Block {
    offset: u64,
    packed_len: usize,
    raw_len: usize,
    /// gzip's checksum of its bytes; 0 for zstd.
    crc: u32,
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(out: W, compression: Compression) -> io::Result<Self> {
        Self::with_pool(out, compression, Pool::new(compression)?)
    }

    pub(super) fn with_pool(out: W, compression: Compression, pool: Pool) -> io::Result<Self> {
        let mut encoder = Self {
            out,
            compression,
            pool,
            block: Vec::with_capacity(BLOCK_LEN),
            spare: Vec::new(),
            written: 0,
            crc: Crc::new(),
            done: Vec::new(),
            broken: false,
        };
        if compression == Compression::Gzip {
            encoder.emit(&GZIP_HEADER)?;
        }
        Ok(encoder)
    }

    /// Takes bytes of the stream; writes what is ready.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_LEN - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = rest;
            if self.block.len() == BLOCK_LEN {
                self.dispatch(false)?;
            }
        }
        Ok(())
    }

    /// Ends the block that is being filled, waits until all blocks are written, and returns the offset of each, then
    /// the offset at which the next one will start, and the checksum of each.
    pub(super) fn end_section(&mut self) -> io::Result<(Vec<u64>, Vec<u32>)> {
        if !self.block.is_empty() {
            self.dispatch(false)?;
        }
        self.drain()?;
        let offsets = self.done.iter().map(|block| block.offset).chain([self.written]).collect();
        Ok((offsets, self.done.iter().map(|block| block.crc).collect()))
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> io::Result<W> {
        match self.compression {
            Compression::Gzip => {
                self.dispatch(true)?;
                self.drain()?;
                let mut trailer = self.crc.sum().to_le_bytes().to_vec();
                trailer.extend(self.crc.amount().to_le_bytes());
                self.emit(&trailer)?;
            }
            Compression::Zstd => {
                if !self.block.is_empty() {
                    self.dispatch(false)?;
                }
                self.drain()?;
                let table = seek_table(&self.done)?;
                self.emit(&table)?;
            }
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn dispatch(&mut self, last: bool) -> io::Result<()> {
        if self.pool.is_full() {
            self.collect()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_LEN));
        let raw = std::mem::replace(&mut self.block, next);
        let packed = self.spare.pop().unwrap_or_default();
        self.pool.push(raw, packed, last)
    }

    fn drain(&mut self) -> io::Result<()> {
        while self.collect()? {}
        Ok(())
    }

    /// Writes the oldest block that is under way. `false`: there is none.
    fn collect(&mut self) -> io::Result<bool> {
        let Some(packed) = self.pool.pop() else { return Ok(false) };
        // A block that is lost must not be followed by others.
        let packed = packed.inspect_err(|_| self.broken = true)?;
        let (packed_len, raw_len, crc) = (packed.bytes.len(), packed.raw.len(), packed.crc.sum());
        let block = Block { offset: self.written, packed_len, raw_len, crc };
        self.emit(&packed.bytes)?;
        self.crc.combine(&packed.crc);
        self.done.push(block);
        for mut buffer in [packed.bytes, packed.raw] {
            buffer.clear();
            self.spare.push(buffer);
        }
        Ok(true)
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write of the archive failed"));
        }
        self.broken = true;
        self.out.write_all(bytes)?;
        self.broken = false;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// The seek table of zstd's `contrib/seekable_format`, without checksums: the frames have their own.
fn seek_table(frames: &[Block]) -> io::Result<Vec<u8>> {
    let narrow =
        |number: usize| u32::try_from(number).map_err(|_| io::Error::other("too many frames for a seek table"));
    let len = frames.len() * SEEK_ENTRY_LEN + SEEK_FOOTER_LEN;
    let mut table = Vec::with_capacity(8 + len);
    table.extend(SEEK_TABLE_MAGIC.to_le_bytes());
    table.extend(narrow(len)?.to_le_bytes());
    for frame in frames {
        table.extend(narrow(frame.packed_len)?.to_le_bytes());
        table.extend(narrow(frame.raw_len)?.to_le_bytes());
    }
    table.extend(narrow(frames.len())?.to_le_bytes());
    table.push(0);
    table.extend(SEEKABLE_MAGIC.to_le_bytes());
    Ok(table)
}
