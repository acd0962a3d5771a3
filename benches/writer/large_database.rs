//! Writes a database of any size as an etcd member would hold it, with its SHA-256 behind it as in a snapshot:
//! `large_database FILE KEYS`. About 2100 bytes a key. The measurements take it where filling a server would need an
//! hour.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use dcos_etcd::bbolt::{BulkLayout, BulkWriter};
use dcos_etcd::proto::{put_bytes, put_uint};
use dcos_etcd::schema::{Revision, buckets};
use sha2::{Digest, Sha256};

/// Lengths of values, as in the data that is put into a server: JSON documents of 0.2 to 3 KiB.
const VALUE_LEN: std::ops::Range<u64> = 200..3500;

const WORDS: [&str; 16] = [
    "agent",
    "capacity",
    "checkpoint",
    "container",
    "deployment",
    "endpoint",
    "executor",
    "framework",
    "health",
    "instances",
    "labels",
    "network",
    "reserved",
    "scheduler",
    "task",
    "volume",
];

/// Vigna's `splitmix64`: chance that can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn word(&mut self) -> &'static str {
        WORDS.get(usize::from(self.next().to_le_bytes()[0] & 15)).copied().unwrap_or_default()
    }

    fn hex(&mut self, out: &mut Vec<u8>, words: usize) {
        for _ in 0..words {
            let mut number = self.next();
            for _ in 0..16 {
                out.push(b"0123456789abcdef".get((number & 15) as usize).copied().unwrap_or_default());
                number >>= 4;
            }
        }
    }

    fn document(&mut self, number: u64, out: &mut Vec<u8>) {
        let wanted = VALUE_LEN.start + self.next() % (VALUE_LEN.end - VALUE_LEN.start);
        out.clear();
        out.extend(b"{\"id\":\"");
        self.hex(out, 2);
        out.extend(format!("\",\"version\":{number}").bytes());
        while (out.len() as u64) < wanted {
            let [name, first] = [self.word(), self.word()];
            out.extend([",\"", name, "\":{\"", first, "\":\"", self.word(), "\",\"digest\":\""].concat().bytes());
            self.hex(out, 6);
            out.extend(b"\"}");
        }
        out.push(b'}');
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, keys] = arguments.as_slice() else { return Err("usage: large_database FILE KEYS".into()) };
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    let mut file = write(file, keys.parse()?)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    file.seek(SeekFrom::Start(0))?;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(block.get(..read).unwrap_or_default());
    }
    file.write_all(&hash.finalize())?;
    Ok(())
}

/// Every bucket of etcd 3.5 with one version of each key, put one after the other.
fn write(file: File, keys: u64) -> Result<File, Box<dyn Error>> {
    let mut database = BulkWriter::new(file, BulkLayout::default());
    for name in [buckets::ALARM, buckets::AUTH, buckets::AUTH_ROLES, buckets::AUTH_USERS] {
        database.bucket(name, 0)?;
    }
    database.bucket(buckets::CLUSTER, 0)?;
    database.entry(buckets::CLUSTER_VERSION, b"3.5.0")?;
    database.bucket(buckets::KEY, 0)?;
    let mut chance = Chance(1);
    let (mut value, mut message) = (Vec::new(), Vec::new());
    for number in 0..keys {
        // etcd's first revision is 1, and the first put makes 2.
        let revision = number + 2;
        chance.document(number, &mut value);
        message.clear();
        put_bytes(&mut message, 1, format!("/dcos/state/{number:09}").as_bytes());
        put_uint(&mut message, 2, revision);
        put_uint(&mut message, 3, revision);
        put_uint(&mut message, 4, 1);
        put_bytes(&mut message, 5, &value);
        database.entry(&Revision { main: i64::try_from(revision)?, sub: 0 }.to_bytes(), &message)?;
    }
    for name in [buckets::LEASE, buckets::MEMBERS, buckets::MEMBERS_REMOVED] {
        database.bucket(name, 0)?;
    }
    database.bucket(buckets::META, 0)?;
    database.entry(buckets::META_CONSISTENT_INDEX, &(keys + 4).to_be_bytes())?;
    database.entry(buckets::META_TERM, &2_u64.to_be_bytes())?;
    Ok(database.finish(0)?.0)
}
