//! What changes in the database between a snapshot and a restored member.
//!
//! | bucket | becomes |
//! |---|---|
//! | `members` | the new members and nobody else |
//! | `members_removed` | empty |
//! | `cluster` | empty: the leader sets the version anew, a downgrade job is dropped |
//! | `meta` | `consistent_index` = number of members, `term` = 1, `confState` = the new voters, `storageVersion` gone; a compaction that has removed the last key is finished |
//! | `key` | with a revision bump: one empty version at the bumped revision |
//! | `alarm` | empty, if asked for |
//! | `auth` | `authEnabled` = 0, if asked for; users and roles have buckets of their own |
//!
//! All else stays as etcd sent it. `etcdctl` 3.4 leaves the old members in place, which keeps its restores from
//! starting on 3.6 and 3.7; `etcdutl` keeps `storageVersion` and `clusterVersion`, which keep a snapshot of 3.7 from
//! starting on 3.6, and a stale `confState`.

use std::collections::BTreeMap;

use crate::bbolt::{Append, Database, Patch};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::hex::hex_id;
use crate::raft::{Membership, member_json};
use crate::read_at::ReadAt;
use crate::schema::{Revision, buckets, conf_state_json};
use crate::snapshot::Contents;

use super::rewrite::Repairs;

/// The content of a bucket: keys with their values, in key order.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Raft term of everything that a restore writes.
const TERM: u64 = 1;

/// The greatest revision that a bump leads to: far enough below those that are read that a snapshot of what is restored
/// is accepted in its turn, whatever was written.
const MAX_BUMPED: i64 = 1 << 61;

/// The revision after a bump by `by` from `current`.
pub fn bumped(current: i64, by: u64) -> Result<i64> {
    i64::try_from(by).ok().and_then(|by| current.checked_add(by)).filter(|&to| to <= MAX_BUMPED).ok_or_else(|| {
        Error::invalid(format!(
            "--bump-revision {by} takes revision {current} past {MAX_BUMPED}, the greatest that leaves room for writes"
        ))
    })
}

/// The patch that makes `database`, which has these `contents`, the database of a restored member.
///
/// `bump_to` is the main revision that the store moves on to.
pub fn plan<R: ReadAt>(
    database: &Database<R>,
    contents: &Contents,
    membership: &Membership,
    bump_to: Option<i64>,
    repairs: Repairs,
) -> std::result::Result<Patch, Defect> {
    let bump = bump_to.map(|main| Revision { main, sub: 0 });
    let members = membership.members.iter().map(|member| {
        // etcd's own form of an id: lower-case hex without leading zeros.
        (hex_id(member.id).into_bytes(), member_json(member).into_bytes())
    });
    let mut replace = BTreeMap::from([
        (buckets::MEMBERS.to_vec(), sorted(members.collect())),
        (buckets::MEMBERS_REMOVED.to_vec(), Vec::new()),
        (buckets::CLUSTER.to_vec(), Vec::new()),
        (buckets::META.to_vec(), meta(database, membership, contents.unmarked_compaction(), bump)?),
    ]);
    if repairs.clear_alarms {
        replace.insert(buckets::ALARM.to_vec(), Vec::new());
    }
    if repairs.disable_auth {
        let mut auth: BTreeMap<_, _> = entries(database, buckets::AUTH)?.into_iter().collect();
        auth.insert(buckets::AUTH_ENABLED.to_vec(), vec![0]);
        replace.insert(buckets::AUTH.to_vec(), auth.into_iter().collect());
    }
    let append = bump.map(|revision| Append {
        bucket: buckets::KEY.to_vec(),
        key: revision.to_bytes().to_vec(),
        value: Vec::new(),
    });
    Ok(Patch { replace, append })
}

fn meta<R: ReadAt>(
    database: &Database<R>,
    membership: &Membership,
    finished: Option<Revision>,
    bump: Option<Revision>,
) -> std::result::Result<Entries, Defect> {
    let mut meta: BTreeMap<Vec<u8>, Vec<u8>> = entries(database, buckets::META)?.into_iter().collect();
    meta.remove(buckets::META_STORAGE_VERSION);
    let voters: Vec<u64> = membership.members.iter().map(|member| member.id).collect();
    // Higher would make etcd skip entries without a word, lower makes it panic: it must be the WAL's last index.
    let index = voters.len() as u64;
    meta.insert(buckets::META_CONSISTENT_INDEX.to_vec(), index.to_be_bytes().to_vec());
    meta.insert(buckets::META_TERM.to_vec(), TERM.to_be_bytes().to_vec());
    meta.insert(buckets::META_CONF_STATE.to_vec(), conf_state_json(&voters).into_bytes());
    if let Some(revision) = finished {
        meta.insert(buckets::META_FINISHED_COMPACT.to_vec(), revision.to_bytes().to_vec());
    }
    if let Some(revision) = bump {
        meta.insert(buckets::META_SCHEDULED_COMPACT.to_vec(), revision.to_bytes().to_vec());
    }
    Ok(meta.into_iter().collect())
}

/// The entries of a small bucket, which may not be there.
fn entries<R: ReadAt>(database: &Database<R>, name: &[u8]) -> std::result::Result<Entries, Defect> {
    match database.bucket(name)? {
        Some(bucket) => database.entries(&bucket),
        None => Ok(Vec::new()),
    }
}

fn sorted(mut entries: Entries) -> Entries {
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bump_past_the_greatest_revision_is_refused() {
        assert_eq!(1_000_000_005, bumped(5, 1_000_000_000).unwrap());
        assert_eq!(MAX_BUMPED, bumped(5, MAX_BUMPED as u64 - 5).unwrap());
        for by in [u64::MAX, i64::MAX as u64, i64::MAX as u64 - 5, MAX_BUMPED as u64 - 4] {
            assert!(bumped(5, by).is_err(), "{by} was taken");
        }
    }
}
