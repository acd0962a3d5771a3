//! Whole databases in one pass: buckets and their entries come in key order, pages go out in ascending order.
//!
//! A tree grows from its leaves up. One page of each level is open; when it is full it is written, and its first key
//! goes into the open page of the level above. So memory is that of the open pages, which is the depth of the tree
//! times a page (a value that is larger than a page makes the one leaf as large), whatever the database holds; and the
//! file is written from front to back but for the two metas, which come last. Until then the file is no database.
//!
//! The result is what bbolt would make by inserting in key order and never deleting: no page is free, no freelist is
//! persisted (etcd runs bbolt with `NoFreelistSync`), every branch has two children at least, and a bucket that fits
//! into a quarter of a page lies inline.

mod output;
mod tree;
mod writer;

pub use writer::{BulkLayout, BulkWriter};
