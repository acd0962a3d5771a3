//! Branches of leaves, read and checked on threads of their own while the walk takes in what they come to, in order.
//!
//! A thread finds a whole subtree sound, or says nothing of it. Whatever is not sound, or would need to be known of
//! the rest of the tree, is left to the walk, which goes through that subtree itself as if nobody had: so every defect
//! is found and worded in one place, and the answer does not depend on who was faster.
//!
//! The threads read no page twice among themselves, but for branches that one comes upon where it looks for leaves, and
//! the walk none, so that a hostile file is read twice at the most.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::notes::{Ends, Notes};
use super::order::{Bounds, Order};
use super::page::{Header, Kind, Page};
use super::page_set::PageSet;
use super::pages::{Pages, ahead};
use super::reader::Element;
use super::shape::children_defect;
use super::visitor::Part;
use crate::read_at::ReadAt;

/// Most pages of a branch or leaf that a thread reads, in bytes; each thread has memory for one of each.
const MAX_BYTES: u64 = 4 << 20;
/// Subtrees that may turn out unsound before all is left to the walk.
const MAX_UNSOUND: u32 = 64;
/// Subtrees under way for each thread.
const AHEAD_PER_THREAD: usize = 8;

/// A branch whose children should be leaves, with what is promised of its keys.
pub(super) struct Job<P> {
    pub(super) number: u64,
    pub(super) min: Vec<u8>,
    pub(super) max: Option<Vec<u8>>,
    /// To be filled with the entries.
    pub(super) part: P,
}

/// What is told of a [`Job`].
pub(super) enum Outcome<P> {
    Sound(Subtree<P>),
    /// The children are branches themselves.
    Deeper,
    /// Something is wrong, or out of proportion.
    Unsound,
}

/// A branch and its leaves, in which nothing is wrong.
pub(super) struct Subtree<P> {
    /// Its pages: first page and number of each stretch.
    pub(super) pages: Vec<(u64, u64)>,
    /// What its keys leave behind.
    pub(super) order: Order,
    pub(super) part: P,
}

/// An outcome, there or to come.
pub(super) enum Ticket<P> {
    Open(Receiver<Outcome<P>>),
    Settled(Outcome<P>),
}

impl<P> Ticket<P> {
    pub(super) fn wait(self) -> Outcome<P> {
        match self {
            Self::Open(answer) => answer.recv().unwrap_or(Outcome::Unsound),
            Self::Settled(outcome) => outcome,
        }
    }

    /// Whether the outcome is there.
    pub(super) fn is_settled(&mut self) -> bool {
        if let Self::Open(answer) = self {
            match answer.try_recv() {
                Ok(outcome) => *self = Self::Settled(outcome),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => {}
            }
        }
        true
    }

    /// Waits until the outcome is there.
    pub(super) fn settle(&mut self) {
        if let Self::Open(answer) = self {
            *self = Self::Settled(answer.recv().unwrap_or(Outcome::Unsound));
        }
    }
}

type Request<P> = (Job<P>, SyncSender<Outcome<P>>);

/// The threads; they end when this is dropped.
pub(super) struct Crew<P> {
    jobs: Sender<Request<P>>,
    threads: usize,
    unsound: u32,
}

impl<P: Part> Crew<P> {
    /// Starts up to `threads` threads that read `source`; `None` where the system grants none.
    pub(super) fn start<'s, R: ReadAt>(
        scope: &'s thread::Scope<'s, '_>,
        source: &'s R,
        page_size: u64,
        high_water_mark: u64,
        notes: Option<&'s Notes>,
        threads: usize,
    ) -> Option<Self>
    where
        P: 's,
    {
        let (jobs, requests) = channel::<Request<P>>();
        let requests = Arc::new(Mutex::new(requests));
        let taken = Arc::new(Mutex::new(Taken::default()));
        let notes = notes.filter(|notes| notes.fit(page_size));
        let mut started = 0;
        for _ in 0..threads {
            let (requests, taken) = (Arc::clone(&requests), Arc::clone(&taken));
            let work = move || {
                let mut reader = Reader {
                    pages: Pages::new(source, page_size, high_water_mark),
                    branch: Vec::new(),
                    taken: &taken,
                    page_size,
                    high_water_mark,
                    notes,
                    ends: Ends::default(),
                };
                while let Some((job, answer)) = next(&requests) {
                    // Nobody waits for it when the walk was broken off.
                    let _ = answer.send(reader.subtree(job));
                }
            };
            started += usize::from(thread::Builder::new().spawn_scoped(scope, work).is_ok());
        }
        (started > 0).then_some(Self { jobs, threads: started, unsound: 0 })
    }

    pub(super) fn submit(&self, job: Job<P>) -> Ticket<P> {
        let (answer, ticket) = sync_channel(1);
        // Without threads to take it the answer is dropped, which reads as `Unsound`.
        let _ = self.jobs.send((job, answer));
        Ticket::Open(ticket)
    }

    /// How many subtrees should be under way.
    pub(super) fn room(&self) -> usize {
        if self.unsound < MAX_UNSOUND { self.threads * AHEAD_PER_THREAD } else { 0 }
    }

    /// Counts a subtree that was read in vain.
    pub(super) fn in_vain(&mut self) {
        self.unsound = self.unsound.saturating_add(1);
    }
}

fn next<P>(requests: &Mutex<Receiver<Request<P>>>) -> Option<Request<P>> {
    requests.lock().ok()?.recv().ok()
}

/// Pages that some thread has read.
#[derive(Default)]
struct Taken {
    pages: PageSet,
    /// Branches among them that were found where a leaf was looked for, and whose own turn is to come.
    deeper: BTreeSet<u64>,
}

/// One thread's view of the file.
struct Reader<'d, R> {
    pages: Pages<'d, R>,
    branch: Vec<u8>,
    taken: &'d Mutex<Taken>,
    page_size: u64,
    high_water_mark: u64,
    notes: Option<&'d Notes>,
    ends: Ends,
}

/// A subtree that is left to the walk.
pub(super) enum Left {
    Deeper,
    Unsound,
}

impl<R: ReadAt> Reader<'_, R> {
    fn subtree<P: Part>(&mut self, job: Job<P>) -> Outcome<P> {
        match self.read(job) {
            Ok(subtree) => Outcome::Sound(subtree),
            Err(Left::Deeper) => Outcome::Deeper,
            Err(Left::Unsound) => Outcome::Unsound,
        }
    }

    fn read<P: Part>(&mut self, job: Job<P>) -> Result<Subtree<P>, Left> {
        let Job { number, min, max, part } = job;
        let span = self.claim(number, 1, Kind::Branch)?;
        let mut buffer = std::mem::take(&mut self.branch);
        buffer.clear();
        buffer.extend_from_slice(sound(self.pages.page(number, span))?.bytes());
        let read = match Page::new(number, self.pages.offset(number), &buffer) {
            Some(branch) => {
                let subtree = Subtree { pages: vec![(number, span)], order: Order::default(), part };
                self.leaves(&branch, Bounds { min: Some(&min), max: max.as_deref() }, subtree)
            }
            None => Err(Left::Unsound),
        };
        self.branch = buffer;
        read
    }

    /// Reads the children of `branch`, by the rules of the walk.
    fn leaves<P: Part>(
        &mut self,
        branch: &Page<'_>,
        bounds: Bounds<'_>,
        mut subtree: Subtree<P>,
    ) -> Result<Subtree<P>, Left> {
        if branch.table_defect().is_some() || children_defect(branch).is_some() {
            return Err(Left::Unsound);
        }
        let mut elements = branch.branch_elements().enumerate().peekable();
        let mut previous = None;
        while let Some((index, element)) = elements.next() {
            let element = sound(element)?;
            let mut broken = false;
            subtree.order.branch_key(branch, index, element.key, previous, bounds, &mut |_| broken = true);
            let max = match elements.peek() {
                Some((_, Ok(next))) => Some(next.key),
                Some((_, Err(_))) => return Err(Left::Unsound),
                None => bounds.max,
            };
            if broken {
                return Err(Left::Unsound);
            }
            previous = Some(element.key);
            let bounds = Bounds { min: Some(element.key), max };
            let note_of = |number| self.notes.and_then(|notes| notes.of(number));
            let span = if let Some((span, note)) = note_of(element.pgid) {
                self.noted(element.pgid, span, note, bounds, &mut subtree)?;
                span
            } else {
                let next = elements.peek().and_then(|(_, next)| next.as_ref().ok());
                // What lies ahead is of no use where it has notes.
                let alone = self.pages.holds(element.pgid) || next.is_some_and(|next| note_of(next.pgid).is_some());
                let ahead_pages = if alone { 1 } else { ahead(branch, index, self.page_size) };
                let span = self.claim(element.pgid, ahead_pages, Kind::Leaf)?;
                let leaf = sound(self.pages.page(element.pgid, span))?;
                if let Some(last) = read_leaf(&leaf, bounds, &mut subtree.part)? {
                    subtree.order.leaf_ends_with(last);
                }
                span
            };
            match subtree.pages.last_mut() {
                Some((first, count)) if first.saturating_add(*count) == element.pgid => *count += span,
                _ => subtree.pages.push((element.pgid, span)),
            }
        }
        Ok(subtree)
    }

    /// Takes in the leaf at page `number` as it was noted; what the note can't tell is held against the tree.
    fn noted<P: Part>(
        &mut self,
        number: u64,
        span: u64,
        note: &[u8],
        bounds: Bounds<'_>,
        subtree: &mut Subtree<P>,
    ) -> Result<(), Left> {
        if number.checked_add(span).is_none_or(|end| end > self.high_water_mark) {
            return Err(Left::Unsound);
        }
        self.take(number, span)?;
        if !subtree.part.noted(note, &mut self.ends) {
            return Err(Left::Unsound);
        }
        let Ends { first, last } = &self.ends;
        // Keys ascend in a leaf of which there is a note, and it is not empty.
        if bounds.min.is_some_and(|min| first.as_slice() != min) || bounds.max.is_some_and(|max| last.as_slice() >= max)
        {
            return Err(Left::Unsound);
        }
        subtree.order.leaf_ends_with(last);
        Ok(())
    }

    /// Takes page `number` and its overflow, if it is what it should be and no thread has had it; gives its span.
    fn claim(&mut self, number: u64, ahead_pages: u64, kind: Kind) -> Result<u64, Left> {
        if kind != Kind::Branch || !self.taken()?.deeper.remove(&number) {
            self.take(number, 1)?;
        }
        let header: Header = sound(self.pages.header(number, ahead_pages))?;
        if kind == Kind::Leaf && header.kind() == Kind::Branch {
            self.taken()?.deeper.insert(number);
            return Err(Left::Deeper);
        }
        if header.wrong_id(number).is_some() || header.kind() != kind {
            return Err(Left::Unsound);
        }
        let (span, defect) = self.pages.extent(number, header);
        if defect.is_some() || span.saturating_mul(self.page_size) > MAX_BYTES {
            return Err(Left::Unsound);
        }
        if span > 1 {
            self.take(number.saturating_add(1), span - 1)?;
        }
        Ok(span)
    }

    fn take(&self, first: u64, count: u64) -> Result<(), Left> {
        let mut taken = self.taken()?;
        let pages = &mut taken.pages;
        if pages.has_any(first, count) {
            return Err(Left::Unsound);
        }
        pages.insert_all(first, count);
        Ok(())
    }

    fn taken(&self) -> Result<MutexGuard<'_, Taken>, Left> {
        self.taken.lock().map_err(|_| Left::Unsound)
    }
}

/// Checks a leaf below a branch and puts its entries into the part; gives its last key, if all of it is sound.
pub(super) fn read_leaf<'p, P: Part>(
    leaf: &Page<'p>,
    bounds: Bounds<'_>,
    part: &mut P,
) -> Result<Option<&'p [u8]>, Left> {
    if leaf.table_defect().is_some() || leaf.count() == 0 {
        return Err(Left::Unsound);
    }
    let mut previous = None;
    let mut stretch = 0..0;
    for (index, element) in leaf.leaf_elements().enumerate() {
        let element = sound(element)?;
        if element.is_bucket() || bounds.leaf_defect(leaf, index, element.key, previous).is_some() {
            return Err(Left::Unsound);
        }
        previous = Some(element.key);
        if !part.entry(Element::new(leaf, &element)) {
            return Err(Left::Unsound);
        }
        let range = element.range();
        if range.start == stretch.end {
            stretch.end = range.end;
        } else {
            part.bytes(leaf.bytes().get(stretch).unwrap_or_default());
            stretch = range;
        }
    }
    part.bytes(leaf.bytes().get(stretch).unwrap_or_default());
    Ok(previous)
}

fn sound<T, E>(found: Result<T, E>) -> Result<T, Left> {
    found.map_err(|_| Left::Unsound)
}
