//! The hot parts one by one: `cargo bench`. `make bench` measures whole commands; this tells which part has changed.
//!
//! Nothing is asserted of time, and all data is made here.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Cursor};
use std::path::PathBuf;

use dcos_etcd::archive::{ArchiveWriter, Compression, FORMAT_VERSION, HASH_LEN, Manifest, extract};
use dcos_etcd::bbolt::{BulkLayout, BulkWriter, Database, Element, Visitor, walk};
use dcos_etcd::defect::Defect;
use dcos_etcd::progress::NoProgress;
use dcos_etcd::proto::{put_bytes, put_uint};
use dcos_etcd::raft::{Bootstrap, Membership, bootstrap, wal};
use dcos_etcd::schema::{KeyValue, Revision};
use dcos_etcd::snapshot::{Contents, VerifyOptions, verify};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tempfile::TempDir;

const KEYS: i64 = 40_000;
const COMPRESSIONS: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

fn main() {
    divan::main();
}

/// A value that looks like a scheduler's: JSON of 0.2 to 3 KiB, of which a third is left when it is compressed.
fn value(number: i64) -> Vec<u8> {
    let mut state = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let fields = 4 + next() % 64;
    let tasks: Vec<_> = (0..fields).map(|field| format!("\"task-{field}\":{{\"id\":\"{:016x}\"}}", next())).collect();
    format!("{{\"number\":{number},\"state\":\"TASK_RUNNING\",{}}}", tasks.join(",")).into_bytes()
}

fn key_value(number: i64) -> Vec<u8> {
    let revision = number.unsigned_abs();
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, format!("/services/scheduler/{number:08}").as_bytes());
    put_uint(&mut bytes, 2, revision);
    put_uint(&mut bytes, 3, revision);
    put_uint(&mut bytes, 4, 1);
    put_bytes(&mut bytes, 5, &value(number));
    bytes
}

/// An etcd's database of some 60 MB.
fn database() -> Vec<u8> {
    let written = || -> io::Result<Vec<u8>> {
        let mut writer = BulkWriter::new(Cursor::new(Vec::new()), BulkLayout::default());
        writer.bucket(b"key", 0)?;
        for main in 2..KEYS + 2 {
            writer.entry(&Revision { main, sub: 0 }.to_bytes(), &key_value(main))?;
        }
        writer.bucket(b"meta", 0)?;
        writer.entry(b"consistent_index", &9_u64.to_be_bytes())?;
        Ok(writer.finish(0)?.0.into_inner())
    };
    given(written())
}

/// Lets the entries go by.
struct PagesOnly;

impl Visitor for PagesOnly {
    type Part = ();

    fn bucket(&mut self, _name: &[u8]) {}

    fn entry(&mut self, element: Element<'_>) {
        black_box(element);
    }

    fn defect(&mut self, defect: Defect) {
        black_box(defect);
    }

    fn part(&self) -> Option<()> {
        Some(())
    }

    fn take(&mut self, _part: ()) -> bool {
        true
    }
}

#[divan::bench]
fn check_pages(bencher: Bencher<'_, '_>) {
    let bytes = database();
    let database = given(Database::open(&bytes));
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| given(walk(&database, &mut PagesOnly, &NoProgress)));
}

#[divan::bench]
fn judge_entries(bencher: Bencher<'_, '_>) {
    let bytes = database();
    let database = given(Database::open(&bytes));
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| given(Contents::read(&database, &NoProgress)));
}

#[divan::bench]
fn parse_key_value(bencher: Bencher<'_, '_>) {
    let values: Vec<_> = (2..1_002).map(key_value).collect();
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        for value in &values {
            black_box(given(KeyValue::parse(black_box(value))));
        }
    });
}

#[divan::bench(args = [17, 1_024, 4_096, 1 << 20])]
fn crc32c_of(bencher: Bencher<'_, '_>, size: usize) {
    let bytes = vec![7; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| crc32c::crc32c_append(1, black_box(&bytes)));
}

fn manifest(size: u64) -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        tool: "bench".to_owned(),
        endpoint: String::new(),
        cluster_id: String::new(),
        member_id: String::new(),
        etcd_version: "3.5.30".to_owned(),
        storage_version: String::new(),
        revision: 1,
        raft_term: 1,
        raft_index: 1,
        members: Vec::new(),
        size,
        sha256: String::new(),
    }
}

/// Writes an archive of `snapshot`, a database and 32 bytes behind it.
fn pack<W: io::Write>(out: W, compression: Compression, snapshot: &[u8]) -> W {
    let size = snapshot.len() as u64;
    let mut archive = given(ArchiveWriter::new(out, compression, size, 0));
    snapshot.chunks(32 << 10).for_each(|blob| given(archive.write_snapshot(blob)));
    given(archive.finish(&manifest(size - HASH_LEN)))
}

fn snapshot() -> Vec<u8> {
    let mut bytes = database();
    bytes.extend([0; 32]);
    bytes
}

#[divan::bench(args = COMPRESSIONS, sample_count = 5)]
fn compress_blocks(bencher: Bencher<'_, '_>, compression: Compression) {
    let bytes = snapshot();
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| pack(io::sink(), compression, &bytes));
}

/// A directory with an archive in it.
fn packed(compression: Compression, snapshot: &[u8]) -> (TempDir, PathBuf) {
    let dir = given(TempDir::new());
    let path = dir.path().join("archive");
    pack(given(File::create(&path)), compression, snapshot);
    (dir, path)
}

#[divan::bench(args = COMPRESSIONS, sample_count = 10)]
fn inflate_blocks(bencher: Bencher<'_, '_>, compression: Compression) {
    let bytes = snapshot();
    let (_dir, path) = packed(compression, &bytes);
    let ignore = |bytes: &[u8]| {
        black_box(bytes);
        Ok(())
    };
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| given(extract(&path, &mut ignore.clone(), &NoProgress)));
}

#[divan::bench(sample_count = 10)]
fn verify_database(bencher: Bencher<'_, '_>) {
    let bytes = database();
    let dir = given(TempDir::new());
    let path = dir.path().join("snapshot.db");
    given(std::fs::write(&path, &bytes));
    let options = VerifyOptions { skip_hash_check: true };
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| given(verify(&path, options, &NoProgress)));
}

fn membership() -> Membership {
    let members: Vec<_> = (1..6).map(|n| format!("m{n}=https://10.0.0.{n}:2380")).collect();
    given(bootstrap(&Bootstrap {
        name: "m1".to_owned(),
        initial_cluster: members.join(","),
        initial_advertise_peer_urls: "https://10.0.0.1:2380".to_owned(),
        initial_cluster_token: "token".to_owned(),
    }))
}

#[divan::bench]
fn encode_wal(bencher: Bencher<'_, '_>) {
    let membership = membership();
    bencher.bench_local(|| wal::restored(&membership));
}

#[divan::bench(sample_count = 20)]
fn write_wal(bencher: Bencher<'_, '_>) {
    let membership = membership();
    bencher
        .with_inputs(|| given(TempDir::new()))
        .bench_local_refs(|dir| given(wal::write_dir(dir.path(), &membership)));
}

#[divan::bench(sample_count = 20)]
fn read_wal(bencher: Bencher<'_, '_>) {
    let dir = given(TempDir::new());
    given(wal::write_dir(dir.path(), &membership()));
    bencher.bench_local(|| given(wal::read_dir(dir.path())));
}

/// A part that fails has no time worth telling.
#[expect(clippy::panic, reason = "a bench has nobody to give its error to")]
fn given<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error:?}"))
}
