//! A restored directory, and every way in which its parts may come to contradict each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Layout, verify_member};
use crate::bbolt::{Entries, build};
use crate::defect::Defect;
use crate::hex::hex_id;
use crate::progress::{NoProgress, Progress, Stage};
use crate::proto::{put_bytes, put_uint};
use crate::raft::fixture::{plan, three_members};
use crate::raft::wal::frame::{ENTRY, Encoder, METADATA, SNAPSHOT, STATE};
use crate::raft::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Membership, Metadata, Snapshot,
    SnapshotMetadata, WalSnapshot, bootstrap, member_json, snap, wal,
};
use crate::schema::{buckets, conf_state_json};

type Buckets = BTreeMap<Vec<u8>, Entries>;

/// Breaks one thing in the buckets of a good database.
type Damage = fn(&mut Buckets);

/// Happens to a good directory.
type Accident = fn(&Restored);

/// Damages the bytes of a good file.
type Scratch = fn(&mut Vec<u8>);

/// What a restore of m1 of three members leaves.
struct Restored {
    dir: TempDir,
    membership: Membership,
}

impl Restored {
    fn new() -> Self {
        let restored = Self { dir: TempDir::new().unwrap(), membership: three_members() };
        fs::create_dir_all(restored.snap_dir()).unwrap();
        fs::create_dir_all(restored.wal_dir()).unwrap();
        restored.write_database(&good_buckets(&restored.membership));
        snap::write_dir(&restored.snap_dir(), &restored.membership).unwrap();
        // Without the 64 MB that a restore allots: there are many of them here.
        fs::write(restored.segment(), wal::restored(&restored.membership)).unwrap();
        restored
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("m1.etcd")
    }

    fn snap_dir(&self) -> PathBuf {
        self.data_dir().join("member/snap")
    }

    fn wal_dir(&self) -> PathBuf {
        self.data_dir().join("member/wal")
    }

    fn database(&self) -> PathBuf {
        self.snap_dir().join("db")
    }

    fn segment(&self) -> PathBuf {
        self.wal_dir().join(wal::restored_name())
    }

    fn snap(&self) -> PathBuf {
        self.snap_dir().join("0000000000000001-0000000000000003.snap")
    }

    fn write_database(&self, buckets: &Buckets) {
        fs::write(self.database(), build(4096, buckets)).unwrap();
    }

    fn write_wal(&self, records: &[(u64, Vec<u8>)]) {
        let mut segment = Encoder::default();
        segment.crc();
        for (kind, data) in records {
            segment.record(*kind, data);
        }
        fs::write(self.segment(), segment.take()).unwrap();
    }

    fn write_snap(&self, metadata: SnapshotMetadata, store: &[u8]) {
        let data = Snapshot { data: store, metadata }.encode();
        let mut file = Vec::new();
        put_uint(&mut file, 1, crc32c::crc32c(&data).into());
        put_bytes(&mut file, 2, &data);
        fs::write(self.snap(), file).unwrap();
    }

    fn verify(&self, layout: Layout) -> Vec<Defect> {
        verify_member(&self.data_dir(), &self.wal_dir(), &self.membership, layout, &NoProgress).unwrap()
    }

    /// Codes of the defects by the strictest check, each once.
    fn codes(&self) -> Vec<&'static str> {
        codes(&self.verify(Layout::Portable))
    }
}

fn codes(defects: &[Defect]) -> Vec<&'static str> {
    let mut codes: Vec<_> = defects.iter().map(|defect| defect.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn good_buckets(membership: &Membership) -> Buckets {
    let meta = [
        (buckets::META_CONSISTENT_INDEX, membership.len().to_be_bytes().to_vec()),
        (buckets::META_TERM, 1_u64.to_be_bytes().to_vec()),
        (buckets::META_CONF_STATE, conf_state_json(&membership.ids()).into_bytes()),
    ];
    let members = membership.members.iter().map(|member| (hex_id(member.id).into_bytes(), member_json(member).into()));
    let key = [(b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0".to_vec(), b"\x0a\x01a\x10\x02\x18\x02\x20\x01".to_vec())];
    BTreeMap::from([
        (buckets::META.to_vec(), meta.map(|(key, value)| (key.to_vec(), value)).into()),
        (buckets::MEMBERS.to_vec(), members.collect()),
        (buckets::MEMBERS_REMOVED.to_vec(), Entries::new()),
        (buckets::CLUSTER.to_vec(), Entries::new()),
        (buckets::KEY.to_vec(), key.into()),
    ])
}

/// The records of a restored WAL after the first, which holds the CRC.
fn good_records(membership: &Membership) -> Vec<(u64, Vec<u8>)> {
    let metadata = Metadata { node_id: membership.local_id, cluster_id: membership.cluster_id };
    let mut records = vec![(METADATA, metadata.encode()), (SNAPSHOT, WalSnapshot::default().encode())];
    for (index, member) in (1..).zip(&membership.members) {
        records.push((ENTRY, entry(index, 1, &change(member.id, &member_json(member)))));
    }
    records.push((STATE, state(1, membership.members[0].id, membership.len())));
    let conf_state = Some(ConfState::of_voters(membership.ids()));
    records.push((SNAPSHOT, WalSnapshot { index: membership.len(), term: 1, conf_state }.encode()));
    records
}

fn change(node_id: u64, context: &str) -> Vec<u8> {
    let context = context.as_bytes().to_vec();
    ConfChange { id: 0, change_type: ConfChangeType::AddNode, node_id, context }.encode()
}

fn entry(index: u64, term: u64, data: &[u8]) -> Vec<u8> {
    Entry { entry_type: EntryType::ConfChange, term, index, data }.encode()
}

fn state(term: u64, vote: u64, commit: u64) -> Vec<u8> {
    HardState { term, vote, commit }.encode()
}

/// The same cluster with a fourth member.
fn four_members() -> Membership {
    let cluster = "m1=http://127.0.0.1:42901,m2=http://127.0.0.1:42902,m3=http://127.0.0.1:42903,m4=http://h:1";
    bootstrap(&plan("m1", cluster, "http://127.0.0.1:42901")).unwrap()
}

/// The same ids, and yet another name and URL of one member.
fn with_another_url() -> Membership {
    let mut other = three_members();
    other.members[2].peer_urls = vec!["http://127.0.0.1:42999".to_owned()];
    other
}

#[test]
fn a_restored_directory_passes() {
    let restored = Restored::new();
    assert_eq!(restored.verify(Layout::Portable), []);
    assert_eq!(restored.verify(Layout::Official), []);
}

#[test]
fn a_wal_of_full_size_in_a_directory_of_its_own_passes() {
    let restored = Restored::new();
    let wal_dir = restored.dir.path().join("wal");
    fs::remove_dir_all(restored.wal_dir()).unwrap();
    fs::create_dir(&wal_dir).unwrap();
    wal::write_dir(&wal_dir, &restored.membership).unwrap();
    let defects =
        verify_member(&restored.data_dir(), &wal_dir, &restored.membership, Layout::Portable, &NoProgress).unwrap();
    assert_eq!(defects, []);
    let detour = restored.data_dir().join("member/../../wal");
    assert_eq!(
        verify_member(&restored.data_dir(), &detour, &restored.membership, Layout::Portable, &NoProgress).unwrap(),
        []
    );
    // A log in the usual place as well: etcd would take it for a member's when started without --wal-dir.
    fs::create_dir(restored.wal_dir()).unwrap();
    let defects =
        verify_member(&restored.data_dir(), &wal_dir, &restored.membership, Layout::Portable, &NoProgress).unwrap();
    assert_eq!(codes(&defects), ["data-dir-entry"]);
}

#[test]
fn missing_files_are_named() {
    let damage: [(&str, Accident); 5] = [
        ("database-missing", |restored| fs::remove_file(restored.database()).unwrap()),
        ("snap-missing", |restored| fs::remove_file(restored.snap()).unwrap()),
        ("wal-missing", |restored| fs::remove_file(restored.segment()).unwrap()),
        ("wal-missing", |restored| fs::remove_dir_all(restored.wal_dir()).unwrap()),
        ("database-missing", |restored| {
            fs::remove_file(restored.database()).unwrap();
            fs::create_dir(restored.database()).unwrap();
        }),
    ];
    for (code, damage) in damage {
        let restored = Restored::new();
        damage(&restored);
        let codes = restored.codes();
        assert!(codes.contains(&code), "{codes:?}");
        // Without a WAL the .snap file has nothing to match.
        assert!(codes.iter().all(|found| *found == code || *found == "snap-unmatched"), "{codes:?}");
    }
    let nowhere = Path::new("/nonexistent/m1.etcd");
    let defects =
        verify_member(nowhere, &nowhere.join("member/wal"), &three_members(), Layout::Portable, &NoProgress).unwrap();
    assert_eq!(codes(&defects), ["database-missing", "snap-missing", "wal-missing"]);
}

#[test]
fn foreign_files_are_named() {
    for name in [
        "proxy",
        "member/other",
        "member/snap/0000000000000002.snap.db",
        "member/snap/0000000000000001-0000000000000002.snap",
        "member/wal/0.tmp",
    ] {
        let restored = Restored::new();
        fs::write(restored.data_dir().join(name), b"").unwrap();
        let defects = restored.verify(Layout::Official);
        assert_eq!(codes(&defects), ["data-dir-entry"]);
        assert!(defects[0].message.contains(name), "{}", defects[0]);
    }
}

#[test]
fn a_broken_page_is_found_by_the_walk() {
    let restored = Restored::new();
    let mut bytes = fs::read(restored.database()).unwrap();
    // The other meta: the database opens with one, but something has happened to it.
    bytes[30] ^= 1;
    fs::write(restored.database(), bytes).unwrap();
    assert!(!restored.codes().is_empty());
}

#[test]
fn a_database_that_does_not_open_is_reported() {
    let restored = Restored::new();
    for bytes in [Vec::new(), vec![0; 8192], fs::read(restored.database()).unwrap()[..8192].to_vec()] {
        fs::write(restored.database(), bytes).unwrap();
        assert!(!restored.codes().is_empty());
    }
}

#[test]
fn the_walk_can_be_interrupted() {
    struct Stop;
    impl Progress for Stop {
        fn update(&self, _stage: Stage, _done: u64, _total: Option<u64>) -> bool {
            false
        }
    }
    let restored = Restored::new();
    let verified =
        verify_member(&restored.data_dir(), &restored.wal_dir(), &restored.membership, Layout::Portable, &Stop);
    assert!(matches!(verified, Err(crate::Error::Interrupted)));
}

#[test]
fn buckets_that_contradict_the_log_are_found() {
    fn set(buckets: &mut Buckets, bucket: &[u8], key: &[u8], value: &[u8]) {
        buckets.get_mut(bucket).unwrap().insert(key.to_vec(), value.to_vec());
    }
    let damage: [(&str, Damage); 15] = [
        ("bucket-missing", |all| drop(all.remove(buckets::META))),
        ("meta-consistent-index", |all| set(all, b"meta", b"consistent_index", &4_u64.to_be_bytes())),
        ("meta-consistent-index", |all| set(all, b"meta", b"consistent_index", &2_u64.to_be_bytes())),
        ("meta-consistent-index", |all| drop(all.get_mut(&b"meta"[..]).unwrap().remove(&b"consistent_index"[..]))),
        ("meta-term", |all| set(all, b"meta", b"term", &2_u64.to_be_bytes())),
        ("meta-term", |all| drop(all.get_mut(&b"meta"[..]).unwrap().remove(&b"term"[..]))),
        ("meta-entry", |all| set(all, b"meta", b"scheduledCompactRev", b"short")),
        ("members-bucket", |all| all.get_mut(&b"members"[..]).unwrap().clear()),
        ("members-bucket", |all| drop(all.get_mut(&b"members"[..]).unwrap().pop_last())),
        ("members-bucket", |all| {
            let member = &four_members().members[0];
            assert!(!three_members().ids().contains(&member.id), "a stranger");
            set(all, b"members", hex_id(member.id).as_bytes(), member_json(member).as_bytes());
        }),
        ("members-bucket", |all| {
            let member = &with_another_url().members[2];
            set(all, b"members", hex_id(member.id).as_bytes(), member_json(member).as_bytes());
        }),
        ("members-bucket", |all| {
            let member = &three_members().members[2];
            let learner = member_json(member).replace(",\"name\"", ",\"isLearner\":true,\"name\"");
            set(all, b"members", hex_id(member.id).as_bytes(), learner.as_bytes());
        }),
        ("members-bucket", |all| set(all, b"members", b"zz", b"{}")),
        ("members-bucket", |all| drop(all.remove(buckets::MEMBERS))),
        ("members-removed", |all| set(all, b"members_removed", b"1f", b"removed")),
    ];
    for (code, damage) in damage {
        let restored = Restored::new();
        let mut buckets = good_buckets(&restored.membership);
        damage(&mut buckets);
        restored.write_database(&buckets);
        assert_eq!(codes(&restored.verify(Layout::Official)), [code]);
        assert!(restored.codes().contains(&code));
    }
}

#[test]
fn what_ties_a_database_to_a_release_breaks_the_portable_layout_only() {
    let damage: [(&str, Damage); 4] = [
        ("meta-storage-version", |all| {
            all.get_mut(&b"meta"[..]).unwrap().insert(b"storageVersion".to_vec(), b"3.6.0".to_vec());
        }),
        ("meta-conf-state", |all| {
            all.get_mut(&b"meta"[..]).unwrap().insert(b"confState".to_vec(), conf_state_json(&[7]).into_bytes());
        }),
        ("meta-conf-state", |all| drop(all.get_mut(&b"meta"[..]).unwrap().remove(&b"confState"[..]))),
        ("cluster-bucket", |all| {
            all.get_mut(&b"cluster"[..]).unwrap().insert(b"clusterVersion".to_vec(), b"3.6.0".to_vec());
        }),
    ];
    for (code, damage) in damage {
        let restored = Restored::new();
        let mut buckets = good_buckets(&restored.membership);
        damage(&mut buckets);
        restored.write_database(&buckets);
        assert_eq!(restored.codes(), [code]);
        assert_eq!(restored.verify(Layout::Official), []);
    }
}

#[test]
fn a_log_that_contradicts_the_membership_is_found() {
    let membership = three_members();
    let [m2, m1, m3] = &membership.members[..] else { panic!("three") };
    let conf_state = |conf_state| WalSnapshot { index: 3, term: 1, conf_state }.encode();
    let metadata = |node_id, cluster_id| Metadata { node_id, cluster_id }.encode();
    let of_voters = |voters: &[u64]| Some(ConfState::of_voters(voters.to_vec()));
    let ids = membership.ids();
    let with_learner = ConfState { learners: vec![9], ..ConfState::of_voters(ids.clone()) };
    let cases: Vec<(&[&str], usize, Vec<u8>)> = vec![
        (&["wal-identity"], 0, metadata(m2.id, membership.cluster_id)),
        (&["wal-identity"], 0, metadata(m1.id, 1)),
        (&["wal-snapshot"], 1, WalSnapshot { index: 0, term: 7, conf_state: None }.encode()),
        (&["wal-entries"], 3, entry(2, 2, &change(m1.id, &member_json(m1)))),
        (&["wal-entries"], 3, entry(2, 1, &change(m1.id, &member_json(m3)))),
        (&["wal-entries"], 3, entry(2, 1, &change(m3.id, &member_json(m3)))),
        (&["wal-entries"], 3, entry(2, 1, &change(m1.id, "{"))),
        (&["wal-entries"], 3, Entry { entry_type: EntryType::Normal, term: 1, index: 2, data: b"" }.encode()),
        (&["wal-entries"], 4, entry(2, 1, &change(m3.id, &member_json(m3)))),
        (&["hard-state"], 5, state(2, m2.id, 3)),
        (&["hard-state"], 5, state(1, 9, 3)),
        (&["hard-state"], 5, state(1, 0, 3)),
        (&["hard-state", "snap-unmatched"], 5, state(1, m2.id, 2)),
        (&["hard-state", "wal-commit"], 5, state(1, m2.id, 4)),
        (&["wal-conf-state"], 6, conf_state(None)),
        (&["wal-conf-state"], 6, conf_state(of_voters(&ids[..2]))),
        (&["wal-conf-state"], 6, conf_state(of_voters(&[9, ids[1], ids[2]]))),
        (&["wal-conf-state"], 6, conf_state(Some(with_learner))),
        (&["snap-unmatched", "wal-snapshot"], 6, WalSnapshot { index: 2, term: 1, conf_state: None }.encode()),
        (&["snap-unmatched", "wal-snapshot"], 6, WalSnapshot { index: 3, term: 2, conf_state: None }.encode()),
    ];
    for (expected, place, data) in cases {
        let restored = Restored::new();
        let mut records = good_records(&membership);
        records[place].1 = data;
        restored.write_wal(&records);
        let found = codes(&restored.verify(Layout::Official));
        for code in expected {
            assert!(found.contains(code), "record {place}: {found:?}, not {expected:?}");
        }
    }
}

#[test]
fn a_log_that_lacks_a_record_is_found() {
    for (place, code) in [
        (0, "wal-metadata-missing"),
        (1, "wal-snapshot"),
        (2, "wal-entry-gap"),
        (4, "wal-entries"),
        (5, "hard-state"),
        (6, "wal-snapshot"),
    ] {
        let restored = Restored::new();
        let mut records = good_records(&restored.membership);
        records.remove(place);
        restored.write_wal(&records);
        let found = codes(&restored.verify(Layout::Official));
        assert!(found.contains(&code), "without record {place}: {found:?}");
    }
}

#[test]
fn a_log_of_the_same_meaning_in_other_bytes_is_not_portable() {
    let restored = Restored::new();
    let mut records = good_records(&restored.membership);
    restored.write_wal(&records);
    assert_eq!(restored.verify(Layout::Portable), []);
    records.insert(2, (STATE, state(1, restored.membership.members[0].id, 3)));
    restored.write_wal(&records);
    assert_eq!(restored.verify(Layout::Official), []);
    assert_eq!(restored.codes(), ["wal-bytes"]);
}

#[test]
fn the_log_and_snap_of_another_membership_are_found() {
    for other in [four_members(), with_another_url()] {
        let restored = Restored::new();
        fs::write(restored.segment(), wal::restored(&other)).unwrap();
        assert!(codes(&restored.verify(Layout::Official)).contains(&"wal-entries"));
        let restored = Restored::new();
        fs::write(restored.snap(), snap::restored(&other).1).unwrap();
        assert!(codes(&restored.verify(Layout::Official)).contains(&"snap-members"));
    }
}

#[test]
fn a_damaged_log_is_found() {
    let damage: [(&str, Scratch); 4] = [
        ("wal-crc-mismatch", |bytes| bytes[130] ^= 1),
        ("wal-tail", |bytes| bytes.extend([[0; 8], [1; 8]].concat())),
        ("wal-torn-frame", |bytes| bytes.truncate(500)),
        ("wal-padding", |bytes| bytes[15] = 1),
    ];
    for (code, damage) in damage {
        let restored = Restored::new();
        let mut bytes = fs::read(restored.segment()).unwrap();
        damage(&mut bytes);
        fs::write(restored.segment(), bytes).unwrap();
        assert!(restored.codes().contains(&code));
    }
    let restored = Restored::new();
    fs::rename(restored.segment(), restored.wal_dir().join("0000000000000001-0000000000000000.wal")).unwrap();
    let codes = restored.codes();
    assert!(codes.contains(&"wal-segments") && codes.contains(&"data-dir-entry"), "{codes:?}");
}

#[test]
fn a_snap_file_that_contradicts_the_membership_is_found() {
    let membership = three_members();
    let good = || SnapshotMetadata { conf_state: ConfState::of_voters(membership.ids()), index: 3, term: 1 };
    let bytes = snap::restored(&membership).1;
    let start = bytes.iter().position(|byte| *byte == b'{').unwrap();
    let end = bytes.iter().rposition(|byte| *byte == b'}').unwrap();
    let store = std::str::from_utf8(&bytes[start..=end]).unwrap();
    let voters = |voters: &[u64]| ConfState::of_voters(voters.to_vec());
    let removed = store.replacen(
        "\"0\":{\"Path\":\"/0\",\"CreatedIndex\":0,\"ModifiedIndex\":0,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\
         \"Value\":\"\",\"Children\":{",
        "\"0\":{\"Path\":\"/0\",\"Value\":\"\",\"Children\":{\"removed_members\":{\"Path\":\"/0/removed_members\",\
         \"Children\":{\"1f\":{\"Path\":\"/0/removed_members/1f\",\"Value\":\"removed\"}}},",
        1,
    );
    let learner = store.replacen("42901\\\"]}", "42901\\\"],\\\"isLearner\\\":true}", 1);
    let other_url = store.replacen("42901\\\"]}", "42909\\\"]}", 1);
    let user_data = store.replacen("\"Value\":\"\",\"Children\":{}", "\"Value\":\"x\",\"Children\":{}", 1);
    let short_ring = store.replacen("null,null", "null", 1);
    let cases: Vec<(&[&str], SnapshotMetadata, &str)> = vec![
        (&[], good(), store),
        (&["snap-index", "snap-unmatched"], SnapshotMetadata { index: 2, ..good() }, store),
        (&["snap-index", "snap-unmatched"], SnapshotMetadata { term: 2, ..good() }, store),
        (&["snap-conf-state"], SnapshotMetadata { conf_state: voters(&membership.ids()[1..]), ..good() }, store),
        (&["snap-members"], good(), &learner),
        (&["snap-members"], good(), &other_url),
        (&["snap-removed"], good(), &removed),
        (&["snap-v2-content"], good(), &user_data),
        (&["snap-event-ring"], good(), &short_ring),
        (&["snap-record"], good(), "{}"),
    ];
    for (expected, metadata, store) in cases {
        let restored = Restored::new();
        restored.write_snap(metadata, store.as_bytes());
        assert_eq!(codes(&restored.verify(Layout::Official)), expected);
        assert_eq!(restored.codes(), expected);
    }
    let restored = Restored::new();
    restored.write_snap(good(), store.replacen("\"getsFail\":0", "\"getsFail\":1", 1).as_bytes());
    assert_eq!(restored.verify(Layout::Official), []);
    assert_eq!(restored.codes(), ["snap-bytes"]);
}

#[test]
fn a_damaged_snap_file_is_found() {
    let restored = Restored::new();
    let mut bytes = fs::read(restored.snap()).unwrap();
    bytes[4000] ^= 1;
    fs::write(restored.snap(), bytes).unwrap();
    let defects = restored.verify(Layout::Official);
    assert_eq!(codes(&defects), ["snap-crc-mismatch"]);
    assert!(defects[0].message.starts_with("0000000000000001-0000000000000003.snap: crc mismatch"));
}

#[test]
fn the_directory_of_another_member_is_found() {
    let mut restored = Restored::new();
    restored.membership.local_id = restored.membership.members[0].id;
    assert_eq!(codes(&restored.verify(Layout::Official)), ["wal-identity"]);
    restored.membership.local_id = 9;
    assert_eq!(codes(&restored.verify(Layout::Official)), ["local-member", "wal-identity"]);
}
