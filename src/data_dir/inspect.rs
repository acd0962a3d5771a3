//! What a member's directory says of the member, without a server.
//!
//! The answer to "who was this, how far did it get, and is it sound" when no etcd runs. Nothing is written and no lock
//! is kept; of a directory that a server uses the answer is a moment's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::in_use::{InUse, in_use};
use crate::bbolt::Database;
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::hex::hex_id;
use crate::progress::Progress;
use crate::raft::wal::{self, Wal};
use crate::raft::{ConfChangeType, snap};
use crate::read_at::FileSource;
use crate::schema::{StoredMember, buckets};
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
    /// The members by the `.snap` file and the log behind it, ascending by id: those that etcd up to 3.5 goes by.
    pub log_members: Vec<InspectedMember>,
    /// Raft term.
    pub term: Option<u64>,
    /// Greatest committed raft index.
    pub commit: Option<u64>,
    /// Raft index of the last entry of the log.
    pub last_index: Option<u64>,
    /// Raft index up to which the database holds everything.
    pub applied_index: Option<u64>,
    /// Revision of the key space in the database; what the log has beyond it is applied when etcd starts.
    pub revision: Option<i64>,
    /// Live keys in the database.
    pub total_key: Option<u64>,
    /// Bytes of the database file.
    pub database_size: Option<u64>,
    /// What is wrong with database, WAL or `.snap` file.
    pub defects: Vec<Defect>,
}

/// Looks at the member in `data_dir`, whose WAL lies in `wal_dir` (`None`: in `member/wal`). `pages` walks the whole
/// database too: without it revision, live keys and what is wrong with pages are not told, and the size costs nothing.
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
    let members = database.bucket(buckets::MEMBERS).ok().flatten().and_then(|bucket| database.entries(&bucket).ok());
    // An entry that is none was found by the walk already.
    let members = members.unwrap_or_default().into_iter();
    let members = members.filter_map(|(key, value)| StoredMember::parse(&key, &value).ok());
    found.members = sorted(members.map(|member| (member.id, member.into())).collect());
    Ok(())
}

fn judge(database: &Database<FileSource>, path: &Path, found: &mut Inspection, progress: &dyn Progress) -> Result<()> {
    let (contents, _, defects) = Contents::read(database, progress).map_err(|error| match error {
        Error::Io { action, source, .. } => Error::Io { action, path: path.to_owned(), source },
        other => other,
    })?;
    found.applied_index = contents.meta.consistent_index;
    found.revision = Some(contents.current_revision());
    found.total_key = Some(contents.total_key);
    found.defects.extend(defects);
    Ok(())
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
    found.log_members = log_members(snap_dir, &wal, &mut found.defects)?;
    Ok(())
}

/// The members of the newest `.snap` file that the WAL vouches for, with the committed changes behind it.
fn log_members(snap_dir: &Path, wal: &Wal, defects: &mut Vec<Defect>) -> Result<Vec<InspectedMember>> {
    let mut members: BTreeMap<u64, InspectedMember> = BTreeMap::new();
    let mut from = 0;
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
                members = known.collect();
                from = index;
                break;
            }
            Err(defect) => {
                let name = snap::file_name(term, index);
                defects.push(Defect::new(defect.code, format!("{name}: {}", defect.message)));
            }
        }
    }
    let commit = wal.hard_state.map_or(0, |state| state.commit);
    for entry in wal.conf_changes.iter().filter(|entry| entry.index <= commit) {
        let (id, context) = (entry.change.node_id, serde_json::from_slice::<StoredMember>(&entry.change.context).ok());
        if let (Some(member), Some(known)) = (&context, members.get_mut(&id))
            && known.name.is_empty()
        {
            // A restored log tells names that its .snap file does not.
            known.name.clone_from(&member.name);
        }
        if entry.index <= from {
            continue;
        }
        match (entry.change.change_type, context) {
            (ConfChangeType::RemoveNode, _) => drop(members.remove(&id)),
            (_, Some(member)) => {
                let is_learner = entry.change.change_type == ConfChangeType::AddLearnerNode;
                members.insert(id, InspectedMember { is_learner, ..member.into() });
            }
            (_, None) => {}
        }
    }
    Ok(sorted(members))
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
}
