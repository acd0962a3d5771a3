//! What would be written.

use std::sync::Arc;

use crate::client::{Access, LiveKeys};
use crate::compare::{Change, Difference, Merge, Source, feed};
use crate::error::Result;
use crate::history::{KeyRange, Store};
use crate::progress::Progress;

/// What to put back, and where.
#[derive(Debug, Clone)]
pub struct PutBackOptions {
    /// The cluster.
    pub access: Access,
    /// Only keys that begin with it; all keys when it is empty.
    pub prefix: Vec<u8>,
    /// The keys as they were at this revision; `None` for the snapshot's newest.
    pub revision: Option<i64>,
    /// Delete the keys of the cluster that the snapshot has not.
    pub delete_extra: bool,
    /// Take a bare database whose SHA-256 does not fit.
    pub skip_hash_check: bool,
}

/// What is to become of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is not there, and is put.
    Create,
    /// It has another value, and gets the old one.
    Update,
    /// It is deleted, for the snapshot has it not.
    Delete,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A change that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What is to become of it.
    pub action: Action,
    /// Revision of its last change in the cluster, 0 when it is not there.
    pub mod_revision: i64,
    /// Bytes of the value that it gets; 0 for a deletion.
    pub size: u64,
    /// Lease that it hangs on in the cluster, 0 for none.
    pub lease: i64,
}

/// The same, with its key in the arena.
#[derive(Debug)]
struct Entry {
    /// Where the key ends; it begins where the one before it ends.
    end: usize,
    action: Action,
    mod_revision: i64,
    size: u64,
    lease: i64,
}

/// How many keys a plan is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct PlanCounts {
    /// Keys that are put anew.
    pub create: u64,
    /// Keys that get another value.
    pub update: u64,
    /// Keys that are deleted.
    pub delete: u64,
    /// Keys whose value is right already.
    pub unchanged: u64,
    /// Keys of the cluster that the snapshot has not, and that are left alone.
    pub extra: u64,
    /// Keys that are put anew and hung on a lease in the snapshot.
    pub leased: u64,
    /// Bytes of keys and values that are put.
    pub bytes: u64,
}

/// What would be written, and under which conditions. Holds the keys of that and no values.
#[derive(Debug)]
pub struct Plan {
    pub(super) store: Arc<Store>,
    pub(super) revision: i64,
    pub(super) access: Access,
    pub(super) start: Vec<u8>,
    pub(super) cluster_id: u64,
    cluster_revision: i64,
    endpoint: String,
    /// Keys one behind the other.
    arena: Vec<u8>,
    changes: Vec<Entry>,
    counts: PlanCounts,
}

impl Plan {
    /// Compares the snapshot with the cluster; nothing is written.
    ///
    /// # Errors
    /// Those of [`Store::check_hash`], [`Source::stored`], [`LiveKeys::open`] and [`Source::next`].
    pub async fn new(store: Arc<Store>, options: &PutBackOptions, progress: &dyn Progress) -> Result<Self> {
        let range = KeyRange::prefix(&options.prefix);
        let revision = store.resolve(options.revision)?;
        let open = || LiveKeys::open(&options.access, range.start(), range.end_key(), None);
        // An endpoint that does not answer is told before the snapshot is read.
        open().await?;
        if !options.skip_hash_check {
            store.check_hash(progress)?;
        }
        let mut stored = Source::stored(Arc::clone(&store), &range, Some(revision), progress)?;
        // The revision that the cluster is read at may be compacted from now on.
        let live = open().await?;
        let mut plan = Self {
            store,
            revision,
            access: options.access.clone(),
            start: range.start().to_vec(),
            cluster_id: live.cluster_id(),
            cluster_revision: live.revision(),
            endpoint: live.endpoint().to_string(),
            arena: Vec::new(),
            changes: Vec::new(),
            counts: PlanCounts::default(),
        };
        let mut live = Source::live(live);
        let mut merge = Merge::new();
        loop {
            while let Some(difference) = merge.next_difference() {
                plan.take(&difference, options.delete_extra);
            }
            if !feed(&mut merge, (&mut live, &mut stored), false, progress).await? {
                break;
            }
        }
        plan.counts.unchanged += merge.counts().same;
        Ok(plan)
    }

    /// The revision of the snapshot that is put back.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision at which the cluster was read.
    #[must_use]
    pub fn cluster_revision(&self) -> i64 {
        self.cluster_revision
    }

    /// The endpoint that was read.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many keys it is about.
    #[must_use]
    pub fn counts(&self) -> PlanCounts {
        self.counts
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether everything is right already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// A change, by its place in the order of the keys.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Planned<'_>> {
        let &Entry { end, action, mod_revision, size, lease } = self.changes.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.changes.get(before)).map_or(0, |before| before.end);
        Some(Planned { key: self.arena.get(start..end)?, action, mod_revision, size, lease })
    }

    /// Takes a difference on the way from the cluster to the snapshot.
    fn take(&mut self, difference: &Difference, delete_extra: bool) {
        let Difference { key, change, a: live, b: stored } = difference;
        let (mod_revision, lease) = live.map_or((0, 0), |live| (live.mod_revision, live.lease));
        let size = stored.map_or(0, |stored| stored.size);
        let action = match change {
            Change::Added => Action::Create,
            Change::Value => Action::Update,
            Change::Removed if delete_extra => Action::Delete,
            Change::Removed => {
                self.counts.extra += 1;
                return;
            }
            Change::Lease | Change::Rewritten => {
                self.counts.unchanged += 1;
                return;
            }
        };
        match action {
            Action::Create => {
                self.counts.create += 1;
                self.counts.leased += u64::from(stored.is_some_and(|stored| stored.lease != 0));
            }
            Action::Update => self.counts.update += 1,
            Action::Delete => self.counts.delete += 1,
        }
        if action != Action::Delete {
            self.counts.bytes += key.len() as u64 + size;
        }
        self.arena.extend_from_slice(key);
        self.changes.push(Entry { end: self.arena.len(), action, mod_revision, size, lease });
    }
}
