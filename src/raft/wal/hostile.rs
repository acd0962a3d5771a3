//! Every number of a log, overwritten with every value that might hurt: found, or read as what it then says.

use super::frame::{CRC, ENTRY, Encoder, METADATA, SNAPSHOT, STATE};
use super::restored;
use super::tests::wal_of_one;
use crate::proto::{Value, fields, put_bytes, put_uint};
use crate::raft::fixture::three_members;

/// A segment's record: its type and data.
type Record = (u64, Option<Vec<u8>>);

/// Values for a number that is `before`.
fn values(before: u64) -> Vec<u64> {
    let limits = [0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
    let near = [0, 1, 2, 3, 4, 5, before.wrapping_sub(1), before.wrapping_add(1), before ^ (1 << 63)];
    let mut values = [limits.as_slice(), &near].concat();
    values.retain(|value| *value != before);
    values
}

/// The records of a restored log, checksums left out.
fn records(segment: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = segment;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let len = usize::try_from(word & ((1 << 56) - 1)).unwrap();
        let (mut kind, mut data) = (0, None);
        for field in fields(&behind[..len]).map(Result::unwrap) {
            match field {
                (1, Value::Varint(number)) => kind = number,
                (3, Value::Bytes(bytes)) => data = Some(bytes.to_vec()),
                _ => {}
            }
        }
        records.push((kind, data));
        rest = &behind[len.next_multiple_of(8)..];
    }
    records
}

/// A segment of these records, with checksums that fit.
fn segment(records: &[Record]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for (kind, data) in records {
        match data {
            Some(data) => encoder.record(*kind, data),
            None => encoder.crc(),
        }
    }
    encoder.take()
}

/// The message with its numbers replaced one after the other, those of messages inside it too.
fn each_number(message: &[u8], each: &mut dyn FnMut(Vec<u8>)) {
    let all: Vec<_> = fields(message).map_while(Result::ok).collect();
    let around = |at: usize, put: &dyn Fn(&mut Vec<u8>, u32)| {
        let mut out = Vec::new();
        for (place, (number, value)) in all.iter().enumerate() {
            match value {
                _ if place == at => put(&mut out, *number),
                Value::Varint(value) => put_uint(&mut out, *number, *value),
                Value::Bytes(bytes) => put_bytes(&mut out, *number, bytes),
                _ => {}
            }
        }
        out
    };
    for (at, (_, value)) in all.iter().enumerate() {
        match value {
            Value::Varint(before) => {
                for value in values(*before) {
                    each(around(at, &|out, number| put_uint(out, number, value)));
                }
            }
            Value::Bytes(inner) => {
                each_number(inner, &mut |inner| each(around(at, &|out, number| put_bytes(out, number, &inner))));
            }
            _ => {}
        }
    }
}

#[test]
fn every_number_of_every_kind_of_record_with_checksums_that_fit() {
    let whole = restored(&three_members());
    let records = records(&whole);
    assert_eq!(whole, segment(&records));
    let good = wal_of_one(whole);
    for kind in [METADATA, ENTRY, STATE, SNAPSHOT] {
        let at = records.iter().rposition(|(found, _)| *found == kind).unwrap();
        let mut seen = 0;
        each_number(records[at].1.as_ref().unwrap(), &mut |data| {
            let mut bent = records.clone();
            bent[at].1 = Some(data);
            let wal = wal_of_one(segment(&bent));
            assert!(wal.defects.len() <= 1_000);
            assert!(!wal.defects.is_empty() || wal != good, "record {at} of type {kind}");
            assert!(wal.conf_changes.is_sorted_by_key(|change| change.index));
            seen += 1;
        });
        assert!(seen >= 2 * values(0).len(), "{seen} of type {kind}");
    }
}

#[test]
fn every_type_and_every_place_of_a_record() {
    let records = records(&restored(&three_members()));
    let good = wal_of_one(segment(&records));
    for at in 0..records.len() {
        for kind in values(records[at].0).into_iter().filter(|kind| *kind != CRC) {
            let mut bent = records.clone();
            bent[at] = (kind, Some(bent[at].1.clone().unwrap_or_default()));
            let wal = wal_of_one(segment(&bent));
            assert!(!wal.defects.is_empty() || wal != good, "record {at} as type {kind}");
        }
        for other in 0..records.len() {
            let mut moved = records.clone();
            let record = moved.remove(at);
            moved.insert(other, record);
            let wal = wal_of_one(segment(&moved));
            // A hard state may stand before or behind what it does not speak of.
            let matters = at != other && records[at].0 == ENTRY && records[other].0 == ENTRY;
            assert!(!matters || !wal.defects.is_empty() || wal != good, "record {at} moved to {other}");
            assert!(wal.conf_changes.is_sorted_by_key(|change| change.index));
        }
    }
}

#[test]
fn every_word_of_the_frames_as_they_lie() {
    let whole = restored(&three_members());
    let good = wal_of_one(whole.clone());
    for at in (0..whole.len()).step_by(8) {
        let before = u64::from_le_bytes(*whole[at..].first_chunk().unwrap());
        let lengths = [0x8400_0000_0000_0004, 0x8000_0000_0000_0008, (64 << 20) + 1, whole.len() as u64, 1 << 55];
        for value in values(before).into_iter().chain(lengths).filter(|value| *value != before) {
            let mut bent = whole.clone();
            bent[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let wal = wal_of_one(bent);
            assert!(wal.segments[0].used <= whole.len() as u64);
            assert!(!wal.defects.is_empty() || wal != good, "{value:#x} at byte {at}");
        }
    }
}
