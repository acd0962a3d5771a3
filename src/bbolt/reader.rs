//! Reading what was asked for: a bucket, a key, the last key.

use std::fmt;
use std::ops::ControlFlow;

use super::fault::Fault;
use super::layout::{BUCKET_HEADER_SIZE, MAX_COLLECTED, PAGE_HEADER_SIZE};
use super::meta::{self, Meta};
use super::page::{Kind, LeafElement, Page, bucket_header, bucket_image};
use super::tree::{Tree, Visit, seek_in_leaf, visit_leaf, visit_leaf_back, visit_leaf_from};
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// An opened database: its meta is good, and every page below the high water mark is there. No page was looked at.
pub struct Database<R> {
    source: R,
    meta: Meta,
    /// The meta that does not count, or what is wrong with it.
    other_meta: Result<Meta, Defect>,
}

impl<R: ReadAt> fmt::Debug for Database<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("meta", &self.meta).field("len", &self.source.len()).finish_non_exhaustive()
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A named bucket of the root bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: Vec<u8>,
    sequence: u64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A tree that begins at this page.
    Tree(u64),
    /// The image of a leaf, whose first byte is at `offset`, on `page`.
    Inline { page: u64, offset: u64, image: Vec<u8> },
}

/// A key with its value, borrowed from the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The key, 1 to 32768 bytes.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Number of the page that both are on.
    pub page: u64,
    /// Byte offset of the key in the database.
    pub offset: u64,
}

impl Bucket {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its sequence; etcd uses none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// First page of its tree; `None` when it is inline.
    #[must_use]
    pub fn root_page(&self) -> Option<u64> {
        match self.content {
            Content::Tree(root) => Some(root),
            Content::Inline { .. } => None,
        }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// The bucket that an element of `page` holds.
    pub(super) fn parse(page: &Page<'_>, element: &LeafElement<'_>) -> Result<Self, Defect> {
        let offset = page.key_offset(element).saturating_add(element.key.len() as u64);
        Self::from_value(element.key, element.value, page.number, offset)
    }

    /// The bucket called `name` with this value, which lies at byte `offset`, on page `page`.
    pub(super) fn from_value(name: &[u8], value: &[u8], page: u64, offset: u64) -> Result<Self, Defect> {
        let short = |least: usize| {
            let message = format!("page {page}: bucket header of {} bytes, not {least}", value.len());
            Defect::new("bucket-header", message).on_page(page).at(offset)
        };
        let (root, sequence) = bucket_header(value).ok_or_else(|| short(BUCKET_HEADER_SIZE))?;
        let image = bucket_image(value);
        let content = match root {
            0 if image.len() < PAGE_HEADER_SIZE => return Err(short(BUCKET_HEADER_SIZE + PAGE_HEADER_SIZE)),
            0 => {
                let offset = offset.saturating_add(BUCKET_HEADER_SIZE as u64);
                Content::Inline { page, offset, image: image.to_vec() }
            }
            _ => Content::Tree(root),
        };
        Ok(Self { name: name.to_vec(), sequence, content })
    }
}

/// bbolt writes images with id 0 and no overflow, always leaves.
pub(super) fn inline_defect(image: &Page<'_>) -> Option<Defect> {
    let header = image.header;
    (header.kind() != Kind::Leaf || header.id != 0 || header.overflow != 0).then(|| {
        let message = format!(
            "a leaf with id 0 and overflow 0 expected, flags {:02x}, id {} and overflow {} found",
            header.flags, header.id, header.overflow
        );
        image.defect("bucket-inline", 0, &message)
    })
}

impl<R: ReadAt> Database<R> {
    /// Chooses the meta that counts and holds it against the length of `source`.
    ///
    /// With one valid meta of two the database opens, as it does in bbolt; [`walk`](super::walk()) reports the other.
    ///
    /// # Errors
    /// Every defect that was found: no valid meta, or fewer bytes than `high water mark * page size`.
    pub fn open(source: R) -> Result<Self, Vec<Defect>> {
        let meta::Chosen { meta, other } = meta::choose(&source)?;
        let (length, page_size) = (source.len(), u64::from(meta.page_size));
        let needed = meta.high_water_mark.max(2).checked_mul(page_size);
        if needed.is_none_or(|needed| needed > length) {
            let message = format!(
                "{} pages of {page_size} bytes below the high water mark take {} bytes, the database has {length}",
                meta.high_water_mark,
                needed.map_or_else(|| "more than 2^64".to_owned(), |needed| needed.to_string())
            );
            return Err(other
                .err()
                .into_iter()
                .chain([Defect::new("database-truncated", message).at(length)])
                .collect());
        }
        Ok(Self { source, meta, other_meta: other })
    }

    /// The transaction that wrote the newest valid meta by now, however far the file reaches by now.
    ///
    /// # Errors
    /// What is wrong with both metas.
    pub fn newest_txid(&self) -> Result<u64, Vec<Defect>> {
        meta::newest_meta(&self.source).map(|meta| meta.txid)
    }

    /// The meta that counts.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What is wrong with the other meta, if anything is.
    pub fn invalid_meta(&self) -> Option<&Defect> {
        self.other_meta.as_ref().err()
    }

    /// Whether both metas are of one state, as in a copy that bbolt made; those of a database that was written to are of
    /// its last two. `true` where there is one alone.
    pub fn is_of_one_state(&self) -> bool {
        !self.other_meta.as_ref().is_ok_and(|other| !self.meta.is_of_state(other))
    }

    /// Bytes a page.
    pub fn page_size(&self) -> u64 {
        self.meta.page_size.into()
    }

    /// Bytes that count: `high water mark * page size`, bbolt's `Tx.Size`. The source may be longer.
    pub fn size(&self) -> u64 {
        // `open` has seen that this is not more than the length of the source.
        self.meta.high_water_mark.saturating_mul(self.page_size())
    }

    /// Where the bytes come from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// Every bucket of the root bucket, in key order.
    ///
    /// # Errors
    /// The first defect on the way; also when the buckets together hold more than 64 MiB inline.
    pub fn buckets(&self) -> Result<Vec<Bucket>, Defect> {
        let (mut buckets, mut failed, mut room) = (Vec::new(), None, MAX_COLLECTED);
        let scanned = self.tree().scan(self.meta.root, &mut |page, element| {
            if !element.is_bucket() {
                return ControlFlow::Continue(());
            }
            match take(&mut room, element).and_then(|()| Bucket::parse(page, element)) {
                Ok(bucket) => buckets.push(bucket),
                Err(defect) => failed = Some(defect),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.map_err(Fault::into_defect)?;
        failed.map_or(Ok(buckets), Err)
    }

    /// The bucket called `name`, if there is one.
    ///
    /// # Errors
    /// The first defect on the way.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, Defect> {
        let mut found = None;
        let sought = self.tree().seek(self.meta.root, name, &mut |page, element| {
            found = element.is_bucket().then(|| Bucket::parse(page, element));
            ControlFlow::Break(())
        });
        sought.map_err(Fault::into_defect)?;
        found.transpose()
    }

    /// Every entry of `bucket`, in key order; for buckets known to be small.
    ///
    /// # Errors
    /// The first defect on the way; also when the entries are more than 64 MiB.
    pub fn entries(&self, bucket: &Bucket) -> Result<Vec<Entry>, Defect> {
        let (mut entries, mut failed, mut room) = (Vec::new(), None, MAX_COLLECTED);
        self.each(bucket, &mut |_, element| {
            if element.is_bucket() {
                return ControlFlow::Continue(());
            }
            if let Err(defect) = take(&mut room, element) {
                failed = Some(defect);
                return ControlFlow::Break(());
            }
            entries.push((element.key.to_vec(), element.value.to_vec()));
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(entries), Err)
    }

    /// Hands over every entry of `bucket` in key order, until `visit` breaks off. Buckets inside of it are passed
    /// over.
    ///
    /// # Errors
    /// The first defect on the way. Order is not checked; [`walk`](super::walk()) does that.
    pub fn for_each(
        &self,
        bucket: &Bucket,
        visit: &mut dyn FnMut(Element<'_>) -> ControlFlow<()>,
    ) -> Result<(), Defect> {
        self.each(bucket, &mut |page, element| {
            if element.is_bucket() { ControlFlow::Continue(()) } else { visit(Element::new(page, element)) }
        })
    }

    /// [`Database::for_each`] from the first key on that is not less than `from`.
    ///
    /// # Errors
    /// The first defect on the way.
    pub fn for_each_from(
        &self,
        bucket: &Bucket,
        from: &[u8],
        visit: &mut dyn FnMut(Element<'_>) -> ControlFlow<()>,
    ) -> Result<(), Defect> {
        let visit: &mut Visit<'_> = &mut |page, element| {
            if element.is_bucket() { ControlFlow::Continue(()) } else { visit(Element::new(page, element)) }
        };
        let visited = match bucket.content() {
            Content::Tree(root) => self.tree().scan_from(*root, from, visit),
            Content::Inline { page, offset, image } => image_page(*page, *offset, image)
                .map_err(Fault::from)
                .and_then(|page| visit_leaf_from(&page, from, visit))
                .map(drop),
        };
        visited.map_err(Fault::into_defect)
    }

    /// The greatest key of `bucket` with its value.
    ///
    /// # Errors
    /// The first defect on the way.
    pub fn last(&self, bucket: &Bucket) -> Result<Option<Entry>, Defect> {
        let mut last = None;
        let visit: &mut Visit<'_> = &mut |_, element| {
            if element.is_bucket() {
                return ControlFlow::Continue(());
            }
            last = Some((element.key.to_vec(), element.value.to_vec()));
            ControlFlow::Break(())
        };
        let visited = match bucket.content() {
            Content::Tree(root) => self.tree().scan_back(*root, visit),
            Content::Inline { page, offset, image } => image_page(*page, *offset, image)
                .map_err(Fault::from)
                .and_then(|page| visit_leaf_back(&page, visit))
                .map(drop),
        };
        visited.map_err(Fault::into_defect)?;
        Ok(last)
    }

    /// The value of `key` in `bucket`; `None` also for the name of a bucket inside of it.
    ///
    /// # Errors
    /// The first defect on the way.
    pub fn get(&self, bucket: &Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, Defect> {
        let mut found = None;
        let visit: &mut Visit<'_> = &mut |_, element| {
            found = (!element.is_bucket()).then(|| element.value.to_vec());
            ControlFlow::Break(())
        };
        let sought = match bucket.content() {
            Content::Tree(root) => self.tree().seek(*root, key, visit),
            Content::Inline { page, offset, image } => {
                image_page(*page, *offset, image).map_err(Fault::from).and_then(|page| seek_in_leaf(&page, key, visit))
            }
        };
        sought.map_err(Fault::into_defect)?;
        Ok(found)
    }

    /// The same bytes, as another meta has them.
    pub(super) fn as_of(&self, meta: Meta) -> Database<&R> {
        Database { source: &self.source, other_meta: Ok(meta.clone()), meta }
    }

    /// A search through one of the trees.
    pub(super) fn tree(&self) -> Tree<'_, R> {
        Tree::new(&self.source, self.page_size(), self.meta.high_water_mark)
    }

    fn each(&self, bucket: &Bucket, visit: &mut Visit<'_>) -> Result<(), Defect> {
        let visited = match bucket.content() {
            Content::Tree(root) => self.tree().scan(*root, visit),
            Content::Inline { page, offset, image } => image_page(*page, *offset, image)
                .map_err(Fault::from)
                .and_then(|page| visit_leaf(&page, visit))
                .map(drop),
        };
        visited.map_err(Fault::into_defect)
    }
}

impl<'a> Element<'a> {
    pub(super) fn new(page: &Page<'_>, element: &LeafElement<'a>) -> Self {
        Self { key: element.key, value: element.value, page: page.number, offset: page.key_offset(element) }
    }
}

/// Takes an element's bytes off what may still be collected.
pub(super) fn take(room: &mut usize, element: &LeafElement<'_>) -> Result<(), Defect> {
    let size = element.key.len().saturating_add(element.value.len());
    *room = room.checked_sub(size).ok_or_else(|| {
        Defect::new("bucket-size", format!("more than {MAX_COLLECTED} bytes in a bucket that etcd keeps small"))
    })?;
    Ok(())
}

fn image_page(page: u64, offset: u64, image: &[u8]) -> Result<Page<'_>, Defect> {
    let short = || Defect::new("bucket-header", format!("page {page}: inline bucket of {} bytes", image.len()));
    let page = Page::inline(page, offset, image).ok_or_else(short)?;
    inline_defect(&page).map_or(Ok(page), Err)
}
