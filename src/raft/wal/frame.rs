//! Layout of segments and frames.

use crate::raft::envelope::Record;

/// Bytes that etcd allots to a segment before it writes to it: 64 million, not 64 MiB.
pub const SEGMENT_SIZE: u64 = 64_000_000;

/// Bytes that a disk writes whole or not at all, by etcd's reckoning (`decoder.go: minSectorSize`).
const SECTOR: usize = 512;
/// Longer records are refused by etcd 3.4 and the first 3.5 before anything is mended (`maxWALEntrySizeLimit`).
pub(super) const MENDED_RECORD: u64 = 10 << 20;

/// Bytes of the length word.
pub(super) const WORD: u64 = 8;
/// Records are padded to a multiple of this.
const ALIGNMENT: u64 = 8;
/// Low bits of the length word: bytes of the record without its padding.
const LENGTH_MASK: u64 = (1 << 56) - 1;
/// Set in the length word when there is padding, whose length then stands in the three bits below bit 59.
const PADDED: u64 = 1 << 63;
const PADDING_SHIFT: u32 = 56;

/// Types of `walpb.Record` (etcd `wal.go`).
pub(crate) const METADATA: u64 = 1;
pub(crate) const ENTRY: u64 = 2;
pub(crate) const STATE: u64 = 3;
pub(crate) const CRC: u64 = 4;
pub(crate) const SNAPSHOT: u64 = 5;

/// Name of the one segment of a restored WAL.
#[must_use]
pub fn restored_name() -> String {
    segment_name(0, 0)
}

/// Name of a segment: its place in the sequence, and the first raft index that it may hold.
pub(super) fn segment_name(sequence: u64, index: u64) -> String {
    format!("{sequence:016x}-{index:016x}{EXTENSION}")
}

/// Of the name of a segment.
pub(super) const EXTENSION: &str = ".wal";

/// Reads [`segment_name`] back; `None` for any other text.
pub(super) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, index) = name.strip_suffix(EXTENSION)?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (sequence, index) = (number(sequence)?, number(index)?);
    // Every file has one name: no other spelling of the numbers will do.
    (segment_name(sequence, index) == name).then_some((sequence, index))
}

/// What a length word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameLength {
    pub(super) record: u64,
    pub(super) padding: u64,
}

impl FrameLength {
    /// The only right word for a record of `record` bytes.
    pub(super) fn of(record: u64) -> Self {
        Self { record, padding: (ALIGNMENT - record % ALIGNMENT) % ALIGNMENT }
    }

    pub(super) fn word(self) -> u64 {
        if self.padding == 0 { self.record } else { self.record | PADDED | self.padding << PADDING_SHIFT }
    }

    /// Reads a word that is not zero; `None` when etcd would not have written it.
    pub(super) fn parse(word: u64) -> Option<Self> {
        let length = Self::of(word & LENGTH_MASK);
        (length.word() == word).then_some(length)
    }

    /// Bytes of record and padding.
    pub(super) fn total(self) -> u64 {
        // Both come out of 56 bits: no overflow.
        self.record + self.padding
    }
}

/// Whether `frame`, a record and its padding that begin at byte `offset` of the newest segment, looks like a write that
/// was cut off: some sector of it holds nothing but zeros (etcd `decoder.go: isTornEntry`).
pub(super) fn is_torn(offset: u64, frame: &[u8]) -> bool {
    let into = usize::try_from(offset % SECTOR as u64).unwrap_or_default();
    let (first, rest) = frame.split_at_checked(SECTOR - into).unwrap_or((frame, &[]));
    let mut sectors = std::iter::once(first).chain(rest.chunks(SECTOR));
    sectors.any(|sector| !sector.is_empty() && sector.iter().all(|byte| *byte == 0))
}

/// Appends frames to a segment and keeps the CRC.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    out: Vec<u8>,
    crc: u32,
}

impl Encoder {
    /// Appends a CRC record that carries the running CRC over, as at the start of every segment.
    pub(crate) fn crc(&mut self) {
        self.frame(&Record { kind: CRC, crc: self.crc, data: None });
    }

    /// Appends a record of data.
    pub(crate) fn record(&mut self, kind: u64, data: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, data);
        self.frame(&Record { kind, crc: self.crc, data: Some(data) });
    }

    fn frame(&mut self, record: &Record<'_>) {
        let record = record.encode();
        let length = FrameLength::of(record.len() as u64);
        self.out.extend_from_slice(&length.word().to_le_bytes());
        self.out.extend_from_slice(&record);
        self.out.extend((0..length.padding).map(|_| 0));
    }

    /// The segment's bytes; the CRC goes on in what is appended later.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn length_words_are_those_of_etcd() {
        for (record, word) in [(4, 0x8400_0000_0000_0004), (0x1f, 0x8100_0000_0000_001f), (0x70, 0x70)] {
            let length = FrameLength::of(record);
            assert_eq!(length.word(), word);
            assert_eq!(FrameLength::parse(word), Some(length));
        }
    }

    #[test]
    fn words_that_etcd_does_not_write_are_refused() {
        for word in [4, 0x8400_0000_0000_0005, 0x8000_0000_0000_0008, 0x0400_0000_0000_0004, 0xc400_0000_0000_0004] {
            assert_eq!(FrameLength::parse(word), None, "{word:x}");
        }
    }

    #[test]
    fn names_are_read_back_in_one_spelling_only() {
        let name = segment_name(0x1a, u64::MAX);
        assert_eq!(name, "000000000000001a-ffffffffffffffff.wal");
        assert_eq!(parse_name(&name), Some((0x1a, u64::MAX)));
        for odd in [
            "000000000000001A-0000000000000000.wal",
            "1a-0.wal",
            "000000000000001a-+000000000000000.wal",
            "000000000000001a-0000000000000000.wal.broken",
            "000000000000001a.wal",
            "0.tmp",
            "",
        ] {
            assert_eq!(parse_name(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_frame_is_torn_where_a_sector_of_the_file_and_not_of_the_frame_is_zero() {
        let mut frame = vec![1; 1600];
        assert!(!is_torn(100, &frame));
        frame[400..912].fill(0);
        // From byte 100 on, bytes 412 to 923 of the frame are a sector.
        assert!(!is_torn(100, &frame));
        frame[912..924].fill(0);
        assert!(is_torn(100, &frame));
        assert!(is_torn(112, &frame));
        // What lies in the last sector may be no more than padding.
        let padded = [vec![1; 24], vec![0; 4]].concat();
        assert!(is_torn(SECTOR as u64 - 24, &padded) && !is_torn(0, &padded));
        assert!(!is_torn(0, &[]));
    }

    proptest! {
        #[test]
        fn a_word_has_one_reading(word: u64) {
            if let Some(length) = FrameLength::parse(word) {
                prop_assert_eq!(length.word(), word);
                prop_assert_eq!(length.total() % ALIGNMENT, 0);
            }
        }
    }
}
