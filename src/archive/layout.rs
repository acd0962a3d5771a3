//! Names, offsets and magic numbers of the formats around a snapshot.

use std::ops::Range;

/// Name of the tar entry that holds the database and its hash; the DC/OS tool's own.
pub const SNAPSHOT_ENTRY: &str = "etcd_snapshot.db";

/// Name of the tar entry that says where the snapshot came from.
pub const MANIFEST_ENTRY: &str = "manifest.json";

/// Bytes of the SHA-256 that etcd appends to a database.
pub const HASH_LEN: u64 = 32;

/// Bytes of the tar stream in each block that is compressed on its own; the last block of the snapshot and the
/// last of all are shorter.
pub const BLOCK_LEN: usize = 1 << 20;

/// A file whose length leaves this rest modulo [`PAGE_UNIT`] ends with a hash: etcd's `hasChecksum`.
pub(super) const HASH_REST: u64 = HASH_LEN;
/// Every page size of bbolt is a multiple of it.
pub(super) const PAGE_UNIT: u64 = 512;

/// Where a bbolt page keeps its meta magic: behind the page header.
pub(super) const META_MAGIC_OFFSET: usize = 16;
/// bbolt's `magic`, little-endian.
pub(super) const META_MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();
/// bbolt's smallest page size; when meta 0 is damaged it looks for meta 1 at this and its doubles.
pub(super) const SMALLEST_PAGE: usize = 1024;
/// Largest page size of the systems that etcd runs on.
pub(super) const LARGEST_PAGE: usize = 65536;

/// Bytes of a tar header, and the unit to which every entry is padded.
pub(super) const TAR_BLOCK: usize = 512;
pub(super) const TAR_BLOCK_U64: u64 = TAR_BLOCK as u64;
pub(super) const TAR_NAME: Range<usize> = 0..100;
pub(super) const TAR_SIZE: Range<usize> = 124..136;
pub(super) const TAR_CHECKSUM: Range<usize> = 148..156;
pub(super) const TAR_TYPE: usize = 156;
pub(super) const TAR_MAGIC: Range<usize> = 257..265;
pub(super) const TAR_PREFIX: Range<usize> = 345..500;
/// Magic and version of POSIX; only with it the prefix field is part of the name.
pub(super) const USTAR: &[u8; 8] = b"ustar\x0000";

/// First bytes of a gzip member.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A member's header without name, time or system: deflate, nothing else known.
pub(super) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// What a sync flush ends with: the lengths of an empty stored block.
pub(super) const SYNC_MARKER: [u8; 4] = [0, 0, 0xff, 0xff];

/// First bytes of a zstd frame.
pub(super) const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Magic of skippable frames, of which the lowest four bits are free.
pub(super) const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
/// Magic of the skippable frame that holds a seek table.
pub(super) const SEEK_TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Last bytes of a seek table.
pub(super) const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Bytes of a frame's entry in a seek table without checksums: compressed and decompressed length.
pub(super) const SEEK_ENTRY_LEN: usize = 8;
/// Bytes after the entries: their number, a descriptor, the magic.
pub(super) const SEEK_FOOTER_LEN: usize = 9;
