//! Changing a database by appending to it.
//!
//! Pages in use are never written over. What is new goes behind the high water mark; then both metas are replaced,
//! so that no root of before is left to fall back to: half of a patch is no state that anyone should start from.
//! The freelist is given up (all ones): bbolt then finds the free pages by looking for those that are not reachable,
//! as it does for every database of etcd on Linux, and the pages that a patch leaves behind are simply among them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use super::encode::{Item, branch_image, bucket_value, inline_bucket_value, leaf_image, seal, too_large};
use super::fault::Fault;
use super::layout::{MAX_COLLECTED, MAX_TXID};
use super::meta::{Meta, PGID_NO_FREELIST};
use super::page::{LeafElement, Page};
use super::reader::{Bucket, Content, Database, Entry, take};
use super::shape::empty_branch;
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// The database as it is, with some buckets replaced and at most one key appended.
#[derive(Clone, Default)]
pub struct Patch {
    /// New content, keys ascending, of buckets that exist or not; their sequences stay. Written inline whatever their
    /// size, so meant for small ones.
    pub replace: BTreeMap<Vec<u8>, Vec<Entry>>,
    /// A key to be put behind all others of a bucket, after the replacing.
    pub append: Option<Append>,
}

/// One key to be appended.
#[derive(Clone)]
pub struct Append {
    /// The bucket; it is made where it is missing.
    pub bucket: Vec<u8>,
    /// Greater than every key in the bucket.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What has to be written to apply a [`Patch`], in this order: `tail` behind the database, sync, then the metas.
#[derive(Clone)]
pub struct PatchPages {
    /// Whole pages for the offset [`Database::size`].
    pub tail: Vec<u8>,
    /// Whole pages 0 and 1.
    pub metas: [Vec<u8>; 2],
    /// First page number behind the tail.
    pub new_high_water_mark: u64,
}

impl fmt::Debug for Patch {
    /// Names and numbers only: keys and values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replace: Vec<_> =
            self.replace.iter().map(|(name, entries)| (String::from_utf8_lossy(name), entries.len())).collect();
        f.debug_struct("Patch").field("replace", &replace).field("append", &self.append).finish()
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("bucket", &String::from_utf8_lossy(&self.bucket)).finish_non_exhaustive()
    }
}

impl fmt::Debug for PatchPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatchPages")
            .field("tail", &self.tail.len())
            .field("new_high_water_mark", &self.new_high_water_mark)
            .finish_non_exhaustive()
    }
}

impl Patch {
    /// The pages that turn `db` into the patched database. `db` should have passed [`walk`](super::walk()).
    ///
    /// # Errors
    /// A defect of `db` on the way; `append-order` when the key to be appended is not the greatest; `patch-order` when
    /// the keys of a replaced bucket do not ascend; `too-large` for what no page can hold.
    pub fn render<R: ReadAt>(&self, db: &Database<R>) -> Result<PatchPages, Defect> {
        let mut root = root_elements(db)?;
        let mut tail = Tail { pages: Vec::new(), next: db.meta().high_water_mark, page_size: db.page_size() };
        for (name, entries) in &self.replace {
            let sequence = root.get(name).map_or(Ok(0), |slot| slot.bucket(name).map(|bucket| bucket.sequence()))?;
            let value = inline_value(sequence, entries)?;
            root.insert(name.clone(), Slot { value, page: 0, offset: 0 });
        }
        if let Some(append) = &self.append {
            let value = append.value(db, root.get(&append.bucket), &mut tail)?;
            root.insert(append.bucket.clone(), Slot { value, page: 0, offset: 0 });
        }
        let items: Vec<Item<'_>> = root.iter().map(|(name, slot)| Item::bucket(name, &slot.value)).collect();
        let page = tail.push(leaf_image(&items)?)?;
        Ok(tail.finish(db.meta(), page))
    }
}

/// The value of one bucket in the root bucket.
struct Slot {
    value: Vec<u8>,
    /// Where it stood, for defects.
    page: u64,
    offset: u64,
}

impl Slot {
    fn bucket(&self, name: &[u8]) -> Result<Bucket, Defect> {
        Bucket::from_value(name, &self.value, self.page, self.offset)
    }
}

/// Every bucket of the root bucket, through however many leaves.
fn root_elements<R: ReadAt>(db: &Database<R>) -> Result<BTreeMap<Vec<u8>, Slot>, Defect> {
    let (mut elements, mut failed, mut room) = (BTreeMap::new(), None, MAX_COLLECTED);
    let scanned = db.tree().scan(db.meta().root, &mut |page, element| match take(&mut room, element)
        .and_then(|()| only_buckets(page, element))
    {
        Ok(()) => {
            let offset = page.key_offset(element).saturating_add(element.key.len() as u64);
            elements.insert(element.key.to_vec(), Slot { value: element.value.to_vec(), page: page.number, offset });
            ControlFlow::Continue(())
        }
        Err(defect) => {
            failed = Some(defect);
            ControlFlow::Break(())
        }
    });
    scanned.map_err(Fault::into_defect)?;
    failed.map_or(Ok(elements), Err)
}

fn only_buckets(page: &Page<'_>, element: &LeafElement<'_>) -> Result<(), Defect> {
    if element.is_bucket() {
        return Ok(());
    }
    Err(page.defect("root-entry", 0, "an entry in the root bucket, which holds buckets only"))
}

fn inline_value(sequence: u64, entries: &[Entry]) -> Result<Vec<u8>, Defect> {
    if !entries.is_sorted_by(|(one, _), (other, _)| one < other) {
        return Err(Defect::new("patch-order", "the keys of a replaced bucket do not ascend"));
    }
    let items: Vec<_> = entries.iter().map(|(key, value)| Item::entry(key, value)).collect();
    inline_bucket_value(sequence, &items)
}

impl Append {
    /// The bucket's value in the root bucket with the key appended; pages of its tree go into `tail`.
    fn value<R: ReadAt>(&self, db: &Database<R>, slot: Option<&Slot>, tail: &mut Tail) -> Result<Vec<u8>, Defect> {
        let Some(slot) = slot else { return inline_bucket_value(0, &[Item::entry(&self.key, &self.value)]) };
        let bucket = slot.bucket(&self.bucket)?;
        if db.last(&bucket)?.is_some_and(|(last, _)| last >= self.key) {
            return Err(Defect::new("append-order", "the key to be appended is not greater than the last one"));
        }
        match bucket.content() {
            Content::Inline { page, offset, image } => {
                let image = Page::inline(*page, *offset, image)
                    .ok_or_else(|| Defect::new("bucket-header", "an inline bucket without a page"))?;
                inline_bucket_value(bucket.sequence(), &self.elements(&image)?)
            }
            Content::Tree(root) => Ok(bucket_value(self.copy_path(db, *root, tail)?, bucket.sequence())),
        }
    }

    /// Copies the pages from `root` down to the last leaf, which gets the key; gives the copy of `root`.
    ///
    /// The leaf takes overflow pages if it has to. It is not split: a leaf of any span is valid, and bbolt splits
    /// it when next it writes it.
    fn copy_path<R: ReadAt>(&self, db: &Database<R>, root: u64, tail: &mut Tail) -> Result<u64, Defect> {
        let mut child = None;
        for bytes in db.tree().last_path(root).map_err(Fault::into_defect)?.into_iter().rev() {
            let page = Page::new(root, 0, &bytes)
                .ok_or_else(|| Defect::new("database-unreadable", "a page without a header").on_page(root))?;
            let image = match child {
                None => leaf_image(&self.elements(&page)?)?,
                Some(child) => self.branch(&page, child)?,
            };
            child = Some(tail.push(image)?);
        }
        child.ok_or_else(|| Defect::new("database-unreadable", "a tree without pages").on_page(root))
    }

    /// The elements of a leaf, and the new one behind them.
    fn elements<'a>(&'a self, leaf: &Page<'a>) -> Result<Vec<Item<'a>>, Defect> {
        leaf.table_defect().map_or(Ok(()), Err)?;
        let item = |element: LeafElement<'a>| Item { flags: element.flags, key: element.key, value: element.value };
        let mut items = leaf.leaf_elements().map(|element| element.map(item)).collect::<Result<Vec<_>, _>>()?;
        items.push(Item::entry(&self.key, &self.value));
        Ok(items)
    }

    /// A branch whose last child is `child`.
    fn branch(&self, branch: &Page<'_>, child: u64) -> Result<Vec<u8>, Defect> {
        branch.table_defect().map_or(Ok(()), Err)?;
        let mut children = branch
            .branch_elements()
            .map(|element| element.map(|it| (it.key, it.pgid)))
            .collect::<Result<Vec<_>, _>>()?;
        let last = children.last_mut().ok_or_else(|| empty_branch(branch))?;
        if last.0 > self.key.as_slice() {
            // Possible only where the leaves below are empty.
            return Err(Defect::new("append-order", "the key to be appended is less than that of the last branch"));
        }
        last.1 = child;
        branch_image(&children)
    }
}

/// Pages behind the high water mark.
struct Tail {
    pages: Vec<u8>,
    next: u64,
    page_size: u64,
}

impl Tail {
    /// Gives the image the next page number, and as many pages as it needs.
    fn push(&mut self, image: Vec<u8>) -> Result<u64, Defect> {
        let number = self.next;
        let page_size = usize::try_from(self.page_size).map_err(|_| too_large("a page beyond the address space"))?;
        let page = seal(image, number, page_size)?;
        let span = page.len() as u64 / self.page_size.max(1);
        self.next = number.checked_add(span).ok_or_else(|| too_large("page numbers beyond 2^64"))?;
        self.pages.extend_from_slice(&page);
        Ok(number)
    }

    /// The metas of the next transaction: its own on page `txid % 2`, as bbolt would write it, and the same with the
    /// txid of before on the other page, which the transaction after the next will write over.
    ///
    /// Both are written over, so the greatest transaction id that is accepted may stay what it is.
    fn finish(self, old: &Meta, root: u64) -> PatchPages {
        let last = old.txid.saturating_add(1).min(MAX_TXID);
        let meta = |page| {
            let txid = if last % 2 == page { last } else { last - 1 };
            Meta { root, freelist: PGID_NO_FREELIST, high_water_mark: self.next, txid, ..old.clone() }.encode(page)
        };
        PatchPages { metas: [meta(0), meta(1)], new_high_water_mark: self.next, tail: self.pages }
    }
}
