//! Databases that are wrong in one place, and have the checksums of sound ones.

use std::collections::BTreeMap;

use dcos_etcd::bbolt::layout::{
    BRANCH_PAGE_FLAG, ELEMENT_SIZE, MAGIC, META, META_CHECKSUM, META_MAGIC, META_SIZE, PAGE_COUNT, PAGE_FLAGS,
    PAGE_HEADER_SIZE, PAGE_ID, PAGE_OVERFLOW,
};
use dcos_etcd::bbolt::{Builder, Database, Entries};
use dcos_etcd::schema::{KeyValue, buckets};
use fastrand::Rng;
use sha2::{Digest, Sha256};

use crate::chance::{get, hostile, mutate_bytes, put};

/// Bytes of the SHA-256 behind a database.
const HASH_LEN: usize = 32;
/// Every page size is a multiple of it.
const UNIT: usize = 512;

/// Changes a database with or without its SHA-256; the checksums fit afterwards, most of the time.
pub fn mutate(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    let hashed = bytes.len() % UNIT == HASH_LEN;
    if hashed {
        bytes.truncate(bytes.len() - HASH_LEN);
    }
    let most = most.saturating_sub(HASH_LEN);
    for _ in 0..=rng.u8(..3) {
        match rng.u8(..8) {
            0 | 1 => mutate_bytes(bytes, most),
            2..=4 => field(bytes, rng),
            5 => pages(bytes, rng),
            _ => contents(bytes, most, rng),
        }
    }
    bytes.truncate(most);
    if rng.u8(..16) > 0 {
        fix_metas(bytes);
    }
    if hashed || rng.u8(..4) == 0 {
        bytes.extend_from_slice(&Sha256::digest(&bytes));
    }
}

/// Puts the checksum of every meta right, wherever one may be.
fn fix_metas(bytes: &mut [u8]) {
    let mut page = 0;
    while page + META + META_SIZE <= bytes.len() {
        let meta = page + META;
        if get(bytes, meta + META_MAGIC, 4) == u64::from(MAGIC) {
            let sum = bytes[meta..meta + META_CHECKSUM]
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
            put(bytes, meta + META_CHECKSUM, 8, sum);
        }
        page = if page == 0 { UNIT } else { page * 2 };
    }
}

fn page_size(bytes: &[u8]) -> usize {
    let size = get(bytes, META + 8, 4) as usize;
    if size.is_power_of_two() && (UNIT..=bytes.len().max(UNIT)).contains(&size) { size } else { 4096 }
}

/// Overwrites a field of a page.
fn field(bytes: &mut [u8], rng: &mut Rng) {
    let size = page_size(bytes);
    let count = (bytes.len() / size).max(1);
    let page = if rng.u8(..4) == 0 { rng.usize(..count.min(2)) } else { rng.usize(..count) };
    let start = page * size;
    let elements = (get(bytes, start + PAGE_COUNT, 2) as usize).clamp(1, size / ELEMENT_SIZE);
    let element = start + PAGE_HEADER_SIZE + rng.usize(..elements) * ELEMENT_SIZE;
    let branch = get(bytes, start + PAGE_FLAGS, 2) == u64::from(BRANCH_PAGE_FLAG);
    let (at, width) = match rng.u8(..8) {
        0 => [(PAGE_ID, 8), (PAGE_FLAGS, 2), (PAGE_COUNT, 2), (PAGE_OVERFLOW, 4)]
            .map(|(at, width)| (start + at, width))[rng.usize(..4)],
        // The metas' fields, and the numbers in a freelist.
        1 => (start + PAGE_HEADER_SIZE + 8 * rng.usize(..size / 16), 8),
        2 if branch => (element + 8, 8),
        // Somewhere in the data: the header of a bucket, an inline page.
        3 => (start + rng.usize(..size), [1, 2, 4, 8][rng.usize(..4)]),
        _ => (element + 4 * rng.usize(..4), 4),
    };
    let numbers = [page as u64, rng.u64(..count as u64), count as u64, size as u64, (size - PAGE_HEADER_SIZE) as u64];
    let value = hostile(rng, get(bytes, at, width), &numbers);
    put(bytes, at, width, value);
}

/// Exchanges, copies, drops or adds whole pages.
fn pages(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let size = page_size(bytes);
    let count = bytes.len() / size;
    if count < 3 {
        return;
    }
    let (one, other) = (rng.usize(..count) * size, rng.usize(..count) * size);
    match rng.u8(..4) {
        0 => {
            let page = bytes[one..one + size].to_vec();
            bytes.copy_within(other..other + size, one);
            bytes[other..other + size].copy_from_slice(&page);
        }
        1 => {
            bytes.copy_within(other..other + size, one);
            put(bytes, one, 8, (one / size) as u64);
        }
        2 => bytes.truncate(bytes.len() - size),
        _ => bytes.extend_from_within(one..one + size),
    }
}

/// Takes the database apart, changes an entry, and builds it anew.
fn contents(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    let Some(mut buckets) = read(bytes) else { return };
    for _ in 0..=rng.u8(..4) {
        entry(&mut buckets, rng);
    }
    let size = [512, 512, 1024, 4096, 16384][rng.usize(..5)];
    let builder = Builder::new(size);
    let builder = if rng.bool() { builder } else { builder.without_inline() };
    let builder = if rng.u8(..4) == 0 { builder.freelist(rng.u64(..4)) } else { builder };
    if let Ok(built) = builder.build(&buckets)
        && built.len() <= most
    {
        *bytes = built;
    }
}

fn read(bytes: &Vec<u8>) -> Option<BTreeMap<Vec<u8>, Entries>> {
    let database = Database::open(bytes).ok()?;
    let buckets = database.buckets().ok()?;
    let entries = |bucket| Some(database.entries(bucket).ok()?.into_iter().collect());
    buckets.iter().map(|bucket| Some((bucket.name().to_vec(), entries(bucket)?))).collect()
}

/// Buckets of etcd, and keys that it knows in them.
const KNOWN: [(&[u8], &[u8]); 14] = [
    (buckets::META, buckets::META_CONSISTENT_INDEX),
    (buckets::META, buckets::META_TERM),
    (buckets::META, buckets::META_CONF_STATE),
    (buckets::META, buckets::META_STORAGE_VERSION),
    (buckets::META, buckets::META_SCHEDULED_COMPACT),
    (buckets::META, b"finishedCompactRev"),
    (buckets::CLUSTER, buckets::CLUSTER_VERSION),
    (buckets::CLUSTER, buckets::CLUSTER_DOWNGRADE),
    (buckets::AUTH, buckets::AUTH_ENABLED),
    (buckets::AUTH, buckets::AUTH_REVISION),
    (buckets::AUTH_USERS, b"root"),
    (buckets::ALARM, b"\x08\x01\x10\x01"),
    (buckets::LEASE, b"\0\0\0\0\0\0\0\x07"),
    (buckets::MEMBERS, b"8e9e05c52164694d"),
];

fn entry(buckets: &mut BTreeMap<Vec<u8>, Entries>, rng: &mut Rng) {
    if rng.u8(..6) == 0 {
        let (bucket, key) = KNOWN[rng.usize(..KNOWN.len())];
        let mut value = vec![0; [0, 1, 8, 17][rng.usize(..4)]];
        mutate_bytes(&mut value, 40);
        buckets.entry(bucket.to_vec()).or_default().insert(key.to_vec(), value);
        return;
    }
    let all: Vec<_> =
        buckets.iter().flat_map(|(name, entries)| entries.keys().map(move |key| (name.clone(), key.clone()))).collect();
    if all.is_empty() {
        return;
    }
    let (bucket, key) = all[rng.usize(..all.len())].clone();
    let Some(entries) = buckets.get_mut(&bucket) else { return };
    let Some(mut value) = entries.get(&key).cloned() else { return };
    let mut new_key = key.clone();
    match rng.u8(..10) {
        0 => {
            entries.remove(&key);
            return;
        }
        1 => mutate_bytes(&mut new_key, 40),
        // Revisions and lease ids are big-endian.
        2 | 3 if key.len() >= 8 => {
            let at = if key.len() >= 17 && rng.bool() { 9 } else { 0 };
            let before = u64::from_be_bytes(key[at..at + 8].try_into().unwrap_or_default());
            new_key[at..at + 8].copy_from_slice(&hostile(rng, before, &[before.wrapping_add(2)]).to_be_bytes());
        }
        4 if bucket == buckets::KEY => {
            // A deletion of the key, or none any more.
            if new_key.len() == 18 {
                new_key.pop();
            } else {
                new_key.push(b't');
            }
        }
        5..=7 if bucket == buckets::KEY => {
            if let Ok(mut kv) = KeyValue::parse(&value.clone()) {
                let number = |rng: &mut Rng, before: i64| hostile(rng, before.cast_unsigned(), &[7]).cast_signed();
                match rng.u8(..4) {
                    0 => kv.create_revision = number(rng, kv.create_revision),
                    1 => kv.mod_revision = number(rng, kv.mod_revision),
                    2 => kv.version = number(rng, kv.version),
                    _ => kv.lease = number(rng, kv.lease),
                }
                value.clear();
                kv.encode(&mut value);
            }
        }
        _ => {
            let most = (value.len() + 16).min(2048);
            mutate_bytes(&mut value, most);
        }
    }
    if rng.bool() {
        entries.remove(&key);
    }
    entries.insert(new_key, value);
}
