//! The `.snap` file: raft's snapshot of etcd's v2 store, which holds the members.
//!
//! etcd 3.4 and 3.5 take the membership from here, 3.6 looks at it, 3.7 does not read it at boot.
//!
//! For any bytes whatever: no panic, no recursion deeper than the 128 levels of JSON that are read, memory within a
//! constant factor of the file, of which [`MAX_LEN`] bytes are read at most, and at most 1,000 defects.
//!
//! Source: etcd `server/etcdserver/api/snap/snapshotter.go`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::envelope::SnapFile;
use super::membership::Membership;
use super::messages::{ConfState, Snapshot, SnapshotMetadata};
pub use super::v2_store::V2Member;
use super::v2_store::{self, V2Store};
use super::wal::RESTORED_TERM;
use crate::defect::Defect;
use crate::durable::sync_dir;
use crate::error::{Error, Result};

/// The most that is read of a `.snap` file; those of a hundred members have some 100 KiB.
pub const MAX_LEN: u64 = 64 << 20;

/// What a `.snap` file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snap {
    /// Where in the log it was taken, and who voted then.
    pub metadata: SnapshotMetadata,
    /// The members, ascending by id.
    pub members: Vec<V2Member>,
    /// Ids of the members that were removed, ascending.
    pub removed: Vec<u64>,
    /// What is wrong with the v2 store.
    pub defects: Vec<Defect>,
}

/// Name of the file for a snapshot of this term and index.
#[must_use]
pub fn file_name(term: u64, index: u64) -> String {
    format!("{term:016x}-{index:016x}.snap")
}

/// Name and bytes of a restored member's file, byte for byte as the restore of 3.4 and 3.5 writes them.
#[must_use]
pub fn restored(membership: &Membership) -> (String, Vec<u8>) {
    let index = membership.len();
    let store = v2_store::restored(membership);
    let conf_state = ConfState::of_voters(membership.ids());
    let metadata = SnapshotMetadata { conf_state, index, term: RESTORED_TERM };
    let data = Snapshot { data: store.as_bytes(), metadata }.encode();
    let file = SnapFile { crc: crc32c::crc32c(&data), data: &data };
    (file_name(RESTORED_TERM, index), file.encode())
}

/// Writes [`restored`] into the existing directory `dir`, synced.
///
/// # Errors
/// [`Error::Io`] when the file exists or cannot be written.
pub fn write_dir(dir: &Path, membership: &Membership) -> Result<()> {
    let (name, bytes) = restored(membership);
    let path = dir.join(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io("writing", &path))?;
    sync_dir(dir)
}

/// Reads a `.snap` file.
///
/// # Errors
/// The defect that makes the file unusable: etcd would set it aside as `.broken`.
pub fn read(bytes: &[u8]) -> std::result::Result<Snap, Defect> {
    let malformed = |error: String| Defect::new("snap-record", error);
    let file = SnapFile::decode(bytes).map_err(malformed)?;
    if file.crc == 0 || file.data.is_empty() {
        return Err(Defect::new("snap-empty", "empty snapshot"));
    }
    let computed = crc32c::crc32c(file.data);
    if file.crc != computed {
        let message = format!("crc mismatch: recorded {:08x}, computed {computed:08x}", file.crc);
        return Err(Defect::new("snap-crc-mismatch", message));
    }
    let snapshot = Snapshot::decode(file.data).map_err(malformed)?;
    let mut defects = Vec::new();
    let V2Store { members, removed } = v2_store::read(snapshot.data, &mut defects).map_err(malformed)?;
    Ok(Snap { metadata: snapshot.metadata, members, removed, defects })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::hex::hex;
    use crate::raft::fixture::three_members;

    #[test]
    fn a_restored_file_is_that_of_etcd() {
        let (name, bytes) = restored(&three_members());
        assert_eq!(name, "0000000000000001-0000000000000003.snap");
        assert_eq!(bytes.len(), 7570);
        assert_eq!(SnapFile::decode(&bytes).unwrap().crc, 3_901_844_813);
        assert!(hex(&bytes).starts_with("08cddac5c40e12893b0add3a"));
        let metadata = "0a2108daeec1b485878bc42008b9bdf8a2f4febafa2b088489fcef9eefc5e0d801280010031801";
        assert!(hex(&bytes).ends_with(metadata));
        let sha256: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(hex(&sha256), "01e31fa2f592cc495637dd8333f134214f650e9edd63bd8b019549cb3e36b1e9");
    }

    #[test]
    fn a_restored_file_reads_back() {
        let membership = three_members();
        let dir = tempfile::tempdir().unwrap();
        write_dir(dir.path(), &membership).unwrap();
        let path = dir.path().join("0000000000000001-0000000000000003.snap");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let snap = read(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((snap.metadata.term, snap.metadata.index), (1, 3));
        assert_eq!(snap.metadata.conf_state, ConfState::of_voters(membership.ids()));
        let expected = membership.members.iter().map(|member| V2Member {
            id: member.id,
            peer_urls: member.peer_urls.clone(),
            is_learner: false,
        });
        assert_eq!(snap.members, expected.collect::<Vec<_>>());
        assert_eq!((snap.removed, snap.defects), (Vec::new(), Vec::new()));
        assert!(write_dir(dir.path(), &membership).is_err());
    }

    #[test]
    fn a_running_servers_store_may_hold_more() {
        let json = r#"{"Root":{"Path":"/","Children":{"0":{"Path":"/0","Children":{
            "version":{"Path":"/0/version","Value":"3.5.0","Children":null},
            "removed_members":{"Path":"/0/removed_members","Children":{
                "2a":{"Path":"/0/removed_members/2a","Value":"removed","Children":null}}},
            "members":{"Path":"/0/members","Children":{"1f":{"Path":"/0/members/1f","Children":{
                "attributes":{"Path":"/0/members/1f/attributes","Value":"{\"name\":\"m\"}","Children":null},
                "raftAttributes":{"Path":"/0/members/1f/raftAttributes",
                    "Value":"{\"peerURLs\":[\"u\"],\"isLearner\":true}","Children":null}}}}}}}}},
            "CurrentIndex":1,"CurrentVersion":2}"#;
        let data = Snapshot { data: json.as_bytes(), metadata: SnapshotMetadata::default() }.encode();
        let snap = read(&SnapFile { crc: crc32c::crc32c(&data), data: &data }.encode()).unwrap();
        assert_eq!(snap.members, [V2Member { id: 0x1f, peer_urls: vec!["u".to_owned()], is_learner: true }]);
        assert_eq!((snap.removed, snap.defects), (vec![0x2a], Vec::new()));
    }

    #[test]
    fn files_that_etcd_would_set_aside_are_refused() {
        let whole = restored(&three_members()).1;
        let code = |bytes: &[u8]| read(bytes).unwrap_err().code;
        assert_eq!(code(&[]), "snap-empty");
        assert_eq!(code(b"\x08\x00\x12\x01x"), "snap-empty");
        assert_eq!(code(&whole[..7000]), "snap-record");
        let wrong = SnapFile { crc: 5, data: b"\x0a\x01x" };
        assert_eq!(code(&wrong.encode()), "snap-crc-mismatch");
        let no_json = SnapFile { crc: crc32c::crc32c(b"\x0a\x01x"), data: b"\x0a\x01x" };
        assert_eq!(code(&no_json.encode()), "snap-record");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let whole = restored(&three_members()).1;
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "bit {bit} passed");
        }
    }

    /// The file with this store and metadata, and a checksum that fits.
    fn with(data: &[u8], metadata: SnapshotMetadata) -> Vec<u8> {
        let data = Snapshot { data, metadata }.encode();
        SnapFile { crc: crc32c::crc32c(&data), data: &data }.encode()
    }

    #[test]
    fn every_hostile_number_and_text_with_a_checksum_that_fits_is_found_or_changes_what_is_read() {
        let whole = restored(&three_members()).1;
        let good = read(&whole).unwrap();
        let json = v2_store::restored(&three_members());
        assert_eq!(whole, with(json.as_bytes(), good.metadata.clone()));
        for number in [0, 1, 4, 1 << 31, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            let voters = vec![number; 3];
            for metadata in [
                SnapshotMetadata { term: number, ..good.metadata.clone() },
                SnapshotMetadata { index: number, ..good.metadata.clone() },
                SnapshotMetadata { conf_state: ConfState::of_voters(voters), ..good.metadata.clone() },
            ] {
                let bent = read(&with(json.as_bytes(), metadata.clone())).unwrap();
                assert_eq!((&bent.metadata, &bent.members), (&metadata, &good.members));
            }
        }
        // The events and counters behind the tree are not read.
        let tree = json.find("\"WatcherHub\"").unwrap();
        let places = json.match_indices(['"', ':', ',', '{', '}']).map(|(at, _)| at).filter(|at| *at < tree);
        let (mut refused, mut found, mut same) = (0, 0, 0);
        for at in places {
            for text in ["", "null", "{}", "[", "\"", "-1", "1e999", "18446744073709551616", "\\ud800", "\0"] {
                let bent = [&json[..at], text, &json[at + 1..]].concat();
                match read(&with(bent.as_bytes(), good.metadata.clone())) {
                    Err(defect) => {
                        assert_eq!(defect.code, "snap-record");
                        refused += 1;
                    }
                    Ok(snap) if snap.defects.is_empty() && snap == good => same += 1,
                    Ok(_) => found += 1,
                }
            }
        }
        assert!(refused > 1_000 && found + same > 20, "{refused} refused, {found} found, {same} the same");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let data = Snapshot { data: &bytes, metadata: SnapshotMetadata::default() }.encode();
            let _ = read(&SnapFile { crc: crc32c::crc32c(&data), data: &data }.encode());
        }
    }
}
