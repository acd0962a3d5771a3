//! Frames and CRC chain of one segment after the other.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::frame::{CRC, ENTRY, FrameLength, MENDED_RECORD, STATE, WORD, is_torn};
use crate::defect::Defect;
use crate::raft::envelope::Record;

/// The longest record that is read, which bounds the memory that a damaged length can ask for. etcd's own limit
/// was 10 MiB up to 3.5; a request that large is refused long before.
const MAX_RECORD: u64 = 64 << 20;

/// Bytes read at a time where zeros are expected.
const TAIL_CHUNK: usize = 64 << 10;
/// What they are compared with.
static ZEROS: [u8; TAIL_CHUNK] = [0; TAIL_CHUNK];

/// Defects that are kept; a WAL of nothing else would fill the memory.
const MAX_DEFECTS: usize = 1_000;

/// Defects as they are found, each with the name of its segment.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) defects: Vec<Defect>,
    pub(super) torn: Option<Torn>,
    segment: String,
}

/// Where a write into the newest segment was cut off. etcd goes by what stands before it, and clears away the rest.
#[derive(Debug)]
pub(super) struct Torn {
    pub(super) defect: Defect,
    synced: Synced,
}

impl Torn {
    /// Whether what follows was written after the torn record had been synced: then it was no write that was cut off.
    pub(super) fn was_synced(&self) -> bool {
        self.synced == Synced::Proven
    }
}

/// How far the records behind a torn one prove that it had been synced. `WAL.Save` writes entries, then the hard state,
/// and syncs where there was an entry; so an entry behind a hard state behind an entry comes from a later call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Unknown,
    Entry,
    State,
    Proven,
}

impl Synced {
    fn followed_by(self, kind: u64) -> Self {
        match (self, kind) {
            (Self::Unknown, ENTRY) => Self::Entry,
            (Self::Entry, STATE) => Self::State,
            (Self::State, ENTRY) => Self::Proven,
            _ => self,
        }
    }
}

/// The bytes of a segment.
pub(super) struct Source<'a> {
    /// Reads `file` from its beginning on.
    pub(super) read: &'a mut dyn Read,
    pub(super) file: &'a File,
    /// Bytes that are looked at.
    pub(super) len: u64,
    /// Whether it is the newest segment, the only one that etcd mends.
    pub(super) newest: bool,
}

impl Findings {
    /// What follows lies in the segment `name`.
    pub(super) fn enter(&mut self, name: &str) {
        name.clone_into(&mut self.segment);
    }

    /// A defect at byte `offset` of the segment; none where that lies behind a torn write, which etcd clears away.
    pub(super) fn at(&mut self, offset: u64, code: &'static str, message: impl std::fmt::Display) {
        if self.torn.is_some() {
            return;
        }
        let message = format!("{}: {message}", self.segment);
        self.push(Defect::new(code, message).at(offset));
    }

    /// A write that was cut off at byte `offset`. Of what follows nothing is told.
    fn tear(&mut self, offset: u64, code: &'static str, message: impl std::fmt::Display) {
        if self.torn.is_none() {
            let defect = Defect::new(code, format!("{}: {message}", self.segment)).at(offset);
            self.torn = Some(Torn { defect, synced: Synced::Unknown });
        }
    }

    /// A write that was cut off where etcd mends such, else a defect.
    fn cut_off(&mut self, newest: bool, offset: u64, code: &'static str, message: impl std::fmt::Display) {
        if newest {
            self.tear(offset, code, message);
        } else {
            self.at(offset, code, message);
        }
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
    /// Reads a segment and hands over each record that is whole, with its offset; those of type [`CRC`] it keeps to
    /// itself. Gives the length of the frames, of those before the torn one where there is one.
    ///
    /// After a broken frame nothing more is read; after a broken record the next one is.
    pub(super) fn segment(
        &mut self,
        mut source: Source<'_>,
        findings: &mut Findings,
        visit: &mut dyn FnMut(u64, &Record<'_>, &mut Findings),
    ) -> io::Result<u64> {
        let (mut offset, mut used) = (0, 0);
        while let Some(length) = next_length(&mut source, offset, findings)? {
            let mut buffer = std::mem::take(&mut self.buffer);
            // At most MAX_RECORD and its padding.
            buffer.resize(usize::try_from(length.total()).unwrap_or(usize::MAX), 0);
            if !fill(&mut source, offset, &mut buffer, findings)? {
                break;
            }
            let record = usize::try_from(length.record).ok().and_then(|record| buffer.split_at_checked(record));
            if let Some((record, padding)) = record {
                if findings.torn.is_some() {
                    self.behind(record, findings);
                } else {
                    if padding.iter().any(|byte| *byte != 0) {
                        findings.at(offset, "wal-padding", "the padding of a record is not zero");
                    }
                    let torn = source.newest && is_torn(offset + WORD, &buffer);
                    self.record(offset, record, torn, findings, visit);
                }
            }
            self.buffer = buffer;
            offset += WORD + length.total();
            if findings.torn.is_none() {
                used = offset;
            }
        }
        Ok(used)
    }

    /// Takes in a record; where it is broken and `torn`, it is the end of the log.
    fn record(
        &mut self,
        offset: u64,
        bytes: &[u8],
        torn: bool,
        findings: &mut Findings,
        visit: &mut dyn FnMut(u64, &Record<'_>, &mut Findings),
    ) {
        let record = match Record::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                let message = format!("a record of {} bytes, cut off while it was written: {error}", bytes.len());
                if torn {
                    findings.tear(offset, "wal-torn-record", message);
                } else {
                    findings.at(offset, "wal-record", error);
                }
                self.crc = None;
                return;
            }
        };
        if offset == 0 && record.kind != CRC {
            let message = format!("a segment must begin with a crc record, not one of type {}", record.kind);
            findings.at(offset, "wal-segment-start", message);
        }
        let running = self.running(&record);
        if let Some(running) = running.filter(|running| *running != record.crc) {
            if torn && record.kind != CRC {
                let message = format!("a record of {} bytes, cut off while it was written", bytes.len());
                findings.tear(offset, "wal-torn-record", message);
                return Self::count(record.kind, findings);
            }
            let message = format!("crc mismatch: recorded {:08x}, computed {running:08x}", record.crc);
            findings.at(offset, "wal-crc-mismatch", message);
        } else if record.kind != CRC {
            visit(offset, &record, findings);
        }
        if record.kind == CRC && record.data.is_some() {
            findings.at(offset, "wal-record", "a crc record holds data");
        }
    }

    /// Looks at a record behind a torn one, for no more than what it tells of that.
    fn behind(&mut self, bytes: &[u8], findings: &mut Findings) {
        let Ok(record) = Record::decode(bytes) else {
            self.crc = None;
            return;
        };
        if self.running(&record) == Some(record.crc) {
            Self::count(record.kind, findings);
        }
    }

    /// The CRC that `record` should have, where it is known; the chain goes on from the one that it has: damage to the
    /// data leaves that right.
    fn running(&mut self, record: &Record<'_>) -> Option<u32> {
        let running = self.crc.map(|crc| crc32c::crc32c_append(crc, record.data.unwrap_or_default()));
        self.crc = Some(record.crc);
        running
    }

    fn count(kind: u64, findings: &mut Findings) {
        if let Some(torn) = &mut findings.torn {
            torn.synced = torn.synced.followed_by(kind);
        }
    }
}

/// Reads on in the frame at `offset`; false where a server has made the file shorter since its length was looked at, as
/// etcd does for a moment when it starts.
fn fill(source: &mut Source<'_>, offset: u64, buffer: &mut [u8], findings: &mut Findings) -> io::Result<bool> {
    match source.read.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            findings.cut_off(source.newest, offset, "wal-torn-frame", "the segment became shorter while it was read");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Reads the length word at `offset`; `None` at the end of the frames, having looked at all that follows.
fn next_length(source: &mut Source<'_>, offset: u64, findings: &mut Findings) -> io::Result<Option<FrameLength>> {
    let newest = source.newest;
    let rest = source.len.saturating_sub(offset);
    if rest == 0 {
        return Ok(None);
    }
    if rest < WORD {
        let message = format!("{rest} bytes at the end, where a length word has {WORD}");
        findings.cut_off(newest, offset, "wal-torn-frame", message);
        return Ok(None);
    }
    let mut word = [0; 8];
    if !fill(source, offset, &mut word, findings)? {
        return Ok(None);
    }
    let word = u64::from_le_bytes(word);
    if word == 0 {
        if let Some(at) = not_zero(source.file, offset + WORD, source.len)? {
            findings.cut_off(newest, at, "wal-tail", "the unused rest of the segment is not zero");
        }
        return Ok(None);
    }
    let Some(length) = FrameLength::parse(word) else {
        findings.at(offset, "wal-frame-length", format!("{word:016x} is no length word"));
        return Ok(None);
    };
    let room = rest - WORD;
    if length.total() > room {
        let message = format!("torn frame: a record of {} bytes where {room} are left", length.total());
        findings.cut_off(newest && length.total() < MENDED_RECORD, offset, "wal-torn-frame", message);
        return Ok(None);
    }
    if length.record > MAX_RECORD {
        let message = format!("a record of {} bytes, more than the {MAX_RECORD} that are read", length.record);
        findings.at(offset, "wal-record-too-large", message);
        return Ok(None);
    }
    Ok(Some(length))
}

/// After a zero word everything must be zero: etcd writes on from there. Gives the place of the first byte of `file` from
/// `from` to `len` that is not; holes and what was allotted and never written are zero without being read.
fn not_zero(file: &File, from: u64, len: u64) -> io::Result<Option<u64>> {
    let mut chunk = vec![0; TAIL_CHUNK];
    let mut offset = from;
    while let Some(data) = next_data(file, offset, len)? {
        offset = data.start;
        while offset < data.end {
            let size = usize::try_from(data.end - offset).unwrap_or(TAIL_CHUNK).min(TAIL_CHUNK);
            let read = chunk.get_mut(..size).unwrap_or_default();
            match file.read_exact_at(read, offset) {
                // A server has made the file shorter meanwhile.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            if read != ZEROS.get(..size).unwrap_or_default() {
                let at = read.iter().position(|byte| *byte != 0).unwrap_or_default();
                return Ok(Some(offset + at as u64));
            }
            offset += size as u64;
        }
    }
    Ok(None)
}

/// The next stretch of `file` from `from` on, and before `len`, that is no hole; all of it where the file system does
/// not tell.
fn next_data(file: &File, from: u64, len: u64) -> io::Result<Option<Range<u64>>> {
    if from >= len {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        // Nothing but a hole up to the end.
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(from..len)),
        Err(errno) => return Err(errno.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?.min(len);
    Ok((start < end).then_some(start..end))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LEN: u64 = 8 << 20;

    #[test]
    fn a_segment_that_a_server_makes_shorter_meanwhile_ends_there() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[16, 0, 0, 0, 0, 0, 0, 0, 1, 2]).unwrap();
        for (newest, len) in [(true, 10), (true, 4), (false, 10)] {
            let mut findings = Findings::default();
            let mut read: &[u8] = &[16, 0, 0, 0, 0, 0, 0, 0, 1, 2][..len];
            let source = Source { read: &mut read, file: &file, len: LEN, newest };
            let used = Scanner::default().segment(source, &mut findings, &mut |_, _, _| {}).unwrap();
            assert_eq!((used, findings.torn.is_some(), findings.defects.is_empty()), (0, newest, newest));
        }
        assert_eq!(not_zero(&file, 10, LEN).unwrap(), None);
    }

    #[test]
    fn one_byte_is_found_wherever_it_lies_in_a_sparse_tail() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN).unwrap();
        assert_eq!(not_zero(&file, 0, LEN).unwrap(), None);
        for at in [LEN - 1, 5_000_001, 4_096, 4_095, 8] {
            file.write_all_at(b"x", at).unwrap();
            assert_eq!(not_zero(&file, 8, LEN).unwrap(), Some(at));
            assert_eq!(not_zero(&file, at, LEN).unwrap(), Some(at));
        }
        assert_eq!(not_zero(&file, LEN - 1, LEN).unwrap(), Some(LEN - 1));
        assert_eq!(not_zero(&file, LEN, LEN).unwrap(), None);
    }

    #[test]
    fn zeros_that_were_written_are_read_to_the_last() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0; usize::try_from(LEN).unwrap()]).unwrap();
        assert_eq!(not_zero(&file, 16, LEN).unwrap(), None);
        file.write_all_at(&[1], LEN - 3).unwrap();
        assert_eq!(not_zero(&file, 16, LEN).unwrap(), Some(LEN - 3));
    }
}
