//! The bbolt database file, which is all that an etcd snapshot is: read, judged, patched and built.
//!
//! Nothing here knows etcd. A file is an array of pages; two meta pages name the root of a tree of buckets, and each
//! bucket is a B+tree of pages or, when it is small, an image inside its parent's value. Words and messages are
//! those of bbolt v1.4.3 (`internal/common/page.go`, `meta.go`, `bucket.go`, `tx_check.go`), so that both can be
//! read side by side.
//!
//! # Promise
//!
//! For any bytes whatever, well-formed or hostile:
//!
//! - no panic, and no recursion deeper than [`layout::MAX_DEPTH`] pages;
//! - [`Database::for_each`] reads every page at most once, [`walk`](walk()) twice (a sound one once), and both hand out
//!   every byte at most once, so that their work is bounded by the length of the file;
//! - memory for a page and the branches above it, each up to [`layout::MAX_SPAN`] and only if the file has pages that
//!   large, and for three bits a page of the file; the usual figure is a few hundred KiB for each thread and two bits a
//!   page.
//!
//! Reads are positioned ([`crate::read_at`]); a file that shrinks underneath is an error, not a signal.
//!
//! # Who does what
//!
//! [`Database`] opens and reads; it trusts nothing but does not look at what it was not asked for. [`walk`](walk()) looks
//! at everything and tells a [`Visitor`] of every broken rule; of leaves that passed by before it can go by [`Notes`].
//! [`Patch`] changes a database by appending pages, and [`check_patched`] looks at what it changed. [`BulkWriter`] makes
//! a database of any size in one pass, [`build`] a small one in memory.

pub mod layout;

mod builder;
mod bulk;
mod encode;
mod fault;
mod meta;
mod notes;
mod order;
mod page;
mod page_set;
mod pages;
mod patch;
mod patched;
mod reader;
mod shape;
mod subtrees;
mod tree;
mod visitor;
mod walk;

#[cfg(test)]
mod tests;

pub use builder::{Builder, Entries, build};
pub use bulk::{BulkLayout, BulkWriter};
pub use meta::{Meta, PGID_NO_FREELIST, newest_meta};
pub use notes::{Ends, Notes, Scribe};
pub use patch::{Append, Patch, PatchPages};
pub use patched::check_patched;
pub use reader::{Bucket, Database, Element, Entry};
pub use visitor::{Part, Visitor};
pub use walk::{Walked, walk, walk_noted};
