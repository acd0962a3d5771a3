//! What a member's directory says of the member, without a server.
//!
//! The answer to "who was this, how far did it get, and is it sound" when no etcd runs. Nothing is written and no lock
//! is kept; of a directory that a server uses the answer is a moment's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::in_use::{InUse, in_use};
use crate::bbolt::Database;
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::hex::hex_id;
use crate::progress::Progress;
use crate::raft::wal::{self, Wal};
use crate::raft::{ConfChange, ConfChangeType, snap};
use crate::read_at::FileSource;
use crate::schema::{StoreMeta, StoredMember, buckets};
use crate::snapshot::Contents;

/// A member of the cluster, as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedMember {
    /// Id in hex, as etcd prints it.
    pub id: String,
    /// Its name; empty where it is not known.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// Whether it has no vote.
    pub is_learner: bool,
}

impl From<StoredMember> for InspectedMember {
    fn from(member: StoredMember) -> Self {
        Self { id: hex_id(member.id), name: member.name, peer_urls: member.peer_urls, is_learner: member.is_learner }
    }
}

/// What was found; `None` and empty lists where the directory does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The WAL directory.
    pub wal_dir: PathBuf,
    /// Whether there is a data directory at all.
    pub exists: bool,
    /// The lock of a running etcd.
    pub in_use: Option<InUse>,
    /// Id of the cluster in hex, from the WAL.
    pub cluster_id: Option<String>,
    /// Id of the member in hex, from the WAL.
    pub member_id: Option<String>,
    /// Name of the member.
    pub name: Option<String>,
    /// The members in the database, ascending by id.
    pub members: Vec<InspectedMember>,
    /// The members by the `.snap` file and what of the log behind it is known to be committed, ascending by id: those
    /// that etcd up to 3.5 goes by.
    pub log_members: Vec<InspectedMember>,
    /// Raft term.
    pub term: Option<u64>,
    /// Greatest committed raft index.
    pub commit: Option<u64>,
    /// Raft index of the last entry of the log.
    pub last_index: Option<u64>,
    /// The storage version of the database, such as `3.6.0`; `None` before 3.6. From then on etcd goes by the members in
    /// the database.
    pub storage_version: Option<String>,
    /// Raft index up to which the database holds everything.
    pub applied_index: Option<u64>,
    /// Revision of the key space in the database; what the log has beyond it is applied when etcd starts.
    pub revision: Option<i64>,
    /// Live keys in the database.
    pub total_key: Option<u64>,
    /// Bytes of the database file.
    pub database_size: Option<u64>,
    /// What is wrong with database, WAL or `.snap` file: etcd does not start, or starts without what it acknowledged.
    pub defects: Vec<Defect>,
    /// Traces of writes that were cut off, as by a loss of power, and that etcd clears away at its next start: at the end
    /// of the log, and in that meta page of the database which does not count.
    pub mended_at_start: Vec<Defect>,
}

/// Looks at the member in `data_dir`, whose WAL lies in `wal_dir` (`None`: in `member/wal`). `pages` walks the whole
/// database too: without it revision, live keys and what is wrong with pages are not told, and the size costs nothing.
///
/// Of a directory that a server writes to, defects may be what was half written at the moment.
///
/// # Errors
/// [`Error::Io`] when the system refuses, and [`Error::Interrupted`]; what is damaged or missing is no error.
pub fn inspect(data_dir: &Path, wal_dir: Option<&Path>, pages: bool, progress: &dyn Progress) -> Result<Inspection> {
    let own_wal_dir = data_dir.join("member").join("wal");
    let wal_dir = wal_dir.unwrap_or(&own_wal_dir);
    let mut found = Inspection {
        data_dir: data_dir.to_owned(),
        wal_dir: wal_dir.to_owned(),
        exists: data_dir.is_dir(),
        in_use: in_use(data_dir, Some(wal_dir))?,
        ..Inspection::default()
    };
    let snap_dir = data_dir.join("member").join("snap");
    database(&snap_dir.join("db"), &mut found, pages, progress)?;
    log(wal_dir, &snap_dir, &mut found)?;
    found.name = found.member_id.as_ref().and_then(|id| {
        let known = found.members.iter().chain(&found.log_members).filter(|member| member.id == *id);
        known.map(|member| &member.name).find(|name| !name.is_empty()).cloned()
    });
    Ok(found)
}

fn database(path: &Path, found: &mut Inspection, pages: bool, progress: &dyn Progress) -> Result<()> {
    let Some((file, len)) = open(path)? else {
        if found.exists {
            found.defects.push(Defect::new("database-missing", format!("{}: no such file", path.display())));
        }
        return Ok(());
    };
    found.database_size = Some(len);
    let database = match Database::open(FileSource::new(file, len)) {
        Ok(database) => database,
        Err(defects) => {
            found.defects.extend(defects);
            return Ok(());
        }
    };
    if pages {
        judge(&database, path, found, progress)?;
    }
    // What cannot be read is found by the walk.
    let entries = |name| {
        let bucket = database.bucket(name).ok().flatten();
        bucket.and_then(|bucket| database.entries(&bucket).ok()).unwrap_or_default().into_iter()
    };
    let members = entries(buckets::MEMBERS).filter_map(|(key, value)| StoredMember::parse(&key, &value).ok());
    found.members = sorted(members.map(|member| (member.id, member.into())).collect());
    let mut meta = StoreMeta::default();
    entries(buckets::META).for_each(|(key, value)| drop(meta.take(&key, &value)));
    found.applied_index = meta.consistent_index;
    found.storage_version = meta.storage_version;
    Ok(())
}

fn judge(database: &Database<FileSource>, path: &Path, found: &mut Inspection, progress: &dyn Progress) -> Result<()> {
    let (contents, _, defects) = Contents::read(database, progress).map_err(|error| match error {
        Error::Io { action, source, .. } => Error::Io { action, path: path.to_owned(), source },
        other => other,
    })?;
    found.revision = Some(contents.current_revision());
    found.total_key = Some(contents.total_key);
    let (mended, defects) = defects.into_iter().partition(|defect| is_of_torn_meta(database, defect));
    found.mended_at_start = mended;
    found.defects.extend::<Vec<Defect>>(defects);
    Ok(())
}

/// Whether the defect is of the meta page that does not count: the other one, which does, is a whole transaction, and
/// bbolt overwrites the page with its next one.
fn is_of_torn_meta(database: &Database<FileSource>, defect: &Defect) -> bool {
    const OF_META: [&str; 6] =
        ["meta-magic", "meta-version", "meta-checksum", "meta-page-size", "page-id", "page-type"];
    database.invalid_meta().is_some_and(|invalid| invalid.page == defect.page && OF_META.contains(&defect.code))
}

fn log(wal_dir: &Path, snap_dir: &Path, found: &mut Inspection) -> Result<()> {
    if !wal_dir.is_dir() {
        if found.exists {
            found.defects.push(Defect::new("wal-missing", format!("{}: no such directory", wal_dir.display())));
        }
        return Ok(());
    }
    let mut wal = wal::read_dir(wal_dir)?;
    found.cluster_id = wal.metadata.map(|metadata| hex_id(metadata.cluster_id));
    found.member_id = wal.metadata.map(|metadata| hex_id(metadata.node_id));
    found.term = wal.hard_state.map(|state| state.term);
    found.commit = wal.hard_state.map(|state| state.commit);
    found.last_index = (wal.entries > 0).then_some(wal.last_index);
    found.defects.append(&mut wal.defects);
    found.mended_at_start.extend(wal.torn.take());
    if let Some(applied) = found.applied_index.filter(|applied| *applied > wal.reach) {
        let message = format!(
            "{}: the log ends at index {}, the database holds what was applied up to {applied}: acknowledged entries are \
             gone; etcd starts, and applies nothing before index {}",
            wal_dir.display(),
            wal.reach,
            applied.saturating_add(1)
        );
        found.defects.push(Defect::new("wal-behind-database", message));
    }
    // A commit is written with the entries that follow it; what was applied before was committed, too.
    let committed = found.commit.max(found.applied_index).unwrap_or_default();
    found.log_members = log_members(snap_dir, &wal, committed, &mut found.defects)?;
    Ok(())
}

/// The members of the newest `.snap` file that the WAL vouches for, with the changes behind it up to index `committed`.
fn log_members(snap_dir: &Path, wal: &Wal, committed: u64, defects: &mut Vec<Defect>) -> Result<Vec<InspectedMember>> {
    let (mut members, from) = snap_members(snap_dir, wal, defects)?;
    for entry in wal.conf_changes.iter().filter(|entry| entry.index <= committed) {
        take_change(&mut members, &entry.change, entry.index > from);
    }
    Ok(sorted(members))
}

type Members = BTreeMap<u64, InspectedMember>;

/// The members of the newest `.snap` file that the WAL vouches for, and the index that it is of.
fn snap_members(snap_dir: &Path, wal: &Wal, defects: &mut Vec<Defect>) -> Result<(Members, u64)> {
    for record in wal.valid_snapshots().collect::<Vec<_>>().into_iter().rev() {
        let (term, index) = (record.snapshot.term, record.snapshot.index);
        let path = snap_dir.join(snap::file_name(term, index));
        let Some((file, _)) = open(&path)? else { continue };
        let mut bytes = Vec::new();
        file.take(snap::MAX_LEN).read_to_end(&mut bytes).map_err(Error::io("reading", &path))?;
        match snap::read(&bytes) {
            Ok(found) => {
                defects.extend(found.defects);
                let known = found.members.into_iter().map(|member| {
                    let (id, name) = (hex_id(member.id), String::new());
                    let known =
                        InspectedMember { id, name, peer_urls: member.peer_urls, is_learner: member.is_learner };
                    (member.id, known)
                });
                return Ok((known.collect(), index));
            }
            Err(defect) => {
                let name = snap::file_name(term, index);
                defects.push(Defect::new(defect.code, format!("{name}: {}", defect.message)));
            }
        }
    }
    Ok((Members::new(), 0))
}

/// The context of a change (etcd `membership.ConfigChangeContext`): a promotion names nothing but the id.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context {
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    name: String,
    is_promote: bool,
}

/// Takes in a change as etcd's `applyConfChange` does; of one that is not `new`, the `.snap` file lacks the name alone.
fn take_change(members: &mut Members, change: &ConfChange, new: bool) {
    let id = change.node_id;
    let context = serde_json::from_slice::<Context>(&change.context).ok();
    let known = members.get_mut(&id);
    match (change.change_type, context, known) {
        (ConfChangeType::RemoveNode, _, _) if new => drop(members.remove(&id)),
        (ConfChangeType::AddNode, Some(context), known) if context.is_promote => {
            if let Some(known) = known.filter(|_| new) {
                known.is_learner = false;
            }
        }
        (ConfChangeType::UpdateNode, Some(context), Some(known)) if new => {
            // etcd up to 3.5 replaces what raft knows of the member, which is no learner then.
            known.peer_urls = context.peer_urls.unwrap_or_default();
            known.is_learner = false;
        }
        (ConfChangeType::AddNode | ConfChangeType::AddLearnerNode, Some(context), _) if new => {
            let is_learner = change.change_type == ConfChangeType::AddLearnerNode;
            let (name, peer_urls) = (context.name, context.peer_urls.unwrap_or_default());
            members.insert(id, InspectedMember { id: hex_id(id), name, peer_urls, is_learner });
        }
        // A restored log tells names that its .snap file does not.
        (_, Some(context), Some(known)) if known.name.is_empty() => known.name = context.name,
        _ => {}
    }
}

fn sorted(members: BTreeMap<u64, InspectedMember>) -> Vec<InspectedMember> {
    members.into_values().collect()
}

/// A regular file and its length; `None` where there is none.
fn open(path: &Path) -> Result<Option<(File, u64)>> {
    // Looked at first: opening a pipe would block.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let file = File::open(path).map_err(Error::io("reading", path))?;
            Ok(Some((file, metadata.len())))
        }
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(Error::io("reading", path)(error))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;
    use crate::raft::fixture::three_members;

    #[test]
    fn a_directory_that_is_not_there_tells_nothing_and_breaks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let found = inspect(&dir.path().join("absent"), None, true, &NoProgress).unwrap();
        assert!(!found.exists);
        assert_eq!((found.cluster_id, found.defects), (None, Vec::new()));
    }

    #[test]
    fn log_and_snap_of_a_restored_member_tell_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let expected = three_members();
        let member = dir.path().join("member");
        fs::create_dir_all(member.join("wal")).unwrap();
        fs::create_dir_all(member.join("snap")).unwrap();
        wal::write_dir(&member.join("wal"), &expected).unwrap();
        snap::write_dir(&member.join("snap"), &expected).unwrap();

        let found = inspect(dir.path(), None, true, &NoProgress).unwrap();

        assert_eq!(found.cluster_id, Some(hex_id(expected.cluster_id)));
        assert_eq!(found.member_id, Some(hex_id(expected.local_id)));
        assert_eq!((found.term, found.commit, found.last_index), (Some(1), Some(3), Some(3)));
        let local = expected.members.iter().find(|member| member.id == expected.local_id).unwrap();
        assert_eq!(found.name.as_ref(), Some(&local.name));
        let names: Vec<&str> = found.log_members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, expected.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>());
        let codes: Vec<&str> = found.defects.iter().map(|defect| defect.code).collect();
        assert_eq!(codes, ["database-missing"]);
    }

    fn changed(before: &[InspectedMember], changes: &[(ConfChangeType, u64, &str)]) -> Vec<InspectedMember> {
        let mut members: Members = before.iter().map(|known| (7, known.clone())).collect();
        for (change_type, node_id, context) in changes {
            let (change_type, context) = (*change_type, context.as_bytes().to_vec());
            take_change(&mut members, &ConfChange { id: 0, change_type, node_id: *node_id, context }, true);
        }
        sorted(members)
    }

    fn learner() -> InspectedMember {
        InspectedMember { id: "7".into(), name: "m".into(), peer_urls: vec!["http://a:1".into()], is_learner: true }
    }

    #[test]
    fn a_promotion_leaves_name_and_urls_as_they_were() {
        let added = r#"{"id":7,"peerURLs":["http://a:1"],"isLearner":true,"name":"m","isPromote":false}"#;
        let promoted = r#"{"id":7,"peerURLs":null,"isPromote":true}"#;
        let changes = [(ConfChangeType::AddLearnerNode, 7, added), (ConfChangeType::AddNode, 7, promoted)];
        assert_eq!(changed(&[], &changes[..1]), [learner()]);
        assert_eq!(changed(&[], &changes), [InspectedMember { is_learner: false, ..learner() }]);
        assert_eq!(changed(&[], &changes[1..]), []);
    }

    #[test]
    fn an_update_replaces_urls_and_leaves_the_name() {
        let updated = r#"{"id":7,"peerURLs":["http://b:2","http://c:3"]}"#;
        let expected = ["http://b:2".to_owned(), "http://c:3".to_owned()].to_vec();
        let [found] = &changed(&[learner()], &[(ConfChangeType::UpdateNode, 7, updated)])[..] else { panic!() };
        assert_eq!((&found.name, &found.peer_urls, found.is_learner), (&"m".to_owned(), &expected, false));
        assert_eq!(changed(&[], &[(ConfChangeType::UpdateNode, 7, updated)]), []);
        assert_eq!(changed(&[learner()], &[(ConfChangeType::RemoveNode, 7, "")]), []);
    }
}
