//! The ways from a file to a verified snapshot.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::archive::{self, Extracted, HASH_LEN, Kind, Look};
use crate::bbolt::{Database, Walked};
use crate::defect::Defect;
use crate::durable::{WriteBack, sync_beside, unnamed_file};
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::progress::Progress;
use crate::read_at::{FileSource, ReadAt};
use crate::schema::NEWEST_STORAGE;
use crate::version::Version;

use super::judge::Contents;
use super::live::{self, State, steady};
use super::note::KeyNotes;
use super::report::{Status, VerifyReport};
use super::sparse::{Sparse, SparseWriter};

/// Bytes of a database from which on it is worth while to leave leaves out of what is unpacked: smaller ones are written
/// in no time.
const LARGE: u64 = 64 << 20;

/// What is not insisted on.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Take a database without a SHA-256 trailer, or with one that does not fit (`--skip-hash-check`).
    pub skip_hash_check: bool,
}

/// A database that passed every check, in a file that can be read at random.
#[derive(Debug)]
pub struct VerifiedSnapshot<R: ReadAt = FileSource> {
    path: PathBuf,
    database: Database<R>,
    extracted: Extracted,
    contents: Contents,
    walked: Walked,
    hash_checked: bool,
    /// That the file was in before it was looked at, if it is a bare database.
    state: Option<State>,
    /// What shows that it is no snapshot.
    warnings: Vec<String>,
}

impl VerifiedSnapshot {
    /// Verifies the snapshot at `path` and changes nothing.
    ///
    /// A bare database is read where it lies. One inside an archive is inflated into a file without a name (beside
    /// the archive, or in the directory for temporary files where that can't be), which is gone when the value is.
    pub fn open(path: &Path, options: VerifyOptions, progress: &dyn Progress) -> Result<Self> {
        Self::of(path, archive::look(path)?.kind, options, progress)
    }

    /// What came of reading [`VerifiedSnapshot::database`] again, where it lies: an error if somebody has written to it.
    ///
    /// # Errors
    /// [`Error::Changed`], and that of `done`.
    pub(crate) fn vouch<T>(&self, done: Result<T>) -> Result<T> {
        match self.state {
            Some(state) => state.vouch(&self.path, done),
            None => done,
        }
    }

    /// [`VerifiedSnapshot::open`] of a file that is of that kind.
    fn of(path: &Path, kind: Kind, options: VerifyOptions, progress: &dyn Progress) -> Result<Self> {
        if kind == Kind::Database {
            let state = State::of(path);
            let judged = steady(path, || {
                let file = File::open(path).map_err(Error::io("opening", path))?;
                let walk = |len| Traversed::new(&file, len, path, None, progress);
                let (extracted, traversed) = archive::hash_in_place(path, &file, progress, walk)?;
                Self::judge(path, extracted, traversed, options)
            });
            return judged.map(|snapshot| Self { state, ..snapshot });
        }
        let (extracted, traversed) = spooled(path, |spool, _| unpack(path, spool, progress))?;
        Self::judge(path, extracted, traversed, options)
    }

    /// Copies the database of the snapshot at `path` into the empty `file`, verifies the copy, and puts it on stable
    /// storage meanwhile.
    pub fn copy_to(path: &Path, file: &File, options: VerifyOptions, progress: &dyn Progress) -> Result<Self> {
        steady(path, || {
            // The disk begins at once, so that the sync finds little to do.
            let mut copy = WriteBack::new(file);
            let (extracted, traversed) = extract(path, &mut copy, progress, |len, notes| {
                let (traversed, synced) = sync_beside(file, || Traversed::new(file, len, path, Some(notes), progress));
                synced.map_err(Error::io("syncing the copy of", path)).and(traversed)
            })?;
            Self::judge(path, extracted, traversed, options)
        })
    }
}

impl<R: ReadAt> VerifiedSnapshot<R> {
    fn judge(path: &Path, extracted: Extracted, traversed: Traversed<R>, options: VerifyOptions) -> Result<Self> {
        let mut defects = Vec::new();
        let hash_checked = check_hash(&extracted, options, &mut defects);
        check_manifest(&extracted, &mut defects);
        let (database, contents, walked) = traversed.into_sound(path, &mut defects)?;
        if let Some(manifest) = &extracted.manifest
            && manifest.revision > contents.current_revision()
        {
            let message = format!(
                "manifest.json says revision {}, the database ends at {}",
                manifest.revision,
                contents.current_revision()
            );
            defects.push(Defect::new("manifest-revision", message));
        }
        if !defects.is_empty() {
            return Err(Error::Corrupt { path: path.to_owned(), defects });
        }
        if let Some(found) = contents.meta.newer_storage() {
            let (path, found) = (path.to_owned(), found.to_owned());
            return Err(Error::StorageVersion { path, found, supported: NEWEST_STORAGE });
        }
        if extracted.trailer.is_none() && !options.skip_hash_check {
            return Err(Error::MissingHash { path: path.to_owned() });
        }
        let warnings = match extracted.kind {
            Kind::Database => live::warnings(path, extracted.trailer.is_some(), &database),
            _ => Vec::new(),
        };
        let path = path.to_owned();
        Ok(Self { path, database, extracted, contents, walked, hash_checked, state: None, warnings })
    }

    /// The database, to be read.
    #[must_use]
    pub fn database(&self) -> &Database<R> {
        &self.database
    }

    /// What its entries add up to.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Bytes of the database as it came, hash excluded.
    #[must_use]
    pub fn database_size(&self) -> u64 {
        self.extracted.database_len
    }

    /// SHA-256 of the database in hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&self.extracted.sha256)
    }

    /// The figures of `etcdutl snapshot status`.
    #[must_use]
    pub fn status(&self) -> Status {
        status_of(&self.database, &self.contents)
    }

    /// All that verification has to tell.
    #[must_use]
    pub fn report(&self) -> VerifyReport {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.contents.warnings());
        if !self.hash_checked {
            warnings.push("no SHA-256 was compared: nothing shows that the file is what etcd sent".to_owned());
        }
        if let Some(warning) = self.extracted.manifest.as_ref().and_then(|manifest| lossy(&manifest.etcd_version)) {
            warnings.push(warning);
        }
        let extra = self.extracted.database_len.saturating_sub(self.database.size());
        if extra > 0 {
            warnings.push(format!("{extra} bytes lie behind the high water mark and are left out of a restore"));
        }
        VerifyReport {
            path: self.path.clone(),
            kind: self.extracted.kind.as_str(),
            file_size: self.extracted.file_len,
            database_size: self.database_size(),
            sha256: self.sha256(),
            hash_checked: self.hash_checked,
            status: self.status(),
            manifest: self.extracted.manifest.clone(),
            pages: self.walked.pages,
            pages_free: self.walked.pages_free,
            warnings,
        }
    }
}

/// Judges the snapshot at `path`; what is wrong comes as [`Error::Corrupt`] with every defect. What a later etcd wrote
/// cannot be judged: [`Error::StorageVersion`].
pub fn verify(path: &Path, options: VerifyOptions, progress: &dyn Progress) -> Result<VerifyReport> {
    let look = archive::look(path)?;
    if let Some((extracted, traversed)) = glance(path, look, progress)? {
        return VerifiedSnapshot::judge(path, extracted, traversed, options).map(|snapshot| snapshot.report());
    }
    VerifiedSnapshot::of(path, look.kind, options, progress).map(|snapshot| snapshot.report())
}

/// The figures of `etcdutl snapshot status`, after bbolt's own check as there, and what shows that the file is no
/// snapshot; never touches the file.
///
/// Like etcdutl it does not look at the SHA-256 of a bare database, nor ask for one: [`verify`] judges, this reads.
pub fn status(path: &Path, progress: &dyn Progress) -> Result<(Status, Vec<String>)> {
    steady(path, || status_by_now(path, progress))
}

fn status_by_now(path: &Path, progress: &dyn Progress) -> Result<(Status, Vec<String>)> {
    let mut defects = Vec::new();
    let look = archive::look(path)?;
    if let Some((extracted, traversed)) = glance(path, look, progress)? {
        check_hash(&extracted, VerifyOptions::default(), &mut defects);
        return figures(path, traversed, None, defects);
    }
    if look.kind == Kind::Database {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let len = file.metadata().map_err(Error::io("reading", path))?.len();
        let has_trailer = len % 512 == HASH_LEN;
        let traversed = Traversed::new(&file, if has_trailer { len - HASH_LEN } else { len }, path, None, progress)?;
        return figures(path, traversed, Some(has_trailer), defects);
    }
    let (extracted, traversed) = spooled(path, |spool, _| unpack(path, spool, progress))?;
    check_hash(&extracted, VerifyOptions::default(), &mut defects);
    figures(path, traversed, None, defects)
}

/// `has_trailer` tells it of a bare database.
fn figures<R: ReadAt>(
    path: &Path,
    traversed: Traversed<R>,
    has_trailer: Option<bool>,
    mut defects: Vec<Defect>,
) -> Result<(Status, Vec<String>)> {
    let (database, contents, _) = traversed.into_sound(path, &mut defects)?;
    if !defects.is_empty() {
        return Err(Error::Corrupt { path: path.into(), defects });
    }
    let warnings = has_trailer.map_or_else(Vec::new, |has_trailer| live::warnings(path, has_trailer, &database));
    Ok((status_of(&database, &contents), warnings))
}

/// The database inside the compressed or archived snapshot at `path`, inflated into a file without a name, and its
/// length. Nothing is judged but what passes by anyway: the container, and the SHA-256 where there is one.
///
/// # Errors
/// [`Error::Corrupt`] and [`Error::NotASnapshot`] for the container, [`Error::Corrupt`] also when the hash does not fit;
/// [`Error::Io`]; [`Error::Interrupted`].
pub fn spool(path: &Path, progress: &dyn Progress) -> Result<(File, u64)> {
    let (file, extracted) = spooled(path, |spool, _| {
        let mut spool = spool;
        let mut sink = |bytes: &[u8]| spool.write_all(bytes).map_err(Error::io("writing the database of", path));
        let extracted = archive::extract(path, &mut sink, progress)?;
        Ok((spool.try_clone().map_err(Error::io("opening", path))?, extracted))
    })?;
    hash_fits(path, &extracted)?;
    Ok((file, extracted.database_len))
}

/// Compares the SHA-256 of a bare database, `file` opened at `path`, with its trailer, if it has one.
///
/// # Errors
/// [`Error::Corrupt`] when it does not fit, or when the length says that there is a part of it; [`Error::Io`];
/// [`Error::Interrupted`].
pub fn check_trailer(path: &Path, file: &File, progress: &dyn Progress) -> Result<()> {
    let (extracted, ()) = archive::hash_in_place(path, file, progress, |_| Ok(()))?;
    hash_fits(path, &extracted)
}

fn hash_fits(path: &Path, extracted: &Extracted) -> Result<()> {
    let mut defects = Vec::new();
    check_hash(extracted, VerifyOptions::default(), &mut defects);
    if defects.is_empty() { Ok(()) } else { Err(Error::Corrupt { path: path.to_owned(), defects }) }
}

fn status_of<R: ReadAt>(database: &Database<R>, contents: &Contents) -> Status {
    Status {
        hash: contents.hash,
        revision: contents.last_revision,
        total_key: contents.total_key,
        total_size: database.size(),
        version: contents.meta.storage_version.clone().unwrap_or_default(),
    }
}

/// A database that was walked, or what keeps it from being opened.
pub(super) struct Traversed<R: ReadAt = FileSource>(pub(super) std::result::Result<Found<R>, Vec<Defect>>);

/// What a walk found, with its defects.
pub(super) type Found<R> = (Database<R>, Contents, Walked, Vec<Defect>);

impl Traversed {
    /// Walks the first `len` bytes of `file`, whose place in messages is `path`, but for leaves of which there are
    /// `notes`.
    fn new(file: &File, len: u64, path: &Path, notes: Option<&KeyNotes>, progress: &dyn Progress) -> Result<Self> {
        let file = file.try_clone().map_err(Error::io("opening", path))?;
        Self::of(FileSource::new(file, len), path, notes, progress)
    }
}

impl<R: ReadAt> Traversed<R> {
    /// Walks all of `source`.
    fn of(source: R, path: &Path, notes: Option<&KeyNotes>, progress: &dyn Progress) -> Result<Self> {
        let database = match Database::open(source) {
            Ok(database) => database,
            Err(defects) => return Ok(Self(Err(defects))),
        };
        let read = Contents::read_noted(&database, notes, progress);
        let (contents, walked, found) = read.map_err(|error| error.of(path))?;
        Ok(Self(Ok((database, contents, walked, found))))
    }

    /// Adds the defects to those that are known; an error when there is no database to go on with.
    fn into_sound(self, path: &Path, defects: &mut Vec<Defect>) -> Result<(Database<R>, Contents, Walked)> {
        match self.0 {
            Ok((database, contents, walked, found)) => {
                defects.extend(found);
                Ok((database, contents, walked))
            }
            Err(found) => {
                defects.extend(found);
                Err(Error::Corrupt { path: path.to_owned(), defects: std::mem::take(defects) })
            }
        }
    }
}

/// Compares the trailer with what was read; says whether there was one to compare.
fn check_hash(extracted: &Extracted, options: VerifyOptions, defects: &mut Vec<Defect>) -> bool {
    match extracted.trailer {
        Some(_) if options.skip_hash_check => false,
        Some(trailer) => {
            if trailer != extracted.sha256 {
                let message =
                    format!("expected sha256 {} (the trailer), got {}", hex(&trailer), hex(&extracted.sha256));
                defects.push(Defect::new("hash-mismatch", message).at(extracted.database_len));
            }
            true
        }
        None => {
            if !extracted.database_len.is_multiple_of(512) {
                let message = format!(
                    "{} bytes are neither a database nor one with its hash: truncated, or bytes were added",
                    extracted.database_len
                );
                defects.push(Defect::new("odd-length", message).at(extracted.database_len));
            }
            false
        }
    }
}

/// The manifest travels beside the database; both must speak of the same bytes.
fn check_manifest(extracted: &Extracted, defects: &mut Vec<Defect>) {
    let Some(manifest) = &extracted.manifest else { return };
    if manifest.size != extracted.database_len {
        let message =
            format!("manifest.json says {} bytes, the database has {}", manifest.size, extracted.database_len);
        defects.push(Defect::new("manifest-size", message));
    }
    let sha256 = hex(&extracted.sha256);
    if manifest.sha256 != sha256 {
        defects
            .push(Defect::new("manifest-hash", format!("manifest.json says sha256 {}, got {sha256}", manifest.sha256)));
    }
}

/// A snapshot shows no sign of the writes that its sender had lost.
fn lossy(etcd_version: &str) -> Option<String> {
    Version::parse(etcd_version).is_some_and(Version::loses_data).then(|| {
        format!("taken from etcd {etcd_version}, whose members can differ after a crash: compare the key space hashes")
    })
}

/// Writes the database of the snapshot at `path` into the empty `file`, and walks it there beside the hash.
fn unpack(path: &Path, file: &File, progress: &dyn Progress) -> Result<(Extracted, Traversed)> {
    let walk = |len, notes: &KeyNotes| Traversed::new(file, len, path, Some(notes), progress);
    extract(path, &mut { file }, progress, walk)
}

/// Writes the database of the snapshot at `path` to `to`, and takes notes of what passes by: `meanwhile` gets them with
/// the length of the database.
fn extract<T>(
    path: &Path,
    to: &mut dyn Write,
    progress: &dyn Progress,
    meanwhile: impl FnOnce(u64, &KeyNotes) -> Result<T>,
) -> Result<(Extracted, T)> {
    let notes = RefCell::new(KeyNotes::default());
    let mut sink = |bytes: &[u8]| {
        notes.borrow_mut().take(bytes);
        to.write_all(bytes).map_err(Error::io("writing the database of", path))
    };
    archive::extract_and(path, &mut sink, progress, |len| meanwhile(len, &notes.borrow()))
}

/// Judges the database inside a large archive without having all of it in a file: what passes by is noted, and written
/// down as far as it can't be. `None` for what is none, and where something is wrong with the pages: what that is, only
/// a walk through all of them can tell.
fn glance(path: &Path, look: Look, progress: &dyn Progress) -> Result<Option<(Extracted, Traversed<Sparse>)>> {
    if look.kind == Kind::Database || look.announced_len < LARGE {
        return Ok(None);
    }
    glanced(path, progress)
}

pub(super) fn glanced(path: &Path, progress: &dyn Progress) -> Result<Option<(Extracted, Traversed<Sparse>)>> {
    let (extracted, traversed) = spooled(path, |spool, _| {
        let writing = || Error::io("writing the database of", path);
        let passing = RefCell::new((KeyNotes::default(), SparseWriter::new(spool)));
        let mut sink = |bytes: &[u8]| {
            let (notes, writer) = &mut *passing.borrow_mut();
            let (left_out, page_size) = notes.take(bytes);
            writer.write(bytes, left_out, page_size).map_err(writing())
        };
        archive::extract_and(path, &mut sink, progress, |_| {
            let (notes, writer) = passing.replace((KeyNotes::default(), SparseWriter::new(spool)));
            let source = writer.finish().map_err(writing())?;
            Traversed::of(source, path, Some(&notes), progress)
        })
    })?;
    let sound = matches!(&traversed.0, Ok((.., defects)) if defects.is_empty());
    Ok(sound.then_some((extracted, traversed)))
}

/// Where a file without a name is made for the snapshot at `path`: beside it, where there is room for an archive's
/// content more often than in a `/tmp` that is memory; and where that can't be, or does not fit, in the directory for
/// temporary files.
pub(crate) fn spool_dirs(path: &Path) -> [PathBuf; 2] {
    let beside = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    [beside.to_owned(), std::env::temp_dir()]
}

/// Does `work` with a file that has no name, so that nothing is left to clean up, whatever happens, and the directory
/// that it lies in: one of [`spool_dirs`].
pub(crate) fn spooled<T>(path: &Path, work: impl Fn(&File, &Path) -> Result<T>) -> Result<T> {
    let [beside, elsewhere] = spool_dirs(path);
    if let Ok(file) = unnamed_file(&beside) {
        match work(&file, &beside) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {}
            done => return done,
        }
    }
    let file = unnamed_file(&elsewhere).map_err(Error::io("making a temporary file in", &elsewhere))?;
    work(&file, &elsewhere)
}
