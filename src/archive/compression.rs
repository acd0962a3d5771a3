//! Which codec an archive is written with.

use std::path::Path;

/// Codec of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.tar.gz`: what every tool opens.
    Gzip,
    /// `.tar.zst`: smaller, and several times faster both ways.
    Zstd,
}

impl Compression {
    /// The codec that a file name asks for: zstd for names that end in `.zst` or `.tzst`, in any case; gzip for all
    /// others.
    #[must_use]
    pub fn for_path(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default();
        if extension.eq_ignore_ascii_case("zst") || extension.eq_ignore_ascii_case("tzst") {
            Self::Zstd
        } else {
            Self::Gzip
        }
    }

    /// The word in reports: `gzip` or `zstd`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_asks_for_zstd_and_everything_else_is_gzip() {
        for name in ["a.tar.zst", "a.zst", "a.tzst", "dir.gz/A.TAR.ZST"] {
            assert_eq!(Compression::Zstd, Compression::for_path(Path::new(name)), "{name}");
        }
        for name in ["a.tar.gz", "a", "zst", ".zst", "a.zst.gz", "dir.zst/a", "a.db"] {
            assert_eq!(Compression::Gzip, Compression::for_path(Path::new(name)), "{name}");
        }
    }
}
