//! What a restore is told, and what it tells.

use std::path::{Component, Path, PathBuf, absolute};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::hex::hex_id;
use crate::raft::{Bootstrap, Member};

use super::rewrite::{Rewrite, Rewritten};
use super::token;

/// What becomes of a data directory that holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// The restore is refused.
    #[default]
    Refuse,
    /// It is kept under a dated name beside the new one (`--replace`).
    Keep,
    /// It is deleted when the new one stands (`--discard-old`): only a member, and never with the snapshot in it.
    Discard,
}

/// Whose the restored files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// The flags of `etcdutl snapshot restore`, and more.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RestoreOptions {
    /// `--data-dir`: must not exist or be empty, but for `existing`.
    pub data_dir: PathBuf,
    /// What becomes of a data directory that holds something. A WAL directory apart from it must be empty anyway.
    pub existing: Existing,
    /// Names in the old data directory that are copied into the new one, where they are there: plain names of files or
    /// directories, and not `member`.
    pub carry_over: Vec<String>,
    /// Whose everything becomes; `None` leaves it to the user who restores.
    pub owner: Option<Owner>,
    /// `--wal-dir`: must not exist, or be empty. `None` is `member/wal` in the data directory.
    pub wal_dir: Option<PathBuf>,
    /// Who the new cluster is.
    pub bootstrap: Bootstrap,
    /// Lengthens the token by the SHA-256 of the snapshot's database, and where the restore changes what that holds, by a
    /// digest of how. Every member that is restored from the same snapshot in the same way then has the same new identity,
    /// and one that is not, or that holds something else, cannot pass for a member.
    pub derive_token: bool,
    /// `--bump-revision`: how far the revision is moved on, so that no client sees it go back.
    pub bump_revision: Option<u64>,
    /// `--mark-compacted`: everything up to the bumped revision counts as compacted, so that watches are cancelled.
    pub mark_compacted: bool,
    /// `--skip-hash-check`: take a database without its SHA-256.
    pub skip_hash_check: bool,
    /// What of the snapshot is taken, and what is repaired.
    pub rewrite: Rewrite,
    /// Verify and plan, write nothing.
    pub dry_run: bool,
}

impl RestoreOptions {
    /// Who the new cluster is, given the SHA-256 of the snapshot's database in hex, and its revision.
    pub(super) fn bootstrap(&self, sha256: &str, current_revision: i64) -> Bootstrap {
        let mut bootstrap = self.bootstrap.clone();
        if self.derive_token {
            bootstrap.initial_cluster_token.push_str(&token::suffix(self, sha256, current_revision));
        }
        bootstrap
    }

    /// Where the WAL goes.
    #[must_use]
    pub fn wal_dir(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.data_dir.join("member").join("wal"))
    }

    /// Refuses what makes no sense together, before anything is read.
    pub(super) fn check(&self) -> Result<()> {
        self.rewrite.check()?;
        for name in &self.carry_over {
            let mut components = Path::new(name).components();
            let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
            if !plain || name == "member" {
                return Err(Error::invalid(format!("carry_over: {name:?} is no name beside `member`")));
            }
        }
        match (self.bump_revision, self.mark_compacted) {
            (Some(0), _) => return Err(Error::invalid("--bump-revision must be greater than 0")),
            (Some(_), false) => return Err(Error::invalid("--mark-compacted required if --bump-revision is given")),
            (None, true) => return Err(Error::invalid("--bump-revision required if --mark-compacted is given")),
            _ => {}
        }
        let Some(wal_dir) = &self.wal_dir else { return Ok(()) };
        if real(&self.data_dir).starts_with(real(wal_dir)) {
            return Err(Error::invalid("--data-dir lies in --wal-dir; a WAL directory holds WAL files alone"));
        }
        if let Some(inside) = self.wal_in_data_dir()
            && (!inside.starts_with("member") || inside.starts_with("member/snap") || inside.components().count() < 2)
        {
            return Err(Error::invalid(
                "--wal-dir lies in --data-dir, but not below its member directory (the default is member/wal)",
            ));
        }
        Ok(())
    }

    /// The way from the data directory to `--wal-dir`, if it lies in there by whatever spelling.
    pub(super) fn wal_in_data_dir(&self) -> Option<PathBuf> {
        let wal_dir = real(self.wal_dir.as_ref()?);
        wal_dir.strip_prefix(real(&self.data_dir)).ok().map(Path::to_owned)
    }
}

/// The one spelling of a path whose end may not exist yet: absolute, without links and detours.
fn real(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for component in absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match component {
            Component::ParentDir => drop(real.pop()),
            other => real.push(other),
        }
        real = real.canonicalize().unwrap_or(real);
    }
    real
}

/// A member of the new cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoredMember {
    /// Id in hex, as etcd prints it.
    pub id: String,
    /// Its name in `--initial-cluster`.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<String>,
}

impl From<&Member> for RestoredMember {
    fn from(member: &Member) -> Self {
        Self { id: hex_id(member.id), name: member.name.clone(), peer_urls: member.peer_urls.clone() }
    }
}

/// What a restore did, or under `dry_run` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The snapshot, as it was given; one in the old data directory moves with that, and a warning tells where to.
    pub path: PathBuf,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The WAL directory.
    pub wal_dir: PathBuf,
    /// Name of this member.
    pub name: String,
    /// Its id in hex.
    pub member_id: String,
    /// The new cluster's id in hex.
    pub cluster_id: String,
    /// The token that the ids come from.
    pub initial_cluster_token: String,
    /// Every member of the new cluster, by ascending id.
    pub members: Vec<RestoredMember>,
    /// Revision of the snapshot: the greatest of last key, scheduled and finished compaction.
    pub revision: i64,
    /// Revision after `--bump-revision`.
    pub bumped_revision: Option<i64>,
    /// Members in the snapshot, whose place the new ones take.
    pub snapshot_members: u64,
    /// Bytes of the database in the snapshot.
    pub database_size: u64,
    /// SHA-256 of that database in hex: the same on every member that was restored from the same snapshot.
    pub sha256: String,
    /// The database that was written anew; `None` where it is the snapshot's.
    pub rewritten: Option<Rewritten>,
    /// Where the old data directory lies now, if there was one and it is kept as a whole.
    pub replaced: Option<PathBuf>,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// Those of the steps that change what the snapshot holds: what was left out, repaired, moved on.
    pub changes: Vec<String>,
    /// What should be known of the restored cluster.
    pub warnings: Vec<String>,
}
