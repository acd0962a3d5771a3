//! The order of keys: strictly ascending, and from the key of the branch above to the next one there.
//!
//! Messages follow bbolt's `verifyKeyOrder`, without the keys: those may be secrets.

use super::page::{Kind, Page};
use crate::defect::Defect;

/// What the branches above a page promise of its keys.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds<'k> {
    /// No key is less, and the first one is the same: bbolt finds the child of a branch by it when it writes that anew,
    /// and where the two differ, it gives the child a second place and leaves the old one at a page that it has freed.
    pub(super) min: Option<&'k [u8]>,
    /// Every key is less.
    pub(super) max: Option<&'k [u8]>,
}

/// The greatest key so far of the tree that is walked.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Vec<u8>,
    known: bool,
}

impl Order {
    /// The last key of a leaf that was passed.
    pub(super) fn leaf_ends_with(&mut self, key: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(key);
        self.known = true;
    }

    /// Goes on from what followed on it.
    pub(super) fn follow(&mut self, next: Self) {
        if next.known {
            *self = next;
        }
    }

    /// Nothing is known of the keys so far.
    pub(super) fn forget(&mut self) {
        self.known = false;
    }

    /// Checks key `index` of `branch`; `previous` is the key before it, and all below that has been walked.
    pub(super) fn branch_key(
        &self,
        branch: &Page<'_>,
        index: usize,
        key: &[u8],
        previous: Option<&[u8]>,
        bounds: Bounds<'_>,
        report: &mut dyn FnMut(Defect),
    ) {
        if let Some(defect) = bounds.leaf_defect(branch, index, key, previous) {
            report(defect);
        } else if self.known && self.last.as_slice() >= key {
            let message =
                format!("key[{index}] on branch page needs to be > than the greatest key of the pages before it");
            report(branch.defect("key-order", 0, &message));
        }
    }
}

impl Bounds<'_> {
    /// What is wrong with key `index` of `page`, if anything is; `previous` is the key before it on the page.
    pub(super) fn leaf_defect(
        self,
        page: &Page<'_>,
        index: usize,
        key: &[u8],
        previous: Option<&[u8]>,
    ) -> Option<Defect> {
        let kind = || if page.header.kind() == Kind::Branch { "branch" } else { "leaf" };
        match previous {
            Some(previous) if previous >= key => {
                let found = if previous == key { "=" } else { "<" };
                let message =
                    format!("key[{index}] on {} page needs to be > (found {found}) than previous element", kind());
                return Some(page.defect("key-order", 0, &message));
            }
            None if self.min.is_some_and(|min| key < min) => {
                let message =
                    format!("the first key[{index}] on {} page needs to be >= the key in the ancestor", kind());
                return Some(page.defect("key-below-branch", 0, &message));
            }
            // Of a key behind one that can't be read, only order can be asked.
            None if index == 0 && self.min.is_some_and(|min| key > min) => {
                let message = format!(
                    "the first key[{index}] on {} page needs to be = the key in the ancestor (found >), or etcd \
                     damages the database when it next writes there",
                    kind()
                );
                return Some(page.defect("branch-key", 0, &message));
            }
            Some(_) | None => {}
        }
        self.max.is_some_and(|max| key >= max).then(|| {
            let message =
                format!("key[{index}] on {} page needs to be < than key of the next element in ancestor", kind());
            page.defect("key-above-branch", 0, &message)
        })
    }
}
