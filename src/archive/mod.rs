//! The file that holds a snapshot: a tar archive with `etcd_snapshot.db` and `manifest.json`, compressed with gzip
//! or zstd; or what else an operator may have in its place.
//!
//! # What is written
//!
//! One tar stream: `etcd_snapshot.db` (the database and its 32-byte SHA-256, as etcd sent them), then
//! `manifest.json`, then two zero blocks. It is cut into blocks of [`BLOCK_LEN`] bytes that are compressed on
//! their own, in parallel; a new block begins where the manifest's header does. The bytes written depend on the
//! content alone, not on the number of threads.
//!
//! - **gzip**: one member, since Python's `tarfile` in mode `r|gz` stops after the first. Each block starts with an
//!   empty window and ends with a sync flush (an empty stored block, `00 00 FF FF`), so it can be inflated alone.
//! - **zstd**: one frame a block, with its content size and checksum, and after the last one the seek table of
//!   zstd's `contrib/seekable_format` in a skippable frame, which ordinary readers pass over.
//!
//! The manifest says in `blocks` how long the blocks are and, for gzip, at which offsets of the file they start:
//! block `i` holds the bytes of the tar stream from `i * size` on; the last number is the start of the block with
//! the manifest. A reader that wants one page finds that last block by looking back from the end of the file for a
//! flush marker behind which the header of `manifest.json` inflates. All of it may be absent, as it is after somebody
//! compressed the archive anew; where it is there and wrong, the archive is refused.
//!
//! # What is read
//!
//! The above; any tar, bare or compressed, with the snapshot as GNU tar and Python's `tarfile` write it; and a
//! database, bare or compressed. What it is, is told by content.
//!
//! An archive with an index (`index.rs`) is inflated by several threads (`parallel.rs`), everything else by one
//! (`decoder.rs`). What they give goes through the same walk of the tar (`entries.rs`) to the sink, and past it to the
//! hash (`hash.rs`). [`RandomArchive`] inflates single blocks.
//!
//! # Promise
//!
//! For any bytes whatever, well-formed or hostile:
//!
//! - no panic, and an end: every step takes some of the file or gives something out, a tar has at most 64 headers, and at
//!   most 16 MiB of zeros are read behind its end;
//! - one pass over the file; two where the index of an archive of ours turns out to be wrong on the way, or is not worth
//!   following and has to be proven;
//! - memory bounded by constants, whatever lengths the file claims: blocks of up to 4 MiB, so many for each of at most 8
//!   threads; zstd's window of up to 128 MiB; 1 MiB of extension records; a manifest of up to 16 MiB; an index of a
//!   million blocks; at random 32 MiB of blocks that were inflated last;
//! - what a reader at random finds is what was found from start to end, or an error with the block's place.

mod compression;
mod database;
mod decoder;
mod detect;
mod encoder;
mod entries;
mod gunzip;
mod hash;
mod index;
mod layout;
mod manifest;
mod parallel;
mod pax;
mod pool;
mod random;
mod reader;
mod source;
mod stream;
mod tar_header;
#[cfg(test)]
pub(crate) mod tests;
mod unzstd;
mod writer;

pub use compression::Compression;
pub use detect::Kind;
pub use layout::{BLOCK_LEN, HASH_LEN, MANIFEST_ENTRY, SNAPSHOT_ENTRY};
pub use manifest::{FORMAT_VERSION, Manifest, ManifestMember};
pub use random::RandomArchive;
pub use reader::{Extracted, Look, extract, extract_and, hash_in_place, look};
pub use writer::ArchiveWriter;
