//! The WAL and the `.snap` file, held to the expected membership.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::database::same_member;
use super::verify::Layout;
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::raft::wal::{self, ConfChangeEntry, Wal};
use crate::raft::{ConfChangeType, ConfState, Membership, Metadata, RESTORED_TERM, snap};
use crate::schema::StoredMember;

/// Terms and indices of the snapshot records from which etcd would start.
pub(super) type SnapshotRecords = Vec<(u64, u64)>;

/// Judges the WAL.
pub(super) fn verify_wal(
    dir: &Path,
    expected: &Membership,
    layout: Layout,
    defects: &mut Vec<Defect>,
) -> Result<SnapshotRecords> {
    if !dir.is_dir() {
        defects.push(Defect::new("wal-missing", format!("{}: no such directory", dir.display())));
        return Ok(Vec::new());
    }
    let mut wal = wal::read_dir(dir)?;
    let before = defects.len();
    defects.append(&mut wal.defects);
    // etcd would mend it, but a restore leaves none.
    defects.extend(wal.torn.take());
    if wal.segments.is_empty() {
        return Ok(Vec::new());
    }
    let mut log = Log { wal: &wal, expected, defects };
    log.identity();
    log.hard_state();
    log.entries();
    log.snapshots();
    if layout == Layout::Portable && defects.len() == before {
        compare_bytes(&dir.join(wal::restored_name()), &wal::restored(expected), "wal-bytes", defects)?;
    }
    Ok(wal.valid_snapshots().map(|record| (record.snapshot.term, record.snapshot.index)).collect())
}

/// The last sieve, for what no rule above sees: the file must begin with the very bytes that are written.
fn compare_bytes(path: &Path, expected: &[u8], code: &'static str, defects: &mut Vec<Defect>) -> Result<()> {
    let mut found = Vec::with_capacity(expected.len());
    let file = File::open(path).map_err(Error::io("reading", path))?;
    file.take(expected.len() as u64).read_to_end(&mut found).map_err(Error::io("reading", path))?;
    if found == expected {
        return Ok(());
    }
    let offset = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    let message = format!("{}: not the bytes that a restore writes", path.display());
    defects.push(Defect::new(code, message).at(offset as u64));
    Ok(())
}

struct Log<'a> {
    wal: &'a Wal,
    expected: &'a Membership,
    defects: &'a mut Vec<Defect>,
}

impl Log<'_> {
    fn broken(&mut self, code: &'static str, message: impl Display) {
        self.defects.push(Defect::new(code, format!("WAL: {message}")));
    }

    fn identity(&mut self) {
        if let [only] = &self.wal.segments[..]
            && only.sequence == 0
        {
        } else {
            self.broken("wal-segments", format!("{} segments, should be the first alone", self.wal.segments.len()));
        }
        let expected = Metadata { node_id: self.expected.local_id, cluster_id: self.expected.cluster_id };
        if let Some(found) = self.wal.metadata.filter(|found| *found != expected) {
            let message = format!(
                "of member {:x} of cluster {:x}, should be {:x} of {:x}",
                found.node_id, found.cluster_id, expected.node_id, expected.cluster_id
            );
            self.broken("wal-identity", message);
        }
    }

    fn hard_state(&mut self) {
        let Some(state) = self.wal.hard_state else {
            return self.broken("hard-state", "no hard state");
        };
        if state.term != RESTORED_TERM {
            self.broken("hard-state", format!("hard state of term {}, should be {RESTORED_TERM}", state.term));
        }
        let index = self.expected.len();
        if state.commit != index {
            self.broken("hard-state", format!("commit {}, should be {index}", state.commit));
        }
        // A member that has voted for nobody yet could still elect somebody in term 1.
        if !self.expected.ids().contains(&state.vote) {
            self.broken("hard-state", format!("vote for {:x}, which is no member", state.vote));
        }
    }

    /// One entry for each member, in the order of the ids.
    fn entries(&mut self) {
        let Wal { first_index, last_index, entries, .. } = *self.wal;
        let index = self.expected.len();
        if (first_index, last_index, entries) != (1, index, index) {
            let message = format!("{entries} entries from {first_index} to {last_index}, should be 1 to {index}");
            self.broken("wal-entries", message);
        }
        let changes = &self.wal.conf_changes;
        if changes.len() != self.expected.members.len() {
            let message = format!("{} entries add members, should be {index}", changes.len());
            return self.broken("wal-entries", message);
        }
        for (change, (index, member)) in changes.iter().zip((1..).zip(&self.expected.members)) {
            let stored: Option<StoredMember> = serde_json::from_slice(&change.change.context).ok();
            let ConfChangeEntry { index: found, term, .. } = *change;
            let adds = change.change.change_type == ConfChangeType::AddNode && change.change.node_id == member.id;
            if (found, term) != (index, RESTORED_TERM)
                || !adds
                || !stored.is_some_and(|stored| same_member(&stored, member))
            {
                let message = format!("entry {found} of term {term} does not add member {:x}", member.id);
                self.broken("wal-entries", message);
            }
        }
    }

    fn snapshots(&mut self) {
        if self.wal.snapshots.first().is_none_or(|first| (first.snapshot.index, first.snapshot.term) != (0, 0)) {
            self.broken("wal-snapshot", "no snapshot record of index 0 to read from without a .snap file");
        }
        let index = self.expected.len();
        let Some(last) = self.wal.snapshots.last().map(|record| &record.snapshot) else { return };
        if (last.term, last.index) != (RESTORED_TERM, index) {
            let message = format!(
                "last snapshot record of term {} and index {}, should be {RESTORED_TERM} and {index}",
                last.term, last.index
            );
            return self.broken("wal-snapshot", message);
        }
        if let Some(problem) = conf_state_problem(last.conf_state.as_ref(), self.expected) {
            self.broken("wal-conf-state", format!("snapshot record: {problem}"));
        }
    }
}

fn conf_state_problem(found: Option<&ConfState>, expected: &Membership) -> Option<String> {
    let Some(found) = found else { return Some("no ConfState".to_owned()) };
    let mut voters = found.voters.clone();
    voters.sort_unstable();
    if voters != expected.ids() {
        return Some("the voters of the ConfState are not the members".to_owned());
    }
    let plain = ConfState { voters: found.voters.clone(), ..ConfState::default() };
    (*found != plain).then(|| "the ConfState has learners or is a joint one".to_owned())
}

/// Judges the `.snap` file, given the WAL's snapshot records.
pub(super) fn verify_snap(
    file: File,
    path: &Path,
    expected: &Membership,
    layout: Layout,
    records: &SnapshotRecords,
    defects: &mut Vec<Defect>,
) -> Result<()> {
    let mut bytes = Vec::new();
    file.take(snap::MAX_LEN + 1).read_to_end(&mut bytes).map_err(Error::io("reading", path))?;
    let before = defects.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut broken = |code, message: String| defects.push(Defect::new(code, format!("{name}: {message}")));
    if bytes.len() as u64 > snap::MAX_LEN {
        broken("snap-record", format!("more than {} bytes", snap::MAX_LEN));
        return Ok(());
    }
    let found = match snap::read(&bytes) {
        Ok(found) => found,
        Err(defect) => {
            broken(defect.code, defect.message);
            return Ok(());
        }
    };
    for defect in &found.defects {
        broken(defect.code, defect.message.clone());
    }
    let (term, index) = (found.metadata.term, found.metadata.index);
    if (term, index) != (RESTORED_TERM, expected.len()) {
        let message = format!("of term {term} and index {index}, should be {RESTORED_TERM} and {}", expected.len());
        broken("snap-index", message);
    }
    if !records.contains(&(term, index)) {
        broken("snap-unmatched", format!("the WAL has no valid snapshot record of term {term} and index {index}"));
    }
    if let Some(problem) = conf_state_problem(Some(&found.metadata.conf_state), expected) {
        broken("snap-conf-state", problem);
    }
    let members = expected.members.iter().map(|member| (member.id, &member.peer_urls, false));
    if !found.members.iter().map(|member| (member.id, &member.peer_urls, member.is_learner)).eq(members) {
        broken("snap-members", "the members of the v2 store are not those of the initial cluster".to_owned());
    }
    if !found.removed.is_empty() {
        broken("snap-removed", format!("{} removed members in the v2 store, should be none", found.removed.len()));
    }
    if layout == Layout::Portable && defects.len() == before && snap::restored(expected).1 != bytes {
        defects.push(Defect::new("snap-bytes", format!("{}: not the bytes that a restore writes", path.display())));
    }
    Ok(())
}
