//! Reading pages by positioned reads, several at once where they lie side by side.

use std::ops::Range;

use super::fault::Fault;
use super::layout::MAX_SPAN;
use super::page::{Header, Page};
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// Most bytes that are read ahead of the page that was asked for. More than this gains nothing from the page cache,
/// and it still fits beside the visitor's data into a second-level cache.
const READ_AHEAD: u64 = 256 << 10;
/// Pages between two wanted ones that are read along rather than skipped: reading a page costs less than a call.
const MAX_GAP: u64 = 4;

/// The pages of a database below its high water mark.
pub(super) struct Pages<'d, R> {
    source: &'d R,
    page_size: u64,
    high_water_mark: u64,
    /// Bytes of the file from `start` on, of which `filled` are good.
    window: Vec<u8>,
    start: u64,
    filled: usize,
}

impl<'d, R: ReadAt> Pages<'d, R> {
    /// [`Database::open`](super::Database::open) has checked that every page below `high_water_mark` lies in
    /// `source`, so that offsets do not overflow here.
    pub(super) fn new(source: &'d R, page_size: u64, high_water_mark: u64) -> Self {
        Self { source, page_size, high_water_mark, window: Vec::new(), start: 0, filled: 0 }
    }

    /// Byte offset of page `number`.
    pub(super) fn offset(&self, number: u64) -> u64 {
        number.saturating_mul(self.page_size)
    }

    /// The header of page `number`; `ahead` pages from it on, at least one, are likely to be asked for next.
    pub(super) fn header(&mut self, number: u64, ahead: u64) -> Result<Header, Fault> {
        if number >= self.high_water_mark {
            return Err(out_of_bounds(number, self.high_water_mark).into());
        }
        let bytes = self.read(number, 1, ahead.clamp(1, self.high_water_mark - number))?;
        Header::decode(bytes).ok_or_else(|| short().into())
    }

    /// How many of the pages that `header` claims for page `number` can be read, with what is wrong if not all.
    pub(super) fn extent(&self, number: u64, header: Header) -> (u64, Option<Defect>) {
        let (span, room) = (header.span(), self.high_water_mark.saturating_sub(number));
        if span.saturating_mul(self.page_size) > MAX_SPAN {
            return (0, Some(too_large(number, span.saturating_mul(self.page_size))));
        }
        if span > room {
            let message = format!(
                "page {}: out of bounds: {} (in the overflow of page {number})",
                number.saturating_add(header.overflow.into()),
                self.high_water_mark
            );
            return (room, Some(Defect::new("page-out-of-bounds", message).on_page(number).at(self.offset(number))));
        }
        (span, None)
    }

    /// Page `number`, of which `span` pages are read.
    pub(super) fn page(&mut self, number: u64, span: u64) -> Result<Page<'_>, Fault> {
        let offset = self.offset(number);
        let bytes = self.read(number, span, span)?;
        Page::new(number, offset, bytes).ok_or_else(|| short().into())
    }

    /// Whether the first page of `number` was read along.
    pub(super) fn holds(&self, number: u64) -> bool {
        self.held(self.offset(number), self.page_size).is_some()
    }

    /// The first of them that is not read yet begins a new window of at least `need` and at most `ahead` pages.
    fn read(&mut self, number: u64, need: u64, ahead: u64) -> Result<&[u8], Fault> {
        let (offset, length) = (self.offset(number), need.saturating_mul(self.page_size));
        if self.held(offset, length).is_none() {
            let wanted = ahead.saturating_mul(self.page_size).min(READ_AHEAD).max(length);
            self.fill(offset, wanted)?;
        }
        if !self.source.holds(offset, length) {
            return Err(left_out(number).into());
        }
        let range = self.held(offset, length).ok_or_else(short)?;
        self.window.get(range).ok_or_else(|| short().into())
    }

    fn held(&self, offset: u64, length: u64) -> Option<Range<usize>> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        (to <= self.filled).then_some(from..to)
    }

    fn fill(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        let length = usize::try_from(length).map_err(|_| short())?;
        if self.window.len() < length {
            self.window.resize(length, 0);
        }
        self.filled = 0;
        let window = self.window.get_mut(..length).ok_or_else(short)?;
        self.source.read_exact_at(window, offset).map_err(|error| damage(error, offset / self.page_size))?;
        (self.start, self.filled) = (offset, length);
        Ok(())
    }
}

/// How many pages from child `index` of `branch` on it pays to read at once: up to the last of the children that
/// follow in ascending order with small gaps, as far as a window reaches.
pub(super) fn ahead(branch: &Page<'_>, index: usize, page_size: u64) -> u64 {
    let Some(first) = branch.child(index) else { return 1 };
    let most = (READ_AHEAD / page_size).max(1);
    let mut end = first.saturating_add(1);
    for next in (index + 1..branch.count()).map_while(|index| branch.child(index)) {
        if next < end || next - end > MAX_GAP || next - first >= most {
            break;
        }
        end = next.saturating_add(1);
    }
    end - first
}

/// A page number that is none.
pub(super) fn out_of_bounds(number: u64, high_water_mark: u64) -> Defect {
    Defect::new("page-out-of-bounds", format!("page {number}: out of bounds: {high_water_mark}")).on_page(number)
}

/// A page, or the branches above it, that memory is not taken for.
pub(super) fn too_large(number: u64, bytes: u64) -> Defect {
    let message = format!("page {number}: spans {bytes} bytes, of which {MAX_SPAN} are read");
    Defect::new("page-span", message).on_page(number)
}

/// A page that the source does not have; whoever makes such a source goes back to one that is whole.
fn left_out(number: u64) -> Defect {
    Defect::new("page-left-out", format!("page {number}: left out of what was unpacked")).on_page(number)
}

/// A source that is packed knows its own damage; which page that is, it does not.
fn damage(error: std::io::Error, page: u64) -> Fault {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Defect>()) {
        Some(defect) => Fault::Defect(defect.clone().on_page(page)),
        None => Fault::Read(error),
    }
}

fn short() -> std::io::Error {
    std::io::ErrorKind::UnexpectedEof.into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::bbolt::encode::{Item, branch_image, leaf_image, seal};

    struct Counting {
        bytes: Vec<u8>,
        reads: AtomicUsize,
    }

    impl ReadAt for Counting {
        fn len(&self) -> u64 {
            ReadAt::len(&self.bytes)
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.bytes.read_exact_at(buf, offset)
        }
    }

    fn counting(pages: u64) -> Counting {
        let leaf = |id| seal(leaf_image(&[Item::entry(b"k", b"v")]).unwrap(), id, 4096).unwrap();
        Counting { bytes: (0..pages).flat_map(leaf).collect(), reads: AtomicUsize::new(0) }
    }

    #[test]
    fn neighbours_come_with_one_read() {
        let source = counting(40);
        let mut pages = Pages::new(&source, 4096, 40);
        for number in 2..34 {
            assert_eq!(pages.header(number, 32).unwrap().id, number);
            assert_eq!(pages.page(number, 1).unwrap().number, number);
        }
        assert_eq!(source.reads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn reading_ahead_ends_at_the_high_water_mark() {
        let source = counting(40);
        let mut pages = Pages::new(&source, 4096, 39);
        assert_eq!(pages.header(38, 1000).unwrap().id, 38);
        assert!(matches!(pages.header(39, 1), Err(Fault::Defect(defect)) if defect.code == "page-out-of-bounds"));
    }

    #[test]
    fn ahead_follows_ascending_children_with_small_gaps() {
        let ids = [10, 11, 14, 30, 31, 5, 6];
        let children: Vec<(&[u8], u64)> = ids.iter().map(|id| (b"k".as_slice(), *id)).collect();
        let image = branch_image(&children).unwrap();
        let branch = Page::new(3, 0, &image).unwrap();
        let runs: Vec<_> = (0..ids.len()).map(|index| ahead(&branch, index, 4096)).collect();
        assert_eq!(runs, [5, 4, 1, 2, 1, 2, 1]);
        assert_eq!(ahead(&branch, 99, 4096), 1);
    }

    #[test]
    fn an_overflow_beyond_the_high_water_mark_or_the_cap_is_a_defect() {
        let source = counting(4);
        let pages = Pages::new(&source, 4096, 4);
        let header = |overflow| Header { id: 2, flags: 2, count: 0, overflow };
        assert_eq!(pages.extent(2, header(1)), (2, None));
        let (room, defect) = pages.extent(2, header(2));
        assert_eq!((room, defect.unwrap().code), (2, "page-out-of-bounds"));
        let (room, defect) = pages.extent(2, header(u32::MAX));
        assert_eq!((room, defect.unwrap().code), (0, "page-span"));
    }
}
