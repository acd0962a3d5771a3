//! Small databases from nothing: for tests, fixtures, and whoever wants a snapshot without a server.

use std::collections::BTreeMap;
use std::io::{self, Cursor};

use super::bulk::{BulkLayout, BulkWriter};
use super::encode::seal;
use super::layout::{FREELIST_COUNT_OVERFLOW, FREELIST_PAGE_FLAG, MAX_PAGE_SIZE, MIN_PAGE_SIZE, PAGE_HEADER_SIZE, put};
use super::meta::Meta;
use super::page::Header;

/// Entries of a bucket, by key.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// The database that holds `buckets`, in pages of `page_size` bytes.
///
/// Shorthand for a [`Builder`] with nothing special. Empty where no page can hold an entry: a key of 0 or of more than
/// 32768 bytes, a value of hundreds of MiB.
#[must_use]
pub fn build(page_size: u32, buckets: &BTreeMap<Vec<u8>, Entries>) -> Vec<u8> {
    Builder::new(page_size).build(buckets).unwrap_or_default()
}

/// A [`BulkWriter`] into memory, for buckets that are in memory; and with a freelist, which that never writes.
#[derive(Debug, Clone)]
pub struct Builder {
    page_size: u32,
    inline: bool,
    free_pages: Option<u64>,
    sequence: u64,
}

impl Builder {
    /// `page_size` is rounded up to a power of two from 512 to 16 MiB.
    #[must_use]
    pub fn new(page_size: u32) -> Self {
        let page_size = page_size.clamp(MIN_PAGE_SIZE, MAX_PAGE_SIZE).next_power_of_two();
        Self { page_size, inline: true, free_pages: None, sequence: 0 }
    }

    /// Gives every bucket pages of its own, which small ones would not have.
    #[must_use]
    pub fn without_inline(mut self) -> Self {
        self.inline = false;
        self
    }

    /// Persists a freelist of `free_pages` pages, which are made for it.
    #[must_use]
    pub fn freelist(mut self, free_pages: u64) -> Self {
        self.free_pages = Some(free_pages);
        self
    }

    /// Gives every bucket, the root bucket too, this sequence.
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = sequence;
        self
    }

    /// The bytes of the database.
    ///
    /// # Errors
    /// Those of [`BulkWriter`]: where no page can hold an entry.
    pub fn build(&self, buckets: &BTreeMap<Vec<u8>, Entries>) -> io::Result<Vec<u8>> {
        let layout = BulkLayout { page_size: self.page_size, inline: self.inline, ..BulkLayout::default() };
        let mut writer = BulkWriter::new(Cursor::new(Vec::new()), layout);
        for (name, entries) in buckets {
            writer.bucket(name, self.sequence)?;
            for (key, value) in entries {
                writer.entry(key, value)?;
            }
        }
        let (file, meta) = writer.finish(self.sequence)?;
        let bytes = file.into_inner();
        match self.free_pages {
            None => Ok(bytes),
            Some(free_pages) => with_freelist(bytes, &meta, free_pages),
        }
    }
}

/// Adds free pages behind the others, and behind them the list of them.
fn with_freelist(mut bytes: Vec<u8>, meta: &Meta, free_pages: u64) -> io::Result<Vec<u8>> {
    let (page_size, first) = (meta.page_size as usize, meta.high_water_mark);
    for _ in 0..free_pages {
        bytes.resize(bytes.len() + page_size, 0);
    }
    let mut image = vec![0; PAGE_HEADER_SIZE];
    let count = u16::try_from(free_pages).unwrap_or(FREELIST_COUNT_OVERFLOW);
    Header { id: 0, flags: FREELIST_PAGE_FLAG, count, overflow: 0 }.encode(&mut image);
    if count == FREELIST_COUNT_OVERFLOW {
        image.extend_from_slice(&free_pages.to_le_bytes());
    }
    let freelist = first.saturating_add(free_pages);
    image.extend((first..freelist).flat_map(u64::to_le_bytes));
    bytes.extend(seal(image, freelist, page_size).map_err(|defect| io::Error::other(defect.message))?);
    let high_water_mark = (bytes.len() / page_size) as u64;
    let last = Meta { freelist, high_water_mark, ..meta.clone() };
    let before = Meta { txid: last.txid.saturating_sub(1), ..last.clone() };
    put(&mut bytes, 0, &last.encode(0));
    put(&mut bytes, page_size, &before.encode(1));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_size_that_is_none_becomes_one() {
        for (asked, got) in [(0, 512), (513, 1024), (4096, 4096), (u32::MAX, 16 << 20)] {
            assert_eq!(Builder::new(asked).page_size, got);
        }
    }

    #[test]
    fn what_no_page_can_hold_builds_nothing() {
        let entries = Entries::from([(Vec::new(), Vec::new())]);
        assert!(build(4096, &BTreeMap::from([(b"b".to_vec(), entries)])).is_empty());
    }
}
