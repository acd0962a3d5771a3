//! Checking a patched database by what the patch may have changed.
//!
//! A patch writes the metas and pages behind the old high water mark, and nothing else. If the database was walked
//! before, every page below that mark is known, and what is left to prove is small: that the new metas and pages are
//! sound, and that they lead into the old trees where the old root did, or beside the last path of one, whose pages
//! were copied for a key at its end.

use super::fault::{Fault, read_error};
use super::meta::{Meta, PGID_NO_FREELIST};
use super::order::Bounds;
use super::page::{Header, Kind, Page};
use super::page_set::PageSet;
use super::pages::Pages;
use super::reader::{Bucket, Content, Database};
use super::tree::{multiple_references, sound};
use crate::defect::Defect;
use crate::error::Result;
use crate::read_at::ReadAt;

/// Checks a database to which one [`Patch`](super::Patch) was applied since [`walk`](super::walk()) found nothing wrong
/// with it, when `before` was its meta. Gives the first rule that is broken.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) (of a path `database`) when bytes could not be had.
pub fn check_patched<R: ReadAt>(db: &Database<R>, before: &Meta) -> Result<Option<Defect>> {
    let checked = Patched { new: db, old: db.as_of(before.clone()), seen: PageSet::default() }.check();
    match checked {
        Ok(()) => Ok(None),
        Err(Fault::Defect(defect)) => Ok(Some(defect)),
        Err(Fault::Read(error)) => Err(read_error(error)),
    }
}

struct Patched<'d, R> {
    new: &'d Database<R>,
    old: Database<&'d R>,
    /// Pages of the patch that something refers to.
    seen: PageSet,
}

impl<R: ReadAt> Patched<'_, R> {
    fn check(mut self) -> std::result::Result<(), Fault> {
        self.metas()?;
        let root = self.new.meta().root;
        let [leaf] = self.path(root)?.try_into().map_err(|_| wrong("the new root is no leaf", root))?;
        let page = sound(Page::new(root, 0, &leaf), root)?;
        ascending(&page)?;
        let (new, old) = (self.new.buckets()?, self.old.buckets()?);
        if new.len() != page.count() {
            return Err(wrong("the new root holds more than buckets", root));
        }
        for bucket in &old {
            if new.iter().all(|new| new.name() != bucket.name()) {
                return Err(wrong(&format!("bucket {} is gone", shown(bucket)), root));
            }
        }
        for bucket in &new {
            let old = old.iter().find(|old| old.name() == bucket.name());
            self.bucket(bucket, old)?;
        }
        Ok(())
    }

    /// Both metas lead to the same new root, so that it does not matter which of them is torn later.
    fn metas(&self) -> std::result::Result<(), Fault> {
        let meta = self.new.meta();
        if let Some(defect) = self.new.invalid_meta() {
            return Err(defect.clone().into());
        }
        let size = self.new.page_size();
        for number in [0, 1] {
            let mut pages = Pages::new(self.new.source(), size, meta.high_water_mark);
            let page = pages.page(number, 1)?;
            if let Some(defect) = page.header.wrong_id(number) {
                return Err(defect.into());
            }
            if page.header.kind() != Kind::Meta {
                return Err(page.header.invalid_type(number).into());
            }
            let found = Meta::decode(page.bytes(), number)?;
            if (Meta { txid: meta.txid, ..found }) != *meta {
                return Err(wrong("the metas differ in more than the transaction", number));
            }
        }
        let before = self.old.meta();
        if meta.page_size != before.page_size || meta.high_water_mark <= before.high_water_mark {
            return Err(wrong("the new high water mark is not above the old one", 0));
        }
        if meta.freelist != PGID_NO_FREELIST {
            return Err(wrong("the patched database has a freelist", 0));
        }
        Ok(())
    }

    fn bucket(&mut self, new: &Bucket, old: Option<&Bucket>) -> std::result::Result<(), Fault> {
        match (new.content(), old.map(Bucket::content)) {
            (Content::Inline { image, .. }, Some(Content::Inline { image: old, .. })) if image == old => Ok(()),
            (Content::Inline { page, offset, image }, _) => {
                // It looks at the image's header.
                self.new.entries(new)?;
                let image = sound(Page::inline(*page, *offset, image), *page)?;
                if entries(&image)?.iter().any(|(flags, ..)| *flags != 0) {
                    return Err(wrong(&format!("bucket {} holds a bucket", shown(new)), *page));
                }
                ascending(&image)
            }
            (Content::Tree(root), Some(Content::Tree(old))) if root == old => Ok(()),
            (Content::Tree(root), Some(Content::Tree(old))) => self.last_path(*root, *old),
            (Content::Tree(root), _) => Err(wrong(&format!("bucket {} has a tree from nowhere", shown(new)), *root)),
        }
    }

    /// The pages down to the last leaf are copies, but for their numbers and one key more at the end.
    fn last_path(&mut self, root: u64, old_root: u64) -> std::result::Result<(), Fault> {
        let new = self.path(root)?;
        let old = self.old.tree().last_path(old_root)?;
        if new.len() != old.len() {
            return Err(wrong("a copied path is longer or shorter than it was", root));
        }
        for (new, old) in new.iter().zip(&old) {
            let (new, old) = (sound(Page::new(root, 0, new), root)?, sound(Page::new(old_root, 0, old), old_root)?);
            let same = match (new.header.kind(), old.header.kind()) {
                (Kind::Leaf, Kind::Leaf) => {
                    ascending(&new)?;
                    matches!(entries(&new)?.split_last(), Some(((0, ..), before)) if *before == entries(&old)?)
                }
                (Kind::Branch, Kind::Branch) => but_last_child(&children(&new)?) == but_last_child(&children(&old)?),
                _ => false,
            };
            if !same {
                return Err(wrong("a copied path differs from what it was by more than a key at its end", root));
            }
        }
        Ok(())
    }

    /// The last path below `root`, whose pages must be those of the patch, and nobody else's.
    fn path(&mut self, root: u64) -> std::result::Result<Vec<Vec<u8>>, Fault> {
        let path = self.new.tree().last_path(root)?;
        for page in &path {
            let header = Header::decode(page).ok_or_else(|| wrong("a page without a header", root))?;
            for number in header.id..header.id.saturating_add(header.span()) {
                if number < self.old.meta().high_water_mark {
                    return Err(wrong("a new path leads into old pages", number));
                }
                if !self.seen.insert(number) {
                    return Err(multiple_references(number).into());
                }
            }
        }
        Ok(path)
    }
}

/// Flags, key and value of an element of a leaf.
type Item<'a> = (u32, &'a [u8], &'a [u8]);

/// Key and page of an element of a branch.
type Child<'a> = (&'a [u8], u64);

fn entries<'a>(leaf: &Page<'a>) -> std::result::Result<Vec<Item<'a>>, Defect> {
    leaf.leaf_elements().map(|element| element.map(|it| (it.flags, it.key, it.value))).collect()
}

fn children<'a>(branch: &Page<'a>) -> std::result::Result<Vec<Child<'a>>, Defect> {
    branch.branch_elements().map(|element| element.map(|it| (it.key, it.pgid))).collect()
}

/// All but the page of the last child.
fn but_last_child<'a, 'b>(children: &'b [Child<'a>]) -> Option<(&'a [u8], &'b [Child<'a>])> {
    children.split_last().map(|((key, _), rest)| (*key, rest))
}

fn ascending(leaf: &Page<'_>) -> std::result::Result<(), Fault> {
    let mut previous = None;
    for (index, (_, key, _)) in entries(leaf)?.into_iter().enumerate() {
        if let Some(defect) = Bounds::default().leaf_defect(leaf, index, key, previous) {
            return Err(defect.into());
        }
        previous = Some(key);
    }
    Ok(())
}

fn wrong(message: &str, page: u64) -> Fault {
    Defect::new("patch-unproven", format!("page {page}: {message}")).on_page(page).into()
}

fn shown(bucket: &Bucket) -> String {
    format!("`{}`", String::from_utf8_lossy(bucket.name()).escape_debug())
}
