//! The entries of a tar that holds a snapshot: which are allowed, and what each must look like.

use super::database::{Database, Facts};
use super::layout::{MANIFEST_ENTRY, SNAPSHOT_ENTRY, TAR_BLOCK_U64};
use super::manifest::{self, Blocks, Manifest};
use super::pax::{self, Pax};
use super::stream::Stream;
use super::tar_header::{self, Header};
use crate::error::{Error, Result};

/// Longest extension record (PAX header, GNU long name) that is read, in bytes.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// Headers that are read before the end marker, extension records included. An archive needs six.
const MOST_HEADERS: u32 = 64;

/// Zeros that may follow the end marker: the largest record of tapes, and more.
const LONGEST_PADDING: u64 = 16 << 20;

/// What the entries were.
pub(super) struct Found {
    /// `None` when the tar has no snapshot.
    pub(super) database: Option<Facts>,
    pub(super) manifest: Option<(Manifest, Option<Blocks>)>,
}

/// Records that change the entry after them.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// What may be done with an entry of some name.
enum Role {
    Snapshot,
    Manifest,
    Stranger,
    /// Absolute, or with a `..` in it.
    Climber,
}

/// Walks a tar from its first header to the end of the stream. Offsets are those of the tar stream.
pub(super) fn walk(stream: &mut Stream<'_>, database: Database<'_>) -> Result<Found> {
    let mut database = Some(database);
    let mut found = Found { database: None, manifest: None };
    let mut extension = Extension::default();
    for _ in 0..MOST_HEADERS {
        let offset = stream.offset();
        let Some(block) = stream.block()? else {
            return Err(stream.damage("truncated", "the tar stream ends without its end marker", offset));
        };
        if block.iter().all(|byte| *byte == 0) {
            if extension.name.is_some() || extension.pax.is_some() {
                return Err(stream.damage("tar-header", "an extension record of the tar has no entry", offset));
            }
            end(stream)?;
            return Ok(found);
        }
        let header = tar_header::parse(&block).map_err(|message| stream.damage("tar-header", message, offset))?;
        if extend(stream, &header, &mut extension, offset)? {
            continue;
        }
        let header = apply(stream, header, std::mem::take(&mut extension), offset)?;
        let name = shown(&header.name);
        match role(&header.name) {
            Role::Climber => {
                let message = format!("entry \"{name}\" of the tar leads out of the archive");
                return Err(stream.damage("tar-entry-path", message, offset));
            }
            Role::Stranger => return Err(stranger(stream, &found, &header, offset)),
            Role::Snapshot | Role::Manifest if header.kind != b'0' => {
                let message = format!("entry \"{name}\" of the tar is {}, not a regular file", kind(header.kind));
                return Err(stream.damage("tar-entry-type", message, offset));
            }
            Role::Snapshot => match database.take() {
                Some(database) => found.database = Some(snapshot(stream, database, header.size)?),
                None => return Err(twice(stream, SNAPSHOT_ENTRY, offset)),
            },
            Role::Manifest if found.manifest.is_some() => return Err(twice(stream, MANIFEST_ENTRY, offset)),
            Role::Manifest => {
                let body = body(stream, header.size, manifest::LONGEST, MANIFEST_ENTRY, offset)?;
                found.manifest = Some(manifest::parse(&body).map_err(|defect| stream.corrupt(defect.at(offset)))?);
            }
        }
    }
    let message = format!("the tar stream has more than {MOST_HEADERS} headers");
    Err(stream.damage("tar-header", message, stream.offset()))
}

/// Reads an extension record; `false` when the header is that of an entry.
fn extend(stream: &mut Stream<'_>, header: &Header, extension: &mut Extension, offset: u64) -> Result<bool> {
    match header.kind {
        b'L' | b'x' => {
            let body = body(stream, header.size, LONGEST_EXTENSION, "extension record", offset)?;
            let again = if header.kind == b'L' {
                let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
                extension.name.replace(body.get(..end).unwrap_or_default().to_vec()).is_some()
            } else {
                let pax = pax::parse(&body).map_err(|message| stream.damage("tar-header", message, offset))?;
                extension.pax.replace(pax).is_some()
            };
            if again {
                // Readers differ in which of the two they take.
                return Err(stream.damage("tar-header", "an entry of the tar has two extension records", offset));
            }
        }
        // Names of link targets; links are refused when they come.
        b'K' => drop(body(stream, header.size, LONGEST_EXTENSION, "extension record", offset)?),
        b'g' => {
            let body = body(stream, header.size, LONGEST_EXTENSION, "extension record", offset)?;
            let pax = pax::parse(&body).map_err(|message| stream.damage("tar-header", message, offset))?;
            if pax != Pax::default() {
                // It would hold for every entry, and readers differ in how.
                let message = "a global PAX header of the tar sets name or size";
                return Err(stream.damage("tar-header", message, offset));
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn apply(stream: &Stream<'_>, mut header: Header, extension: Extension, offset: u64) -> Result<Header> {
    let pax = extension.pax.unwrap_or_default();
    if pax.sparse {
        let message = format!("entry \"{}\" of the tar is a sparse file, which is not supported", shown(&header.name));
        return Err(stream.damage("tar-entry-type", message, offset));
    }
    if let Some(name) = pax.path.or(extension.name) {
        header.name = name;
    }
    header.size = pax.size.unwrap_or(header.size);
    Ok(header)
}

fn role(name: &[u8]) -> Role {
    if name.starts_with(b"/") || name.split(|byte| *byte == b'/').any(|component| component == b"..") {
        return Role::Climber;
    }
    let name = name.strip_prefix(b"./").unwrap_or(name);
    if name == SNAPSHOT_ENTRY.as_bytes() {
        Role::Snapshot
    } else if name == MANIFEST_ENTRY.as_bytes() {
        Role::Manifest
    } else {
        Role::Stranger
    }
}

/// The size that the header of the snapshot's entry announces, if that header is among the first bytes of the tar.
pub(super) fn announced_len(mut first: &[u8]) -> Option<u64> {
    loop {
        let (block, rest) = first.split_first_chunk()?;
        let header = tar_header::parse(block).ok()?;
        if matches!(role(&header.name), Role::Snapshot) {
            return Some(header.size);
        }
        let skipped = header.size.checked_next_multiple_of(TAR_BLOCK_U64)?;
        first = rest.get(usize::try_from(skipped).ok()?..)?;
    }
}

/// A tar without our entries is somebody else's file; one with them and more is a damaged or a forged one of ours.
fn stranger(stream: &Stream<'_>, found: &Found, header: &Header, offset: u64) -> Error {
    let name = shown(&header.name);
    let kind = kind(header.kind);
    if found.database.is_none() && found.manifest.is_none() {
        let reason = format!("the tar holds \"{name}\", {kind}, where {SNAPSHOT_ENTRY} should be");
        return Error::NotASnapshot { path: stream.path().to_owned(), reason };
    }
    let message = format!("entry \"{name}\" of the tar, {kind}, has no place in the archive");
    stream.damage("tar-entry-unknown", message, offset)
}

fn twice(stream: &Stream<'_>, name: &str, offset: u64) -> Error {
    stream.damage("tar-entry-twice", format!("the tar holds {name} a second time"), offset)
}

/// Passes the body of the snapshot's entry on.
fn snapshot(stream: &mut Stream<'_>, mut database: Database<'_>, size: u64) -> Result<Facts> {
    let mut rest = size;
    while rest > 0 {
        let Some(piece) = stream.piece(rest)? else {
            return Err(truncated(stream, SNAPSHOT_ENTRY, size));
        };
        rest -= piece.len() as u64;
        database.push(piece)?;
    }
    padding(stream, size)?;
    database.finish()
}

/// The body of a small entry. Memory grows with what comes, not with what is announced.
fn body(stream: &mut Stream<'_>, size: u64, most: u64, name: &str, offset: u64) -> Result<Vec<u8>> {
    if size > most {
        let message = format!("{name} of the tar has {size} bytes, more than the {most} that are read");
        return Err(stream.damage("tar-entry-size", message, offset));
    }
    let mut body = Vec::new();
    let mut rest = size;
    while rest > 0 {
        let Some(piece) = stream.piece(rest)? else {
            return Err(truncated(stream, name, size));
        };
        rest -= piece.len() as u64;
        body.extend_from_slice(&piece);
    }
    padding(stream, size)?;
    Ok(body)
}

fn truncated(stream: &Stream<'_>, name: &str, size: u64) -> Error {
    let message = format!("the tar stream ends inside {name}, which has {size} bytes");
    stream.damage("truncated", message, stream.offset())
}

/// Passes over the zeros that fill an entry up to whole blocks.
fn padding(stream: &mut Stream<'_>, size: u64) -> Result<()> {
    let mut rest = size.wrapping_neg() % TAR_BLOCK_U64;
    while rest > 0 {
        let offset = stream.offset();
        match stream.piece(rest)? {
            Some(piece) if piece.iter().all(|byte| *byte == 0) => rest -= piece.len() as u64,
            Some(_) => return Err(stream.damage("tar-padding", "padding of the tar is not zero", offset)),
            None => return Err(stream.damage("truncated", "the tar stream ends inside padding", offset)),
        }
    }
    Ok(())
}

/// After the first zero block: a second one, and nothing but zeros until the end of the stream.
fn end(stream: &mut Stream<'_>) -> Result<()> {
    let start = stream.offset();
    match stream.block()? {
        Some(block) if block.iter().all(|byte| *byte == 0) => {}
        Some(_) => return Err(stream.damage("tar-end", "the end marker of the tar is a lone zero block", start)),
        None => return Err(stream.damage("truncated", "the tar stream ends inside its end marker", start)),
    }
    loop {
        let offset = stream.offset();
        match stream.piece(u64::MAX)? {
            None => return Ok(()),
            Some(piece) if piece.iter().any(|byte| *byte != 0) => {
                return Err(stream.damage("tar-trailing", "bytes follow the end of the tar stream", offset));
            }
            Some(_) if offset - start > LONGEST_PADDING => {
                let message = format!("more than {LONGEST_PADDING} zeros follow the end of the tar stream");
                return Err(stream.damage("tar-trailing", message, offset));
            }
            Some(_) => {}
        }
    }
}

fn kind(flag: u8) -> &'static str {
    match flag {
        b'0' => "a file",
        b'1' => "a hard link",
        b'2' => "a symbolic link",
        b'3' | b'4' => "a device",
        b'5' => "a directory",
        b'6' => "a pipe",
        b'S' => "a sparse file",
        _ => "of an unknown type",
    }
}

/// A name from an archive, fit for a message: no control characters, no endless length.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name.get(..name.len().min(100)).unwrap_or_default()).escape_debug().to_string();
    if name.len() > 100 { text + "..." } else { text }
}
