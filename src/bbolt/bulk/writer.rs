//! The writer that its users see.

use std::fmt;
use std::io::{self, Seek, Write};

use super::super::layout::{BUCKET_LEAF_FLAG, INLINE_FRACTION, MAX_PAGE_SIZE, MIN_PAGE_SIZE};
use super::super::meta::{Meta, PGID_NO_FREELIST};
use super::output::Output;
use super::tree::{Ended, Fill, Tree, bucket_value, invalid};

/// Transaction of the meta on page 0; bbolt writes transaction `n` on page `n % 2`.
const TXID: u64 = 2;
/// A page that is filled less would hold less than what bbolt keeps inline.
const MIN_FILL_PERCENT: usize = 100 / INLINE_FRACTION;
/// What bbolt gives a machine with pages of 4096 bytes, whose files etcd's snapshots are.
const PAGE_SIZE: u32 = 4096;

/// How a database is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkLayout {
    /// Bytes a page: a power of two from 512 to 16 MiB, to which it is rounded up.
    pub page_size: u32,
    /// How full a page gets, in percent, from 25 to 100: 100 where keys come in ascending order ever after, as in
    /// etcd's bucket `key`.
    pub fill_percent: u8,
    /// Whether small buckets lie inline, as bbolt puts them.
    pub inline: bool,
}

impl Default for BulkLayout {
    fn default() -> Self {
        Self { page_size: PAGE_SIZE, fill_percent: 100, inline: true }
    }
}

impl BulkLayout {
    fn page_size(self) -> u32 {
        self.page_size.clamp(MIN_PAGE_SIZE, MAX_PAGE_SIZE).next_power_of_two()
    }

    fn fill(self) -> Fill {
        let page_size = self.page_size() as usize;
        let percent = usize::from(self.fill_percent).clamp(MIN_FILL_PERCENT, 100);
        Fill { page_size, limit: page_size * percent / 100, inline: page_size / INLINE_FRACTION }
    }
}

/// Writes a database from buckets and entries in key order.
///
/// Errors of kind [`io::ErrorKind::InvalidInput`] are those of the caller: a bucket or key that is not greater than the
/// one before, a key of 0 or of more than 32768 bytes, an entry of more than 512 MiB, an entry before any bucket. After
/// an error the file is worth nothing.
pub struct BulkWriter<W> {
    output: Output<W>,
    layout: BulkLayout,
    /// The root bucket's tree.
    root: Tree,
    /// The tree of the bucket that is open.
    tree: Tree,
    /// Name and sequence of the bucket that is open.
    open: Option<(Vec<u8>, u64)>,
}

impl<W> fmt::Debug for BulkWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkWriter").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl<W: Write + Seek> BulkWriter<W> {
    /// Begins a database in `file`, which is empty. Writes of a MiB and more are made, so it needs no buffer.
    pub fn new(file: W, layout: BulkLayout) -> Self {
        let output = Output::new(file, layout.page_size());
        Self { output, layout, root: Tree::new(layout.fill()), tree: Tree::new(layout.fill()), open: None }
    }

    /// Begins bucket `name`; the one before is whole. etcd uses no sequences: 0.
    pub fn bucket(&mut self, name: &[u8], sequence: u64) -> io::Result<()> {
        self.end_bucket()?;
        self.open = Some((name.to_vec(), sequence));
        Ok(())
    }

    /// Adds an entry to the bucket that was begun last.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.entry_of(key, &[value])
    }

    /// As [`BulkWriter::entry`], with the value in pieces.
    pub fn entry_of(&mut self, key: &[u8], value: &[&[u8]]) -> io::Result<()> {
        if self.open.is_none() {
            return Err(invalid("an entry outside of a bucket".to_owned()));
        }
        self.tree.push(&mut self.output, 0, key, value)
    }

    /// Ends the database and writes its metas, `sequence` being that of the root bucket; gives the file, which stands
    /// at its end, and the meta that counts. Nothing is synced.
    pub fn finish(mut self, sequence: u64) -> io::Result<(W, Meta)> {
        self.end_bucket()?;
        let Ended::Tree(root) = self.root.end(&mut self.output, false)? else {
            return Err(invalid("the root bucket can't lie inline".to_owned()));
        };
        let page_size = self.layout.page_size();
        self.output.finish(|high_water_mark| Meta {
            page_size,
            root,
            sequence,
            freelist: PGID_NO_FREELIST,
            high_water_mark,
            txid: TXID,
        })
    }

    fn end_bucket(&mut self) -> io::Result<()> {
        let Some((name, sequence)) = self.open.take() else { return Ok(()) };
        let ended = self.tree.end(&mut self.output, self.layout.inline)?;
        let value = bucket_value(&ended, sequence);
        self.root.push(&mut self.output, BUCKET_LEAF_FLAG, &name, &[&value])
    }
}
