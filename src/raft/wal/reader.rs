//! What a WAL says, and what is wrong with it.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use super::frame::{ENTRY, EXTENSION, METADATA, SNAPSHOT, STATE, parse_name, restored_name};
use super::scan::{Findings, Scanner, Source};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::raft::envelope::Record;
use crate::raft::messages::{ConfChange, Entry, EntryType, HardState, Metadata, WalSnapshot};

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name in the directory.
    pub name: String,
    /// Its place in the sequence.
    pub sequence: u64,
    /// The first raft index that it may hold.
    pub index: u64,
    /// Bytes of the file.
    pub len: u64,
    /// Bytes from the beginning that are whole frames.
    pub used: u64,
}

/// A `walpb.Snapshot` record and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// What it says.
    pub snapshot: WalSnapshot,
    /// Sequence number of its segment.
    pub sequence: u64,
    /// Byte offset in the segment.
    pub offset: u64,
}

/// An entry that changes the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfChangeEntry {
    /// Raft index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// What it changes.
    pub change: ConfChange,
}

/// A WAL directory as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wal {
    /// In the order of their sequence.
    pub segments: Vec<Segment>,
    /// Whose WAL it is.
    pub metadata: Option<Metadata>,
    /// Index of the first entry, 0 when there is none.
    pub first_index: u64,
    /// Index of the last entry, 0 when there is none.
    pub last_index: u64,
    /// Index up to which the log is accounted for: that of the last entry, or of a snapshot beyond it.
    pub reach: u64,
    /// Entry records that were read, those included that later ones replaced.
    pub entries: u64,
    /// The entries that change the membership, ascending; what was replaced is left out.
    pub conf_changes: Vec<ConfChangeEntry>,
    /// The last one.
    pub hard_state: Option<HardState>,
    /// In the order of their writing.
    pub snapshots: Vec<SnapshotRecord>,
    /// Where a write into the newest segment was cut off, as a loss of power leaves it: no defect, for etcd clears it
    /// away at its next start (`isTornEntry`, `Repair` and the end of `ReadAll`). All else is of what stands before it.
    pub torn: Option<Defect>,
    /// Everything that is wrong, in the order of its place (at most 1,000). Each message begins with the name of
    /// the segment, and the offset is one in that file.
    pub defects: Vec<Defect>,
}

impl Wal {
    /// The snapshot records that etcd would start from (its `ValidSnapshotEntries`): those that the last hard
    /// state has committed.
    #[must_use]
    pub fn valid_snapshots(&self) -> impl DoubleEndedIterator<Item = &SnapshotRecord> {
        let commit = self.hard_state.map_or(0, |state| state.commit);
        self.snapshots.iter().filter(move |record| record.snapshot.index <= commit)
    }
}

/// Reads all segments of the directory `dir`.
///
/// Memory holds one record, and what the WAL says of membership and snapshots. Files of other names than segments
/// have are passed over, as etcd does.
///
/// # Errors
/// [`Error::Io`] when the system refuses; damage is reported in [`Wal::defects`].
pub fn read_dir(dir: &Path) -> Result<Wal> {
    let mut reader = WalReader::default();
    let names = reader.segment_names(dir)?;
    for (place, name) in names.iter().enumerate() {
        reader.open(name, &dir.join(name), place + 1 == names.len())?;
    }
    Ok(reader.finish(dir))
}

/// Reads the file at `path` as the one segment of a restored WAL, whatever its name.
///
/// # Errors
/// Those of [`read_dir`].
pub fn read_file(path: &Path) -> Result<Wal> {
    let mut reader = WalReader::default();
    // A restore was not cut off in its log, so nothing of it is taken for such a write.
    reader.open(&restored_name(), path, false)?;
    Ok(reader.finish(path))
}

/// Takes in one segment after the other.
#[derive(Debug, Default)]
struct WalReader {
    wal: Wal,
    findings: Findings,
    scanner: Scanner,
    /// Bytes of the first metadata record.
    metadata: Option<Vec<u8>>,
    /// Greatest index of a snapshot record.
    snapshot_index: u64,
}

impl WalReader {
    fn segment_names(&mut self, dir: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(Error::io("reading", dir))? {
            let entry = entry.map_err(Error::io("reading", dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if parse_name(&name).is_some() {
                // Followed where it is a link; anything but a file might block.
                let is_file = fs::metadata(entry.path()).map_err(Error::io("reading", &entry.path()))?.is_file();
                if is_file {
                    names.push(name);
                } else {
                    self.findings.push(Defect::new("wal-name", format!("{name}: a segment that is no regular file")));
                }
            } else if name.ends_with(EXTENSION) {
                self.findings.push(Defect::new("wal-name", format!("{name}: no name of a segment")));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&mut self, name: &str, path: &Path, newest: bool) -> Result<()> {
        let file = File::open(path).map_err(Error::io("reading", path))?;
        let len = file.metadata().map_err(Error::io("reading", path))?.len();
        // The length decides what is read, even if somebody appends meanwhile.
        let mut read = BufReader::with_capacity(1 << 18, &file).take(len);
        let source = Source { read: &mut read, file: &file, len, newest };
        self.segment(name, source).map_err(Error::io("reading", path))
    }

    fn segment(&mut self, name: &str, source: Source<'_>) -> std::io::Result<()> {
        let len = source.len;
        self.findings.enter(name);
        let (sequence, index) = parse_name(name).unwrap_or_default();
        self.check_place(sequence, index);
        let Self { wal, findings, scanner, metadata, snapshot_index } = self;
        let mut taker = Taker { wal, metadata, snapshot_index, sequence };
        let used = scanner.segment(source, findings, &mut |offset, record, findings| {
            if let Err((code, message)) = taker.record(offset, record) {
                findings.at(offset, code, message);
            }
        })?;
        if used == 0 {
            findings.push(Defect::new("wal-empty-segment", format!("{name}: not one whole record")).at(0));
        }
        wal.segments.push(Segment { name: name.to_owned(), sequence, index, len, used });
        Ok(())
    }

    /// Checks that a segment follows on the one before it.
    fn check_place(&mut self, sequence: u64, index: u64) {
        let Some(last) = self.wal.segments.last() else {
            if sequence == 0 {
                self.scanner.crc = Some(0);
                if index != 0 {
                    self.findings.at(0, "wal-name", format!("the first segment begins with index {index}, not 0"));
                }
            }
            self.wal.reach = index.saturating_sub(1);
            return;
        };
        if last.sequence.checked_add(1) != Some(sequence) {
            let message = format!("segment {sequence} follows on segment {}", last.sequence);
            self.findings.at(0, "wal-sequence", message);
            self.scanner.crc = None;
        }
        // After a restart etcd counts on from the last entry, before that also from a snapshot.
        let expected = [self.wal.last_index, self.wal.reach].map(|index| index.saturating_add(1));
        if !expected.contains(&index) {
            let message = format!("named after index {index}, while the one before ends at {}", self.wal.reach);
            self.findings.at(0, "wal-name", message);
        }
    }

    fn finish(mut self, dir: &Path) -> Wal {
        let mut missing = |code, what: &str| {
            self.findings.push(Defect::new(code, format!("{}: {what}", dir.display())));
        };
        if self.wal.segments.is_empty() {
            missing("wal-missing", "no segment of a WAL");
        } else {
            if self.wal.metadata.is_none() {
                missing("wal-metadata-missing", "no metadata record");
            }
            if self.wal.snapshots.is_empty() {
                missing("wal-snapshot-missing", "no snapshot record, not even that of index 0");
            }
            let commit = self.wal.hard_state.map_or(0, |state| state.commit);
            if commit > self.wal.reach {
                let message = format!("commit {commit} is beyond the last index {}", self.wal.reach);
                missing("wal-commit", &message);
            }
        }
        if let Some(torn) = self.findings.torn.take() {
            if torn.was_synced() {
                let message = format!(
                    "{}; whole records follow that were written after it was safe on disk: etcd drops them, and all that \
                     was acknowledged after index {}",
                    torn.defect.message, self.wal.reach
                );
                let defect = Defect::new("wal-torn-inside", message);
                self.findings.push(Defect { offset: torn.defect.offset, ..defect });
            } else {
                self.wal.torn = Some(torn.defect);
            }
        }
        self.wal.defects = self.findings.defects;
        self.wal
    }
}

/// Takes in the records of one segment.
struct Taker<'a> {
    wal: &'a mut Wal,
    metadata: &'a mut Option<Vec<u8>>,
    snapshot_index: &'a mut u64,
    sequence: u64,
}

type Refused = (&'static str, String);

impl Taker<'_> {
    fn record(&mut self, offset: u64, record: &Record<'_>) -> std::result::Result<(), Refused> {
        let malformed = |error| ("wal-record", error);
        let data = record.data.unwrap_or_default();
        match record.kind {
            METADATA => self.metadata(data),
            ENTRY => self.entry(&Entry::decode(data).map_err(malformed)?),
            STATE => {
                self.wal.hard_state = Some(HardState::decode(data).map_err(malformed)?);
                Ok(())
            }
            SNAPSHOT => {
                let snapshot = WalSnapshot::decode(data).map_err(malformed)?;
                *self.snapshot_index = snapshot.index.max(*self.snapshot_index);
                self.wal.reach = snapshot.index.max(self.wal.reach);
                self.wal.snapshots.push(SnapshotRecord { snapshot, sequence: self.sequence, offset });
                Ok(())
            }
            other => Err(("wal-record", format!("unexpected block type {other}"))),
        }
    }

    fn metadata(&mut self, data: &[u8]) -> std::result::Result<(), Refused> {
        if self.metadata.as_deref().is_some_and(|first| first != data) {
            return Err(("wal-metadata-conflict", "conflicting metadata found".to_owned()));
        }
        self.wal.metadata = Some(Metadata::decode(data).map_err(|error| ("wal-record", error))?);
        *self.metadata = Some(data.to_vec());
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>) -> std::result::Result<(), Refused> {
        if entry.index == 0 {
            return Err(("wal-entry", "an entry of index 0".to_owned()));
        }
        let gap = entry.index > self.wal.reach.saturating_add(1);
        let last = self.wal.reach;
        // An entry replaces those of its index and above, which were not committed.
        self.wal.conf_changes.truncate(self.wal.conf_changes.partition_point(|change| change.index < entry.index));
        if self.wal.entries == 0 || entry.index < self.wal.first_index {
            self.wal.first_index = entry.index;
        }
        self.wal.entries += 1;
        self.wal.last_index = entry.index;
        self.wal.reach = entry.index.max(*self.snapshot_index);
        if let EntryType::ConfChange = entry.entry_type {
            let change = ConfChange::decode(entry.data).map_err(|error| ("wal-record", error))?;
            self.wal.conf_changes.push(ConfChangeEntry { index: entry.index, term: entry.term, change });
        }
        if gap {
            return Err(("wal-entry-gap", format!("entry {} follows on index {last}", entry.index)));
        }
        match entry.entry_type {
            EntryType::Other(other) => Err(("wal-entry", format!("an entry of unknown type {other}"))),
            EntryType::Normal | EntryType::ConfChange => Ok(()),
        }
    }
}
