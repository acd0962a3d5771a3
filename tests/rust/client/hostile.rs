//! A real etcd's database, every field of every kind of page overwritten with every value that might hurt: either
//! `verify` refuses it, or everything can be read and agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use dcos_etcd::Error;
use dcos_etcd::archive::extract;
use dcos_etcd::backup::backup;
use dcos_etcd::bbolt::layout::{
    BRANCH_PAGE_FLAG, BUCKET_HEADER_SIZE, BUCKET_LEAF_FLAG, ELEMENT_SIZE, FREELIST_PAGE_FLAG, LEAF_PAGE_FLAG, META,
    META_CHECKSUM, META_PAGE_FLAG, PAGE_COUNT, PAGE_FLAGS, PAGE_HEADER_SIZE, PAGE_ID, PAGE_OVERFLOW,
};
use dcos_etcd::bbolt::{Builder, Database, Entries};
use dcos_etcd::history::{Cursor, KeyRange, Row, Scan, Store};
use dcos_etcd::progress::NoProgress;
use dcos_etcd::snapshot::{VerifyOptions, verify};
use etcd_client::PutOptions;
use sha2::{Digest, Sha256};

use crate::real_etcd::{Cluster, programs};
use crate::support::{Destination, patient_options, run};

/// Bytes a page of every etcd's database on this machine.
const PAGE: usize = 4096;

/// Where a field is, and how many bytes it has.
type Field = (usize, usize);

fn number(bytes: &[u8], (at, width): Field) -> u64 {
    let mut value = [0; 8];
    value[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(value)
}

/// A database with enough keys for a branch, a value that needs overflow pages, a lease, deletions and a compaction.
async fn real_database(program: &Path) -> Vec<u8> {
    let cluster = Cluster::start(program, 1).await;
    let mut client = cluster.client().await;
    let lease = client.lease_grant(3_600, None).await.unwrap().id();
    for n in 0..150 {
        client.put(format!("k/{n:03}"), vec![b'v'; 40], None).await.unwrap();
    }
    client.put("large", vec![b'l'; 3 * PAGE], None).await.unwrap();
    client.put("leased", "x", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    client.delete("k/007", None).await.unwrap();
    client.compact(20, None).await.unwrap();
    let destination = Destination::new();
    let options = patient_options(cluster.access());
    backup(&destination.path(), &options, Arc::new(NoProgress)).await.unwrap();
    let mut database = Vec::new();
    let mut sink = |piece: &[u8]| {
        database.extend_from_slice(piece);
        Ok(())
    };
    extract(&destination.path(), &mut sink, &NoProgress).unwrap();
    database
}

/// The same content with a freelist on a page of its own, which no etcd on Linux writes but older ones may have.
fn with_freelist(database: &Vec<u8>) -> Vec<u8> {
    let opened = Database::open(database).unwrap();
    let buckets = opened.buckets().unwrap();
    let entries = |bucket| Entries::from_iter(opened.entries(bucket).unwrap());
    let content: BTreeMap<_, _> = buckets.iter().map(|bucket| (bucket.name().to_vec(), entries(bucket))).collect();
    Builder::new(4096).freelist(6).build(&content).unwrap()
}

/// Pages in use that have these flags: the first, one in the middle and the last. Free ones hold what they once were.
fn pages(bytes: &[u8], flags: u16) -> Vec<usize> {
    let meta = Database::open(&bytes.to_vec()).unwrap().meta().clone();
    let mut used = BTreeSet::from([0, 1, meta.freelist]);
    reach(bytes, usize::try_from(meta.root).unwrap(), &mut used);
    let has = |page: &usize| number(bytes, (page * PAGE + PAGE_FLAGS, 2)) == u64::from(flags);
    let all: Vec<usize> = used
        .into_iter()
        .filter_map(|page| usize::try_from(page).ok())
        .filter(|page| *page < bytes.len() / PAGE)
        .filter(has)
        .collect();
    let mut some: Vec<usize> =
        [0, all.len() / 2, all.len().saturating_sub(1)].iter().filter_map(|at| all.get(*at).copied()).collect();
    some.dedup();
    some
}

/// Adds the first pages of the tree at `page`, and of the buckets in it.
fn reach(bytes: &[u8], page: usize, used: &mut BTreeSet<u64>) {
    used.insert(page as u64);
    let at = page * PAGE;
    let branch = number(bytes, (at + PAGE_FLAGS, 2)) == u64::from(BRANCH_PAGE_FLAG);
    for index in 0..usize::try_from(number(bytes, (at + PAGE_COUNT, 2))).unwrap() {
        let element = at + PAGE_HEADER_SIZE + index * ELEMENT_SIZE;
        let child = if branch {
            number(bytes, (element + 8, 8))
        } else if number(bytes, (element, 4)) & u64::from(BUCKET_LEAF_FLAG) != 0 {
            let place = number(bytes, (element + 4, 4)) + number(bytes, (element + 8, 4));
            number(bytes, (element + usize::try_from(place).unwrap(), 8))
        } else {
            0
        };
        // 0 is an inline bucket.
        if child != 0 {
            reach(bytes, usize::try_from(child).unwrap(), used);
        }
    }
}

fn header(at: usize) -> Vec<Field> {
    vec![(at + PAGE_ID, 8), (at + PAGE_FLAGS, 2), (at + PAGE_COUNT, 2), (at + PAGE_OVERFLOW, 4)]
}

/// Every field of a page of elements, and of the buckets in it, inline pages included.
fn fields(bytes: &[u8], at: usize, flags: u16) -> Vec<Field> {
    let mut fields = header(at);
    let count = usize::try_from(number(bytes, (at + PAGE_COUNT, 2))).unwrap();
    let mut some = vec![0, 1, count / 2, count.saturating_sub(1)];
    some.retain(|index| *index < count);
    some.dedup();
    for element in some.into_iter().map(|index| at + PAGE_HEADER_SIZE + index * ELEMENT_SIZE) {
        if flags == BRANCH_PAGE_FLAG {
            fields.extend([(element, 4), (element + 4, 4), (element + 8, 8)]);
            continue;
        }
        fields.extend([0, 4, 8, 12].map(|field| (element + field, 4)));
        if number(bytes, (element, 4)) & u64::from(BUCKET_LEAF_FLAG) != 0 {
            let [pos, key, value] =
                [4, 8, 12].map(|field| usize::try_from(number(bytes, (element + field, 4))).unwrap());
            let bucket = element + pos + key;
            fields.extend([(bucket, 8), (bucket + 8, 8)]);
            if value > BUCKET_HEADER_SIZE {
                fields.extend(self::fields(bytes, bucket + BUCKET_HEADER_SIZE, LEAF_PAGE_FLAG));
            }
        }
    }
    fields
}

/// Values for a field: nothing, all, the limits, what was there give or take one, and pages of every kind.
fn values(bytes: &[u8], field: Field, pages: &[usize]) -> Vec<u64> {
    let before = number(bytes, field);
    let most = u64::MAX >> (64 - 8 * field.1);
    let sign = 1 << (8 * field.1 - 1);
    let count = (bytes.len() / PAGE) as u64;
    let mut values =
        vec![0, 1, 2, 3, 0x10, before.wrapping_sub(1), before.wrapping_add(1), before ^ sign, sign - 1, sign];
    values.extend([most, most - 1, count - 1, count, count + 1, 512, 32_768, 32_769, PAGE as u64]);
    values.extend(pages.iter().map(|page| *page as u64));
    values.retain(|value| *value != before && *value <= most);
    values.sort_unstable();
    values.dedup();
    values
}

/// Puts the checksum of a meta right.
fn fix_meta(bytes: &mut [u8], page: usize) {
    let meta = &mut bytes[page * PAGE + META..][..META_CHECKSUM + 8];
    let sum = meta[..META_CHECKSUM]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    meta[META_CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
}

/// What is read of a database that may be anything.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Read(Vec<Row>),
}

fn judge(path: &Path, database: &[u8]) -> Outcome {
    fs::write(path, [database, &Sha256::digest(database)].concat()).unwrap();
    let report = match verify(path, VerifyOptions::default(), &NoProgress) {
        Ok(report) => report,
        Err(Error::Corrupt { defects, .. }) => {
            assert!(!defects.is_empty());
            // Whatever it holds, it must not take a reader down.
            if let Ok(store) = Store::open(path, &NoProgress) {
                let _ = rows(&Arc::new(store));
            }
            return Outcome::Refused;
        }
        Err(Error::NotASnapshot { .. }) => return Outcome::Refused,
        Err(other) => panic!("{other}"),
    };
    let store = Arc::new(Store::open(path, &NoProgress).unwrap());
    let rows = rows(&store).unwrap();
    // The empty key, which nobody can read, counts in etcd's figure.
    assert!((rows.len()..=rows.len() + 1).contains(&usize::try_from(report.status.total_key).unwrap()));
    let mut replayed = BTreeMap::new();
    let mut scan = Scan::history(Arc::clone(&store), KeyRange::all());
    scan.next(&NoProgress, &mut |stored| {
        replayed.remove(stored.kv.key);
        if !stored.at.tombstone {
            replayed.insert(stored.kv.key.to_vec(), stored.kv.value.to_vec());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(replayed.iter().eq(rows.iter().map(|row| (&row.key, &row.value))), "two ways to read disagree");
    store.size_in_use(&NoProgress).unwrap();
    store.leases(&NoProgress).unwrap();
    Outcome::Read(rows)
}

fn rows(store: &Arc<Store>) -> Result<Vec<Row>, Error> {
    let mut cursor = Cursor::new(Arc::clone(store), &KeyRange::all(), None, None, false, &NoProgress)?;
    let mut rows = Vec::new();
    loop {
        let batch = cursor.next_batch(&NoProgress)?;
        if batch.is_empty() {
            return Ok(rows);
        }
        rows.extend(batch);
    }
}

/// Overwrites the fields one after the other; says how many files were refused, and how many read as before.
fn sweep(bytes: &[u8], fields: &[Field], meta: Option<usize>) -> (u32, u32) {
    let kinds: Vec<usize> = [META_PAGE_FLAG, FREELIST_PAGE_FLAG, BRANCH_PAGE_FLAG, LEAF_PAGE_FLAG]
        .into_iter()
        .flat_map(|flags| pages(bytes, flags))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot.db");
    let good = judge(&path, bytes);
    assert!(matches!(&good, Outcome::Read(rows) if rows.len() == 151));
    let (mut refused, mut same) = (0, 0);
    for field in fields {
        for value in values(bytes, *field, &kinds) {
            let mut bent = bytes.to_vec();
            bent[field.0..field.0 + field.1].copy_from_slice(&value.to_le_bytes()[..field.1]);
            if let Some(page) = meta {
                fix_meta(&mut bent, page);
            }
            match judge(&path, &bent) {
                Outcome::Refused => refused += 1,
                found @ Outcome::Read(_) => same += u32::from(found == good),
            }
        }
    }
    (refused, same)
}

#[test]
fn no_hostile_field_of_a_real_database_gets_past_verify_and_breaks_a_reader() {
    let Some(program) = programs().pop() else {
        eprintln!("skipped the sweep of a real database: no etcd, set DCOS_ETCD_BIN or run `make etcd-binaries`");
        return;
    };
    let real = run(real_database(&program));
    let mut swept = 0;
    for flags in [BRANCH_PAGE_FLAG, LEAF_PAGE_FLAG] {
        for page in pages(&real, flags) {
            let fields = fields(&real, page * PAGE, flags);
            let (refused, _) = sweep(&real, &fields, None);
            assert!(refused > 20, "{refused} of page {page}");
            swept += fields.len();
        }
    }
    // The page that goes on over others, and the root with its buckets, wherever they are.
    let root = usize::try_from(Database::open(&real).unwrap().meta().root).unwrap();
    let mut used = BTreeSet::new();
    reach(&real, root, &mut used);
    let mut used = used.into_iter().map(|page| usize::try_from(page).unwrap());
    let overflow = used.find(|page| number(&real, (page * PAGE + PAGE_OVERFLOW, 4)) > 1);
    for page in [overflow.unwrap(), root] {
        let fields = fields(&real, page * PAGE, LEAF_PAGE_FLAG);
        let (refused, _) = sweep(&real, &fields, None);
        assert!(refused > 20, "{refused} of page {page}");
        swept += fields.len();
    }
    assert!(swept > 100, "{swept}");
}

#[test]
fn no_hostile_field_of_a_meta_or_a_freelist_gets_past_verify_and_breaks_a_reader() {
    let Some(program) = programs().pop() else {
        eprintln!("skipped the sweep of metas: no etcd, set DCOS_ETCD_BIN or run `make etcd-binaries`");
        return;
    };
    let database = with_freelist(&run(real_database(&program)));
    for page in 0..2 {
        let mut fields = header(page * PAGE);
        fields.extend(
            [(0, 4), (4, 4), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8)]
                .map(|(at, width)| (page * PAGE + META + at, width)),
        );
        let (refused, same) = sweep(&database, &fields, Some(page));
        assert!(refused > 20 && same > 5, "{refused} {same} of meta {page}");
        let (refused, _) = sweep(&database, &[(page * PAGE + META + META_CHECKSUM, 8)], None);
        assert!(refused > 10, "{refused} of the checksum of meta {page}");
    }
    let [freelist] = pages(&database, FREELIST_PAGE_FLAG)[..] else { panic!("no freelist") };
    let at = freelist * PAGE;
    let mut fields = header(at);
    fields.extend((0..6).map(|index| (at + PAGE_HEADER_SIZE + 8 * index, 8)));
    let (refused, _) = sweep(&database, &fields, None);
    assert!(refused > 80, "{refused}");
}
