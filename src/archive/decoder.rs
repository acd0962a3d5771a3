//! What the file's bytes are before they are a tar or a database: read plain, inflated, or decompressed.

use std::io;

use super::gunzip::Gunzip;
use super::layout::{GZIP_MAGIC, SKIPPABLE_MAGIC, ZSTD_MAGIC};
use super::source::Source;
use super::unzstd::Unzstd;
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// Why a decoder cannot go on.
#[derive(Debug)]
pub(super) enum Failure {
    /// The file could not be read.
    Io(io::Error),
    /// The stream is damaged.
    Damage(Defect),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    pub(super) fn damage(code: &'static str, message: impl Into<String>, offset: u64) -> Self {
        Self::Damage(Defect::new(code, message).at(offset))
    }
}

/// What the file is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapping {
    Plain,
    Gzip,
    Zstd,
}

impl Wrapping {
    /// By the first bytes of the file.
    pub(super) fn of(first: &[u8]) -> Self {
        if first.starts_with(&GZIP_MAGIC) {
            return Self::Gzip;
        }
        match first.first_chunk() {
            Some(&ZSTD_MAGIC) => Self::Zstd,
            Some(&magic) if u32::from_le_bytes(magic) & !0xf == SKIPPABLE_MAGIC => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// What a stream turned out to be, known at its end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// A seek table was there, and agreed with the frames.
    pub(super) seek_table: bool,
    /// The blocks of a gzip archive's index were inflated one by one, and each was what its place says.
    pub(super) blocks: bool,
    /// Number of zstd frames with content.
    pub(super) frames: u64,
    /// Decompressed length of the first of them.
    pub(super) first_frame_len: u64,
}

/// The bytes inside the wrapping, in order.
pub(super) enum Decoder<'a> {
    Plain(Source<'a>),
    Gzip(Gunzip<'a>),
    Zstd(Unzstd<'a>),
}

impl<'a> Decoder<'a> {
    /// Looks at the first bytes of the file to see what it is wrapped in.
    pub(super) fn new(input: &'a dyn ReadAt) -> io::Result<Self> {
        let mut source = Source::new(input, 0);
        let wrapping = Wrapping::of(source.peek(ZSTD_MAGIC.len())?);
        Ok(match wrapping {
            Wrapping::Plain => Self::Plain(source),
            Wrapping::Gzip => Self::Gzip(Gunzip::new(source)),
            Wrapping::Zstd => Self::Zstd(Unzstd::new(source)?),
        })
    }

    pub(super) fn wrapping(&self) -> Wrapping {
        match self {
            Self::Plain(_) => Wrapping::Plain,
            Self::Gzip(_) => Wrapping::Gzip,
            Self::Zstd(_) => Wrapping::Zstd,
        }
    }

    /// Fills `buf` from `filled` on, which counts up even when the end is a failure. Returns with `buf` not full
    /// only at the end.
    pub(super) fn fill(&mut self, buf: &mut [u8], filled: &mut usize) -> Result<(), Failure> {
        while let Some(room) = buf.get_mut(*filled..).filter(|room| !room.is_empty()) {
            let count = match self {
                Self::Plain(source) => source.read(room)?,
                Self::Gzip(gunzip) => gunzip.read(room)?,
                Self::Zstd(unzstd) => unzstd.read(room)?,
            };
            if count == 0 {
                break;
            }
            *filled += count;
        }
        Ok(())
    }

    /// Bytes of the file that were taken so far.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Plain(source) => source.offset(),
            Self::Gzip(gunzip) => gunzip.offset(),
            Self::Zstd(unzstd) => unzstd.offset(),
        }
    }

    /// What is known at the end.
    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Zstd(unzstd) => unzstd.ending(),
            Self::Gzip(gunzip) => gunzip.ending(),
            Self::Plain(_) => Ending::default(),
        }
    }
}
