//! Write-ahead logs and `.snap` files whose checksums fit whatever they hold.

use dcos_etcd::proto::{Value, fields, put_bytes, put_uint};
use fastrand::Rng;

use crate::chance::{get, hostile, mutate_bytes, put};

/// Stands between two segments of one input, before the eight bytes of the next one's index.
pub const SEGMENT: &[u8] = b"\nSEGMENT";

/// The segments of an input, each with the index in its name.
pub fn segments(input: &[u8]) -> Vec<(u64, &[u8])> {
    let mut segments = Vec::new();
    let (mut index, mut rest) = (0, input);
    while let Some(at) = rest.windows(SEGMENT.len()).position(|window| window == SEGMENT) {
        segments.push((index, &rest[..at]));
        rest = &rest[at + SEGMENT.len()..];
        index = get(rest, 0, 8);
        rest = rest.get(8..).unwrap_or_default();
    }
    segments.push((index, rest));
    segments
}

/// A record: its type, what it holds, and bits that its checksum is wrong in.
type Record = (u64, Option<Vec<u8>>, u32);

/// Changes a log. Records that could be read have lengths and checksums that fit, most of the time.
pub fn mutate(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    if rng.u8(..4) == 0 {
        mutate_bytes(bytes, most);
        if rng.bool() {
            let at = 8 * rng.usize(..bytes.len() / 8 + 1);
            let value = hostile(rng, get(bytes, at, 8), &[bytes.len() as u64, 0x8400_0000_0000_0004]);
            put(bytes, at, 8, value);
        }
        return;
    }
    let mut segments: Vec<(u64, Vec<Record>)> =
        segments(bytes).into_iter().map(|(index, segment)| (index, records(segment))).collect();
    for _ in 0..=rng.u8(..3) {
        change(&mut segments, rng);
    }
    let mut out = Vec::new();
    let mut crc = 0;
    for (number, (index, records)) in segments.iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(SEGMENT);
            out.extend_from_slice(&index.to_le_bytes());
        }
        for record in records {
            write(&mut out, record, &mut crc);
        }
        // What is allotted and not written yet.
        out.resize(out.len() + 8 * rng.usize(..8), 0);
    }
    out.truncate(most);
    *bytes = out;
}

fn change(segments: &mut Vec<(u64, Vec<Record>)>, rng: &mut Rng) {
    let number = rng.usize(..segments.len());
    let count = segments.len();
    let (index, records) = &mut segments[number];
    if records.is_empty() || rng.u8(..12) == 0 {
        match rng.u8(..3) {
            0 => *index = hostile(rng, *index, &[]),
            1 if count < 4 => {
                let split = records.split_off(records.len() / 2);
                segments.insert(number + 1, (rng.u64(..8), [vec![(4, None, 0)], split].concat()));
            }
            _ if count > 1 => drop(segments.remove(number)),
            _ => {}
        }
        return;
    }
    let at = rng.usize(..records.len());
    match rng.u8(..10) {
        0 => drop(records.remove(at)),
        1 => {
            let copy = records[at].clone();
            records.insert(rng.usize(..records.len()), copy);
        }
        2 => {
            let other = rng.usize(..records.len());
            records.swap(at, other);
        }
        3 => records[at].0 = hostile(rng, records[at].0, &[1, 2, 3, 4, 5]),
        4 => records[at].2 = 1 << rng.u32(..32),
        5 => records.insert(at, (rng.u64(1..6), Some(Vec::new()), 0)),
        // Entries, states and snapshots are messages of numbers.
        6 | 7 => {
            if let Some(data) = &mut records[at].1 {
                number_in(data, rng);
            }
        }
        _ => {
            let data = records[at].1.get_or_insert_default();
            let most = data.len() + 32;
            mutate_bytes(data, most);
        }
    }
}

/// Changes one number of a message.
fn number_in(message: &mut Vec<u8>, rng: &mut Rng) {
    let mut out = Vec::new();
    for field in fields(message) {
        match field {
            Ok((number, Value::Varint(value))) => {
                let value = if rng.u8(..3) == 0 { hostile(rng, value, &[]) } else { value };
                put_uint(&mut out, number, value);
            }
            Ok((number, Value::Bytes(bytes))) => put_bytes(&mut out, number, bytes),
            _ => return,
        }
    }
    *message = out;
}

fn records(segment: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = 0;
    while at + 8 <= segment.len() {
        let word = get(segment, at, 8);
        let padding = if word >> 63 == 1 { word >> 56 & 7 } else { 0 };
        let len = usize::try_from(word & ((1 << 56) - 1)).unwrap_or(usize::MAX);
        let Some(message) = segment.get(at + 8..).and_then(|rest| rest.get(..len)).filter(|_| word != 0) else { break };
        let (mut kind, mut data) = (0, None);
        for field in fields(message).map_while(Result::ok) {
            match field {
                (1, Value::Varint(found)) => kind = found,
                (3, Value::Bytes(found)) => data = Some(found.to_vec()),
                _ => {}
            }
        }
        records.push((kind, data, 0));
        at += 8 + len + padding as usize;
    }
    records
}

fn write(out: &mut Vec<u8>, (kind, data, wrong): &Record, crc: &mut u32) {
    const CRC: u64 = 4;
    if *kind != CRC {
        *crc = crc32c::crc32c_append(*crc, data.as_deref().unwrap_or_default());
    }
    let mut message = Vec::new();
    put_uint(&mut message, 1, *kind);
    put_uint(&mut message, 2, u64::from(*crc ^ wrong));
    if let Some(data) = data {
        put_bytes(&mut message, 3, data);
    }
    let padding = message.len().wrapping_neg() % 8;
    let flags = if padding > 0 { (0x80 | padding as u64) << 56 } else { 0 };
    out.extend_from_slice(&(flags | message.len() as u64).to_le_bytes());
    out.extend_from_slice(&message);
    out.resize(out.len() + padding, 0);
}

/// Changes a `.snap` file; its checksum fits, most of the time.
pub fn mutate_snap(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    let data = fields(bytes).map_while(Result::ok).find_map(|field| match field {
        (2, Value::Bytes(data)) => Some(data.to_vec()),
        _ => None,
    });
    let Some(mut data) = data.filter(|_| rng.u8(..8) > 0) else { return mutate_bytes(bytes, most) };
    let mut out = Vec::new();
    let victim = rng.u32(1..4);
    let mut changed = false;
    for (number, value) in fields(&data.clone()).map_while(Result::ok) {
        match value {
            Value::Varint(value) => put_uint(&mut out, number, hostile(rng, value, &[])),
            Value::Bytes(value) if number == victim && !changed => {
                let mut value = value.to_vec();
                if number == 1 {
                    store(&mut value, rng)
                } else {
                    number_in(&mut value, rng)
                }
                changed = true;
                put_bytes(&mut out, number, &value);
            }
            Value::Bytes(value) => put_bytes(&mut out, number, value),
            _ => {}
        }
    }
    if changed {
        data = out
    } else {
        mutate_bytes(&mut data, most)
    }
    bytes.clear();
    put_uint(bytes, 1, u64::from(crc32c::crc32c(&data)));
    put_bytes(bytes, 2, &data);
    bytes.truncate(most);
}

/// Changes the JSON of etcd's v2 store.
fn store(json: &mut Vec<u8>, rng: &mut Rng) {
    const PIECES: [&[u8]; 12] = [
        b"null",
        b"{}",
        b"[[[[[[[[",
        b"\"Children\":",
        b"\"Value\":\"{\\\"peerURLs\\\":[\\\"u\\\"]}\"",
        b"ffffffffffffffff",
        b"-1",
        b"1e999",
        b"\\ud800",
        b"true",
        b"18446744073709551616",
        b"\"isLearner\":true",
    ];
    if rng.bool() || json.is_empty() {
        let most = json.len() + 64;
        return mutate_bytes(json, most);
    }
    let at = rng.usize(..json.len());
    let end = (at + rng.usize(..24)).min(json.len());
    json.splice(at..end, PIECES[rng.usize(..PIECES.len())].iter().copied());
}
