//! Damage of every kind, each found by [`read_dir`].

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::frame::{CRC, ENTRY, Encoder, METADATA, SEGMENT_SIZE, SNAPSHOT, STATE, segment_name};
use super::{Wal, read_dir, restored, restored_name, write_dir};
use crate::raft::fixture::three_members;
use crate::raft::messages::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Metadata, WalSnapshot,
};

/// Types and data of records.
type Records = Vec<(u64, Vec<u8>)>;

/// A WAL with these segments.
fn wal_of(segments: &[(String, Vec<u8>)]) -> Wal {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in segments {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    read_dir(dir.path()).unwrap()
}

pub(super) fn wal_of_one(bytes: Vec<u8>) -> Wal {
    wal_of(&[(restored_name(), bytes)])
}

/// Whether anything is to be told.
fn is_told(wal: &Wal) -> bool {
    !wal.defects.is_empty() || wal.torn.is_some()
}

/// Codes of the defects, each once, in order.
fn codes(wal: &Wal) -> Vec<&'static str> {
    let mut codes: Vec<_> = wal.defects.iter().map(|defect| defect.code).collect();
    codes.dedup();
    codes
}

fn entry(index: u64, term: u64, data: &[u8]) -> Vec<u8> {
    Entry { entry_type: EntryType::Normal, term, index, data }.encode()
}

fn metadata() -> Vec<u8> {
    Metadata { node_id: 1, cluster_id: 2 }.encode()
}

/// The beginning of a first segment.
fn begun() -> Encoder {
    let mut segment = Encoder::default();
    segment.crc();
    segment.record(METADATA, &metadata());
    segment.record(SNAPSHOT, &WalSnapshot::default().encode());
    segment
}

/// Goes on in another segment, as etcd's `cut` does.
fn cut(segment: &mut Encoder, commit: u64) -> Vec<u8> {
    let bytes = segment.take();
    segment.crc();
    segment.record(METADATA, &metadata());
    segment.record(STATE, &state(commit));
    bytes
}

fn state(commit: u64) -> Vec<u8> {
    HardState { term: 1, vote: 1, commit }.encode()
}

/// Entries 1 to 3 and 4 to 6 in two segments.
fn two_segments() -> [(String, Vec<u8>); 2] {
    let mut segment = begun();
    (1..=3).for_each(|index| segment.record(ENTRY, &entry(index, 1, b"data")));
    let first = cut(&mut segment, 3);
    (4..=6).for_each(|index| segment.record(ENTRY, &entry(index, 1, b"more")));
    segment.record(STATE, &state(6));
    [(segment_name(0, 0), first), (segment_name(1, 4), segment.take())]
}

#[test]
fn a_restored_wal_reads_back() {
    let dir = TempDir::new().unwrap();
    let membership = three_members();
    write_dir(dir.path(), &membership).unwrap();
    fs::write(dir.path().join("0.tmp"), b"preallocated").unwrap();
    let wal = read_dir(dir.path()).unwrap();
    assert_eq!(wal.defects, []);
    assert_eq!(wal.metadata, Some(Metadata { node_id: membership.local_id, cluster_id: membership.cluster_id }));
    assert_eq!((wal.first_index, wal.last_index, wal.entries), (1, 3, 3));
    assert_eq!(wal.hard_state, Some(HardState { term: 1, vote: membership.members[0].id, commit: 3 }));
    assert_eq!((wal.segments[0].used, wal.segments[0].len), (536, SEGMENT_SIZE));
    let ids: Vec<u64> = wal.conf_changes.iter().map(|change| change.change.node_id).collect();
    assert_eq!(ids, membership.ids());
    let last = wal.valid_snapshots().last().unwrap();
    let conf_state = Some(ConfState::of_voters(membership.ids()));
    assert_eq!(last.snapshot, WalSnapshot { index: 3, term: 1, conf_state });
    assert_eq!((last.sequence, last.offset), (0, 472));
}

#[test]
fn a_wal_that_ends_with_its_last_record_reads_back() {
    assert_eq!(wal_of_one(restored(&three_members())).defects, []);
}

#[test]
fn the_crc_goes_on_from_segment_to_segment() {
    let wal = wal_of(&two_segments());
    assert_eq!(wal.defects, []);
    assert_eq!((wal.first_index, wal.last_index, wal.entries), (1, 6, 6));
    assert_eq!(wal.segments.iter().map(|segment| segment.sequence).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_wal_whose_first_segments_were_purged_reads_from_where_it_begins() {
    let [_, (name, bytes)] = two_segments();
    let wal = wal_of(&[(name, bytes)]);
    assert_eq!(codes(&wal), ["wal-snapshot-missing"]);
    assert_eq!((wal.first_index, wal.last_index), (4, 6));
}

#[test]
fn an_entry_replaces_those_at_and_above_its_index() {
    let change = |node_id| {
        let change = ConfChange { id: 0, change_type: ConfChangeType::AddNode, node_id, context: Vec::new() };
        change.encode()
    };
    let conf_change =
        |index, term, data: &[u8]| Entry { entry_type: EntryType::ConfChange, term, index, data }.encode();
    let mut segment = begun();
    segment.record(ENTRY, &conf_change(1, 1, &change(7)));
    segment.record(ENTRY, &conf_change(2, 1, &change(8)));
    segment.record(ENTRY, &conf_change(3, 1, &change(9)));
    segment.record(ENTRY, &entry(2, 2, b""));
    segment.record(STATE, &state(2));
    let wal = wal_of_one(segment.take());
    assert_eq!(wal.defects, []);
    assert_eq!((wal.last_index, wal.entries), (2, 4));
    assert_eq!(wal.conf_changes.iter().map(|change| change.change.node_id).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_snapshot_from_the_leader_may_jump_ahead() {
    let mut segment = begun();
    segment.record(ENTRY, &entry(1, 1, b""));
    segment.record(SNAPSHOT, &WalSnapshot { index: 9, term: 2, conf_state: None }.encode());
    segment.record(STATE, &state(9));
    segment.record(ENTRY, &entry(10, 2, b""));
    let wal = wal_of_one(segment.take());
    assert_eq!(wal.defects, []);
    assert_eq!(wal.valid_snapshots().count(), 2);
}

#[test]
fn a_snapshot_beyond_the_commit_is_not_valid() {
    let mut segment = begun();
    segment.record(SNAPSHOT, &WalSnapshot { index: 9, term: 2, conf_state: None }.encode());
    segment.record(STATE, &state(8));
    let wal = wal_of_one(segment.take());
    assert_eq!(wal.valid_snapshots().map(|record| record.snapshot.index).collect::<Vec<_>>(), [0]);
}

#[test]
fn damage_is_found_where_it_lies() {
    let whole = || restored(&three_members());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole();
        change(&mut bytes);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str, u64)> = vec![
        ("flipped data", with(&|bytes| bytes[130] ^= 1), "wal-crc-mismatch", 80),
        ("padding", with(&|bytes| bytes[15] = 1), "wal-padding", 0),
        ("length word", with(&|bytes| bytes[480 - 1] = 0x86), "wal-frame-length", 472),
        ("huge length", with(&|bytes| bytes[472 + 5] = 0x7f), "wal-torn-frame", 472),
        ("record", with(&|bytes| bytes[472 + 8] = 0x0b), "wal-record", 472),
        ("block type", with(&|bytes| bytes[472 + 9] = 0x15), "wal-record", 472),
        ("crc record with data", with(&|bytes| bytes[472 + 9] = 0x04), "wal-record", 472),
        ("seed", with(&|bytes| bytes[8 + 3] = 1), "wal-crc-mismatch", 0),
        ("no bytes", Vec::new(), "wal-empty-segment", 0),
        ("zeros", vec![0; 1000], "wal-empty-segment", 0),
    ];
    for (story, bytes, code, offset) in cases {
        let wal = wal_of_one(bytes);
        let found = wal.defects.iter().find(|defect| defect.code == code);
        let found = found.unwrap_or_else(|| panic!("{story}: {:?}", wal.defects));
        assert_eq!(found.offset, Some(offset), "{story}");
        assert!(found.message.starts_with(&restored_name()), "{story}: {found}");
    }
}

/// A first segment with an entry of `data`, and the state that commits it.
fn with_entry(segment: &mut Encoder, index: u64, data: &[u8]) {
    segment.record(ENTRY, &entry(index, 1, data));
    segment.record(STATE, &state(index));
}

#[test]
fn a_write_that_was_cut_off_at_the_end_is_no_defect_and_what_stands_before_it_counts() {
    let mut segment = begun();
    (1..=3).for_each(|index| with_entry(&mut segment, index, b"data"));
    let whole = segment.take();
    let mut torn = with_next(&whole, |segment| segment.record(ENTRY, &entry(4, 1, &[7; 3000])));
    let sector = torn.len().next_multiple_of(512) - 2048;
    torn[sector..].fill(0);
    let mut hole = with_next(&whole, |segment| with_entry(segment, 4, &[7; 3000]));
    hole[sector..sector + 512].fill(0);
    let mut far = whole.clone();
    far.resize(700_000, 0);
    far[699_999] = 1;
    let at = whole.len() as u64;
    let cases = [
        ("cut off at a sector", torn.clone(), "wal-torn-record", at),
        ("in a segment with room", [torn.clone(), vec![0; 9000]].concat(), "wal-torn-record", at),
        ("a sector in the middle", hole, "wal-torn-record", at),
        ("its first sector alone is missing", [&whole[..], &[0; 512], &[7; 512]].concat(), "wal-tail", at + 512),
        ("far away", far, "wal-tail", 699_999),
        ("cut in a record", torn[..whole.len() + 20].to_vec(), "wal-torn-frame", at),
        ("cut in a length word", torn[..whole.len() + 3].to_vec(), "wal-torn-frame", at),
    ];
    let expected = wal_of_one(whole);
    for (story, bytes, code, offset) in cases {
        let mut wal = wal_of_one(bytes);
        let found = wal.torn.take().unwrap_or_else(|| panic!("{story}: {:?}", wal.defects));
        assert_eq!((found.code, found.offset), (code, Some(offset)), "{story}");
        assert!(found.message.starts_with(&restored_name()), "{story}: {found}");
        wal.segments[0].len = expected.segments[0].len;
        assert_eq!(wal, expected, "{story}");
    }
}

/// A segment with what is appended after `whole`, whose CRC goes on.
fn with_next(whole: &[u8], append: impl Fn(&mut Encoder)) -> Vec<u8> {
    let mut segment = begun();
    (1..=3).for_each(|index| with_entry(&mut segment, index, b"data"));
    append(&mut segment);
    let bytes = segment.take();
    assert_eq!(&bytes[..whole.len()], whole);
    bytes
}

#[test]
fn a_torn_record_that_had_been_synced_is_a_defect() {
    let build = |after: u64| {
        let mut segment = begun();
        with_entry(&mut segment, 1, b"data");
        let before = segment.take();
        (2..=2 + after).for_each(|index| with_entry(&mut segment, index, &[7; 3000]));
        let mut bytes = [before.clone(), segment.take()].concat();
        let sector = before.len().next_multiple_of(512) + 512;
        bytes[sector..sector + 512].fill(0);
        (wal_of_one(bytes), before.len() as u64)
    };
    // The hard state behind the entry is of the same write; another entry behind that is not.
    let (wal, at) = build(0);
    assert_eq!((codes(&wal), wal.torn.unwrap().offset), (vec![], Some(at)));
    for after in [1, 20] {
        let (wal, at) = build(after);
        assert_eq!((codes(&wal), wal.torn), (vec!["wal-torn-inside"], None));
        assert_eq!((wal.defects[0].offset, wal.last_index), (Some(at), 1));
        assert!(wal.defects[0].message.ends_with("acknowledged after index 1"), "{}", wal.defects[0]);
    }
}

#[test]
fn what_is_cut_off_or_left_over_before_the_newest_segment_is_a_defect() {
    let [first, second] = two_segments();
    let mut torn = first.1.clone();
    let kept = torn.len() - 20;
    torn.truncate(kept);
    let wal = wal_of(&[(first.0.clone(), torn), second.clone()]);
    assert!(codes(&wal).contains(&"wal-torn-frame"), "{:?}", wal.defects);
    assert_eq!(wal.torn, None);
    let tail = [&first.1[..], &[0; 8], &[1; 8]].concat();
    let wal = wal_of(&[(first.0, tail), second]);
    assert_eq!((codes(&wal), wal.torn), (vec!["wal-tail"], None));
}

#[test]
fn records_that_contradict_each_other_are_found() {
    let other_metadata = Metadata { node_id: 9, cluster_id: 2 }.encode();
    let cases: Vec<(&str, Records)> = vec![
        ("wal-metadata-conflict", vec![(METADATA, other_metadata)]),
        ("wal-entry-gap", vec![(ENTRY, entry(2, 1, b""))]),
        ("wal-entry", vec![(ENTRY, entry(0, 1, b""))]),
        ("wal-entry", vec![(ENTRY, Entry { entry_type: EntryType::Other(2), term: 1, index: 1, data: &[] }.encode())]),
        ("wal-commit", vec![(ENTRY, entry(1, 1, b"")), (STATE, state(2))]),
        ("wal-record", vec![(STATE, b"\x0a".to_vec())]),
        ("wal-record", vec![(7, Vec::new())]),
    ];
    for (code, records) in cases {
        let mut segment = begun();
        for (kind, data) in records {
            segment.record(kind, &data);
        }
        assert_eq!(codes(&wal_of_one(segment.take())), [code]);
    }
}

#[test]
fn a_segment_begins_with_a_crc_record() {
    let mut segment = Encoder::default();
    segment.record(METADATA, &metadata());
    segment.record(SNAPSHOT, &WalSnapshot::default().encode());
    assert_eq!(codes(&wal_of_one(segment.take())), ["wal-segment-start"]);
}

#[test]
fn what_is_missing_is_named() {
    let empty = TempDir::new().unwrap();
    assert_eq!(codes(&read_dir(empty.path()).unwrap()), ["wal-missing"]);
    let mut segment = Encoder::default();
    segment.crc();
    assert_eq!(codes(&wal_of_one(segment.take())), ["wal-metadata-missing", "wal-snapshot-missing"]);
    assert!(read_dir(&empty.path().join("none")).is_err());
}

#[test]
fn a_missing_or_misnamed_segment_is_found() {
    let [first, (_, second)] = two_segments();
    let names = [
        (segment_name(2, 4), "wal-sequence"),
        (segment_name(1, 5), "wal-name"),
        (segment_name(1, 3), "wal-name"),
        ("0000000000000001-4.wal".to_owned(), "wal-name"),
    ];
    for (name, code) in names {
        let wal = wal_of(&[first.clone(), (name.clone(), second.clone())]);
        assert_eq!(codes(&wal), [code], "{name}");
        assert!(wal.defects[0].message.starts_with(&name), "{}", wal.defects[0]);
    }
    let wal = wal_of(&[(segment_name(0, 7), restored(&three_members()))]);
    assert_eq!(codes(&wal), ["wal-name"]);
}

#[test]
fn a_segment_that_does_not_carry_on_the_crc_is_found() {
    let [first, _] = two_segments();
    let mut foreign = begun();
    foreign.record(ENTRY, &entry(4, 1, b""));
    let wal = wal_of(&[first, (segment_name(1, 4), foreign.take())]);
    assert_eq!(codes(&wal), ["wal-crc-mismatch"]);
    assert_eq!(wal.defects[0].offset, Some(0));
}

#[test]
fn a_directory_in_place_of_a_segment_is_found() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join(restored_name())).unwrap();
    assert_eq!(codes(&read_dir(dir.path()).unwrap()), ["wal-name", "wal-missing"]);
}

#[test]
fn every_flipped_bit_of_a_restored_wal_is_found_or_changes_what_is_read() {
    let whole = restored(&three_members());
    let expected = wal_of_one(whole.clone());
    let dir = TempDir::new().unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join(restored_name()), bytes).unwrap();
        let wal = read_dir(dir.path()).unwrap();
        assert!(is_told(&wal) || wal != expected, "bit {bit} passed");
        // The type of a record is the one thing under no checksum that may turn into another good one.
        let types = [9, 25, 65, 89, 209, 329, 449, 481];
        assert!(is_told(&wal) || types.contains(&(bit / 8)), "bit {bit} left no defect");
    }
}

#[test]
fn a_wal_cut_anywhere_is_found_or_ends_with_a_record() {
    let whole = restored(&three_members());
    let ends = [80, 200, 320, 440, 472];
    for len in 0..whole.len() {
        let wal = wal_of_one(whole[..len].to_vec());
        assert!(is_told(&wal) || ends.contains(&len), "cut at {len} passed");
    }
}

#[test]
fn no_more_than_a_thousand_defects_are_kept() {
    let mut segment = begun();
    (0..3000).for_each(|_| segment.record(7, b""));
    assert_eq!(wal_of_one(segment.take()).defects.len(), 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, records: Vec<(u64, Vec<u8>)>) {
        let _ = wal_of_one(bytes);
        let mut segment = begun();
        for (kind, data) in records {
            let kind = kind % 7;
            if kind == CRC { segment.crc() } else { segment.record(kind, &data) }
        }
        let _ = wal_of_one(segment.take());
    }

    #[test]
    fn entries_round_trip(datas in proptest::collection::vec(any::<Vec<u8>>(), 1..20)) {
        let mut segment = begun();
        for (index, data) in (1..).zip(&datas) {
            segment.record(ENTRY, &entry(index, 1, data));
        }
        let last = datas.len() as u64;
        segment.record(STATE, &state(last));
        let wal = wal_of_one(segment.take());
        prop_assert_eq!(&wal.defects, &[]);
        prop_assert_eq!((wal.first_index, wal.last_index, wal.entries), (1, last, last));
    }
}
