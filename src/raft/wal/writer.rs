//! The WAL of a restored member.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::frame::{ENTRY, Encoder, METADATA, SEGMENT_SIZE, SNAPSHOT, STATE, restored_name};
use crate::durable::sync_dir;
use crate::error::{Error, Result};
use crate::raft::membership::{Membership, member_json};
use crate::raft::messages::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Metadata, WalSnapshot,
};

/// Raft term of everything that a restore writes.
pub const RESTORED_TERM: u64 = 1;

/// The records of a restored member's WAL, byte for byte as `etcdutl` 3.5 and 3.6 write them: a log in which the
/// members were added one by one, all of it committed and under a snapshot. Zeros up to [`SEGMENT_SIZE`] follow in
/// the file.
#[must_use]
pub fn restored(membership: &Membership) -> Vec<u8> {
    let mut segment = Encoder::default();
    segment.crc();
    let metadata = Metadata { node_id: membership.local_id, cluster_id: membership.cluster_id };
    segment.record(METADATA, &metadata.encode());
    // The place from which a server without a usable `.snap` file reads.
    segment.record(SNAPSHOT, &WalSnapshot::default().encode());
    for (index, member) in (1..).zip(&membership.members) {
        let change = ConfChange {
            id: 0,
            change_type: ConfChangeType::AddNode,
            node_id: member.id,
            context: member_json(member).into_bytes(),
        };
        let data = change.encode();
        let entry = Entry { entry_type: EntryType::ConfChange, term: RESTORED_TERM, index, data: &data };
        segment.record(ENTRY, &entry.encode());
    }
    let vote = membership.members.first().map_or(0, |member| member.id);
    let state = HardState { term: RESTORED_TERM, vote, commit: membership.len() };
    segment.record(STATE, &state.encode());
    let snapshot = WalSnapshot {
        index: membership.len(),
        term: RESTORED_TERM,
        conf_state: Some(ConfState::of_voters(membership.ids())),
    };
    segment.record(SNAPSHOT, &snapshot.encode());
    segment.take()
}

/// Writes [`restored`] into the existing directory `dir`, synced, its blocks allotted as etcd's are.
///
/// # Errors
/// [`Error::Io`] when the segment exists or there is no space for all of it.
pub fn write_dir(dir: &Path, membership: &Membership) -> Result<()> {
    let path = dir.join(restored_name());
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        allot(&file)?;
        file.write_all(&restored(membership))?;
        file.sync_all()
    };
    write().map_err(Error::io("writing", &path))?;
    sync_dir(dir)
}

/// Allots the whole segment. Where the file system knows no such thing the file is made long only.
fn allot(file: &File) -> io::Result<()> {
    loop {
        return match fallocate(file, FallocateFlags::empty(), 0, SEGMENT_SIZE) {
            Ok(()) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(SEGMENT_SIZE),
            Err(errno) => Err(errno.into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::hex::hex;
    use crate::raft::fixture::three_members;

    #[test]
    fn a_restored_wal_is_that_of_etcdutl() {
        let records = restored(&three_members());
        assert_eq!(records.len(), 536);
        let m2 = b"{\"id\":2344172226528442202,\"peerURLs\":[\"http://127.0.0.1:42902\"],\"name\":\"m2\"}";
        let expected = [
            (0, "0400000000000084", "08041000".to_owned()),
            (16, "1f00000000000081", "080110dc8193da021a1508b9bdf8a2f4febafa2b10d882dcc5f9aeaee09501".to_owned()),
            (56, "0e00000000000082", "080510f7b3a7c0051a0408001000".to_owned()),
            (
                80,
                "6d00000000000083",
                "080210c28fe1791a64080110011801225c0800100018daeec1b485878bc420224c".to_owned() + &hex(m2),
            ),
            (
                200,
                "6e00000000000082",
                "080210d49ac7f2061a64080110011802225c0800100018b9bdf8a2f4febafa2b224c7b226964223a".to_owned(),
            ),
            (
                320,
                "7000000000000000",
                "080210a8ecebf00e1a66080110011803225e08001000188489fcef9eefc5e0d801224d7b226964223a".to_owned(),
            ),
            (440, "1800000000000000", "080310e791cef5021a0e080110daeec1b485878bc4201803".to_owned()),
            (
                472,
                "3100000000000087",
                "080510ce88dadc0a1a27080310011a2108daeec1b485878bc42008b9bdf8a2f4febafa2b088489fcef9eefc5e0d8012800"
                    .to_owned(),
            ),
        ];
        for (offset, word, record) in expected {
            let start = hex(&records[offset..]);
            assert!(start.starts_with(&format!("{word}{record}")), "record at {offset}: {start}");
        }
        let sha256: [u8; 32] = Sha256::digest(&records).into();
        assert_eq!(hex(&sha256), "3a82214d3b7f95e36ce63b294b442954220e27e75b15572043badaf261b1c051");
    }

    #[test]
    fn a_restored_segment_is_that_of_etcdutl_to_its_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        write_dir(dir.path(), &three_members()).unwrap();
        let path = dir.path().join("0000000000000000-0000000000000000.wal");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let sha256: [u8; 32] = Sha256::digest(std::fs::read(&path).unwrap()).into();
        assert_eq!(hex(&sha256), "4333b3fc7ce840a65bf7b13e2a53af15ffce39cf462a5d1c6f423d254f8f4bae");
    }

    #[test]
    fn an_existing_segment_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        write_dir(dir.path(), &three_members()).unwrap();
        let error = write_dir(dir.path(), &three_members()).unwrap_err();
        assert!(matches!(error, Error::Io { action: "writing", .. }), "{error}");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        // A device that takes nothing: allotting is not supported, and every write fails.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(allot(&full).is_err());
    }
}
