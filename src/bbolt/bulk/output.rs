//! The file that pages are appended to.

use std::io::{self, Seek, SeekFrom, Write};

use super::super::layout::PAGE_HEADER_SIZE;
use super::super::meta::Meta;
use super::super::page::Header;

/// Bytes that are collected before they are written: enough that the calls cost nothing beside the copy.
const WRITE_SIZE: usize = 1 << 20;
/// Pages 0 and 1 are the metas.
const FIRST_PAGE: u64 = 2;

/// Pages behind the metas, numbered as they come.
pub(super) struct Output<W> {
    file: W,
    page_size: usize,
    /// Number of the page that comes next.
    next: u64,
    /// Whole pages, but while one is being made.
    pending: Vec<u8>,
    /// Where in `pending` the page begins that is being made.
    begin: usize,
}

impl<W: Write + Seek> Output<W> {
    /// Leaves room for the metas, in a file that is empty and stands at its start.
    pub(super) fn new(file: W, page_size: u32) -> Self {
        let page_size = page_size as usize;
        let pending = vec![0; page_size.saturating_mul(2)];
        Self { file, page_size, next: FIRST_PAGE, begin: pending.len(), pending }
    }

    /// Begins a page of `flags` and `count` elements; gives its number. What is put until [`Output::end`] is its body.
    pub(super) fn begin(&mut self, flags: u16, count: u16) -> u64 {
        self.begin = self.pending.len();
        let mut header = [0; PAGE_HEADER_SIZE];
        Header { id: self.next, flags, count, overflow: 0 }.encode(&mut header);
        self.pending.extend_from_slice(&header);
        self.next
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Ends the page: as many whole pages as it needs.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let length = self.pending.len() - self.begin;
        let span = length.div_ceil(self.page_size);
        self.pending.resize(self.begin + span * self.page_size, 0);
        if let Some(page) = self.pending.get_mut(self.begin..)
            && let (Some(header), Ok(overflow)) = (Header::decode(page), u32::try_from(span - 1))
        {
            Header { overflow, ..header }.encode(page);
        }
        self.next += span as u64;
        if self.pending.len() < WRITE_SIZE {
            return Ok(());
        }
        self.flush()
    }

    /// Writes the metas: that of the last transaction on page 0, that of the one before on page 1, as of one state.
    pub(super) fn finish(mut self, meta: impl FnOnce(u64) -> Meta) -> io::Result<(W, Meta)> {
        self.flush()?;
        let meta = meta(self.next);
        let before = Meta { txid: meta.txid.saturating_sub(1), ..meta.clone() };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&[meta.encode(0), before.encode(1)].concat())?;
        self.file.seek(SeekFrom::End(0))?;
        Ok((self.file, meta))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}
