//! One header block of a tar archive.
//!
//! The `tar` crate writes it. It is read here: a header of a stranger is refused for reasons that name the field,
//! and nothing in it is repaired, guessed or passed over.

use std::io;

use super::layout::{TAR_BLOCK, TAR_CHECKSUM, TAR_MAGIC, TAR_NAME, TAR_PREFIX, TAR_SIZE, TAR_TYPE, USTAR};

/// A header block as bytes.
pub(super) type Block = [u8; TAR_BLOCK];

/// What a header says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Name with POSIX's prefix, not normalised.
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    /// The type flag; NUL, the regular file of old, is given as `0`.
    pub(super) kind: u8,
}

/// The header of a regular file of root with mode 0600, in GNU's format, which has room for sizes past 8 GiB.
pub(super) fn render(name: &str, size: u64, mtime: u64) -> io::Result<Block> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Sum of all bytes, those of the checksum field taken as spaces.
fn checksum(block: &Block) -> u32 {
    let bytes = block.iter().enumerate();
    bytes.map(|(i, byte)| if TAR_CHECKSUM.contains(&i) { u32::from(b' ') } else { u32::from(*byte) }).sum()
}

/// Whether the checksum field matches.
pub(super) fn is_intact(block: &Block) -> bool {
    block.get(TAR_CHECKSUM).and_then(octal) == Some(u64::from(checksum(block)))
}

/// Whether a magic of POSIX or GNU is there.
pub(super) fn has_magic(block: &Block) -> bool {
    block.get(TAR_MAGIC).is_some_and(|magic| magic.starts_with(b"ustar"))
}

/// Reads a header. The error is a clause that says what is wrong with it.
pub(super) fn parse(block: &Block) -> Result<Header, String> {
    if !is_intact(block) {
        return Err(format!("the checksum of a tar header does not match, computed {:o} octal", checksum(block)));
    }
    let field = |range| block.get(range).unwrap_or_default();
    let size = size(field(TAR_SIZE)).ok_or_else(|| "the size in a tar header is no number".to_owned())?;
    let mut name = until_nul(field(TAR_NAME)).to_vec();
    let prefix = until_nul(field(TAR_PREFIX));
    if field(TAR_MAGIC) == USTAR && !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    let kind = match block.get(TAR_TYPE) {
        Some(0) | None => b'0',
        Some(kind) => *kind,
    };
    Ok(Header { name, size, kind })
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal, or GNU's base-256. Negative numbers and those above 2^63 are refused.
fn size(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first != 0x80 {
        return octal(field);
    }
    let value = rest.iter().try_fold(0_u64, |value, byte| Some(value.checked_mul(256)? | u64::from(*byte)))?;
    i64::try_from(value).is_ok().then_some(value)
}

/// Octal digits, perhaps after spaces, ended by spaces and NULs or the end of the field.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ')?;
    let field = field.get(start..)?;
    let digits = field.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(field.len());
    let (digits, rest) = field.split_at(digits);
    if digits.is_empty() || rest.iter().any(|byte| *byte != b' ' && *byte != 0) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| value.checked_mul(8)?.checked_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_written_at_any_size() {
        for size in [0, 1, (1 << 33) - 1, 1 << 33, i64::MAX as u64] {
            let block = render("etcd_snapshot.db", size, 1 << 34).unwrap();
            let expected = Header { name: b"etcd_snapshot.db".to_vec(), size, kind: b'0' };
            assert_eq!(expected, parse(&block).unwrap(), "{size}");
            let crate_says = tar::Header::from_byte_slice(&block);
            assert_eq!(size, crate_says.entry_size().unwrap());
            assert_eq!(1 << 34, crate_says.mtime().unwrap());
            assert_eq!(0o600, crate_says.mode().unwrap());
            assert_eq!((0, 0), (crate_says.uid().unwrap(), crate_says.gid().unwrap()));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_or_changes_nothing() {
        let block = render("etcd_snapshot.db", 4128, 1_600_000_000).unwrap();
        let expected = parse(&block).unwrap();
        for bit in 0..TAR_BLOCK * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(header) = parse(&flipped) {
                assert_eq!(expected, header, "bit {bit}");
            }
        }
    }

    #[test]
    fn numbers_are_octal_or_positive_base_256_and_nothing_else() {
        for (field, expected) in [
            (b"00000010000\0".as_slice(), Some(4096)),
            (b"     10000  ", Some(4096)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\x80\0\0\0\0\0\0\0\0\0\0\x01", Some(1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX as u64)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x81\0\0\0\0\0\0\0\0\0\0\x01", None),
            (b"-0000000001\0", None),
            (b"0000000001 1", None),
            (b"00000000008\0", None),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", None),
            (b"            ", None),
        ] {
            assert_eq!(expected, size(field), "{field:?}");
        }
    }

    #[test]
    fn the_prefix_belongs_to_the_name_in_posix_format_only() {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("{}/{}", "d".repeat(90), "f".repeat(90))).unwrap();
        header.set_size(0);
        header.set_cksum();
        assert_eq!(181, parse(header.as_bytes()).unwrap().name.len());

        let mut block = render("etcd_snapshot.db", 0, 0).unwrap();
        block[TAR_PREFIX.start] = b'1';
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[TAR_CHECKSUM].copy_from_slice(sum.as_bytes());
        assert_eq!(b"etcd_snapshot.db", parse(&block).unwrap().name.as_slice());
    }
}
