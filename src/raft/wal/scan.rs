//! Frames and CRC chain of one segment after the other.

use std::io::{self, Read};

use super::frame::{CRC, FrameLength, WORD};
use crate::defect::Defect;
use crate::raft::envelope::Record;

/// The longest record that is read, which bounds the memory that a damaged length can ask for. etcd's own limit
/// was 10 MiB up to 3.5; a request that large is refused long before.
const MAX_RECORD: u64 = 64 << 20;

/// Bytes read at a time where zeros are expected.
const TAIL_CHUNK: usize = 64 << 10;

/// Defects that are kept; a WAL of nothing else would fill the memory.
const MAX_DEFECTS: usize = 1_000;

/// Defects as they are found, each with the name of its segment.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) defects: Vec<Defect>,
    segment: String,
}

impl Findings {
    /// What follows lies in the segment `name`.
    pub(super) fn enter(&mut self, name: &str) {
        name.clone_into(&mut self.segment);
    }

    /// A defect at byte `offset` of the segment.
    pub(super) fn at(&mut self, offset: u64, code: &'static str, message: impl std::fmt::Display) {
        let message = format!("{}: {message}", self.segment);
        self.push(Defect::new(code, message).at(offset));
    }

    pub(super) fn push(&mut self, defect: Defect) {
        if self.defects.len() < MAX_DEFECTS {
            self.defects.push(defect);
        }
    }
}

/// Reads segments in their order. Knows frames and CRCs, and nothing of what the records mean.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The running CRC; `None` where it is not known: before the first record of a WAL whose first segments are
    /// gone, and after a record that could not be read.
    pub(super) crc: Option<u32>,
    buffer: Vec<u8>,
}

impl Scanner {
    /// Reads the segment of `len` bytes and hands over each record that is whole, with its offset; those of type
    /// [`CRC`] it keeps to itself. Gives the length of the frames.
    ///
    /// After a broken frame nothing more is read; after a broken record the next one is.
    pub(super) fn segment(
        &mut self,
        source: &mut dyn Read,
        len: u64,
        findings: &mut Findings,
        visit: &mut dyn FnMut(u64, &Record<'_>, &mut Findings),
    ) -> io::Result<u64> {
        let mut offset = 0;
        while let Some(length) = next_length(source, offset, len, findings)? {
            let mut buffer = std::mem::take(&mut self.buffer);
            // At most MAX_RECORD and its padding.
            buffer.resize(usize::try_from(length.total()).unwrap_or(usize::MAX), 0);
            source.read_exact(&mut buffer)?;
            let record = usize::try_from(length.record).ok().and_then(|record| buffer.split_at_checked(record));
            if let Some((record, padding)) = record {
                if padding.iter().any(|byte| *byte != 0) {
                    findings.at(offset, "wal-padding", "the padding of a record is not zero");
                }
                self.record(offset, record, findings, visit);
            }
            self.buffer = buffer;
            offset += WORD + length.total();
        }
        Ok(offset)
    }

    fn record(
        &mut self,
        offset: u64,
        bytes: &[u8],
        findings: &mut Findings,
        visit: &mut dyn FnMut(u64, &Record<'_>, &mut Findings),
    ) {
        let record = match Record::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                findings.at(offset, "wal-record", error);
                self.crc = None;
                return;
            }
        };
        if offset == 0 && record.kind != CRC {
            let message = format!("a segment must begin with a crc record, not one of type {}", record.kind);
            findings.at(offset, "wal-segment-start", message);
        }
        let running = self.crc.map(|crc| crc32c::crc32c_append(crc, record.data.unwrap_or_default()));
        // Damage to the data leaves the recorded value right, so the chain goes on from there.
        self.crc = Some(record.crc);
        if let Some(running) = running.filter(|running| *running != record.crc) {
            let message = format!("crc mismatch: recorded {:08x}, computed {running:08x}", record.crc);
            findings.at(offset, "wal-crc-mismatch", message);
        } else if record.kind != CRC {
            visit(offset, &record, findings);
        }
        if record.kind == CRC && record.data.is_some() {
            findings.at(offset, "wal-record", "a crc record holds data");
        }
    }
}

/// Reads the length word at `offset`; `None` at the end of the frames, having looked at all that follows.
fn next_length(
    source: &mut dyn Read,
    offset: u64,
    len: u64,
    findings: &mut Findings,
) -> io::Result<Option<FrameLength>> {
    let rest = len.saturating_sub(offset);
    if rest == 0 {
        return Ok(None);
    }
    if rest < WORD {
        findings.at(offset, "wal-torn-frame", format!("{rest} bytes at the end, where a length word has {WORD}"));
        return Ok(None);
    }
    let mut word = [0; 8];
    source.read_exact(&mut word)?;
    let word = u64::from_le_bytes(word);
    if word == 0 {
        zero_tail(source, offset + WORD, findings)?;
        return Ok(None);
    }
    let Some(length) = FrameLength::parse(word) else {
        findings.at(offset, "wal-frame-length", format!("{word:016x} is no length word"));
        return Ok(None);
    };
    let room = rest - WORD;
    if length.total() > room {
        let message = format!("torn frame: a record of {} bytes where {room} are left", length.total());
        findings.at(offset, "wal-torn-frame", message);
        return Ok(None);
    }
    if length.record > MAX_RECORD {
        let message = format!("a record of {} bytes, more than the {MAX_RECORD} that are read", length.record);
        findings.at(offset, "wal-record-too-large", message);
        return Ok(None);
    }
    Ok(Some(length))
}

/// After a zero word everything must be zero: etcd writes on from there.
fn zero_tail(source: &mut dyn Read, from: u64, findings: &mut Findings) -> io::Result<()> {
    let mut chunk = vec![0; TAIL_CHUNK];
    let mut offset = from;
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Some(at) = chunk.iter().take(read).position(|byte| *byte != 0) {
            findings.at(offset + at as u64, "wal-tail", "the unused rest of the segment is not zero");
            return Ok(());
        }
        offset += read as u64;
    }
}
