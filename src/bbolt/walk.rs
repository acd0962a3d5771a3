//! One traversal that checks every rule of bbolt's `Tx.Check`, and those it takes for granted.
//!
//! `Tx.Check` panics or reads beyond the file where a page is malformed, and passes inline buckets over; here both
//! are checked as well. The walk never stops at a defect: it goes on with what can still be read, and no page is
//! read twice.

use std::collections::VecDeque;
use std::thread::{self, available_parallelism};

use super::fault::{Fault, read_error};
use super::layout::{MAX_DEPTH, MAX_SPAN};
use super::meta::PGID_NO_FREELIST;
use super::notes::Notes;
use super::order::{Bounds, Order};
use super::page::{BranchElement, Header, Kind, Page};
use super::page_set::PageSet;
use super::pages::{Pages, ahead, out_of_bounds, too_large};
use super::reader::{Bucket, Content, Database, Element, inline_defect};
use super::shape::{Shape, children_defect};
use super::subtrees::{Crew, Job, Outcome, Subtree, Ticket};
use super::tree::{multiple_references, too_deep};
use super::visitor::Visitor;
use crate::defect::Defect;
use crate::error::Result;
use crate::progress::{Progress, Stage};
use crate::read_at::ReadAt;

/// Bytes between two calls of the progress callback.
const REPORT_EVERY: u64 = 512 << 10;
/// Size of a database from which on threads are worth their start.
const SIDE_BY_SIDE: u64 = 8 << 20;
/// More threads than this wait for the memory, and each has buffers of its own.
const MAX_THREADS: usize = 4;

/// What a [`walk`](walk()) counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Pages in use: metas, freelist, trees, each with its overflow.
    pub pages_reachable: u64,
    /// Pages in the freelist; those that are not reachable, where it is not persisted.
    pub pages_free: u64,
    /// Pages below the high water mark.
    pub pages: u64,
}

/// Checks every page of `db` and hands over every entry.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted) when `progress` says stop, [`Error::Io`](crate::Error::Io) (of
/// a path `database`) when bytes could not be had. Defects are no errors; the visitor gets them.
pub fn walk<R: ReadAt, V: Visitor>(db: &Database<R>, visitor: &mut V, progress: &dyn Progress) -> Result<Walked> {
    walk_noted(db, None, visitor, progress)
}

/// [`walk`](walk()), which does not read the leaves of which there are notes.
///
/// # Errors
/// Those of [`walk`](walk()).
pub fn walk_noted<R: ReadAt, V: Visitor>(
    db: &Database<R>,
    notes: Option<&Notes>,
    visitor: &mut V,
    progress: &dyn Progress,
) -> Result<Walked> {
    let threads = if db.size() < SIDE_BY_SIDE { 1 } else { available_parallelism().map_or(1, usize::from) };
    walk_on(db, notes, visitor, progress, threads.min(MAX_THREADS))
}

/// [`walk_noted`] with so many threads for the leaves; with one or none they are read by the walk itself, unless there
/// are notes.
pub(super) fn walk_on<R: ReadAt, V: Visitor>(
    db: &Database<R>,
    notes: Option<&Notes>,
    visitor: &mut V,
    progress: &dyn Progress,
    threads: usize,
) -> Result<Walked> {
    if threads < 2 && notes.is_none() {
        return Walker::new(db, visitor, progress, None).run(db);
    }
    thread::scope(|scope| {
        let crew = Crew::start(scope, db.source(), db.page_size(), db.meta().high_water_mark, notes, threads);
        Walker::new(db, visitor, progress, crew).run(db)
    })
}

/// Whose elements a leaf holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The root bucket's: buckets only.
    Root,
    /// Those of a bucket of the root bucket: entries.
    Bucket,
    /// Those of a bucket farther inside, which nobody is told of.
    Nested,
}

struct Walker<'w, R, V: Visitor> {
    pages: Pages<'w, R>,
    page_size: u64,
    high_water_mark: u64,
    /// Spare buffers for branches, so that none is allocated twice.
    buffers: Vec<Vec<u8>>,
    /// Bytes of branches and bucket headers that are kept while what is below them is read.
    held: u64,
    reported: u64,
    progress: &'w dyn Progress,
    crew: Option<Crew<V::Part>>,
    state: State<'w, V>,
}

/// The children of a branch whose subtrees are being read by threads.
struct UnderWay<'b, P> {
    children: Vec<BranchElement<'b>>,
    /// The first that was not given to a thread.
    next: usize,
    /// What the keys of the last one are less than.
    max: Option<&'b [u8]>,
    tickets: VecDeque<Ticket<P>>,
}

/// All that a leaf needs while its bytes are borrowed from the window.
struct State<'w, V> {
    visitor: &'w mut V,
    referenced: PageSet,
    freed: PageSet,
    order: Order,
    shape: Shape,
}

impl<'w, R: ReadAt, V: Visitor> Walker<'w, R, V> {
    fn new(db: &'w Database<R>, visitor: &'w mut V, progress: &'w dyn Progress, crew: Option<Crew<V::Part>>) -> Self {
        let high_water_mark = db.meta().high_water_mark;
        Self {
            pages: Pages::new(db.source(), db.page_size(), high_water_mark),
            page_size: db.page_size(),
            high_water_mark,
            buffers: Vec::new(),
            held: 0,
            reported: 0,
            progress,
            crew,
            state: State {
                visitor,
                referenced: PageSet::default(),
                freed: PageSet::default(),
                order: Order::default(),
                shape: Shape::default(),
            },
        }
    }

    fn run(mut self, db: &Database<R>) -> Result<Walked> {
        let (meta, progress) = (db.meta(), self.progress);
        progress.step(Stage::Check, 0, Some(db.size()))?;
        self.metas(db.invalid_meta(), meta.txid_defect())?;
        if meta.freelist != PGID_NO_FREELIST {
            self.freelist(meta.freelist)?;
        }
        self.tree(meta.root, Scope::Root, 0)?;
        let counted = self.finish(meta.freelist != PGID_NO_FREELIST);
        progress.step(Stage::Check, db.size(), Some(db.size()))?;
        Ok(counted)
    }

    /// Meta pages are read by their place; that they know their own number is asserted by `Tx.page`.
    fn metas(&mut self, invalid: Option<&Defect>, txid: Option<Defect>) -> Result<()> {
        for defect in invalid.cloned().into_iter().chain(txid) {
            self.state.visitor.defect(defect);
        }
        for number in 0..2 {
            self.state.referenced.insert(number);
            let Some(header) = self.header(number, 1)? else { continue };
            if let Some(defect) = header.wrong_id(number) {
                self.state.visitor.defect(defect);
            }
            if header.kind() != Kind::Meta {
                self.state.visitor.defect(header.invalid_type(number));
            }
        }
        Ok(())
    }

    /// Reads the persisted freelist at page `number`.
    fn freelist(&mut self, number: u64) -> Result<()> {
        let Some((header, span)) = self.claim(number, 1)? else { return Ok(()) };
        if header.kind() != Kind::Freelist {
            self.state.visitor.defect(header.invalid_type(number));
            return Ok(());
        }
        let page = match self.pages.page(number, span) {
            Ok(page) => page,
            Err(fault) => return self.state.fault(fault),
        };
        let (ids, verdict) = page.freelist();
        for id in ids {
            if id < 2 || id >= self.high_water_mark {
                self.state.visitor.defect(out_of_bounds(id, self.high_water_mark).at(page.offset));
            } else if !self.state.freed.insert(id) {
                let message = format!("page {id}: already freed");
                self.state.visitor.defect(Defect::new("page-already-freed", message).on_page(id));
            }
        }
        if let Err(defect) = verdict {
            self.state.visitor.defect(defect);
        }
        for page in (number..number.saturating_add(span)).filter(|page| self.state.freed.contains(*page)) {
            self.state.visitor.defect(reachable_freed(page));
        }
        Ok(())
    }

    /// Walks the tree at page `root`, whose order and shape are its own.
    fn tree(&mut self, root: u64, scope: Scope, level: u32) -> Result<()> {
        let order = std::mem::take(&mut self.state.order);
        let shape = std::mem::replace(&mut self.state.shape, Shape::new(level));
        let walked = self.page(root, 1, Bounds::default(), scope, level);
        (self.state.order, self.state.shape) = (order, shape);
        walked
    }

    fn page(&mut self, number: u64, ahead_pages: u64, bounds: Bounds<'_>, scope: Scope, level: u32) -> Result<()> {
        if level >= MAX_DEPTH {
            self.state.visitor.defect(too_deep(number));
            return Ok(());
        }
        let Some((header, span)) = self.claim(number, ahead_pages)? else { return Ok(()) };
        match header.kind() {
            Kind::Branch => self.branch(number, span, bounds, scope, level),
            Kind::Leaf => {
                let mut buckets = Vec::new();
                match self.pages.page(number, span) {
                    Ok(page) => {
                        let State { shape, visitor, .. } = &mut self.state;
                        shape.leaf(&page, level, &mut |defect| visitor.defect(defect));
                        self.state.leaf(&page, bounds, scope, &mut buckets);
                    }
                    Err(fault) => return self.state.fault(fault),
                }
                self.buckets(&buckets, scope, level)
            }
            _ => {
                self.state.visitor.defect(header.invalid_type(number));
                Ok(())
            }
        }
    }

    fn branch(&mut self, number: u64, span: u64, bounds: Bounds<'_>, scope: Scope, level: u32) -> Result<()> {
        let size = span.saturating_mul(self.page_size);
        if !self.hold(number, size) {
            return Ok(());
        }
        let mut buffer = self.buffers.pop().unwrap_or_default();
        buffer.clear();
        let copied = self.pages.page(number, span).map(|page| buffer.extend_from_slice(page.bytes()));
        if let Err(fault) = copied {
            self.state.fault(fault)?;
        } else if let Some(page) = Page::new(number, self.pages.offset(number), &buffer) {
            self.children(&page, bounds, scope, level)?;
        }
        self.buffers.push(buffer);
        self.held -= size;
        Ok(())
    }

    fn children(&mut self, branch: &Page<'_>, bounds: Bounds<'_>, scope: Scope, level: u32) -> Result<()> {
        if let Some(defect) = branch.table_defect() {
            self.state.visitor.defect(defect);
        }
        if let Some(defect) = children_defect(branch) {
            self.state.visitor.defect(defect);
        }
        let mut under_way = self.look_ahead(branch, bounds, scope, level);
        let mut elements = branch.branch_elements().enumerate().peekable();
        let mut previous = None;
        while let Some((index, element)) = elements.next() {
            let subtree = self.next_subtree(&mut under_way);
            let element = match element {
                Ok(element) => element,
                Err(defect) => {
                    self.state.visitor.defect(defect);
                    // Its key is lost, its child may not be.
                    let Some(child) = branch.child(index) else { continue };
                    self.state.order.forget();
                    self.page(child, 1, Bounds { min: None, max: bounds.max }, scope, level + 1)?;
                    continue;
                }
            };
            let State { order, visitor, .. } = &mut self.state;
            let mut ordered = true;
            order.branch_key(branch, index, element.key, previous, bounds, &mut |defect| {
                ordered = false;
                visitor.defect(defect);
            });
            previous = Some(element.key);
            if let Some(subtree) = subtree
                && ordered
                && self.state.take(subtree, level + 2)
            {
                self.report()?;
                continue;
            }
            let max = match elements.peek() {
                Some((_, Ok(next))) => Some(next.key),
                Some((_, Err(_))) | None => bounds.max,
            };
            let ahead_pages = ahead(branch, index, self.page_size);
            self.page(element.pgid, ahead_pages, Bounds { min: Some(element.key), max }, scope, level + 1)?;
        }
        Ok(())
    }

    /// Has the subtrees below `branch` read ahead, if they are such that threads can read.
    fn look_ahead<'b>(
        &mut self,
        branch: &Page<'b>,
        bounds: Bounds<'b>,
        scope: Scope,
        level: u32,
    ) -> Option<UnderWay<'b, V::Part>> {
        // Two levels more: branches of leaves.
        if self.crew.is_none() || scope != Scope::Bucket || level + 2 >= MAX_DEPTH {
            return None;
        }
        self.state.visitor.part()?;
        let children = branch.branch_elements().collect::<std::result::Result<Vec<_>, _>>().ok()?;
        let first = children.first()?.pgid;
        // What is wrong with it is said when its turn comes.
        let is_branch = self.pages.header(first, 1).is_ok_and(|header| header.kind() == Kind::Branch);
        is_branch.then(|| UnderWay { children, next: 0, max: bounds.max, tickets: VecDeque::new() })
    }

    /// The subtree of the next child in turn, when it was read and found sound; puts more of them under way.
    fn next_subtree(&mut self, under_way: &mut Option<UnderWay<'_, V::Part>>) -> Option<Subtree<V::Part>> {
        let (under_way, crew) = (under_way.as_mut()?, self.crew.as_mut()?);
        while under_way.tickets.len() < crew.room() {
            let Some(child) = under_way.children.get(under_way.next) else { break };
            let Some(part) = self.state.visitor.part() else { break };
            under_way.next += 1;
            let max = under_way.children.get(under_way.next).map_or(under_way.max, |next| Some(next.key));
            let job = Job { number: child.pgid, min: child.key.to_vec(), max: max.map(<[u8]>::to_vec), part };
            under_way.tickets.push_back(crew.submit(job));
        }
        // To be woken for several at once costs less than for each.
        if under_way.tickets.front_mut().is_some_and(|ticket| !ticket.is_settled()) {
            let middle = under_way.tickets.len() / 2;
            if let Some(ticket) = under_way.tickets.get_mut(middle) {
                ticket.settle();
            }
        }
        // Once there is no room left no more come in, so the front is always that of the child in turn.
        match under_way.tickets.pop_front()?.wait() {
            Outcome::Sound(subtree) => Some(subtree),
            Outcome::Deeper => None,
            Outcome::Unsound => {
                crew.in_vain();
                None
            }
        }
    }

    /// Walks the buckets that a leaf held, now that its bytes may go.
    fn buckets(&mut self, buckets: &[Bucket], scope: Scope, level: u32) -> Result<()> {
        let sizes = buckets.iter().map(|bucket| match bucket.content() {
            Content::Tree(_) => 0,
            Content::Inline { image, .. } => image.len() as u64,
        });
        let size = sizes.fold(0, u64::saturating_add);
        let Some(first) = buckets.first() else { return Ok(()) };
        if !self.hold(first.root_page().unwrap_or_default(), size) {
            return Ok(());
        }
        let inner = if scope == Scope::Root { Scope::Bucket } else { Scope::Nested };
        for bucket in buckets {
            if scope == Scope::Root {
                self.state.visitor.bucket(bucket.name());
            }
            match bucket.content() {
                Content::Tree(root) => self.tree(*root, inner, level + 1)?,
                Content::Inline { page, offset, image } => self.state.inline(*page, *offset, image, inner),
            }
        }
        self.held -= size;
        Ok(())
    }

    /// Looks at the header of page `number` and takes the pages that it spans for its own: its header, and the number
    /// of pages that can be read and are nobody else's. `None` when there are none.
    fn claim(&mut self, number: u64, ahead_pages: u64) -> Result<Option<(Header, u64)>> {
        if self.state.referenced.contains(number) {
            self.state.visitor.defect(multiple_references(number).at(self.pages.offset(number)));
            return Ok(None);
        }
        let Some(header) = self.header(number, ahead_pages)? else { return Ok(None) };
        if let Some(defect) = header.wrong_id(number) {
            self.state.visitor.defect(defect.at(self.pages.offset(number)));
        }
        let (extent, defect) = self.pages.extent(number, header);
        if let Some(defect) = defect {
            self.state.visitor.defect(defect);
        }
        let mut span = 0;
        for page in number..number.saturating_add(extent.max(1)) {
            if !self.state.referenced.insert(page) {
                self.state.visitor.defect(multiple_references(page).at(self.pages.offset(number)));
                break;
            }
            if self.state.freed.contains(page) {
                self.state.visitor.defect(reachable_freed(page).at(self.pages.offset(number)));
            }
            span += 1;
        }
        self.report()?;
        Ok((extent > 0).then_some((header, span)))
    }

    fn header(&mut self, number: u64, ahead_pages: u64) -> Result<Option<Header>> {
        match self.pages.header(number, ahead_pages) {
            Ok(header) => Ok(Some(header)),
            Err(fault) => self.state.fault(fault).map(|()| None),
        }
    }

    /// Counts bytes that are kept while others are read; `false`, with a defect, when they would be too many.
    fn hold(&mut self, number: u64, size: u64) -> bool {
        let held = self.held.saturating_add(size);
        if held > MAX_SPAN {
            self.state.visitor.defect(too_large(number, held));
            return false;
        }
        self.held = held;
        true
    }

    fn report(&mut self) -> Result<()> {
        let done = self.state.referenced.len().saturating_mul(self.page_size);
        if done.saturating_sub(self.reported) < REPORT_EVERY {
            return Ok(());
        }
        self.reported = done;
        self.progress.step(Stage::Check, done, Some(self.high_water_mark.saturating_mul(self.page_size)))
    }

    /// Pages that nobody refers to are a defect only where a freelist should have named them.
    fn finish(self, freelist: bool) -> Walked {
        let State { visitor, referenced, freed, .. } = self.state;
        let pages = self.high_water_mark;
        if freelist {
            referenced.gaps(&freed, pages, &mut |first, count| visitor.defect(unreachable_unfreed(first, count)));
        }
        let reachable = referenced.len().min(pages);
        let free = if freelist { freed.len() } else { pages - reachable };
        Walked { pages_reachable: reachable, pages_free: free, pages }
    }
}

impl<V: Visitor> State<'_, V> {
    /// Hands a page's fault to whom it concerns.
    fn fault(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Defect(defect) => {
                self.visitor.defect(defect);
                Ok(())
            }
            Fault::Read(error) => Err(read_error(error)),
        }
    }

    /// Takes in a subtree that a thread has read, whose leaves are at `level`, unless something else is known of its
    /// pages.
    fn take(&mut self, subtree: Subtree<V::Part>, level: u32) -> bool {
        let Subtree { pages, order, part } = subtree;
        let known = |set: &PageSet| pages.iter().any(|(first, count)| set.has_any(*first, *count));
        let sound = !known(&self.referenced) && !known(&self.freed) && self.shape.leaves_at(level);
        if !sound || !self.visitor.take(part) {
            return false;
        }
        for (first, count) in pages {
            self.referenced.insert_all(first, count);
        }
        self.order.follow(order);
        true
    }

    /// Checks a leaf and hands over its entries; buckets are put into `buckets`.
    fn leaf(&mut self, page: &Page<'_>, bounds: Bounds<'_>, scope: Scope, buckets: &mut Vec<Bucket>) {
        if let Some(defect) = page.table_defect() {
            self.visitor.defect(defect);
        }
        let mut previous = None;
        for (index, element) in page.leaf_elements().enumerate() {
            let element = match element {
                Ok(element) => element,
                Err(defect) => {
                    self.visitor.defect(defect);
                    continue;
                }
            };
            if let Some(defect) = bounds.leaf_defect(page, index, element.key, previous) {
                self.visitor.defect(defect);
            }
            previous = Some(element.key);
            if !element.is_bucket() {
                match scope {
                    Scope::Root => {
                        let message = format!("element {index}: an entry in the root bucket, which holds buckets only");
                        self.visitor.defect(page.defect("root-entry", 0, &message));
                    }
                    Scope::Bucket => self.visitor.entry(Element::new(page, &element)),
                    Scope::Nested => {}
                }
                continue;
            }
            if scope == Scope::Bucket {
                self.visitor.nested_bucket(Element::new(page, &element));
            }
            match Bucket::parse(page, &element) {
                Ok(bucket) => buckets.push(bucket),
                Err(defect) => self.visitor.defect(defect),
            }
        }
        if let Some(last) = previous {
            self.order.leaf_ends_with(last);
        }
    }

    /// Checks the image of an inline bucket. bbolt puts no bucket that holds buckets inline.
    fn inline(&mut self, number: u64, offset: u64, image: &[u8], scope: Scope) {
        let Some(page) = Page::inline(number, offset, image) else { return };
        if let Some(defect) = inline_defect(&page) {
            self.visitor.defect(defect);
        }
        if page.header.kind() != Kind::Leaf {
            return;
        }
        let mut buckets = Vec::new();
        let order = std::mem::take(&mut self.order);
        self.leaf(&page, Bounds::default(), scope, &mut buckets);
        self.order = order;
        for bucket in buckets {
            let message = format!("a bucket in it, at page {}", bucket.root_page().unwrap_or_default());
            self.visitor.defect(page.defect("bucket-inline-nested", 0, &message));
        }
    }
}

fn reachable_freed(page: u64) -> Defect {
    Defect::new("page-reachable-freed", format!("page {page}: reachable freed")).on_page(page)
}

fn unreachable_unfreed(page: u64, count: u64) -> Defect {
    let more = if count > 1 { format!(" (and {} pages after it)", count - 1) } else { String::new() };
    Defect::new("page-unreachable-unfreed", format!("page {page}: unreachable unfreed{more}")).on_page(page)
}
