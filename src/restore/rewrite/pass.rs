//! The one pass from a verified database to a new one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;

use crate::bbolt::{Append, Bucket, BulkLayout, BulkWriter, Database, Element, Patch};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::read_at::{FileSource, ReadAt};
use crate::schema::{KeyValue, Revision, RevisionKey, StoreMeta, buckets};
use crate::snapshot::{Contents, live_keys};

use super::selection::Rewrite;

/// Bytes between two calls of the progress callback.
const REPORT_EVERY: u64 = 512 << 10;

/// What went into the new database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct Written {
    /// Its length in bytes.
    size: u64,
    /// What [`Contents::hash`] has to be.
    hash: u32,
    counts: Counts,
}

/// What the new database holds, and what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::restore) struct Outcome {
    /// What its entries add up to.
    pub(in crate::restore) contents: Contents,
    /// Its length in bytes.
    pub(in crate::restore) size: u64,
    /// What was left out, and changed.
    pub(super) counts: Counts,
    /// Those of `--prefix` that give no live key.
    pub(super) barren: Vec<Barren>,
}

impl Outcome {
    /// Live keys that a client can name.
    pub(super) fn live_keys(&self) -> u64 {
        self.contents.total_key.saturating_sub(self.counts.nameless.into())
    }
}

/// Versions are puts and tombstones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Versions after the revision.
    pub(super) later: u64,
    /// Versions of keys that were not asked for.
    pub(super) others: u64,
    /// Versions that hung on a lease.
    pub(super) leased: u64,
    /// Leases that were left out.
    pub(super) leases: u64,
    /// Versions that were written.
    pub(super) versions: u64,
    /// What there is of each of `--prefix`.
    by_prefix: Vec<Under>,
    /// Whether the key without a name is live, which stands for a bump and belongs to nobody.
    nameless: bool,
}

/// What there is of keys that begin with a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Under {
    versions: u64,
    /// One of them that is live, as far as the pass has come: kept as long as it lives, so that only where the last one
    /// that was kept is deleted the others have to be counted.
    live: Option<Vec<u8>>,
}

impl Under {
    fn take(&mut self, key: &[u8], tombstone: bool) {
        self.versions += 1;
        if !tombstone {
            self.live.get_or_insert_with(|| key.to_vec());
        } else if self.live.as_deref() == Some(key) {
            self.live = None;
        }
    }
}

/// A prefix with which no live key begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Barren {
    pub(super) prefix: Vec<u8>,
    /// Versions of keys that begin with it, all of them deleted.
    pub(super) versions: u64,
}

/// What is asked for.
pub(in crate::restore) struct Job<'j, R> {
    /// The verified database.
    pub(in crate::restore) database: &'j Database<R>,
    /// [`Contents::hash`] with which it was verified: if it changed since, that is an error.
    pub(in crate::restore) hash: u32,
    /// Where it comes from, for errors.
    pub(in crate::restore) from: &'j Path,
    /// What is taken of it.
    pub(in crate::restore) rewrite: &'j Rewrite,
    /// The revision that it is taken at.
    pub(in crate::restore) revision: i64,
    /// What every restore changes.
    pub(in crate::restore) changes: &'j Patch,
    /// Where it goes to, for errors: a file, or the directory of one without a name.
    pub(in crate::restore) to: &'j Path,
}

/// Writes the new database into `file`, which is empty.
pub(in crate::restore) fn write<R: ReadAt, W: Write + Seek>(
    job: &Job<'_, R>,
    file: W,
    progress: &dyn Progress,
) -> Result<Written> {
    let Job { database, from, rewrite, changes, to, .. } = *job;
    let layout = BulkLayout { page_size: database.meta().page_size, ..BulkLayout::default() };
    let mut pass = Pass {
        writer: BulkWriter::new(file, layout),
        written_hash: 0,
        last: 0,
        rewrite,
        revision: job.revision,
        counts: Counts { by_prefix: vec![Under::default(); rewrite.prefixes.len()], ..Counts::default() },
        changed: Vec::new(),
        hash: 0,
        done: 0,
        reported: 0,
        total: database.size(),
        to,
        progress,
    };
    let damaged = |defect| Error::Corrupt { path: from.to_owned(), defects: vec![defect] };
    progress.step(Stage::Write, 0, Some(pass.total))?;
    let buckets = database.buckets().map_err(damaged)?;
    let mut all: BTreeMap<&[u8], Option<&Bucket>> =
        changes.replace.keys().map(|name| (name.as_slice(), None)).collect();
    all.extend(buckets.iter().map(|bucket| (bucket.name(), Some(bucket))));
    for (name, bucket) in all {
        pass.bucket(database, name, bucket, changes).map_err(|stop| stop.into_error(from))?;
    }
    if pass.hash != job.hash {
        let message = "the database was written to while it was read".to_owned();
        return Err(damaged(Defect::new("database-changed", message)));
    }
    progress.step(Stage::Write, pass.total, Some(pass.total))?;
    let (_, meta) = pass.writer.finish(database.meta().sequence).map_err(Error::io("writing", to))?;
    let size = meta.high_water_mark.saturating_mul(meta.page_size.into());
    Ok(Written { size, hash: pass.written_hash, counts: pass.counts })
}

/// Reads the new database in `file`, and says what is wrong with it: every page has to be in use and sound, and it has
/// to hold what was written and nothing else. `to` is for errors, as in [`Job`].
pub(in crate::restore) fn read_back(
    file: &File,
    written: Written,
    rewrite: &Rewrite,
    to: &Path,
    progress: &dyn Progress,
) -> Result<(Outcome, Vec<Defect>)> {
    let Written { size, hash, counts } = written;
    let file = file.try_clone().map_err(Error::io("reading", to))?;
    let database = match Database::open(FileSource::new(file, size)) {
        Ok(database) => database,
        Err(defects) => {
            return Ok((Outcome { contents: Contents::default(), size, counts, barren: Vec::new() }, defects));
        }
    };
    let (contents, walked, mut defects) = Contents::read(&database, progress).map_err(|error| error.of(to))?;
    if walked.pages_free != 0 {
        let message = format!("{} pages of a new database are free", walked.pages_free);
        defects.push(Defect::new("rewrite-free-pages", message));
    }
    if (contents.hash, contents.revisions) != (hash, counts.versions) {
        let message = format!(
            "the new database reads as {} versions with hash {:08x}, {} with hash {hash:08x} were written",
            contents.revisions, contents.hash, counts.versions
        );
        defects.push(Defect::new("rewrite-differs", message));
    }
    let barren = if defects.is_empty() { barren(&database, rewrite, &counts, to, progress)? } else { Vec::new() };
    Ok((Outcome { contents, size, counts, barren }, defects))
}

/// Those of `--prefix` that give no live key.
fn barren<R: ReadAt>(
    database: &Database<R>,
    rewrite: &Rewrite,
    counts: &Counts,
    to: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Barren>> {
    let mut barren = Vec::new();
    for (prefix, under) in rewrite.prefixes.iter().zip(&counts.by_prefix) {
        let mut live = under.live.is_some();
        if !live && under.versions > 0 {
            let counted = |key: &[u8]| key.starts_with(prefix);
            live = live_keys(database, &counted, progress).map_err(|error| error.of(to))? > 0;
        }
        if !live {
            barren.push(Barren { prefix: prefix.clone(), versions: under.versions });
        }
    }
    Ok(barren)
}

/// Why the pass ended early.
enum Stop {
    Source(Defect),
    Failed(Error),
}

impl Stop {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Source(defect) => Error::Corrupt { path: path.to_owned(), defects: vec![defect] },
            Self::Failed(error) => error,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Pass<'p, W> {
    writer: BulkWriter<W>,
    /// [`Contents::hash`] of what is written.
    written_hash: u32,
    /// Main revision of the last version that was written.
    last: i64,
    rewrite: &'p Rewrite,
    revision: i64,
    counts: Counts,
    /// A version without its lease.
    changed: Vec<u8>,
    /// [`Contents::hash`] of all that was read.
    hash: u32,
    done: u64,
    reported: u64,
    total: u64,
    to: &'p Path,
    progress: &'p dyn Progress,
}

impl<W: Write + Seek> Pass<'_, W> {
    /// Writes one bucket, which is in the database, in the patch or in both.
    fn bucket<R: ReadAt>(
        &mut self,
        database: &Database<R>,
        name: &[u8],
        bucket: Option<&Bucket>,
        changes: &Patch,
    ) -> std::result::Result<(), Stop> {
        self.writer.bucket(name, bucket.map_or(0, Bucket::sequence)).map_err(Error::io("writing", self.to))?;
        self.written_hash = crc32c::crc32c_append(self.written_hash, name);
        let replaced = changes.replace.get(name);
        if let Some(bucket) = bucket {
            self.hash = crc32c::crc32c_append(self.hash, name);
            let mut failed = None;
            let visit = &mut |element: Element<'_>| {
                self.hash = crc32c::crc32c_append(crc32c::crc32c_append(self.hash, element.key), element.value);
                let taken = if replaced.is_some() { Ok(()) } else { self.entry(name, element) };
                match taken.and_then(|()| self.report(element)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(stop) => {
                        failed = Some(stop);
                        ControlFlow::Break(())
                    }
                }
            };
            database.for_each(bucket, visit).map_err(Stop::Source)?;
            failed.map_or(Ok(()), Err)?;
        }
        for (key, value) in replaced.into_iter().flatten() {
            self.put(key, value)?;
        }
        let is_key = name == buckets::KEY;
        let append = changes.append.as_ref().filter(|append| append.bucket == name);
        if is_key && append.is_none() {
            self.hold_revision(changes)?;
        }
        if let Some(Append { key, value, .. }) = append {
            self.counts.versions += u64::from(is_key);
            // A bump is an empty version, and so one of the key without a name.
            self.counts.nameless |= is_key;
            self.put(key, value)?;
        }
        Ok(())
    }

    /// Writes an entry of the snapshot, if it stays.
    fn entry(&mut self, name: &[u8], element: Element<'_>) -> std::result::Result<(), Stop> {
        match name {
            buckets::KEY => self.version(element),
            buckets::LEASE if self.rewrite.repairs.drop_leases => {
                self.counts.leases += 1;
                Ok(())
            }
            _ => Ok(self.put(element.key, element.value)?),
        }
    }

    fn version(&mut self, element: Element<'_>) -> std::result::Result<(), Stop> {
        let malformed =
            |message| Stop::Source(Defect::new("revision-malformed", message).on_page(element.page).at(element.offset));
        let at = RevisionKey::parse(element.key).map_err(malformed)?;
        if at.revision.main > self.revision {
            self.counts.later += 1;
            return Ok(());
        }
        let kv = KeyValue::parse(element.value).map_err(malformed)?;
        if self.rewrite.selects_keys() {
            if !self.rewrite.takes(kv.key) {
                self.counts.others += 1;
                return Ok(());
            }
            for (prefix, under) in self.rewrite.prefixes.iter().zip(&mut self.counts.by_prefix) {
                if kv.key.starts_with(prefix) {
                    under.take(kv.key, at.tombstone);
                }
            }
        }
        if kv.key.is_empty() {
            self.counts.nameless = !at.tombstone;
        }
        self.last = at.revision.main;
        self.counts.versions += 1;
        if self.rewrite.repairs.drop_leases && kv.lease != 0 {
            self.counts.leased += 1;
            let mut changed = std::mem::take(&mut self.changed);
            changed.clear();
            KeyValue { lease: 0, ..kv }.encode(&mut changed);
            self.put(element.key, &changed)?;
            self.changed = changed;
            return Ok(());
        }
        Ok(self.put(element.key, element.value)?)
    }

    /// Sees to it that a server of any release starts at the revision that was asked for, although its last version may be
    /// gone.
    fn hold_revision(&mut self, changes: &Patch) -> Result<()> {
        let mut meta = StoreMeta::default();
        for (key, value) in changes.replace.get(buckets::META).into_iter().flatten() {
            // What can't be read is found when the new database is.
            let _ = meta.take(key, value);
        }
        if meta.least_revision(self.last) >= self.revision {
            return Ok(());
        }
        let mut key = Revision { main: self.revision, sub: 0 }.to_bytes().to_vec();
        key.push(RevisionKey::TOMBSTONE);
        self.counts.versions += 1;
        self.counts.nameless = false;
        self.put(&key, &[])
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.entry(key, value).map_err(Error::io("writing", self.to))?;
        self.written_hash = crc32c::crc32c_append(crc32c::crc32c_append(self.written_hash, key), value);
        Ok(())
    }

    fn report(&mut self, element: Element<'_>) -> std::result::Result<(), Stop> {
        self.done = self.done.saturating_add((element.key.len() + element.value.len()) as u64).min(self.total);
        if self.done - self.reported >= REPORT_EVERY {
            self.reported = self.done;
            self.progress.step(Stage::Write, self.done, Some(self.total))?;
        }
        Ok(())
    }
}
