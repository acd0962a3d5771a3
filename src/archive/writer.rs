//! Writes an archive while the snapshot arrives.

use std::fs::File;
use std::io::{self, Write};

use super::compression::Compression;
use super::decoder::Wrapping;
use super::encoder::Encoder;
use super::index::Index;
use super::layout::{BLOCK_LEN, MANIFEST_ENTRY, SNAPSHOT_ENTRY, TAR_BLOCK, TAR_BLOCK_U64};
use super::manifest::{self, Blocks, Manifest};
use super::random::RandomArchive;
use super::tar_header;
use crate::read_at::FileSource;

/// Writes one archive into `W`, from start to end, compressing on threads of its own.
///
/// After an error nothing more can be written: what is in `W` is to be thrown away.
pub struct ArchiveWriter<W: Write> {
    encoder: Encoder<W>,
    compression: Compression,
    /// Bytes of the snapshot that are still to come.
    missing: u64,
    snapshot_len: u64,
    /// Whether the entry is filled up, and its last block ended.
    ended: bool,
    mtime: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive for a snapshot of `snapshot_len` bytes, its hash included. `mtime` is in seconds since
    /// 1970.
    pub fn new(out: W, compression: Compression, snapshot_len: u64, mtime: u64) -> io::Result<Self> {
        Self::with_encoder(Encoder::new(out, compression)?, compression, snapshot_len, mtime)
    }

    pub(super) fn with_encoder(
        mut encoder: Encoder<W>,
        compression: Compression,
        snapshot_len: u64,
        mtime: u64,
    ) -> io::Result<Self> {
        encoder.write(&tar_header::render(SNAPSHOT_ENTRY, snapshot_len, mtime)?)?;
        Ok(Self { encoder, compression, missing: snapshot_len, snapshot_len, ended: false, mtime })
    }

    /// Takes the next bytes of the snapshot.
    ///
    /// # Errors
    /// `InvalidInput` for more bytes than were announced; what `W` says otherwise.
    pub fn write_snapshot(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(missing) = self.missing.checked_sub(bytes.len() as u64) else {
            let message = format!("more than the {} bytes of the snapshot that were announced", self.snapshot_len);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.missing = missing;
        self.encoder.write(bytes)
    }

    /// Ends the snapshot, all of which is in `W` then, and gives its database back, to be read at random out of `file`,
    /// which is what `W` writes to without a buffer.
    ///
    /// # Errors
    /// `InvalidInput` for fewer bytes than were announced; what `W` says otherwise.
    pub fn end_snapshot(&mut self, file: File) -> io::Result<RandomArchive> {
        let (starts, crc32) = self.end_blocks()?;
        let end = starts.last().copied().unwrap_or_default();
        let (wrapping, sums) = match self.compression {
            Compression::Gzip => (Wrapping::Gzip, crc32),
            Compression::Zstd => (Wrapping::Zstd, Vec::new()),
        };
        let len = TAR_BLOCK_U64 + self.snapshot_len.next_multiple_of(TAR_BLOCK_U64);
        let index = Index::written(wrapping, BLOCK_LEN as u64, len, starts, sums);
        Ok(RandomArchive::written(FileSource::new(file, end), index, self.snapshot_len))
    }

    /// Adds the manifest, ends the archive, and gives `W` back, flushed.
    ///
    /// # Errors
    /// `InvalidInput` for fewer bytes than were announced; what `W` says otherwise.
    pub fn finish(mut self, manifest: &Manifest) -> io::Result<W> {
        let (offsets, crc32) = self.end_blocks()?;
        let size = BLOCK_LEN as u64;
        let blocks = match self.compression {
            Compression::Gzip => Blocks { size, offsets, crc32 },
            // Its seek table has the places already, and each frame its checksum.
            Compression::Zstd => Blocks { size, offsets: Vec::new(), crc32: Vec::new() },
        };
        let text = manifest::render(manifest, &blocks)?;
        let len = text.len() as u64;
        self.encoder.write(&tar_header::render(MANIFEST_ENTRY, len, self.mtime)?)?;
        self.encoder.write(&text)?;
        self.pad(len)?;
        self.encoder.write(&[0; 2 * TAR_BLOCK])?;
        self.encoder.finish()
    }

    /// Ends the last block of the snapshot; where each block starts and where the next one will, and checksums.
    fn end_blocks(&mut self) -> io::Result<(Vec<u64>, Vec<u32>)> {
        if self.missing > 0 {
            let message = format!("{} of {} bytes of the snapshot are missing", self.missing, self.snapshot_len);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if !self.ended {
            self.pad(self.snapshot_len)?;
            self.ended = true;
        }
        self.encoder.end_section()
    }

    /// Fills an entry of `len` bytes up to whole tar blocks.
    fn pad(&mut self, len: u64) -> io::Result<()> {
        let padding = len.wrapping_neg() % TAR_BLOCK_U64;
        let zeros = [0; TAR_BLOCK];
        let padding = usize::try_from(padding).unwrap_or(0);
        self.encoder.write(zeros.get(..padding).unwrap_or_default())
    }
}
