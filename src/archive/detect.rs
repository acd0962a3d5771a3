//! What a file is, by its content.

use super::decoder::Wrapping;
use super::layout::{LARGEST_PAGE, META_MAGIC, META_MAGIC_OFFSET, SMALLEST_PAGE, SNAPSHOT_ENTRY, TAR_BLOCK};
use super::tar_header::{has_magic, is_intact};

/// What a file that holds a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tar archive, compressed with gzip.
    TarGzip,
    /// A tar archive, compressed with zstd.
    TarZstd,
    /// A bare tar archive.
    Tar,
    /// A bare database, with or without the hash that a snapshot has.
    Database,
    /// A database, compressed with gzip.
    GzipDatabase,
    /// A database, compressed with zstd.
    ZstdDatabase,
}

impl Kind {
    /// The word in reports; the file extension of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TarGzip => "tar.gz",
            Self::TarZstd => "tar.zst",
            Self::Tar => "tar",
            Self::Database => "db",
            Self::GzipDatabase => "db.gz",
            Self::ZstdDatabase => "db.zst",
        }
    }

    /// Whether the snapshot is an entry of a tar.
    pub(super) fn is_tar(self) -> bool {
        matches!(self, Self::TarGzip | Self::TarZstd | Self::Tar)
    }

    /// By the wrapping of the file and the first bytes inside it, of which [`LARGEST_PAGE`] and a page header must be
    /// there if the stream is that long. The error says what it is instead.
    pub(super) fn of(wrapping: Wrapping, first: &[u8]) -> Result<Self, String> {
        // The tar first: the database inside it starts at an offset where no meta page can lie.
        match (wrapping, looks_like_tar(first), looks_like_database(first)) {
            (Wrapping::Gzip, true, _) => Ok(Self::TarGzip),
            (Wrapping::Zstd, true, _) => Ok(Self::TarZstd),
            (Wrapping::Plain, true, _) => Ok(Self::Tar),
            (Wrapping::Gzip, _, true) => Ok(Self::GzipDatabase),
            (Wrapping::Zstd, _, true) => Ok(Self::ZstdDatabase),
            (Wrapping::Plain, _, true) => Ok(Self::Database),
            (Wrapping::Gzip, ..) => Err(format!("inside its gzip stream {}", describe(first))),
            (Wrapping::Zstd, ..) => Err(format!("inside its zstd stream {}", describe(first))),
            (Wrapping::Plain, ..) => Err(describe(first).to_owned()),
        }
    }
}

fn looks_like_tar(first: &[u8]) -> bool {
    match first.first_chunk::<TAR_BLOCK>() {
        Some(block) => has_magic(block) || is_intact(block),
        // The start of one of our own, cut off: damaged rather than unknown.
        None => first.starts_with(SNAPSHOT_ENTRY.as_bytes()),
    }
}

/// Whether either of bbolt's meta pages has its magic: one of them may be damaged, and the page size with it.
fn looks_like_database(first: &[u8]) -> bool {
    let sizes =
        std::iter::successors(Some(SMALLEST_PAGE), |size| Some(size * 2)).take_while(|size| *size <= LARGEST_PAGE);
    let mut pages = std::iter::once(0).chain(sizes);
    pages.any(|page| first.get(page + META_MAGIC_OFFSET..).is_some_and(|bytes| bytes.starts_with(&META_MAGIC)))
}

/// A clause about a file that is none of it.
fn describe(first: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 9] = [
        (b"PK\x03\x04", "it is a zip archive"),
        (b"BZh", "it is compressed with bzip2, which is not supported"),
        (b"\xfd7zXZ\0", "it is compressed with xz, which is not supported"),
        (b"\x04\x22\x4d\x18", "it is compressed with lz4, which is not supported"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive"),
        (b"\x1f\x8b", "there is another gzip stream"),
        (b"\x28\xb5\x2f\xfd", "there is another zstd stream"),
        (b"\x7fELF", "it is a program"),
        (b"SQLite format 3\0", "it is an SQLite database"),
    ];
    if first.is_empty() {
        return "it is empty";
    }
    if let Some((_, clause)) = KNOWN.iter().find(|(magic, _)| first.starts_with(magic)) {
        return clause;
    }
    let head = first.get(..first.len().min(TAR_BLOCK)).unwrap_or_default();
    if head.iter().all(|byte| *byte == 0) {
        "it starts with zeros, as an empty tar archive or a file that was never written"
    } else if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..)) {
        "it is text, or something like it"
    } else {
        "it starts like neither a tar archive nor a bbolt database"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_known_by_either_of_its_meta_pages() {
        for page in [0, 1024, 4096, 16384, 65536] {
            let mut bytes = vec![0xaa; 2 * LARGEST_PAGE];
            bytes[page + 16..][..4].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
            assert_eq!(Ok(Kind::Database), Kind::of(Wrapping::Plain, &bytes), "page at {page}");
            assert_eq!(Ok(Kind::GzipDatabase), Kind::of(Wrapping::Gzip, &bytes));
            assert_eq!(Ok(Kind::ZstdDatabase), Kind::of(Wrapping::Zstd, &bytes));
        }
        let mut off = vec![0; 8192];
        off[512 + 16..][..4].copy_from_slice(&META_MAGIC);
        assert!(Kind::of(Wrapping::Plain, &off).is_err());
    }

    #[test]
    fn a_tar_is_known_by_its_checksum_or_its_magic() {
        let block = super::super::tar_header::render(SNAPSHOT_ENTRY, 10, 0).unwrap();
        assert_eq!(Ok(Kind::Tar), Kind::of(Wrapping::Plain, &block));
        let mut damaged = block;
        damaged[0] = b'x';
        assert_eq!(Ok(Kind::TarZstd), Kind::of(Wrapping::Zstd, &damaged));
        let mut old = tar::Header::new_old();
        old.set_cksum();
        let old = old.as_bytes();
        assert_eq!(Ok(Kind::TarGzip), Kind::of(Wrapping::Gzip, old));
        assert_eq!(Ok(Kind::Tar), Kind::of(Wrapping::Plain, &block[..100]));
    }

    #[test]
    fn anything_else_is_described() {
        for (bytes, clause) in [
            (b"".as_slice(), "it is empty"),
            (b"hello, world\n", "it is text, or something like it"),
            (b"PK\x03\x04....", "it is a zip archive"),
            (&[0; 4096], "it starts with zeros, as an empty tar archive or a file that was never written"),
            (&[1; 4096], "it starts like neither a tar archive nor a bbolt database"),
        ] {
            assert_eq!(Err(clause.to_owned()), Kind::of(Wrapping::Plain, bytes));
        }
        assert_eq!(Err("inside its gzip stream it is empty".to_owned()), Kind::of(Wrapping::Gzip, b""));
    }
}
