//! The shape of a tree: what bbolt's writer takes for granted of it and `Tx.Check` does not ask.
//!
//! bbolt reads a tree of another shape all the same, and panics once it writes there: `node.rebalance` asserts of a
//! branch that it has two children, takes for granted that siblings are of one kind when it merges them, and removes a
//! leaf that it has emptied; `node.split` leaves no branch with a single child.

use super::page::Page;
use crate::defect::Defect;

/// What is known of the tree that is walked.
#[derive(Debug, Default)]
pub(super) struct Shape {
    root: u32,
    leaves: Option<u32>,
}

impl Shape {
    /// Of a tree whose root is at level `root`.
    pub(super) fn new(root: u32) -> Self {
        Self { root, leaves: None }
    }

    /// Takes in that leaves are at `level`; `false` when others of the tree are at another one.
    pub(super) fn leaves_at(&mut self, level: u32) -> bool {
        *self.leaves.get_or_insert(level) == level
    }

    /// Checks the place of a leaf that is at `level`.
    pub(super) fn leaf(&mut self, leaf: &Page<'_>, level: u32, report: &mut dyn FnMut(Defect)) {
        if level > self.root && leaf.count() == 0 {
            report(leaf.defect("page-empty-leaf", 0, "leaf without elements below a branch"));
        }
        let expected = *self.leaves.get_or_insert(level);
        if level != expected {
            let (depth, others) = (level.saturating_sub(self.root), expected.saturating_sub(self.root));
            let message = format!("leaf {depth} levels below its root, where the first leaf is {others} below it");
            report(leaf.defect("page-leaf-depth", 0, &message));
        }
    }
}

/// What is wrong with the number of children of a branch, if anything is.
pub(super) fn children_defect(branch: &Page<'_>) -> Option<Defect> {
    match branch.count() {
        0 => Some(empty_branch(branch)),
        1 => Some(branch.defect("page-single-child", 0, "branch with one child, which needs to have at least 2")),
        _ => None,
    }
}

pub(super) fn empty_branch(page: &Page<'_>) -> Defect {
    page.defect("page-empty-branch", 0, "branch without elements")
}
