//! An opened snapshot.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::index::{Builder, Index};
use super::range::KeyRange;
use super::scan::Stored;
use super::source::Source;
use crate::archive::{self, HASH_LEN, Kind, RandomArchive};
use crate::bbolt::{Bucket, Database, Element, Visitor, walk};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::read_at::FileSource;
use crate::schema::{NEWEST_STORAGE, Revision, StoreMeta, buckets, foundations};
use crate::snapshot;

/// Entries between two looks at the progress, at most, and bytes.
const STEP: u64 = 4096;
const STEP_BYTES: u64 = 1 << 20;

/// How often a database that somebody writes to is opened anew, and what lies between: together longer than the 100 ms
/// between two commits of etcd.
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_millis(10);

/// A snapshot, or a member's database, that can be read at any revision in it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    kind: Kind,
    database: Database<Source>,
    key: Bucket,
    meta: StoreMeta,
    last_revision: i64,
    warnings: Vec<String>,
    index: Mutex<Option<Arc<Index>>>,
}

/// What a visitor of entries gives back.
pub(super) type Step = Result<ControlFlow<()>>;

impl Store {
    /// Opens the snapshot at `path`, read-only and without a lock, whatever file holds it.
    ///
    /// A bare database and an archive with an index of its blocks are read where they lie. Any other compressed file
    /// is first inflated into a file without a name, beside it where that can be; [`Store::warnings`] says so. The
    /// SHA-256 is compared only then, since all bytes pass by: [`snapshot::verify`] judges, this reads.
    ///
    /// # Errors
    /// [`Error::NotASnapshot`]; [`Error::Corrupt`] when metas or the buckets' root can't be read;
    /// [`Error::StorageVersion`]; [`Error::Changed`] when somebody writes to it too fast; [`Error::Io`];
    /// [`Error::Interrupted`].
    pub fn open(path: &Path, progress: &dyn Progress) -> Result<Self> {
        let kind = archive::look(path)?.kind;
        if kind != Kind::Database {
            return Self::open_by_now(path, kind, progress);
        }
        let mut attempts = 1;
        loop {
            let opened = snapshot::steady(path, || Self::open_by_now(path, kind, progress));
            let is_settled = match &opened {
                Err(Error::Changed { .. }) => false,
                // Half of it may be written.
                Ok(store) => store.database.invalid_meta().is_none(),
                Err(_) => true,
            };
            if is_settled || attempts == ATTEMPTS {
                return opened;
            }
            attempts += 1;
            thread::sleep(PAUSE);
        }
    }

    fn open_by_now(path: &Path, kind: Kind, progress: &dyn Progress) -> Result<Self> {
        let mut warnings = Vec::new();
        let source = source(path, kind, &mut warnings, progress)?;
        let corrupt = |defects| Error::Corrupt { path: path.to_owned(), defects };
        let one = |defect| corrupt(vec![defect]);
        let database = Database::open(source).map_err(corrupt)?;
        if kind == Kind::Database {
            warnings.extend(snapshot::warnings(path, has_trailer(&database), &database));
        }
        warnings.extend(snapshot::damaged_meta(path, &database));
        let read = foundations(&database);
        unchanged(path, kind, &database)?;
        let (key, meta, last_revision) = read.map_err(one)?;
        if let Some(found) = meta.newer_storage() {
            let (path, found) = (path.to_owned(), found.to_owned());
            return Err(Error::StorageVersion { path, found, supported: NEWEST_STORAGE });
        }
        Ok(Self { path: path.to_owned(), kind, database, key, meta, last_revision, warnings, index: Mutex::default() })
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Compares the SHA-256 of a bare database with its trailer. Nothing else is looked at: of an archive every block has
    /// a checksum that is compared when it is read, and whatever was inflated was compared then. A member's own database
    /// has no trailer.
    ///
    /// # Errors
    /// [`Error::Corrupt`]; [`Error::Io`]; [`Error::Interrupted`].
    pub fn check_hash(&self, progress: &dyn Progress) -> Result<()> {
        match (self.kind, self.database.source()) {
            (Kind::Database, Source::File(file)) => snapshot::check_trailer(&self.path, file.file(), progress),
            _ => Ok(()),
        }
    }

    /// What should be known of what is read here.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The bucket `meta`.
    pub fn meta(&self) -> &StoreMeta {
        &self.meta
    }

    /// Bytes of the database: high water mark times page size; etcd's `dbSize`.
    pub fn size(&self) -> u64 {
        self.database.size()
    }

    /// The revision at which a server with this store starts.
    pub fn current_revision(&self) -> i64 {
        self.meta.current_revision(self.last_revision)
    }

    /// The oldest revision that can be read; `None` when nothing was ever compacted.
    pub fn compact_revision(&self) -> Option<i64> {
        self.meta.scheduled_compact.max(self.meta.finished_compact).map(|revision| revision.main)
    }

    /// The revision that is meant by `revision`: the current one for `None`.
    ///
    /// # Errors
    /// Those of etcd's Range: [`Error::Compacted`], [`Error::FutureRevision`]; [`Error::InvalidArgument`] for one that is
    /// not positive.
    pub fn resolve(&self, revision: Option<i64>) -> Result<i64> {
        let current_revision = self.current_revision();
        let Some(revision) = revision else { return Ok(current_revision) };
        if revision <= 0 {
            return Err(Error::invalid(format!("revision {revision}: the first one is 1")));
        }
        if revision > current_revision {
            return Err(Error::FutureRevision { revision, current_revision });
        }
        match self.compact_revision() {
            Some(compact_revision) if revision < compact_revision => {
                Err(Error::Compacted { revision, compact_revision })
            }
            _ => Ok(revision),
        }
    }

    /// Bytes of the database in pages that are in use; etcd's `dbSizeInUse`. Reads the head of every page.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with every defect that bbolt's check finds; [`Error::Interrupted`].
    pub fn size_in_use(&self, progress: &dyn Progress) -> Result<u64> {
        let mut defects = Defects::default();
        let walked = walk(&self.database, &mut defects, progress).map_err(|error| match error {
            Error::Io { action, source, .. } => Error::Io { action, path: self.path.clone(), source },
            other => other,
        })?;
        self.unchanged()?;
        if !defects.0.is_empty() {
            return Err(Error::Corrupt { path: self.path.clone(), defects: defects.0 });
        }
        Ok(self.size().saturating_sub(walked.pages_free.saturating_mul(self.database.page_size())))
    }

    /// The index, if somebody had it built.
    pub(super) fn built_index(&self) -> Option<Arc<Index>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index, built when it was not yet; whoever asks meanwhile waits for it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for the first revision that is malformed or out of order; [`Error::Interrupted`].
    pub fn index(&self, progress: &dyn Progress) -> Result<Arc<Index>> {
        let mut slot = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*slot {
            return Ok(Arc::clone(index));
        }
        let mut builder = Builder::default();
        let mut last = None;
        let mut watch = Watch::new(self, progress);
        self.visit(&self.key, &mut |element| {
            watch.step(&element)?;
            let stored = Stored::parse(&element).map_err(|defect| self.fail(defect))?;
            let revision = stored.at.revision;
            ascend(&mut last, revision, &element).map_err(|defect| self.fail(defect))?;
            let kv = stored.kv;
            let pushed = builder.push(kv.key, revision, stored.at.tombstone, kv.value.len());
            pushed.map_err(|defect| self.fail(defect.on_page(element.page).at(element.offset)))?;
            Ok(ControlFlow::Continue(()))
        })?;
        let index = Arc::new(builder.finish());
        *slot = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Number of keys in `range` at `revision`.
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`].
    pub fn count(&self, range: &KeyRange, revision: Option<i64>, progress: &dyn Progress) -> Result<u64> {
        let revision = self.resolve(revision)?;
        let index = self.index(progress)?;
        let ids = index.positions(range).filter_map(|position| index.at(position));
        Ok(ids.filter(|id| index.live(*id, revision).is_some()).count() as u64)
    }

    /// The bucket called `name`; `None` where etcd has not made it yet.
    pub(super) fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>> {
        let found = self.database.bucket(name).map_err(|defect| self.fail(defect))?;
        if found.is_none() {
            self.has_never_been(name).map_err(|defect| self.fail(defect))?;
            self.unchanged()?;
        }
        Ok(found)
    }

    /// Sees to it that the bucket called `name`, which was not found, is not there under a damaged name.
    fn has_never_been(&self, name: &[u8]) -> std::result::Result<(), Defect> {
        for bucket in self.database.buckets()? {
            if bucket.name() == name || buckets::damaged(bucket.name()) == Some(name) {
                return Err(snapshot::misnamed(name, bucket.name()));
            }
        }
        Ok(())
    }

    pub(super) fn key_bucket(&self) -> &Bucket {
        &self.key
    }

    /// Whether what is read has to be inflated each time, block by block.
    pub fn is_compressed(&self) -> bool {
        self.database.source().is_compressed()
    }

    /// Hands over the entries of `bucket` in key order until `visit` breaks off.
    pub(super) fn visit(&self, bucket: &Bucket, visit: &mut dyn FnMut(Element<'_>) -> Step) -> Result<()> {
        self.visit_from(bucket, None, visit)?;
        self.unchanged()
    }

    /// [`Store::visit`] from the key `from` on; [`Store::unchanged`] is left to the caller, who may come often.
    pub(super) fn visit_from(
        &self,
        bucket: &Bucket,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(Element<'_>) -> Step,
    ) -> Result<()> {
        let mut failed = None;
        let each = &mut |element: Element<'_>| match visit(element) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        let visited = match from {
            Some(from) => self.database.for_each_from(bucket, from, each),
            None => self.database.for_each(bucket, each),
        };
        visited.map_err(|defect| self.fail(defect))?;
        failed.map_or(Ok(()), Err)
    }

    /// The error for a defect that was met: that somebody writes to the file explains any.
    pub(super) fn fail(&self, defect: Defect) -> Error {
        match self.unchanged() {
            Ok(()) => Error::Corrupt { path: self.path.clone(), defects: vec![defect] },
            Err(changed) => changed,
        }
    }

    /// Fails when the database has gone on since it was opened: bbolt writes new pages over those that the transaction
    /// before the last one has freed, so what was read may be of two transactions.
    pub(super) fn unchanged(&self) -> Result<()> {
        unchanged(&self.path, self.kind, &self.database)
    }
}

/// [`Store::unchanged`] for a database that is being opened.
fn unchanged(path: &Path, kind: Kind, database: &Database<Source>) -> Result<()> {
    if kind != Kind::Database {
        return Ok(());
    }
    let before = database.meta().txid;
    match database.newest_txid() {
        Ok(now) if now != before => Err(Error::Changed { path: path.to_owned(), before, now }),
        Ok(_) => Ok(()),
        Err(defects) => Err(Error::Corrupt { path: path.to_owned(), defects }),
    }
}

/// Looks at the progress now and then while entries go by.
pub(super) struct Watch<'a> {
    progress: &'a dyn Progress,
    entries: u64,
    bytes: u64,
    due: u64,
    total: u64,
}

impl<'a> Watch<'a> {
    pub(super) fn new(store: &Store, progress: &'a dyn Progress) -> Self {
        Self { progress, entries: 0, bytes: 0, due: STEP_BYTES, total: store.size() }
    }

    pub(super) fn step(&mut self, element: &Element<'_>) -> Result<()> {
        self.bytes += (element.key.len() + element.value.len()) as u64;
        self.entries += 1;
        if self.entries.is_multiple_of(STEP) || self.bytes >= self.due {
            self.due = self.bytes + STEP_BYTES;
            self.progress.step(Stage::Read, self.bytes, Some(self.total))?;
        }
        Ok(())
    }
}

/// Sees to it that revisions ascend, by which everything here finds its way.
pub(super) fn ascend(
    last: &mut Option<Revision>,
    revision: Revision,
    element: &Element<'_>,
) -> std::result::Result<(), Defect> {
    if let Some(before) = last.replace(revision).filter(|before| *before >= revision) {
        let message = format!("revision {}_{} comes after {}_{}", revision.main, revision.sub, before.main, before.sub);
        return Err(Defect::new("revision-order", message).on_page(element.page).at(element.offset));
    }
    Ok(())
}

/// Everything that a walk complains of.
#[derive(Default)]
struct Defects(Vec<Defect>);

impl Visitor for Defects {
    type Part = ();

    fn bucket(&mut self, _name: &[u8]) {}

    fn entry(&mut self, _element: Element<'_>) {}

    fn defect(&mut self, defect: Defect) {
        // More say nothing that these do not.
        if self.0.len() < 1000 {
            self.0.push(defect);
        }
    }

    fn part(&self) -> Option<()> {
        Some(())
    }

    fn take(&mut self, _part: ()) -> bool {
        true
    }
}

/// Whether there is more in the file of a bare database than the database.
fn has_trailer(database: &Database<Source>) -> bool {
    match database.source() {
        Source::File(file) => file.file().metadata().is_ok_and(|metadata| metadata.len() % 512 == HASH_LEN),
        Source::Archive(_) => true,
    }
}

fn source(path: &Path, kind: Kind, warnings: &mut Vec<String>, progress: &dyn Progress) -> Result<Source> {
    if kind == Kind::Database {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let metadata = file.metadata().map_err(Error::io("reading", path))?;
        let len = metadata.len();
        return Ok(Source::File(FileSource::new(file, if len % 512 == HASH_LEN { len - HASH_LEN } else { len })));
    }
    if let Some(archive) = RandomArchive::open(path)? {
        return Ok(Source::Archive(archive));
    }
    let (file, len) = snapshot::spool(path, progress)?;
    warnings.push(format!(
        "{} has no index of its blocks, so it was inflated into a temporary file of {len} bytes that lasts until it is closed",
        path.display()
    ));
    Ok(Source::File(FileSource::new(file, len)))
}
