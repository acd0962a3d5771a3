//! Views of a page's bytes; every field is looked up within its bounds.

use std::ops::Range;

use super::layout::{
    BRANCH_KSIZE, BRANCH_PAGE_FLAG, BRANCH_PGID, BRANCH_POS, BUCKET_HEADER_SIZE, BUCKET_LEAF_FLAG, BUCKET_ROOT,
    BUCKET_SEQUENCE, ELEMENT_SIZE, FREELIST_COUNT_OVERFLOW, FREELIST_PAGE_FLAG, LEAF_FLAGS, LEAF_KSIZE, LEAF_PAGE_FLAG,
    LEAF_POS, LEAF_VSIZE, MAX_ELEMENTS, MAX_KEY_SIZE, META_PAGE_FLAG, PAGE_COUNT, PAGE_FLAGS, PAGE_HEADER_SIZE,
    PAGE_ID, PAGE_OVERFLOW, PGID_SIZE, put, u16_at, u32_at, u64_at,
};
use crate::defect::Defect;

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Branch,
    Leaf,
    Meta,
    Freelist,
    Unknown,
}

/// The first bytes of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) flags: u16,
    pub(super) count: u16,
    pub(super) overflow: u32,
}

impl Header {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, PAGE_ID)?,
            flags: u16_at(bytes, PAGE_FLAGS)?,
            count: u16_at(bytes, PAGE_COUNT)?,
            overflow: u32_at(bytes, PAGE_OVERFLOW)?,
        })
    }

    pub(super) fn encode(self, bytes: &mut [u8]) {
        put(bytes, PAGE_ID, &self.id.to_le_bytes());
        put(bytes, PAGE_FLAGS, &self.flags.to_le_bytes());
        put(bytes, PAGE_COUNT, &self.count.to_le_bytes());
        put(bytes, PAGE_OVERFLOW, &self.overflow.to_le_bytes());
    }

    /// Flags must be equal to one of four, not merely contain it (`Page.FastCheck`, since bbolt 1.3.7).
    pub(super) fn kind(self) -> Kind {
        match self.flags {
            BRANCH_PAGE_FLAG => Kind::Branch,
            LEAF_PAGE_FLAG => Kind::Leaf,
            META_PAGE_FLAG => Kind::Meta,
            FREELIST_PAGE_FLAG => Kind::Freelist,
            _ => Kind::Unknown,
        }
    }

    /// Pages that the page occupies.
    pub(super) fn span(self) -> u64 {
        u64::from(self.overflow) + 1
    }

    /// The page at `number` does not know its own number.
    pub(super) fn wrong_id(self, number: u64) -> Option<Defect> {
        (self.id != number).then(|| {
            let message = format!("page {number}: page expected to be {number}, but self identifies as {}", self.id);
            Defect::new("page-id", message).on_page(number)
        })
    }

    /// `invalid type` in bbolt's words, for a page at `number` that should have been something else.
    pub(super) fn invalid_type(self, number: u64) -> Defect {
        let found = match self.kind() {
            Kind::Branch => "branch".to_owned(),
            Kind::Leaf => "leaf".to_owned(),
            Kind::Meta => "meta".to_owned(),
            Kind::Freelist => "freelist".to_owned(),
            Kind::Unknown => format!("unknown<{:02x}>", self.flags),
        };
        Defect::new("page-type", format!("page {number}: invalid type: {found}")).on_page(number)
    }
}

/// A page with its overflow, or the image of one inside a bucket's value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    /// Its number; that of the page around it for an image.
    pub(super) number: u64,
    /// Byte offset of its first byte in the database.
    pub(super) offset: u64,
    /// Whether it is an image in a value.
    pub(super) inline: bool,
    pub(super) header: Header,
    bytes: &'a [u8],
}

/// A key with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeafElement<'a> {
    pub(super) flags: u32,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    start: usize,
}

/// A child page with a key that none in it is less than.
#[derive(Debug, Clone, Copy)]
pub(super) struct BranchElement<'a> {
    pub(super) key: &'a [u8],
    pub(super) pgid: u64,
    start: usize,
}

impl LeafElement<'_> {
    pub(super) fn is_bucket(&self) -> bool {
        self.flags & BUCKET_LEAF_FLAG != 0
    }

    /// Where in the page its key and its value lie, one behind the other.
    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.start + self.key.len() + self.value.len()
    }
}

impl<'a> Page<'a> {
    /// The page that `bytes` hold, cut off where they end; `None` when not even the header is there.
    pub(super) fn new(number: u64, offset: u64, bytes: &'a [u8]) -> Option<Self> {
        Some(Self { number, offset, inline: false, header: Header::decode(bytes)?, bytes })
    }

    /// The image in a bucket's value, whose first byte is at `offset`.
    pub(super) fn inline(number: u64, offset: u64, image: &'a [u8]) -> Option<Self> {
        Some(Self { inline: true, ..Self::new(number, offset, image)? })
    }

    /// All of its bytes, header included.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of elements that the page claims.
    pub(super) fn count(&self) -> usize {
        usize::from(self.header.count)
    }

    /// A defect of this page, seen `at` bytes from its start.
    pub(super) fn defect(&self, code: &'static str, at: usize, message: &str) -> Defect {
        let place = if self.inline { "inline bucket: " } else { "" };
        let offset = self.offset.saturating_add(at as u64);
        Defect::new(code, format!("page {}: {place}{message}", self.number)).on_page(self.number).at(offset)
    }

    /// The element table is longer than the page, or than any that bbolt writes.
    pub(super) fn table_defect(&self) -> Option<Defect> {
        let end = PAGE_HEADER_SIZE + self.count() * ELEMENT_SIZE;
        if end > self.bytes.len() {
            let message =
                format!("{} elements end at byte {end} of a page of {} bytes", self.header.count, self.bytes.len());
            return Some(self.defect("page-element-table", PAGE_COUNT, &message));
        }
        (self.header.count > MAX_ELEMENTS).then(|| {
            let message = format!("{} elements, more than {MAX_ELEMENTS}", self.header.count);
            self.defect("page-element-table", PAGE_COUNT, &message)
        })
    }

    /// Element `index` of a leaf; `None` beyond the table or the page.
    pub(super) fn leaf_element(&self, index: usize) -> Option<Result<LeafElement<'a>, Defect>> {
        let (at, element) = self.element(index)?;
        let flags = u32_at(element, LEAF_FLAGS)?;
        let (pos, ksize) = (u32_at(element, LEAF_POS)?, u32_at(element, LEAF_KSIZE)?);
        Some(self.data(index, at, pos, ksize, u32_at(element, LEAF_VSIZE)?).and_then(|(start, key, value)| {
            if flags & !BUCKET_LEAF_FLAG == 0 {
                return Ok(LeafElement { flags, key, value, start });
            }
            Err(self.defect("element-flags", at, &format!("element {index}: unknown flags {flags:x}")))
        }))
    }

    /// Element `index` of a branch; `None` beyond the table or the page.
    pub(super) fn branch_element(&self, index: usize) -> Option<Result<BranchElement<'a>, Defect>> {
        let (at, element) = self.element(index)?;
        let (pos, ksize) = (u32_at(element, BRANCH_POS)?, u32_at(element, BRANCH_KSIZE)?);
        let pgid = u64_at(element, BRANCH_PGID)?;
        Some(self.data(index, at, pos, ksize, 0).map(|(start, key, _)| BranchElement { key, pgid, start }))
    }

    /// Number of the child page of branch element `index`, whatever its key.
    pub(super) fn child(&self, index: usize) -> Option<u64> {
        u64_at(self.element(index)?.1, BRANCH_PGID)
    }

    /// Elements of a leaf in order, for as far as the table reaches; no byte belongs to two of them.
    pub(super) fn leaf_elements(&self) -> impl Iterator<Item = Result<LeafElement<'a>, Defect>> + use<'a> {
        let (page, mut floor) = (*self, self.floor());
        (0..self.count()).map_while(move |index| {
            Some(page.leaf_element(index)?.and_then(|element| {
                page.not_before(index, element.start, floor)?;
                floor = element.start + element.key.len() + element.value.len();
                Ok(element)
            }))
        })
    }

    /// Elements of a branch in order, for as far as the table reaches; no byte belongs to two of them.
    pub(super) fn branch_elements(&self) -> impl Iterator<Item = Result<BranchElement<'a>, Defect>> + use<'a> {
        let (page, mut floor) = (*self, self.floor());
        (0..self.count()).map_while(move |index| {
            Some(page.branch_element(index)?.and_then(|element| {
                page.not_before(index, element.start, floor)?;
                floor = element.start + element.key.len();
                Ok(element)
            }))
        })
    }

    /// Byte offset in the database of `element`'s key.
    pub(super) fn key_offset(&self, element: &LeafElement<'_>) -> u64 {
        self.offset.saturating_add(element.start as u64)
    }

    /// The page numbers of a freelist page, and whether they are as many as it claims.
    pub(super) fn freelist(&self) -> (impl Iterator<Item = u64> + use<'a>, Result<(), Defect>) {
        let entries = self.bytes.get(PAGE_HEADER_SIZE..).unwrap_or_default();
        let (claimed, entries) = if self.header.count == FREELIST_COUNT_OVERFLOW {
            (u64_at(entries, 0).unwrap_or_default(), entries.get(PGID_SIZE..).unwrap_or_default())
        } else {
            (u64::from(self.header.count), entries)
        };
        let room = (entries.len() / PGID_SIZE) as u64;
        let verdict = if claimed <= room {
            Ok(())
        } else {
            let message = format!("freelist of {claimed} pages, there is room for {room}");
            Err(self.defect("freelist-count", PAGE_COUNT, &message))
        };
        let count = usize::try_from(claimed.min(room)).unwrap_or_default();
        (entries.as_chunks().0.iter().take(count).map(|id| u64::from_le_bytes(*id)), verdict)
    }

    fn element(&self, index: usize) -> Option<(usize, &'a [u8])> {
        if index >= self.count() {
            return None;
        }
        let at = PAGE_HEADER_SIZE + index * ELEMENT_SIZE;
        Some((at, self.bytes.get(at..at + ELEMENT_SIZE)?))
    }

    /// First byte behind the element table.
    fn floor(&self) -> usize {
        PAGE_HEADER_SIZE + self.count() * ELEMENT_SIZE
    }

    /// Start in the page, key and value of the element at `at`. bbolt's `pos` counts from the element itself.
    fn data(
        &self,
        index: usize,
        at: usize,
        pos: u32,
        ksize: u32,
        vsize: u32,
    ) -> Result<(usize, &'a [u8], &'a [u8]), Defect> {
        let (pos, ksize, vsize) = (pos as usize, ksize as usize, vsize as usize);
        if ksize == 0 || ksize > MAX_KEY_SIZE {
            let message = format!("element {index}: key of {ksize} bytes, not 1 to {MAX_KEY_SIZE}");
            return Err(self.defect("key-size", at, &message));
        }
        let start = at.saturating_add(pos);
        let slices = self.bytes.get(start..).and_then(|data| {
            let (key, rest) = data.split_at_checked(ksize)?;
            Some((start, key, rest.get(..vsize)?))
        });
        slices.ok_or_else(|| {
            let end = start.saturating_add(ksize).saturating_add(vsize);
            let message = format!("element {index}: bytes {start} to {end} of a page of {} bytes", self.bytes.len());
            self.defect("element-out-of-bounds", at, &message)
        })
    }

    /// bbolt packs data behind the table in element order; overlapping data would be read more often than it is
    /// long.
    fn not_before(&self, index: usize, start: usize, floor: usize) -> Result<(), Defect> {
        if start >= floor {
            return Ok(());
        }
        let message = format!("element {index}: data at byte {start}, that before it ends at {floor}");
        Err(self.defect("element-overlap", PAGE_HEADER_SIZE + index * ELEMENT_SIZE, &message))
    }
}

/// The header of a bucket's value: root page and sequence.
pub(super) fn bucket_header(value: &[u8]) -> Option<(u64, u64)> {
    Some((u64_at(value, BUCKET_ROOT)?, u64_at(value, BUCKET_SEQUENCE)?))
}

/// What follows the header in the value of an inline bucket.
pub(super) fn bucket_image(value: &[u8]) -> &[u8] {
    value.get(BUCKET_HEADER_SIZE..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bbolt::encode::{Item, leaf_image};

    fn image(items: &[Item<'_>]) -> Vec<u8> {
        leaf_image(items).unwrap()
    }

    fn first_code(bytes: &[u8]) -> &'static str {
        Page::new(5, 0, bytes).unwrap().leaf_elements().find_map(Result::err).unwrap().code
    }

    #[test]
    fn a_leaf_gives_back_what_was_put_in() {
        let items = [Item::entry(b"a", b"1"), Item::entry(b"bb", b""), Item::entry(b"c", b"333")];
        let bytes = image(&items);
        let page = Page::new(5, 100, &bytes).unwrap();
        assert_eq!(page.table_defect(), None);
        let read: Vec<_> = page.leaf_elements().map(Result::unwrap).collect();
        assert_eq!(read.len(), 3);
        for (read, item) in read.iter().zip(&items) {
            assert_eq!((read.key, read.value, read.is_bucket()), (item.key, item.value, false));
        }
        assert_eq!(page.key_offset(&read[1]), 100 + 16 + 3 * 16 + 2);
    }

    #[test]
    fn a_flag_more_than_one_makes_the_type_unknown() {
        for flags in [0, 3, 6, 0x12, 0x8002, 0x08] {
            let header = Header { id: 5, flags, count: 0, overflow: 0 };
            assert_eq!(header.kind(), Kind::Unknown);
            assert!(header.invalid_type(5).message.starts_with("page 5: invalid type: unknown<"));
        }
    }

    #[test]
    fn elements_outside_the_page_are_defects_each() {
        for (field, value, code) in [
            (LEAF_POS, u32::MAX, "element-out-of-bounds"),
            (LEAF_VSIZE, 2, "element-out-of-bounds"),
            (LEAF_VSIZE, u32::MAX, "element-out-of-bounds"),
            (LEAF_KSIZE, 0, "key-size"),
            (LEAF_KSIZE, 32_769, "key-size"),
            (LEAF_FLAGS, 2, "element-flags"),
            (LEAF_POS, 0, "element-overlap"),
        ] {
            let mut bytes = image(&[Item::entry(b"a", b"1")]);
            put(&mut bytes, PAGE_HEADER_SIZE + field, &value.to_le_bytes());
            assert_eq!(first_code(&bytes), code, "{field} {value}");
        }
    }

    #[test]
    fn two_elements_never_share_bytes() {
        let mut bytes = image(&[Item::entry(b"a", b"1"), Item::entry(b"b", b"2")]);
        let pos = u32_at(&bytes, PAGE_HEADER_SIZE + LEAF_POS).unwrap();
        put(&mut bytes, PAGE_HEADER_SIZE + ELEMENT_SIZE + LEAF_POS, &(pos - 16).to_le_bytes());
        assert_eq!(first_code(&bytes), "element-overlap");
    }

    #[test]
    fn a_table_longer_than_the_page_is_read_as_far_as_it_goes() {
        let mut bytes = image(&[Item::entry(b"a", b"1")]);
        put(&mut bytes, PAGE_COUNT, &u16::MAX.to_le_bytes());
        let page = Page::new(5, 0, &bytes).unwrap();
        assert_eq!(page.table_defect().unwrap().code, "page-element-table");
        assert!(page.leaf_elements().count() <= 2);
    }

    #[test]
    fn a_freelist_is_counted_by_its_first_entry_when_the_count_is_full() {
        let mut bytes = vec![0; 16 + 8 * 4];
        for (index, id) in [3_u64, 10, 11, 12].iter().enumerate() {
            put(&mut bytes, 16 + 8 * index, &id.to_le_bytes());
        }
        Header { id: 2, flags: FREELIST_PAGE_FLAG, count: 4, overflow: 0 }.encode(&mut bytes);
        let (ids, verdict) = Page::new(2, 0, &bytes).unwrap().freelist();
        assert_eq!((ids.collect::<Vec<_>>(), verdict), (vec![3, 10, 11, 12], Ok(())));
        put(&mut bytes, PAGE_COUNT, &FREELIST_COUNT_OVERFLOW.to_le_bytes());
        let (ids, verdict) = Page::new(2, 0, &bytes).unwrap().freelist();
        assert_eq!((ids.collect::<Vec<_>>(), verdict), (vec![10, 11, 12], Ok(())));
        put(&mut bytes, 16, &4_u64.to_le_bytes());
        let (ids, verdict) = Page::new(2, 0, &bytes).unwrap().freelist();
        assert_eq!((ids.count(), verdict.unwrap_err().code), (3, "freelist-count"));
    }
}
