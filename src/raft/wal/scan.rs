//! Frames and CRC chain of one segment after the other.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::frame::{CRC, FrameLength, WORD};
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
    /// Reads the segment of `len` bytes from `source`, which is `file` from its beginning on, and hands over each record that is whole, with its offset; those of type
    /// [`CRC`] it keeps to itself. Gives the length of the frames.
    ///
    /// After a broken frame nothing more is read; after a broken record the next one is.
    pub(super) fn segment(
        &mut self,
        source: &mut dyn Read,
        file: &File,
        len: u64,
        findings: &mut Findings,
        visit: &mut dyn FnMut(u64, &Record<'_>, &mut Findings),
    ) -> io::Result<u64> {
        let mut offset = 0;
        while let Some(length) = next_length(source, file, offset, len, findings)? {
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
    file: &File,
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
        zero_tail(file, offset + WORD, len, findings)?;
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

/// After a zero word everything must be zero: etcd writes on from there. Looks at the bytes of `file` from `from` to
/// `len`; holes and what was allotted and never written are zero without being read.
fn zero_tail(file: &File, from: u64, len: u64, findings: &mut Findings) -> io::Result<()> {
    let mut chunk = vec![0; TAIL_CHUNK];
    let mut offset = from;
    while let Some(data) = next_data(file, offset, len)? {
        offset = data.start;
        while offset < data.end {
            let size = usize::try_from(data.end - offset).unwrap_or(TAIL_CHUNK).min(TAIL_CHUNK);
            let read = chunk.get_mut(..size).unwrap_or_default();
            file.read_exact_at(read, offset)?;
            if read != ZEROS.get(..size).unwrap_or_default() {
                let at = read.iter().position(|byte| *byte != 0).unwrap_or_default();
                findings.at(offset + at as u64, "wal-tail", "the unused rest of the segment is not zero");
                return Ok(());
            }
            offset += size as u64;
        }
    }
    Ok(())
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

    fn defects(file: &File, from: u64) -> Vec<Option<u64>> {
        let mut findings = Findings::default();
        zero_tail(file, from, LEN, &mut findings).unwrap();
        findings.defects.iter().map(|defect| defect.offset).collect()
    }

    #[test]
    fn one_byte_is_found_wherever_it_lies_in_a_sparse_tail() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN).unwrap();
        assert_eq!(defects(&file, 0), []);
        for at in [LEN - 1, 5_000_001, 4_096, 4_095, 8] {
            file.write_all_at(b"x", at).unwrap();
            assert_eq!(defects(&file, 8), [Some(at)]);
            assert_eq!(defects(&file, at), [Some(at)]);
        }
        assert_eq!(defects(&file, LEN - 1), [Some(LEN - 1)]);
        assert_eq!(defects(&file, LEN), []);
    }

    #[test]
    fn zeros_that_were_written_are_read_to_the_last() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0; usize::try_from(LEN).unwrap()]).unwrap();
        assert_eq!(defects(&file, 16), []);
        file.write_all_at(&[1], LEN - 3).unwrap();
        assert_eq!(defects(&file, 16), [Some(LEN - 3)]);
    }
}
