//! Reads a snapshot out of whatever holds it, in one pass.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;

use super::database::{Database, Sink};
use super::decoder::{Decoder, Ending};
use super::detect::Kind;
use super::entries::{self, Found};
use super::layout::{SNAPSHOT_ENTRY, TAR_BLOCK_U64};
use super::manifest::{Blocks, Manifest};
use super::stream::{self, CHUNK, Stream};
use crate::error::{Error, Result};
use crate::progress::Progress;

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

/// What the file at `path` is, by its first bytes.
///
/// # Errors
/// [`Error::NotASnapshot`], [`Error::Corrupt`] when damage shows in the first bytes already, [`Error::Io`].
pub fn kind(path: &Path) -> Result<Kind> {
    look(path).map(|(kind, ..)| kind)
}

/// Bytes of the snapshot in the file at `path`, its hash included, as far as the beginning tells: the size that the tar
/// announces, or the length of a bare database. Where nothing is announced it is the length of the file, which then is
/// compressed: a lower bound.
///
/// # Errors
/// As [`kind`].
pub fn announced_len(path: &Path) -> Result<u64> {
    let (kind, first, file_len) = look(path)?;
    let announced = if kind.is_tar() { entries::announced_len(&first) } else { None };
    Ok(announced.unwrap_or(file_len))
}

/// What the file is, its first bytes inside the wrapping, and its length.
fn look(path: &Path) -> Result<(Kind, Vec<u8>, u64)> {
    let (file, file_len) = open(path)?;
    let mut decoder = Decoder::new(file).map_err(Error::io("reading", path))?;
    let mut first = vec![0; CHUNK];
    let mut filled = 0;
    let outcome = decoder.fill(&mut first, &mut filled);
    first.truncate(filled);
    match (Kind::of(decoder.wrapping(), &first), outcome) {
        (Ok(kind), _) => Ok((kind, first, file_len)),
        (Err(_), Err(failure)) => Err(stream::error(failure, path)),
        (Err(reason), Ok(())) => Err(Error::NotASnapshot { path: path.to_owned(), reason }),
    }
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
    let (file, file_len) = open(path)?;
    extract_from(file, file_len, path, sink, progress)
}

/// [`extract`] from anything that reads; `path` is for messages.
pub(super) fn extract_from<R: Read + Send>(
    input: R,
    file_len: u64,
    path: &Path,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Extracted> {
    let decoder = Decoder::new(input).map_err(Error::io("reading", path))?;
    let wrapping = decoder.wrapping();
    thread::scope(|scope| {
        let (mut stream, thread) = Stream::start(scope, decoder, path, file_len, progress)?;
        let kind = match Kind::of(wrapping, stream.peek()?) {
            Ok(kind) => kind,
            Err(reason) => {
                // Damage that follows at once explains more than that nothing is known of what came before it.
                stream.piece(u64::MAX)?;
                stream.peek()?;
                return Err(Error::NotASnapshot { path: path.to_owned(), reason });
            }
        };
        let sink: &mut Sink<'_> = &mut |bytes| sink(bytes);
        let database = Database::new(scope, sink, path)?;
        let found = if kind.is_tar() { entries::walk(&mut stream, database)? } else { bare(&mut stream, database)? };
        let ending = stream.ending()?;
        let Some(facts) = found.database else {
            let reason = format!("the tar holds no {SNAPSHOT_ENTRY}");
            return Err(Error::NotASnapshot { path: path.to_owned(), reason });
        };
        let manifest = match found.manifest {
            Some((manifest, blocks)) => {
                let snapshot_len = facts.len + facts.trailer.map_or(0, |trailer| trailer.len() as u64);
                if kind == Kind::TarZstd && lost_its_seek_table(blocks.as_ref(), ending, snapshot_len) {
                    return Err(stream.damage(
                        "truncated",
                        "the file ends before the seek table of its zstd frames",
                        file_len,
                    ));
                }
                Some(manifest)
            }
            None => None,
        };
        drop(stream);
        // A panic of the thread was seen as a stream that broke off.
        let _ = thread.join();
        let (database_len, sha256, trailer) = (facts.len, facts.sha256, facts.trailer);
        Ok(Extracted { kind, file_len, database_len, sha256, trailer, manifest })
    })
}

/// A stream that is the database.
fn bare(stream: &mut Stream<'_>, mut database: Database<'_, '_>) -> Result<Found> {
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

/// Opens a regular file, and says how long it is.
fn open(path: &Path) -> Result<(File, u64)> {
    // Before opening: that would wait for the other end of a pipe.
    let metadata = fs::metadata(path).map_err(Error::io("opening", path))?;
    if !metadata.is_file() {
        let reason = if metadata.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(Error::NotASnapshot { path: path.to_owned(), reason: reason.to_owned() });
    }
    let file = File::open(path).map_err(Error::io("opening", path))?;
    Ok((file, metadata.len()))
}
