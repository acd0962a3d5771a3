//! Images of pages and buckets, as bbolt's `WriteInodeToPage` lays them out: header, element table, then keys and
//! values packed in element order.

use super::layout::{
    BRANCH_KSIZE, BRANCH_PAGE_FLAG, BRANCH_PGID, BRANCH_POS, BUCKET_HEADER_SIZE, BUCKET_LEAF_FLAG, ELEMENT_SIZE,
    LEAF_FLAGS, LEAF_KSIZE, LEAF_PAGE_FLAG, LEAF_POS, LEAF_VSIZE, MAX_ELEMENTS, MAX_KEY_SIZE, MAX_SPAN,
    PAGE_HEADER_SIZE, put,
};
use super::page::Header;
use crate::defect::Defect;

/// An element of a leaf to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) flags: u32,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Item<'a> {
    pub(super) fn entry(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { flags: 0, key, value }
    }

    pub(super) fn bucket(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { flags: BUCKET_LEAF_FLAG, key: name, value }
    }
}

/// The image of a leaf page, not padded; id and overflow are 0.
///
/// # Errors
/// `too-large` for what no page can hold: a key of no or too many bytes, too many elements, too many bytes.
pub(super) fn leaf_image(items: &[Item<'_>]) -> Result<Vec<u8>, Defect> {
    let element = |item: &Item<'_>, pos: u32| {
        let mut element = [0; ELEMENT_SIZE];
        put(&mut element, LEAF_FLAGS, &item.flags.to_le_bytes());
        put(&mut element, LEAF_POS, &pos.to_le_bytes());
        put(&mut element, LEAF_KSIZE, &length(item.key).to_le_bytes());
        put(&mut element, LEAF_VSIZE, &length(item.value).to_le_bytes());
        element
    };
    image(LEAF_PAGE_FLAG, items, |item| (item.key, item.value), element)
}

/// The image of a branch page, not padded; id and overflow are 0.
///
/// # Errors
/// As [`leaf_image`].
pub(super) fn branch_image(children: &[(&[u8], u64)]) -> Result<Vec<u8>, Defect> {
    let element = |(key, pgid): &(&[u8], u64), pos: u32| {
        let mut element = [0; ELEMENT_SIZE];
        put(&mut element, BRANCH_POS, &pos.to_le_bytes());
        put(&mut element, BRANCH_KSIZE, &length(key).to_le_bytes());
        put(&mut element, BRANCH_PGID, &pgid.to_le_bytes());
        element
    };
    image(BRANCH_PAGE_FLAG, children, |(key, _)| (key, &[]), element)
}

/// The value of a bucket whose tree begins at page `root`.
pub(super) fn bucket_value(root: u64, sequence: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(BUCKET_HEADER_SIZE);
    value.extend_from_slice(&root.to_le_bytes());
    value.extend_from_slice(&sequence.to_le_bytes());
    value
}

/// The value of a bucket that holds its entries itself.
///
/// # Errors
/// As [`leaf_image`].
pub(super) fn inline_bucket_value(sequence: u64, items: &[Item<'_>]) -> Result<Vec<u8>, Defect> {
    let mut value = bucket_value(0, sequence);
    value.extend_from_slice(&leaf_image(items)?);
    Ok(value)
}

/// Makes page `id` of an image: number, overflow, zeros up to the end of the last page.
pub(super) fn seal(mut image: Vec<u8>, id: u64, page_size: usize) -> Result<Vec<u8>, Defect> {
    let pages = image.len().div_ceil(page_size.max(1)).max(1);
    image.resize(pages * page_size, 0);
    if let Some(header) = Header::decode(&image) {
        let overflow = u32::try_from(pages - 1).map_err(|_| too_large("a page of more than 2^32 pages"))?;
        Header { id, overflow, ..header }.encode(&mut image);
    }
    Ok(image)
}

pub(super) fn too_large(message: &str) -> Defect {
    Defect::new("too-large", message)
}

fn image<T>(
    flags: u16,
    elements: &[T],
    data: impl Fn(&T) -> (&[u8], &[u8]),
    encode: impl Fn(&T, u32) -> [u8; ELEMENT_SIZE],
) -> Result<Vec<u8>, Defect> {
    let count = u16::try_from(elements.len())
        .ok()
        .filter(|count| *count <= MAX_ELEMENTS)
        .ok_or_else(|| too_large(&format!("{} elements for one page, which holds {MAX_ELEMENTS}", elements.len())))?;
    let table = PAGE_HEADER_SIZE + elements.len() * ELEMENT_SIZE;
    let mut bytes = vec![0; table];
    Header { id: 0, flags, count, overflow: 0 }.encode(&mut bytes);
    for (index, element) in elements.iter().enumerate() {
        let (key, value) = data(element);
        if key.is_empty() || key.len() > MAX_KEY_SIZE {
            return Err(too_large(&format!("a key of {} bytes, not 1 to {MAX_KEY_SIZE}", key.len())));
        }
        let end = bytes.len().saturating_add(key.len()).saturating_add(value.len());
        if end as u64 > MAX_SPAN {
            return Err(too_large(&format!("{end} bytes for one page, which holds {MAX_SPAN}")));
        }
        let at = PAGE_HEADER_SIZE + index * ELEMENT_SIZE;
        let pos = u32::try_from(bytes.len() - at).map_err(|_| too_large("a position beyond 2^32"))?;
        put(&mut bytes, at, &encode(element, pos));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    Ok(bytes)
}

/// Lengths are below [`MAX_SPAN`] by the time that an element is encoded.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_bucket_is_32_bytes() {
        let value = inline_bucket_value(0, &[]).unwrap();
        let mut expected = vec![0; 32];
        expected[24] = 2;
        assert_eq!(value, expected);
    }

    #[test]
    fn positions_count_from_the_element_itself() {
        let image = leaf_image(&[Item::entry(b"k", b"vv"), Item::bucket(b"b", b"x")]).unwrap();
        let expected: [&[u8]; 4] = [
            &[0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0],
            &[1, 0, 0, 0, 19, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
            b"kvvbx",
        ];
        assert_eq!(image, expected.concat());
    }

    #[test]
    fn what_no_page_can_hold_is_refused() {
        assert_eq!(leaf_image(&[Item::entry(b"", b"")]).unwrap_err().code, "too-large");
        assert_eq!(leaf_image(&[Item::entry(&vec![1; 32_769], b"")]).unwrap_err().code, "too-large");
        assert_eq!(leaf_image(&vec![Item::entry(b"k", b""); 65_535]).unwrap_err().code, "too-large");
        assert!(leaf_image(&vec![Item::entry(b"k", b""); 65_534]).is_ok());
    }

    #[test]
    fn a_sealed_page_is_whole_pages_and_says_how_many() {
        let page = seal(leaf_image(&[Item::entry(b"k", &[7; 5000])]).unwrap(), 9, 4096).unwrap();
        assert_eq!(page.len(), 8192);
        let header = Header::decode(&page).unwrap();
        assert_eq!((header.id, header.overflow, header.count), (9, 1, 1));
    }
}
