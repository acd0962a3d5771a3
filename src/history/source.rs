//! Where the bytes of an opened database are.

use std::io;

use crate::archive::RandomArchive;
use crate::read_at::{FileSource, ReadAt};

/// The bytes of a database.
#[derive(Debug)]
pub enum Source {
    /// In a file of their own: a bare database, or what was spooled.
    File(FileSource),
    /// In the blocks of an archive, inflated as they are read.
    Archive(RandomArchive),
}

impl Source {
    /// Whether every step away from the last place read costs the inflating of a block.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Archive(archive) if archive.is_compressed())
    }
}

impl ReadAt for Source {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Archive(archive) => archive.len(),
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buf, offset),
            Self::Archive(archive) => archive.read_exact_at(buf, offset),
        }
    }
}
