//! Offsets and limits of bbolt's format, each in one place. All integers are little-endian.
//!
//! bbolt writes in the byte order of the machine; files of big-endian machines (s390x) are not read here.

/// Bytes of the header that every page begins with.
pub const PAGE_HEADER_SIZE: usize = 16;
/// The page's own number, `u64`.
pub const PAGE_ID: usize = 0;
/// Exactly one of the page flags, `u16`.
pub const PAGE_FLAGS: usize = 8;
/// Number of elements, `u16`.
pub const PAGE_COUNT: usize = 10;
/// Number of pages that the content goes on for, `u32`.
pub const PAGE_OVERFLOW: usize = 12;

/// Page flag: elements name child pages.
pub const BRANCH_PAGE_FLAG: u16 = 0x01;
/// Page flag: elements are keys with values.
pub const LEAF_PAGE_FLAG: u16 = 0x02;
/// Page flag: one of the two metas.
pub const META_PAGE_FLAG: u16 = 0x04;
/// Page flag: ids of free pages.
pub const FREELIST_PAGE_FLAG: u16 = 0x10;

/// Bytes of an element of a leaf or branch page; the table of them follows the page header.
pub const ELEMENT_SIZE: usize = 16;
/// Leaf element: flags, `u32`.
pub const LEAF_FLAGS: usize = 0;
/// Leaf element: distance from the element's own first byte to its key, `u32`.
pub const LEAF_POS: usize = 4;
/// Leaf element: key length, `u32`.
pub const LEAF_KSIZE: usize = 8;
/// Leaf element: length of the value, which follows the key, `u32`.
pub const LEAF_VSIZE: usize = 12;
/// Leaf element flag: the value is a bucket header.
pub const BUCKET_LEAF_FLAG: u32 = 0x01;
/// Branch element: distance from the element's own first byte to its key, `u32`.
pub const BRANCH_POS: usize = 0;
/// Branch element: key length, `u32`.
pub const BRANCH_KSIZE: usize = 4;
/// Branch element: number of the child page, `u64`.
pub const BRANCH_PGID: usize = 8;

/// Offset of the meta in a meta page.
pub const META: usize = PAGE_HEADER_SIZE;
/// Bytes of a meta, its checksum included.
pub const META_SIZE: usize = 64;
/// Meta: [`MAGIC`], `u32`.
pub const META_MAGIC: usize = 0;
/// Meta: [`VERSION`], `u32`.
pub const META_VERSION: usize = 4;
/// Meta: bytes a page, `u32`.
pub const META_PAGE_SIZE: usize = 8;
/// Meta: root page of the root bucket, `u64`.
pub const META_ROOT: usize = 16;
/// Meta: sequence of the root bucket, `u64`.
pub const META_SEQUENCE: usize = 24;
/// Meta: page of the freelist or all ones, `u64`.
pub const META_FREELIST: usize = 32;
/// Meta: high water mark, the first page number never used, `u64`.
pub const META_PGID: usize = 40;
/// Meta: transaction id, `u64`.
pub const META_TXID: usize = 48;
/// Meta: FNV-1a 64 over the bytes before it, `u64`.
pub const META_CHECKSUM: usize = 56;
/// What a meta begins with.
pub const MAGIC: u32 = 0xED0C_DAED;
/// The only version of the format.
pub const VERSION: u32 = 2;

/// Bytes of the header that a bucket's value begins with.
pub const BUCKET_HEADER_SIZE: usize = 16;
/// Bucket header: root page, or 0 when the page image follows the header, `u64`.
pub const BUCKET_ROOT: usize = 0;
/// Bucket header: sequence, `u64`.
pub const BUCKET_SEQUENCE: usize = 8;

/// Bytes of a page number in a freelist.
pub const PGID_SIZE: usize = 8;
/// Count of a freelist page whose real count is its first entry.
pub const FREELIST_COUNT_OVERFLOW: u16 = 0xFFFF;

/// Greatest transaction id. bbolt counts on from it and panics where the count begins anew; no file that was written by
/// transactions comes this far.
pub const MAX_TXID: u64 = 1 << 63;
/// Most elements that bbolt puts on a page (`node.write` panics beyond).
pub const MAX_ELEMENTS: u16 = 0xFFFE;
/// Longest key, in bytes; the shortest has one (`bbolt.MaxKeySize`).
pub const MAX_KEY_SIZE: usize = 32_768;
/// Smallest page that is read.
pub const MIN_PAGE_SIZE: u32 = 512;
/// Largest page that is read: bbolt looks for its second meta no farther.
pub const MAX_PAGE_SIZE: u32 = 16 << 20;
/// A bucket is written inline up to this fraction of a page (`bucket.maxInlineBucketSize`).
pub const INLINE_FRACTION: usize = 4;

/// Most pages and buckets from the root down. bbolt has no limit; 64 levels of two children each would need more
/// pages than there are page numbers in use anywhere.
pub const MAX_DEPTH: u32 = 64;
/// Most bytes that one page may span with its overflow, and most that the branches above it may hold together.
pub const MAX_SPAN: u64 = 512 << 20;
/// Most bytes that are collected where a whole bucket is asked for at once.
pub const MAX_COLLECTED: usize = 64 << 20;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

/// Overwrites the bytes at `at`; a field that does not fit is left alone, which the fixed layouts rule out.
pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(field.len())) {
        place.copy_from_slice(field);
    }
}
