//! Writes a bare snapshot of any size without a server, for measurements: `make_database PATH KEYS REVISIONS [SEED]`.
//!
//! The database is one that etcd 3.5 could have sent: every bucket, `KEYS` keys under `/dcos/state/` in `REVISIONS`
//! transactions (those after the first `KEYS` write a key anew, the last hundredth of the keys' number deletes one),
//! values of JSON of 0.2 to 3 KiB, leases on every sixteenth key, the SHA-256 behind it. The same arguments give the
//! same bytes. 4,000,000 keys in 4,100,000 revisions take 8 GiB.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use dcos_etcd::bbolt::{BulkLayout, BulkWriter};
use dcos_etcd::hex::hex;
use dcos_etcd::proto::{put_bytes, put_uint};
use dcos_etcd::schema::{Revision, buckets, conf_state_json};
use sha2::{Digest, Sha256};

/// The first revision of a user.
const FIRST_REVISION: u64 = 2;
/// Every so many-th key hangs on a lease.
const LEASED: u64 = 16;
const LEASES: u64 = 1000;
/// Ten years, so that nothing expires while it is looked at.
const TTL_SECONDS: u64 = 315_360_000;
/// Every so many-th key is deleted at the end.
const DELETED: u64 = 100;
const MEMBER: u64 = 0x8e9e_05c5_2164_694d;
const WORDS: &str = "active agent allocated attributes capacity checkpoint cluster constraint container cpus created deployment \
    disk endpoint environment executor failed framework gateway gpus group health healthy hostname image \
    instances killed labels latest lost marathon master memory mesos mounts network node offered overlay owner \
    partition pending port principal private public quota region replica reserved resources role running \
    scheduler secret service staging state status subnet task timeout token unreachable updated volume weight \
    zone";

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "make_database PATH KEYS REVISIONS [SEED]";
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or(usage)?;
    let keys: u64 = arguments.next().ok_or(usage)?.parse()?;
    let revisions: u64 = arguments.next().ok_or(usage)?.parse()?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    if keys == 0 || revisions < keys + keys / DELETED {
        return Err("KEYS is at least 1, REVISIONS at least KEYS and a hundredth".into());
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let store = Store { keys, revisions, seed };
    let mut file = store.write(BulkWriter::new(file, BulkLayout { fill_percent: 90, ..BulkLayout::default() }))?;

    // The metas at its front are written last, so the hash takes a pass of its own.
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    let mut reader = BufReader::with_capacity(0, &file);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    file.write_all(&hash.finalize())?;
    file.sync_all()?;
    Ok(())
}

/// What the database holds.
struct Store {
    keys: u64,
    revisions: u64,
    seed: u64,
}

impl Store {
    fn write<W: Write + Seek>(&self, mut writer: BulkWriter<W>) -> std::io::Result<W> {
        for bucket in [buckets::ALARM, buckets::AUTH, buckets::AUTH_ROLES, buckets::AUTH_USERS, buckets::CLUSTER] {
            writer.bucket(bucket, 0)?;
        }
        writer.entry(buckets::CLUSTER_VERSION, b"3.5.0")?;
        self.write_history(&mut writer)?;
        writer.bucket(buckets::LEASE, 0)?;
        for lease in 1..=LEASES {
            let mut value = Vec::new();
            put_uint(&mut value, 1, lease);
            put_uint(&mut value, 2, TTL_SECONDS);
            writer.entry(&lease.to_be_bytes(), &value)?;
        }
        writer.bucket(buckets::MEMBERS, 0)?;
        let member = format!(r#"{{"id":{MEMBER},"peerURLs":["http://localhost:2380"],"name":"default"}}"#);
        writer.entry(format!("{MEMBER:x}").as_bytes(), member.as_bytes())?;
        writer.bucket(buckets::MEMBERS_REMOVED, 0)?;
        writer.bucket(buckets::META, 0)?;
        writer.entry(buckets::META_CONF_STATE, conf_state_json(&[MEMBER]).as_bytes())?;
        writer.entry(buckets::META_CONSISTENT_INDEX, &(self.revisions + 10).to_be_bytes())?;
        writer.entry(buckets::META_TERM, &2_u64.to_be_bytes())?;
        writer.finish(0).map(|(file, _)| file)
    }

    fn write_history<W: Write + Seek>(&self, writer: &mut BulkWriter<W>) -> std::io::Result<()> {
        writer.bucket(buckets::KEY, 0)?;
        let deletions = self.keys / DELETED;
        let (mut value, mut stored) = (Vec::new(), Vec::new());
        for number in 0..self.revisions {
            let main = number + FIRST_REVISION;
            let revision = Revision { main: main.cast_signed(), sub: 0 }.to_bytes();
            stored.clear();
            if let Some(deletion) = (number + deletions).checked_sub(self.revisions) {
                put_bytes(&mut stored, 1, &key(deletion * DELETED));
                writer.entry(&[revision.as_slice(), b"t"].concat(), &stored)?;
                continue;
            }
            let index = number % self.keys;
            value.clear();
            document(self.seed ^ number, number / self.keys + 1, &mut value);
            put_bytes(&mut stored, 1, &key(index));
            put_uint(&mut stored, 2, index + FIRST_REVISION);
            put_uint(&mut stored, 3, main);
            put_uint(&mut stored, 4, number / self.keys + 1);
            put_bytes(&mut stored, 5, &value);
            if index.is_multiple_of(LEASED) {
                put_uint(&mut stored, 6, 1 + index / LEASED % LEASES);
            }
            writer.entry(&revision, &stored)?;
        }
        Ok(())
    }
}

fn key(index: u64) -> Vec<u8> {
    format!("/dcos/state/{index:08}").into_bytes()
}

/// A JSON document as orchestrators keep them: mostly of 0.4 to 2 KiB, names that recur and digests that do not.
fn document(seed: u64, version: u64, out: &mut Vec<u8>) {
    let mut chance = Chance(seed);
    let words: Vec<_> = WORDS.split(' ').collect();
    let wanted = 200 + chance.below(1400) + chance.below(1400);
    out.extend_from_slice(
        format!(r#"{{"id":"{:016x}{:016x}","version":{version}"#, chance.next(), chance.next()).as_bytes(),
    );
    while out.len() < wanted {
        let mut word = || words.get(chance.below(words.len())).copied().unwrap_or_default();
        let (name, first, second) = (word(), word(), word());
        out.extend_from_slice(format!(r#","{name}":{{"{first}":"{second}","digest":""#).as_bytes());
        for _ in 0..6 {
            out.extend_from_slice(hex(&chance.next().to_be_bytes()).as_bytes());
        }
        out.extend_from_slice(b"\"}");
    }
    out.push(b'}');
}

/// SplitMix64: chance that can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or_default() % end
    }
}
