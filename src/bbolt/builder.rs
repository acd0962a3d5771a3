//! Small databases from nothing: for tests, fixtures, and whoever wants a snapshot without a server.

use std::collections::BTreeMap;

use super::encode::{Item, branch_image, bucket_value, inline_bucket_value, leaf_image, seal};
use super::layout::{
    ELEMENT_SIZE, FREELIST_COUNT_OVERFLOW, FREELIST_PAGE_FLAG, INLINE_FRACTION, MAX_ELEMENTS, MAX_PAGE_SIZE,
    MIN_PAGE_SIZE, PAGE_HEADER_SIZE,
};
use super::meta::{Meta, PGID_NO_FREELIST};
use super::page::Header;
use crate::defect::Defect;

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

/// Lays out a database as bbolt would after inserting in key order: small buckets inline, trees with full pages,
/// overflow pages for what is larger than a page. The metas are those of a snapshot: txid 2 on page 0, 1 on page 1.
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
    /// `too-large` where no page can hold an entry.
    pub fn build(&self, buckets: &BTreeMap<Vec<u8>, Entries>) -> Result<Vec<u8>, Defect> {
        let mut file = Output { bytes: vec![0; 2 * self.page_size as usize], page_size: self.page_size as usize };
        let freelist = self.write_freelist(&mut file)?;
        let mut values = Vec::with_capacity(buckets.len());
        for entries in buckets.values() {
            let items: Vec<_> = entries.iter().map(|(key, value)| Item::entry(key, value)).collect();
            values.push(self.bucket(&items, &mut file)?);
        }
        let root: Vec<_> = buckets.keys().zip(&values).map(|(name, value)| Item::bucket(name, value)).collect();
        let root = tree(&root, &mut file)?;
        let meta = Meta {
            page_size: self.page_size,
            root,
            sequence: self.sequence,
            freelist,
            high_water_mark: file.next(),
            txid: 2,
        };
        let second = Meta { txid: 1, ..meta.clone() };
        let metas = [meta.encode(0), second.encode(1)].concat();
        let mut bytes = file.bytes;
        for (place, byte) in bytes.iter_mut().zip(metas) {
            *place = byte;
        }
        Ok(bytes)
    }

    /// The value of a bucket: with its leaf inside if it is at most a quarter of a page (`Bucket.inlineable`).
    fn bucket(&self, items: &[Item<'_>], file: &mut Output) -> Result<Vec<u8>, Defect> {
        let size = PAGE_HEADER_SIZE + items.iter().map(Item::size).sum::<usize>();
        if self.inline && size <= self.page_size as usize / INLINE_FRACTION {
            return inline_bucket_value(self.sequence, items);
        }
        Ok(bucket_value(tree(items, file)?, self.sequence))
    }

    fn write_freelist(&self, file: &mut Output) -> Result<u64, Defect> {
        let Some(free_pages) = self.free_pages else { return Ok(PGID_NO_FREELIST) };
        let first = file.next();
        for _ in 0..free_pages {
            file.bytes.resize(file.bytes.len() + file.page_size, 0);
        }
        let mut image = vec![0; PAGE_HEADER_SIZE];
        let count = u16::try_from(free_pages).unwrap_or(FREELIST_COUNT_OVERFLOW);
        Header { id: 0, flags: FREELIST_PAGE_FLAG, count, overflow: 0 }.encode(&mut image);
        if count == FREELIST_COUNT_OVERFLOW {
            image.extend_from_slice(&free_pages.to_le_bytes());
        }
        image.extend((first..first.saturating_add(free_pages)).flat_map(u64::to_le_bytes));
        file.push(image)
    }
}

/// The file so far.
struct Output {
    bytes: Vec<u8>,
    page_size: usize,
}

impl Output {
    fn next(&self) -> u64 {
        (self.bytes.len() / self.page_size.max(1)) as u64
    }

    fn push(&mut self, image: Vec<u8>) -> Result<u64, Defect> {
        let number = self.next();
        let page = seal(image, number, self.page_size)?;
        self.bytes.extend_from_slice(&page);
        Ok(number)
    }
}

/// Writes a tree, leaves first; gives its root page.
fn tree(items: &[Item<'_>], file: &mut Output) -> Result<u64, Defect> {
    let mut level: Vec<(&[u8], u64)> = Vec::new();
    for leaf in fill(items, file.page_size, Item::size) {
        let first = leaf.first().map_or(&[][..], |item| item.key);
        level.push((first, file.push(leaf_image(leaf)?)?));
    }
    while level.len() > 1 {
        let mut above = Vec::new();
        for branch in fill(&level, file.page_size, |(key, _)| ELEMENT_SIZE + key.len()) {
            let first = branch.first().map_or(&[][..], |(key, _)| key);
            above.push((first, file.push(branch_image(branch)?)?));
        }
        level = above;
    }
    match level.first() {
        Some((_, root)) => Ok(*root),
        None => file.push(leaf_image(&[])?),
    }
}

/// Cuts elements into pages: full ones, but never with fewer than two elements where there are two, as bbolt does
/// (`common.MinKeysPerPage`); so a level is at most half as long as the one below.
fn fill<T>(elements: &[T], page_size: usize, size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut pages = Vec::new();
    let mut rest = elements;
    while !rest.is_empty() {
        let mut used = PAGE_HEADER_SIZE;
        let count = rest.iter().take(MAX_ELEMENTS.into()).take_while(|element| {
            used = used.saturating_add(size(element));
            used <= page_size
        });
        let mut count = count.count().max(2).min(rest.len());
        if rest.len() - count == 1 {
            // The last page would have one element: it gets another one, or takes this one in.
            count = if count > 2 { count - 1 } else { rest.len() };
        }
        let Some((page, others)) = rest.split_at_checked(count) else { break };
        pages.push(page);
        rest = others;
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_filled_and_none_has_a_single_element() {
        let sizes = |elements: &[usize]| -> Vec<usize> {
            fill(elements, 116, |size| *size).into_iter().map(<[usize]>::len).collect()
        };
        assert_eq!(sizes(&[25; 8]), [4, 4]);
        assert_eq!(sizes(&[25; 9]), [4, 3, 2]);
        assert_eq!(sizes(&[25; 1]), [1]);
        assert_eq!(sizes(&[500; 5]), [2, 3]);
        assert_eq!(sizes(&[]), [] as [usize; 0]);
    }

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
