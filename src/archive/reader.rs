//! Reads a snapshot out of whatever holds it, in one pass.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use super::database::{Database, Sink, has_trailer};
use super::decoder::{Decoder, Ending, Wrapping};
use super::detect::Kind;
use super::entries::{self, Found};
use super::hash::Hasher;
use super::index::{Index, find_index};
use super::layout::{HASH_LEN, LARGEST_PAGE, SNAPSHOT_ENTRY, TAR_BLOCK_U64};
use super::manifest::{Blocks, Manifest};
use super::parallel;
use super::stream::{self, CHUNK, Stream};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::read_at::{FileSource, ReadAt};

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// What the file is.
    pub kind: Kind,
    /// Bytes of the file.
    pub file_len: u64,
    /// Bytes of the database, which are those that the sink got.
    pub database_len: u64,
    /// SHA-256 of those bytes, computed.
    pub sha256: [u8; 32],
    /// The 32 bytes behind the database, if its length says that they are there; not compared with anything.
    pub trailer: Option<[u8; 32]>,
    /// The manifest, if there is one; not compared with anything.
    pub manifest: Option<Manifest>,
}

/// What the beginning of a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What the file is.
    pub kind: Kind,
    /// Bytes of the snapshot in it, its hash included: the size that the tar announces, or the length of a bare
    /// database. Where nothing is announced it is the length of the file, which then is compressed: a lower bound.
    pub announced_len: u64,
}

/// Looks at the first bytes of the file at `path`.
///
/// # Errors
/// [`Error::NotASnapshot`], [`Error::Corrupt`] when damage shows in the first bytes already, [`Error::Io`].
pub fn look(path: &Path) -> Result<Look> {
    let file = open(path)?;
    let mut decoder = Decoder::new(&file).map_err(Error::io("reading", path))?;
    let mut first = vec![0; CHUNK];
    let mut filled = 0;
    let outcome = decoder.fill(&mut first, &mut filled);
    first.truncate(filled);
    let kind = Kind::of(decoder.wrapping(), &first).map_err(|reason| match outcome {
        Err(failure) => stream::error(failure, path),
        Ok(()) => Error::NotASnapshot { path: path.to_owned(), reason },
    })?;
    let announced = if kind.is_tar() { entries::announced_len(&first) } else { None };
    Ok(Look { kind, announced_len: announced.unwrap_or(file.len()) })
}

/// Reads the file at `path` once, from start to end, and gives the database's bytes to `sink` in order; never
/// those of its hash.
///
/// Reading and decompressing, hashing, and the sink run beside each other. Memory does not grow with the file.
/// Hashes are computed, and left to the caller to compare: bytes that the sink got are proven by nothing yet.
///
/// # Errors
/// [`Error::NotASnapshot`] for a file of another kind; [`Error::Corrupt`] for anything that is wrong with the
/// compression, the tar or its entries, with the offset in the file or the stream that the message names;
/// [`Error::Interrupted`]; [`Error::Io`]; what `sink` says.
pub fn extract(path: &Path, sink: &mut dyn FnMut(&[u8]) -> Result<()>, progress: &dyn Progress) -> Result<Extracted> {
    extract_and(path, sink, progress, |_| Ok(())).map(|(extracted, ())| extracted)
}

/// [`extract`]. When `sink` has got all bytes of the database, and the archive was read to its end, `meanwhile` gets
/// their number, while the last of them may still be hashed.
///
/// # Errors
/// As of [`extract`], and what `meanwhile` says.
pub fn extract_and<T>(
    path: &Path,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    progress: &dyn Progress,
    meanwhile: impl FnOnce(u64) -> Result<T>,
) -> Result<(Extracted, T)> {
    let input = open(path)?;
    let work = Extraction { input: &input, index: worthwhile(&input), path, progress };
    work.run(sink, meanwhile)
}

/// Does for a bare database, which has to go nowhere, what [`extract_and`] does: hashes `file`, opened at `path`,
/// beside `meanwhile`, which gets the number of the bytes of the database.
///
/// # Errors
/// [`Error::Io`], [`Error::Interrupted`], what `meanwhile` says.
pub fn hash_in_place<T>(
    path: &Path,
    file: &File,
    progress: &dyn Progress,
    meanwhile: impl FnOnce(u64) -> Result<T>,
) -> Result<(Extracted, T)> {
    let file_len = file.metadata().map_err(Error::io("reading", path))?.len();
    let (database_len, trailer) = if has_trailer(file_len) {
        let (database_len, mut trailer) = (file_len - HASH_LEN, [0; 32]);
        file.read_exact_at(&mut trailer, database_len).map_err(Error::io("reading", path))?;
        (database_len, Some(trailer))
    } else {
        (file_len, None)
    };
    progress.step(Stage::Read, 0, Some(file_len))?;
    thread::scope(|scope| {
        let hasher = Hasher::start(scope, Some(file), path)?;
        let hash = hasher.end(database_len).map_err(Error::io("hashing", path))?;
        let done = meanwhile(database_len)?;
        let sha256 = hash.wait(path, file_len, progress)?;
        Ok((Extracted { kind: Kind::Database, file_len, database_len, sha256, trailer, manifest: None }, done))
    })
}

/// The index of an archive whose blocks are many enough to be inflated side by side, and large enough for the first
/// of them to tell what the stream is.
pub(super) fn worthwhile(input: &dyn ReadAt) -> Option<Index> {
    find_index(input).filter(|index| index.blocks() > 1 && index.block_len() > 2 * LARGEST_PAGE as u64)
}

/// A file on its way through.
pub(super) struct Extraction<'a> {
    pub(super) input: &'a dyn ReadAt,
    pub(super) index: Option<Index>,
    /// For messages.
    pub(super) path: &'a Path,
    pub(super) progress: &'a dyn Progress,
}

impl Extraction<'_> {
    pub(super) fn run<T>(
        self,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
        meanwhile: impl FnOnce(u64) -> Result<T>,
    ) -> Result<(Extracted, T)> {
        let Self { input, index, path, progress } = self;
        let file_len = input.len();
        let wrapping = wrapping(input, path)?;
        thread::scope(|scope| {
            let (mut stream, thread) = Stream::start(scope, (input, index), path, progress)?;
            let kind = kind_of(&mut stream, wrapping)?;
            let sink: &mut Sink<'_> = &mut |bytes| sink(bytes);
            let database = Database::new(sink, Hasher::start(scope, None, path)?, path);
            let found =
                if kind.is_tar() { entries::walk(&mut stream, database)? } else { bare(&mut stream, database)? };
            let ending = stream.ending()?;
            refuse_a_lying_index(input, ending, &stream)?;
            let Some(facts) = found.database else {
                let reason = format!("the tar holds no {SNAPSHOT_ENTRY}");
                return Err(Error::NotASnapshot { path: path.to_owned(), reason });
            };
            let (database_len, trailer) = (facts.len, facts.trailer);
            let manifest = match found.manifest {
                Some((manifest, blocks)) => {
                    let snapshot_len = database_len + trailer.map_or(0, |trailer| trailer.len() as u64);
                    if kind == Kind::TarZstd && lost_its_seek_table(blocks.as_ref(), ending, snapshot_len) {
                        let message = "the file ends before the seek table of its zstd frames";
                        return Err(stream.damage("truncated", message, file_len));
                    }
                    Some(manifest)
                }
                None => None,
            };
            drop(stream);
            // A panic of the thread was seen as a stream that broke off.
            let _ = thread.join();
            let done = meanwhile(database_len)?;
            let sha256 = facts.hash.wait(path, file_len, progress)?;
            Ok((Extracted { kind, file_len, database_len, sha256, trailer, manifest }, done))
        })
    }
}

/// Refuses an archive whose index of blocks is not that of its blocks, unless they were read by it: who reads at random
/// follows that index, and has to find what was found from start to end.
fn refuse_a_lying_index(input: &dyn ReadAt, ending: Ending, stream: &Stream<'_>) -> Result<()> {
    if ending.blocks || ending.seek_table {
        return Ok(());
    }
    match find_index(input).and_then(|index| parallel::contradiction(input, &index)) {
        Some(at) => Err(stream.damage("block-index", "the archive's index of its blocks contradicts them", at)),
        None => Ok(()),
    }
}

fn wrapping(input: &dyn ReadAt, path: &Path) -> Result<Wrapping> {
    let decoder = Decoder::new(input).map_err(Error::io("reading", path))?;
    Ok(decoder.wrapping())
}

fn kind_of(stream: &mut Stream<'_>, wrapping: Wrapping) -> Result<Kind> {
    Kind::of(wrapping, stream.peek()?).or_else(|reason| {
        // Damage that follows at once explains more than that nothing is known of what came before it.
        stream.piece(u64::MAX)?;
        stream.peek()?;
        Err(Error::NotASnapshot { path: stream.path().to_owned(), reason })
    })
}

/// A stream that is the database.
fn bare(stream: &mut Stream<'_>, mut database: Database<'_>) -> Result<Found> {
    while let Some(piece) = stream.piece(u64::MAX)? {
        database.push(piece)?;
    }
    Ok(Found { database: Some(database.finish()?), manifest: None })
}

/// Whether a zstd archive was cut off right before its seek table, where the stream is whole. The manifest says
/// that there was one; frames of another shape say that the archive was compressed anew by another tool.
fn lost_its_seek_table(blocks: Option<&Blocks>, ending: Ending, snapshot_len: u64) -> bool {
    let Some(blocks) = blocks.filter(|_| !ending.seek_table && ending.frames > 1) else { return false };
    let section = snapshot_len.next_multiple_of(TAR_BLOCK_U64) + TAR_BLOCK_U64;
    ending.first_frame_len == section.min(blocks.size)
}

/// Opens a regular file, as long as it is now.
fn open(path: &Path) -> Result<FileSource> {
    // Before opening: that would wait for the other end of a pipe.
    let metadata = fs::metadata(path).map_err(Error::io("opening", path))?;
    if !metadata.is_file() {
        let reason = if metadata.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(Error::NotASnapshot { path: path.to_owned(), reason: reason.to_owned() });
    }
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let len = file.metadata().map_err(Error::io("reading", path))?.len();
    Ok(FileSource::new(file, len))
}
