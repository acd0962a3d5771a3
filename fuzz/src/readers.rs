//! Everything that can be asked of a snapshot.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use dcos_etcd::history::{Cursor, HashRule, KeyRange, Row, Scan, Store};
use dcos_etcd::progress::NoProgress;
use dcos_etcd::raft::Bootstrap;
use dcos_etcd::restore::{Existing, Repairs, RestoreOptions, Rewrite, restore};
use dcos_etcd::snapshot::{VerifyReport, status};
use dcos_etcd::{Error, Result};

use crate::scratch;

/// Keys that are read alone, of as many as there are.
const SINGLE: usize = 8;

/// Reads the snapshot in every way. If it was `verified`, nothing may fail, and all must agree.
pub fn read(path: &Path, verified: Option<&VerifyReport>) {
    let outcome = all(path, verified.is_some());
    let Some(report) = verified else { return };
    match outcome {
        // The marker of a revision bump, under the empty key that nobody can read, counts in etcd's figure.
        Ok(count) => assert!((count..=count + 1).contains(&report.status.total_key), "{count} live keys in {report:?}"),
        Err(error) => panic!("verified, but {error}"),
    }
    let (status, _) = status(path, &NoProgress).expect("a verified snapshot has figures");
    assert_eq!(status, report.status);
}

fn all(path: &Path, sound: bool) -> Result<u64> {
    let store = Arc::new(Store::open(path, &NoProgress)?);
    // Before there is an index.
    let unindexed = store.history(b"a", &NoProgress)?;
    let mut model = Model::default();
    let mut scan = Scan::history(Arc::clone(&store), KeyRange::all());
    scan.next(&NoProgress, &mut |stored| {
        model.take(stored.kv.key, stored.at.revision.main, stored.at.tombstone, stored.kv.value);
        ControlFlow::Continue(())
    })?;
    let current = store.current_revision();
    assert_eq!(store.history(b"a", &NoProgress)?, unindexed);
    beside(&store)?;
    let oldest = store.compact_revision().unwrap_or(1).max(1);
    let middle = oldest.midpoint(current);
    for revision in [oldest, middle, current] {
        if revision < oldest || revision > current || revision < 1 {
            continue;
        }
        let rows = rows(&store, Some(revision))?;
        let expected = model.at(revision);
        let found: Vec<_> = rows.iter().map(|row| (row.key.as_slice(), row.value.as_slice())).collect();
        if sound {
            assert_eq!(found, expected);
        }
        singles(&store, revision, &rows)?;
        for rule in [HashRule::SkipsTombstone, HashRule::CountsTombstone] {
            store.hash_kv(Some(revision), rule, &NoProgress)?;
        }
        let stats = store.stats(&KeyRange::all(), Some(revision), 2, 5, 4, &NoProgress)?;
        assert!(!sound || stats.total.keys == rows.len() as u64);
        let mut live = 0;
        let mut scan = Scan::live(Arc::clone(&store), KeyRange::all(), Some(revision), &NoProgress)?;
        while !scan.is_done() {
            scan.next(&NoProgress, &mut |_| {
                live += 1;
                if live % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        assert!(!sound || live == rows.len());
    }
    Ok(model.at(i64::MAX).len() as u64)
}

/// What lies beside the keys.
fn beside(store: &Store) -> Result<()> {
    store.members()?;
    store.alarms()?;
    store.users(|_| ())?;
    store.roles(|_| ())?;
    store.auth()?;
    store.cluster_version()?;
    store.leases(&NoProgress)?;
    store.size_in_use(&NoProgress)?;
    Ok(())
}

/// Every live key with its value.
fn rows(store: &Arc<Store>, revision: Option<i64>) -> Result<Vec<Row>> {
    let mut cursor = Cursor::new(Arc::clone(store), &KeyRange::all(), revision, None, false, &NoProgress)?;
    let mut rows = Vec::new();
    loop {
        let batch = cursor.next_batch(&NoProgress)?;
        if batch.is_empty() {
            break;
        }
        rows.extend(batch);
    }
    let mut digests = Cursor::new(Arc::clone(store), &KeyRange::all(), revision, None, false, &NoProgress)?;
    let mut place = 0;
    loop {
        let batch = digests.next_digests(&NoProgress)?;
        if batch.is_empty() {
            break;
        }
        for (key, digest) in (0..batch.len()).filter_map(|at| batch.get(at)) {
            assert!(rows.get(place).is_some_and(|row| row.key == key && row.value.len() as u64 == digest.size));
            place += 1;
        }
    }
    assert_eq!(place, rows.len());
    Ok(rows)
}

/// Some keys, each asked for by itself.
fn singles(store: &Arc<Store>, revision: i64, rows: &[Row]) -> Result<()> {
    for row in rows.iter().step_by(rows.len() / SINGLE + 1) {
        assert_eq!(store.get(&row.key, Some(revision), &NoProgress)?.as_ref(), Some(row));
        assert!(store.contains(&row.key, Some(revision), &NoProgress)?);
        let history = store.history(&row.key, &NoProgress)?;
        assert!(history.iter().any(|(version, tombstone)| version == row && !tombstone));
    }
    Ok(())
}

/// The keys by a way that needs no index: changes, replayed.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, Vec<Version>>);

/// A revision, and the value that it put, if it was no deletion.
type Version = (i64, Option<Vec<u8>>);

impl Model {
    fn take(&mut self, key: &[u8], revision: i64, tombstone: bool, value: &[u8]) {
        let versions = self.0.entry(key.to_vec()).or_default();
        versions.push((revision, (!tombstone).then(|| value.to_vec())));
    }

    fn at(&self, revision: i64) -> Vec<(&[u8], &[u8])> {
        self.0
            .iter()
            .filter_map(|(key, versions)| {
                let (_, value) = versions.iter().rev().find(|(at, _)| *at <= revision)?;
                Some((key.as_slice(), value.as_deref()?))
            })
            .collect()
    }
}

/// Restores the verified snapshot in the way that `choice` says, which must not fail, and reads what came of it.
pub fn restored(path: &Path, report: &VerifyReport, choice: u32) {
    let Ok(store) = Store::open(path, &NoProgress).map(Arc::new) else { return };
    let current = store.current_revision();
    let revision = store.compact_revision().unwrap_or(1).max(1).midpoint(current);
    let mut rewrite = Rewrite::default();
    match choice % 6 {
        0 => {}
        1 => rewrite.compact = true,
        2 if revision > 0 && revision <= current => rewrite.revision = Some(revision),
        3 => rewrite.prefixes = vec![b"/".to_vec(), b"a".to_vec()],
        4 => rewrite.exclude_prefixes = vec![b"c".to_vec()],
        _ => rewrite.repairs = Repairs { clear_alarms: true, disable_auth: true, drop_leases: true },
    }
    let bump = (choice / 8).is_multiple_of(4).then_some(1_000);
    // Writing a member's log takes as long as a hundred plans.
    let dry_run = !(choice / 32).is_multiple_of(64);
    let data_dir = scratch::empty("restored").join("m1.etcd");
    let options = RestoreOptions {
        data_dir: data_dir.clone(),
        existing: Existing::Refuse,
        carry_over: Vec::new(),
        owner: None,
        wal_dir: None,
        bootstrap: Bootstrap {
            name: "m1".to_owned(),
            initial_cluster: "m1=http://127.0.0.1:2380".to_owned(),
            initial_cluster_token: "etcd-cluster".to_owned(),
            initial_advertise_peer_urls: "http://127.0.0.1:2380".to_owned(),
        },
        derive_token: false,
        bump_revision: bump,
        mark_compacted: bump.is_some(),
        skip_hash_check: !report.hash_checked,
        rewrite: rewrite.clone(),
        dry_run,
    };
    match restore(path, &options, &NoProgress) {
        Ok(_) => {}
        // A bump past the greatest revision that one leads to.
        Err(Error::InvalidArgument { .. }) if current > (1 << 61) - 2_000 => return,
        // A part without a live key.
        Err(Error::InvalidArgument { .. }) if !rewrite.prefixes.is_empty() => {
            let live = rows(&store, None).expect("a verified snapshot can be read");
            assert!(!live.iter().any(|row| rewrite.prefixes.iter().any(|prefix| row.key.starts_with(prefix))));
            return;
        }
        Err(error) => panic!("verified, but {error} with {rewrite:?} and a bump by {bump:?}"),
    }
    if !dry_run {
        let after = Store::open(&data_dir.join("member/snap/db"), &NoProgress).map(Arc::new);
        let after = after.expect("a restored database opens");
        let at = rewrite.revision.unwrap_or(current);
        if rewrite.prefixes.is_empty() && rewrite.exclude_prefixes.is_empty() && current > 0 && bump.is_none() {
            let strip = |rows: Vec<Row>| -> Vec<Row> {
                let lease = |row: &Row| if rewrite.repairs.drop_leases { 0 } else { row.lease };
                rows.into_iter().map(|row| Row { lease: lease(&row), ..row }).collect()
            };
            let expected = rows(&store, Some(at)).expect("a verified snapshot can be read");
            assert_eq!(strip(expected), rows(&after, None).expect("a restored database can be read"));
            assert_eq!(at, after.current_revision());
        }
        let _ = std::fs::remove_dir_all(&data_dir);
    }
}
