//! `member/snap/db`: its pages, and the buckets that must agree with the log.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::verify::{Layout, PagesOnly};
use crate::bbolt::{Database, Meta, check_patched, walk};
use crate::defect::Defect;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::raft::{Member, Membership, RESTORED_TERM};
use crate::read_at::FileSource;
use crate::schema::{StoreMeta, StoredMember, buckets, conf_state_json};

/// Judges the database: its pages, and the buckets that tell the member's identity. `walked` is the meta with which
/// the same file was walked before it was patched; then only what the patch made is looked at.
pub(super) fn verify(
    file: File,
    path: &Path,
    expected: &Membership,
    layout: Layout,
    walked: Option<&Meta>,
    progress: &dyn Progress,
    defects: &mut Vec<Defect>,
) -> Result<()> {
    let len = file.metadata().map_err(Error::io("reading", path))?.len();
    let database = match Database::open(FileSource::new(file, len)) {
        Ok(database) => database,
        Err(broken) => {
            defects.extend(broken);
            return Ok(());
        }
    };
    if let Some(before) = walked {
        defects.extend(check_patched(&database, before)?);
    } else {
        let mut pages = PagesOnly::default();
        walk(&database, &mut pages, progress)?;
        defects.append(&mut pages.defects);
    }
    Buckets { database: &database, expected, layout, defects }.verify();
    Ok(())
}

/// Judges only the buckets that tell the member's identity, in the layout [`Layout::Portable`].
pub(super) fn identity(file: File, path: &Path, expected: &Membership) -> Result<Vec<Defect>> {
    let len = file.metadata().map_err(Error::io("reading", path))?.len();
    let mut defects = Vec::new();
    match Database::open(FileSource::new(file, len)) {
        Ok(database) => {
            Buckets { database: &database, expected, layout: Layout::Portable, defects: &mut defects }.verify();
        }
        Err(broken) => defects = broken,
    }
    Ok(defects)
}

struct Buckets<'a> {
    database: &'a Database<FileSource>,
    expected: &'a Membership,
    layout: Layout,
    defects: &'a mut Vec<Defect>,
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

impl Buckets<'_> {
    fn verify(&mut self) {
        match self.read(buckets::META) {
            Some(entries) => self.meta(&entries),
            None => self.broken("bucket-missing", "there is no bucket `meta`".to_owned()),
        }
        let members = self.read(buckets::MEMBERS).unwrap_or_default();
        self.members(&members);
        if let Some(entries) = self.read(buckets::MEMBERS_REMOVED)
            && !entries.is_empty()
        {
            let message = format!("bucket `members_removed` has {} entries, should be empty", entries.len());
            self.broken("members-removed", message);
        }
        if self.layout == Layout::Portable
            && let Some(entries) = self.read(buckets::CLUSTER)
            && !entries.is_empty()
        {
            let message = format!("bucket `cluster` has {} entries, should be empty", entries.len());
            self.broken("cluster-bucket", message);
        }
    }

    fn broken(&mut self, code: &'static str, message: String) {
        self.defects.push(Defect::new(code, message));
    }

    /// Entries of a small bucket; `None` where there is no such bucket or it cannot be read.
    fn read(&mut self, name: &[u8]) -> Option<Entries> {
        let bucket = self
            .database
            .bucket(name)
            .and_then(|bucket| bucket.map(|bucket| self.database.entries(&bucket)).transpose());
        bucket.unwrap_or_else(|defect| {
            // The walk says the same of the page, unless somebody else did it.
            if !self.defects.contains(&defect) {
                self.defects.push(defect);
            }
            None
        })
    }

    fn meta(&mut self, entries: &Entries) {
        let mut meta = StoreMeta::default();
        for (key, value) in entries {
            if let Err(message) = meta.take(key, value) {
                self.broken("meta-entry", message);
            }
        }
        let index = self.expected.len();
        self.number("meta-consistent-index", "consistent_index", meta.consistent_index, index);
        self.number("meta-term", "term", meta.term, RESTORED_TERM);
        if self.layout == Layout::Official {
            return;
        }
        let voters = conf_state_json(&self.expected.ids());
        if meta.conf_state.as_deref() != Some(voters.as_str()) {
            let found = meta.conf_state.as_deref().unwrap_or("missing");
            self.broken("meta-conf-state", format!("meta confState is {found}, should be {voters}"));
        }
        if let Some(version) = meta.storage_version {
            self.broken("meta-storage-version", format!("meta storageVersion is {version}, should be absent"));
        }
    }

    fn number(&mut self, code: &'static str, name: &str, found: Option<u64>, expected: u64) {
        if found != Some(expected) {
            let found = found.map_or_else(|| "missing".to_owned(), |found| found.to_string());
            self.broken(code, format!("meta {name} is {found}, should be {expected}"));
        }
    }

    fn members(&mut self, entries: &Entries) {
        let mut absent: BTreeMap<u64, &Member> =
            self.expected.members.iter().map(|member| (member.id, member)).collect();
        for (key, value) in entries {
            let problem = match StoredMember::parse(key, value) {
                Err(message) => Some(message),
                Ok(stored) => match absent.remove(&stored.id) {
                    None => Some(format!("member {:x} is none of the new cluster", stored.id)),
                    Some(member) if same_member(&stored, member) => None,
                    Some(member) => Some(format!("member {:x} is not as in the initial cluster", member.id)),
                },
            };
            if let Some(problem) = problem {
                self.broken("members-bucket", format!("bucket `members`: {problem}"));
            }
        }
        for id in absent.into_keys() {
            self.broken("members-bucket", format!("bucket `members`: member {id:x} is missing"));
        }
    }
}

/// A restored member is a voter with the name and peer URLs of the initial cluster, and has no client URLs yet.
pub(super) fn same_member(stored: &StoredMember, member: &Member) -> bool {
    stored.id == member.id
        && stored.name == member.name
        && stored.peer_urls == member.peer_urls
        && !stored.is_learner
        && stored.client_urls.is_empty()
}
