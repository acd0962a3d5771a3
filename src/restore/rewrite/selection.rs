//! What of a snapshot is asked for.

use crate::error::{Error, Result};
use crate::snapshot::Contents;

/// What of the snapshot a restore takes, and what it repairs; by default all, and nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// `--revision`: every key, version and lease id as at this revision, the history before it, nothing after.
    pub revision: Option<i64>,
    /// `--prefix`: only keys that begin with one of these, with their history; none means all keys.
    pub prefixes: Vec<Vec<u8>>,
    /// `--exclude-prefix`: no keys that begin with one of these.
    pub exclude_prefixes: Vec<Vec<u8>>,
    /// `--compact`: no free pages.
    pub compact: bool,
    /// What is changed in what is taken.
    pub repairs: Repairs,
}

/// Changes to a snapshot's content that nobody makes unasked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs {
    /// `--clear-alarms`: no alarm outlives the restore.
    pub clear_alarms: bool,
    /// `--disable-auth`: authentication is off; users and roles stay, to be enabled again.
    pub disable_auth: bool,
    /// `--drop-leases`: keys stay without a lease, and no lease stays.
    pub drop_leases: bool,
}

impl Rewrite {
    /// Refuses what makes no sense whatever the snapshot holds.
    pub(in crate::restore) fn check(&self) -> Result<()> {
        if self.revision.is_some_and(|revision| revision <= 0) {
            return Err(Error::invalid("--revision must be greater than 0"));
        }
        for (flag, prefixes) in [("--prefix", &self.prefixes), ("--exclude-prefix", &self.exclude_prefixes)] {
            if prefixes.iter().any(Vec::is_empty) {
                return Err(Error::invalid(format!("{flag} must not be empty: every key begins with nothing")));
            }
        }
        Ok(())
    }

    /// Whether the database has to be written anew. Alarms and authentication lie in small buckets, which the patch
    /// of every restore can replace.
    pub(in crate::restore) fn is_needed(&self) -> bool {
        self.revision.is_some() || self.selects_keys() || self.compact || self.repairs.drop_leases
    }

    /// Whether a key's name decides if it stays.
    pub(super) fn selects_keys(&self) -> bool {
        !self.prefixes.is_empty() || !self.exclude_prefixes.is_empty()
    }

    /// Whether `key` stays.
    pub(super) fn takes(&self, key: &[u8]) -> bool {
        let begins = |prefix: &Vec<u8>| key.starts_with(prefix);
        (self.prefixes.is_empty() || self.prefixes.iter().any(begins)) && !self.exclude_prefixes.iter().any(begins)
    }

    /// The revision that a snapshot with these contents is restored at.
    ///
    /// # Errors
    /// etcd's own, for a revision that is compacted or in the future.
    pub(in crate::restore) fn revision_of(&self, contents: &Contents) -> Result<i64> {
        let current_revision = contents.current_revision();
        let Some(revision) = self.revision else { return Ok(current_revision) };
        // A server counts a compaction from the moment at which it is scheduled.
        let bounds = [contents.meta.scheduled_compact, contents.meta.finished_compact];
        let compact_revision = bounds.into_iter().flatten().map(|bound| bound.main).max().unwrap_or_default();
        if revision > current_revision {
            return Err(Error::FutureRevision { revision, current_revision });
        }
        if revision < compact_revision {
            return Err(Error::Compacted { revision, compact_revision });
        }
        Ok(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Revision;

    fn contents(last: i64, scheduled: i64, finished: i64) -> Contents {
        let mut contents = Contents { last_revision: last, ..Contents::default() };
        contents.meta.scheduled_compact = Some(Revision { main: scheduled, sub: 0 });
        contents.meta.finished_compact = Some(Revision { main: finished, sub: 0 });
        contents
    }

    fn at(revision: i64) -> Rewrite {
        Rewrite { revision: Some(revision), ..Rewrite::default() }
    }

    #[test]
    fn revisions_from_the_compaction_bound_to_the_last_one_can_be_had() {
        let contents = contents(20, 10, 5);
        for revision in [10, 15, 20] {
            assert_eq!(at(revision).revision_of(&contents).unwrap(), revision);
        }
        assert_eq!(Rewrite::default().revision_of(&contents).unwrap(), 20);
        assert!(matches!(
            at(9).revision_of(&contents).unwrap_err(),
            Error::Compacted { revision: 9, compact_revision: 10 }
        ));
        assert!(matches!(
            at(21).revision_of(&contents).unwrap_err(),
            Error::FutureRevision { revision: 21, current_revision: 20 }
        ));
    }

    #[test]
    fn a_key_stays_that_has_a_prefix_and_none_of_the_excluded() {
        let rewrite = Rewrite {
            prefixes: vec![b"/a".to_vec(), b"\xff".to_vec()],
            exclude_prefixes: vec![b"/a/secret".to_vec()],
            ..Rewrite::default()
        };
        let taken = |key: &[u8]| rewrite.takes(key);
        assert!(taken(b"/a") && taken(b"/a/b") && taken(b"\xff\0"));
        assert!(!taken(b"/b") && !taken(b"/a/secrets") && !taken(b""));
        assert!(Rewrite::default().takes(b""));
    }

    #[test]
    fn nothing_and_less_than_the_first_revision_are_refused() {
        for wrong in [
            at(0),
            at(-1),
            Rewrite { prefixes: vec![b"a".to_vec(), Vec::new()], ..Rewrite::default() },
            Rewrite { exclude_prefixes: vec![Vec::new()], ..Rewrite::default() },
        ] {
            assert!(matches!(wrong.check(), Err(Error::InvalidArgument { .. })), "{wrong:?}");
        }
        assert!(at(1).check().is_ok());
    }

    #[test]
    fn what_lies_in_small_buckets_needs_no_new_database() {
        let small = Repairs { clear_alarms: true, disable_auth: true, drop_leases: false };
        assert!(!Rewrite { repairs: small, ..Rewrite::default() }.is_needed());
        for large in [
            at(1),
            Rewrite { prefixes: vec![b"a".to_vec()], ..Rewrite::default() },
            Rewrite { compact: true, ..Rewrite::default() },
            Rewrite { repairs: Repairs { drop_leases: true, ..small }, ..Rewrite::default() },
        ] {
            assert!(large.is_needed(), "{large:?}");
        }
    }
}
