//! Finding one's way in a B+tree whose pages are not known to be good: the first defect ends the search.

use std::ops::ControlFlow;

use super::fault::Fault;
use super::layout::{MAX_DEPTH, MAX_SPAN};
use super::page::{Kind, LeafElement, Page};
use super::page_set::PageSet;
use super::pages::{Pages, ahead, too_large};
use super::shape::empty_branch;
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// Called with a leaf and one of its elements.
pub(super) type Visit<'v> = dyn FnMut(&Page<'_>, &LeafElement<'_>) -> ControlFlow<()> + 'v;

/// One search through one tree. No page is read twice, so that it ends whatever the pages say.
pub(super) struct Tree<'d, R> {
    pages: Pages<'d, R>,
    page_size: u64,
    seen: PageSet,
    /// Bytes of the branches above the page that is read.
    held: u64,
}

impl<'d, R: ReadAt> Tree<'d, R> {
    pub(super) fn new(source: &'d R, page_size: u64, high_water_mark: u64) -> Self {
        Self { pages: Pages::new(source, page_size, high_water_mark), page_size, seen: PageSet::default(), held: 0 }
    }

    /// Visits the elements below page `root` in key order.
    pub(super) fn scan(&mut self, root: u64, visit: &mut Visit<'_>) -> Result<(), Fault> {
        self.scan_page(root, 1, 0, visit).map(drop)
    }

    /// Visits the elements below page `root` whose key is not less than `from`, in key order.
    pub(super) fn scan_from(&mut self, root: u64, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        self.scan_page_from(root, 0, from, visit).map(drop)
    }

    /// Visits the elements below page `root` from the last backwards.
    pub(super) fn scan_back(&mut self, root: u64, visit: &mut Visit<'_>) -> Result<(), Fault> {
        self.scan_page_back(root, 0, visit).map(drop)
    }

    /// Visits the element whose key is `key`, if there is one.
    pub(super) fn seek(&mut self, root: u64, key: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        let mut number = root;
        for level in 0..=MAX_DEPTH {
            match self.load(number, 1, level)? {
                (Kind::Branch, span) => number = child_for(&self.pages.page(number, span)?, key)?,
                (_, span) => {
                    seek_in_leaf(&self.pages.page(number, span)?, key, visit)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Copies of the pages from `root` down to the last leaf, the leaf last.
    pub(super) fn last_path(&mut self, root: u64) -> Result<Vec<Vec<u8>>, Fault> {
        let mut path = Vec::new();
        let mut number = root;
        loop {
            let level = u32::try_from(path.len()).unwrap_or(MAX_DEPTH);
            let (kind, span) = self.load(number, 1, level)?;
            self.hold(number, span)?;
            let page = self.pages.page(number, span)?;
            path.push(page.bytes().to_vec());
            if kind == Kind::Leaf {
                return Ok(path);
            }
            number =
                page.count().checked_sub(1).and_then(|last| page.child(last)).ok_or_else(|| empty_branch(&page))?;
        }
    }

    fn scan_page(
        &mut self,
        number: u64,
        ahead_pages: u64,
        level: u32,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, Fault> {
        let (kind, span) = self.load(number, ahead_pages, level)?;
        if kind == Kind::Leaf {
            return visit_leaf(&self.pages.page(number, span)?, visit);
        }
        let held = self.hold(number, span)?;
        let bytes = self.pages.page(number, span)?.bytes().to_vec();
        let branch = sound(Page::new(number, self.pages.offset(number), &bytes), number)?;
        for (index, element) in branch.branch_elements().enumerate() {
            let ahead_pages = ahead(&branch, index, self.page_size);
            if self.scan_page(element?.pgid, ahead_pages, level + 1, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.held -= held;
        Ok(ControlFlow::Continue(()))
    }

    fn scan_page_from(
        &mut self,
        number: u64,
        level: u32,
        from: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, Fault> {
        let (kind, span) = self.load(number, 1, level)?;
        if kind == Kind::Leaf {
            return visit_leaf_from(&self.pages.page(number, span)?, from, visit);
        }
        let held = self.hold(number, span)?;
        let bytes = self.pages.page(number, span)?.bytes().to_vec();
        let branch = sound(Page::new(number, self.pages.offset(number), &bytes), number)?;
        let first = child_index(&branch, from)?;
        for (index, element) in branch.branch_elements().enumerate().skip(first) {
            let child = element?.pgid;
            let flow = if index == first {
                self.scan_page_from(child, level + 1, from, visit)?
            } else {
                self.scan_page(child, ahead(&branch, index, self.page_size), level + 1, visit)?
            };
            if flow.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.held -= held;
        Ok(ControlFlow::Continue(()))
    }

    fn scan_page_back(&mut self, number: u64, level: u32, visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Fault> {
        let (kind, span) = self.load(number, 1, level)?;
        if kind == Kind::Leaf {
            let page = self.pages.page(number, span)?;
            return visit_leaf_back(&page, visit);
        }
        let held = self.hold(number, span)?;
        let bytes = self.pages.page(number, span)?.bytes().to_vec();
        let branch = sound(Page::new(number, self.pages.offset(number), &bytes), number)?;
        for child in (0..branch.count()).rev().filter_map(|index| branch.child(index)) {
            if self.scan_page_back(child, level + 1, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.held -= held;
        Ok(ControlFlow::Continue(()))
    }

    /// Looks at the header of a page of a tree: its kind, and how many pages it spans.
    fn load(&mut self, number: u64, ahead_pages: u64, level: u32) -> Result<(Kind, u64), Fault> {
        if level >= MAX_DEPTH {
            return Err(too_deep(number).into());
        }
        let header = self.pages.header(number, ahead_pages)?;
        if let Some(defect) = header.wrong_id(number) {
            return Err(defect.into());
        }
        let kind = header.kind();
        if !matches!(kind, Kind::Branch | Kind::Leaf) {
            return Err(header.invalid_type(number).into());
        }
        let (span, defect) = self.pages.extent(number, header);
        if let Some(defect) = defect {
            return Err(defect.into());
        }
        for page in number..number.saturating_add(span) {
            if !self.seen.insert(page) {
                return Err(multiple_references(page).into());
            }
        }
        Ok((kind, span))
    }

    /// Counts a branch whose bytes are kept while its children are read; gives what was counted.
    fn hold(&mut self, number: u64, span: u64) -> Result<u64, Fault> {
        let bytes = span.saturating_mul(self.page_size);
        self.held = self.held.saturating_add(bytes);
        if self.held > MAX_SPAN { Err(too_large(number, self.held).into()) } else { Ok(bytes) }
    }
}

/// Visits the elements of a leaf in order.
pub(super) fn visit_leaf(page: &Page<'_>, visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Fault> {
    let page = sound(Some(*page), page.number)?;
    for element in page.leaf_elements() {
        if visit(&page, &element?).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Visits the elements of a leaf whose key is not less than `from`, in order.
pub(super) fn visit_leaf_from(page: &Page<'_>, from: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Fault> {
    let page = sound(Some(*page), page.number)?;
    for element in page.leaf_elements() {
        let element = element?;
        if element.key >= from && visit(&page, &element).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Visits the elements of a leaf from the last backwards.
pub(super) fn visit_leaf_back(page: &Page<'_>, visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Fault> {
    let page = sound(Some(*page), page.number)?;
    for element in (0..page.count()).rev().filter_map(|index| page.leaf_element(index)) {
        if visit(&page, &element?).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Visits the element of a leaf whose key is `key`, if there is one.
pub(super) fn seek_in_leaf(page: &Page<'_>, key: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
    let page = sound(Some(*page), page.number)?;
    let (mut low, mut high) = (0, page.count());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(element) = page.leaf_element(middle) else { break };
        let element = element?;
        match element.key.cmp(key) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                // The answer of the only element there is; nothing is left to break off.
                let _ = visit(&page, &element);
                break;
            }
        }
    }
    Ok(())
}

/// The child whose keys `key` would be among: the last whose own key is not greater, else the first.
fn child_for(branch: &Page<'_>, key: &[u8]) -> Result<u64, Fault> {
    let index = child_index(branch, key)?;
    branch.child(index).ok_or_else(|| empty_branch(branch).into())
}

/// Place in `branch` of the child that [`child_for`] names.
fn child_index(branch: &Page<'_>, key: &[u8]) -> Result<usize, Fault> {
    let branch = sound(Some(*branch), branch.number)?;
    let (mut low, mut high) = (0, branch.count());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(element) = branch.branch_element(middle) else { break };
        if element?.key <= key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low.saturating_sub(1))
}

/// A page whose element table lies inside of it.
pub(super) fn sound(page: Option<Page<'_>>, number: u64) -> Result<Page<'_>, Defect> {
    let page = page.ok_or_else(|| Defect::new("database-unreadable", "a page without a header").on_page(number))?;
    page.table_defect().map_or(Ok(page), Err)
}

pub(super) fn too_deep(number: u64) -> Defect {
    let message = format!("page {number}: deeper than {MAX_DEPTH} levels");
    Defect::new("page-depth", message).on_page(number)
}

pub(super) fn multiple_references(number: u64) -> Defect {
    Defect::new("page-multiple-references", format!("page {number}: multiple references")).on_page(number)
}
