//! Who is told what a [`walk`](super::walk()) meets, entry by entry or a stretch of a bucket at once.

use super::notes::Ends;
use super::reader::Element;
use crate::defect::Defect;

/// Who is told what a [`walk`](super::walk()) meets, in key order.
pub trait Visitor {
    /// What the entries of a stretch of a bucket come to.
    type Part: Part;

    /// A bucket of the root bucket begins; the entries that follow are its own.
    fn bucket(&mut self, name: &[u8]);

    /// An entry of the bucket that was announced last. It may be one that a defect was just reported for: order is
    /// reported, and then the entry is handed over all the same.
    fn entry(&mut self, element: Element<'_>);

    /// A bucket inside the bucket that was announced last, where its entries would be. etcd makes none. Its pages are
    /// checked, its entries are not handed over.
    fn nested_bucket(&mut self, element: Element<'_>) {
        let _ = element;
    }

    /// A rule is broken. There is no limit to how often that happens; whoever collects has to keep one.
    fn defect(&mut self, defect: Defect);

    /// An empty part for entries of the bucket that was announced last. `None` where each has to be handed over.
    fn part(&self) -> Option<Self::Part>;

    /// Takes in a part whose entries follow on all that was handed over or taken in before. `false` when it is not
    /// taken: then its entries are handed over one by one.
    fn take(&mut self, part: Self::Part) -> bool;
}

/// What the entries of a stretch of a bucket come to. It is filled without knowing what was before, on any thread.
pub trait Part: Send {
    /// The next entry, in key order. `false` when it has to be judged by the visitor: the part is given up.
    fn entry(&mut self, element: Element<'_>) -> bool;

    /// Keys and values of some entries, as they lie behind one another; all stretches together are those of all
    /// entries, in order.
    fn bytes(&mut self, stretch: &[u8]);

    /// The next entries, those of a leaf of which a [`Scribe`](super::Scribe) took this note, whose keys go into `ends`.
    /// `false` when the leaf has to be read.
    fn noted(&mut self, note: &[u8], ends: &mut Ends) -> bool {
        let _ = (note, ends);
        false
    }
}

/// Of a visitor that lets the entries go by.
impl Part for () {
    fn entry(&mut self, _element: Element<'_>) -> bool {
        true
    }

    fn bytes(&mut self, _stretch: &[u8]) {}
}
