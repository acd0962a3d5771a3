//! A snapshot out of a list of changes, without a server: for tests, which want one in milliseconds.
//!
//! What comes is what `etcdctl snapshot save` gives of an etcd 3.5 that took the changes one transaction each, and
//! was never compacted, had no users and no leases: a database that every later etcd takes, and the SHA-256 of it
//! behind. It names no members, for every restore gives it new ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::bbolt::{BulkLayout, BulkWriter};
use crate::error::{Error, Result};
use crate::schema::{KeyValue, Revision, RevisionKey, buckets};

/// The first revision that a write makes: an empty store is at 1.
const FIRST_WRITE: i64 = 2;
/// What the log of a new cluster holds before the first write of a user: its members, an election, its version.
const ENTRIES_BEFORE: i64 = 4;
/// The term of a new cluster's first leader.
const TERM: u64 = 2;
/// The line whose schema is written, as etcd 3.5 has it in bucket `cluster`; it writes no storage version.
const CLUSTER_VERSION: &[u8] = b"3.5.0";

/// One put, or one deletion where there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` for a deletion.
    pub value: Option<Vec<u8>>,
}

/// A key that lives, at the change that is being written.
struct Living {
    create_revision: i64,
    version: i64,
}

/// Writes the snapshot of a store to which `changes` were made, one revision each, from 2 on; gives the revision of the
/// last. Nothing is synced.
///
/// # Errors
/// [`Error::ArchiveExists`] when the file exists; [`Error::InvalidArgument`] for an empty key, an entry that no page can
/// hold, and the deletion of a key that is not there; [`Error::Io`]. After any error nothing was left under the name.
pub fn make_snapshot(path: &Path, changes: &[Change]) -> Result<i64> {
    let (database, revision) = database(changes)?;
    let mut file = File::create_new(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::ArchiveExists { path: path.to_owned() },
        _ => Error::Io { action: "creating", path: path.to_owned(), source },
    })?;
    let written = file.write_all(&database).and_then(|()| file.write_all(&Sha256::digest(&database)));
    written.map_err(|source| {
        let _ = fs::remove_file(path);
        Error::Io { action: "writing", path: path.to_owned(), source }
    })?;
    Ok(revision)
}

fn database(changes: &[Change]) -> Result<(Vec<u8>, i64)> {
    let failed = |source: io::Error| Error::invalid(source.to_string());
    let mut database = BulkWriter::new(Cursor::new(Vec::new()), BulkLayout::default());
    for name in [buckets::ALARM, buckets::AUTH, buckets::AUTH_ROLES, buckets::AUTH_USERS] {
        database.bucket(name, 0).map_err(failed)?;
    }
    database.bucket(buckets::CLUSTER, 0).map_err(failed)?;
    database.entry(buckets::CLUSTER_VERSION, CLUSTER_VERSION).map_err(failed)?;
    database.bucket(buckets::KEY, 0).map_err(failed)?;
    let mut living = BTreeMap::new();
    let mut message = Vec::new();
    let mut revision = FIRST_WRITE - 1;
    for change in changes {
        revision += 1;
        message.clear();
        entry(&mut living, change, revision)?.encode(&mut message);
        let mut key = Revision { main: revision, sub: 0 }.to_bytes().to_vec();
        if change.value.is_none() {
            key.push(RevisionKey::TOMBSTONE);
        }
        database.entry(&key, &message).map_err(failed)?;
    }
    for name in [buckets::LEASE, buckets::MEMBERS, buckets::MEMBERS_REMOVED] {
        database.bucket(name, 0).map_err(failed)?;
    }
    database.bucket(buckets::META, 0).map_err(failed)?;
    let index = (revision + ENTRIES_BEFORE).cast_unsigned();
    database.entry(buckets::META_CONSISTENT_INDEX, &index.to_be_bytes()).map_err(failed)?;
    database.entry(buckets::META_TERM, &TERM.to_be_bytes()).map_err(failed)?;
    let (file, _) = database.finish(0).map_err(failed)?;
    Ok((file.into_inner(), revision))
}

/// What etcd stores of a change, and takes note of it.
fn entry<'a>(living: &mut BTreeMap<&'a [u8], Living>, change: &'a Change, revision: i64) -> Result<KeyValue<'a>> {
    let Change { key, value } = change;
    if key.is_empty() {
        return Err(Error::invalid(format!("the change of revision {revision} has an empty key, which etcd refuses")));
    }
    let Some(value) = value else {
        if living.remove(key.as_slice()).is_none() {
            return Err(Error::invalid(format!("revision {revision} deletes a key that is not there")));
        }
        return Ok(KeyValue { key, ..KeyValue::default() });
    };
    let now = living.entry(key).or_insert(Living { create_revision: revision, version: 0 });
    now.version += 1;
    Ok(KeyValue {
        key,
        create_revision: now.create_revision,
        mod_revision: revision,
        version: now.version,
        value,
        lease: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;
    use crate::snapshot::{VerifyOptions, verify};

    fn put(key: &str, value: &str) -> Change {
        Change { key: key.into(), value: Some(value.into()) }
    }

    fn deletion(key: &str) -> Change {
        Change { key: key.into(), value: None }
    }

    #[test]
    fn what_is_written_verifies_and_counts_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.db");
        let changes = [put("/a", "1"), put("/a", "2"), put("/b", ""), deletion("/a"), put("/a", "3")];

        assert_eq!(6, make_snapshot(&path, &changes).unwrap());

        let report = verify(&path, VerifyOptions::default(), &NoProgress).unwrap();
        assert_eq!((6, 2, ""), (report.status.revision, report.status.total_key, report.status.version.as_str()));
        assert_eq!(Vec::<String>::new(), report.warnings);
    }

    #[test]
    fn a_key_counts_its_versions_from_its_last_creation() {
        let changes = [put("/a", "1"), put("/a", "2"), deletion("/a"), put("/a", "3")];
        let mut living = BTreeMap::new();

        let told: Vec<_> = (2..)
            .zip(&changes)
            .map(|(revision, change)| entry(&mut living, change, revision).unwrap())
            .map(|kv| (kv.create_revision, kv.mod_revision, kv.version, kv.value))
            .collect();

        assert_eq!(vec![(2, 2, 1, &b"1"[..]), (2, 3, 2, b"2"), (0, 0, 0, b""), (5, 5, 1, b"3")], told);
    }

    #[test]
    fn a_store_to_which_nothing_was_written_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty.db");

        assert_eq!(1, make_snapshot(&path, &[]).unwrap());

        assert_eq!(0, verify(&path, VerifyOptions::default(), &NoProgress).unwrap().status.total_key);
    }

    #[test]
    fn changes_that_no_server_would_have_made_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.db");
        for (changes, words) in [
            (vec![put("", "1")], "revision 2 has an empty key"),
            (vec![put("/a", "1"), deletion("/b")], "revision 3 deletes a key that is not there"),
            (vec![put("/a", "1"), deletion("/a"), deletion("/a")], "revision 4 deletes"),
        ] {
            let error = make_snapshot(&path, &changes).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument { .. }) && error.to_string().contains(words), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.db");
        fs::write(&path, b"mine").unwrap();

        assert!(matches!(make_snapshot(&path, &[]).unwrap_err(), Error::ArchiveExists { .. }));

        assert_eq!(b"mine", fs::read(&path).unwrap().as_slice());
    }
}
