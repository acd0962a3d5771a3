//! The hash of the key space at a revision, as `HashKV` answers it.

use std::ops::ControlFlow;

use super::range::KeyRange;
use super::store::{Store, Watch};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::schema::{RevisionKey, buckets};
use crate::version::Version;

/// Which of etcd's rules for the revision of the last compaction counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashRule {
    /// A deletion there is left out: 3.4.34, 3.5.16, 3.6.0 and later, whose compaction keeps it in the file.
    #[default]
    SkipsTombstone,
    /// Such a deletion counts, where it is there: earlier servers.
    CountsTombstone,
    /// It counts too, and that revision may not be asked for: before 3.4.27 and 3.5.10 (`HashByRev` in `kvstore.go`).
    RefusesCompaction,
}

impl HashRule {
    /// That of a release.
    #[must_use]
    pub fn of(version: Version) -> Self {
        let Version { major, minor, patch } = version;
        let (asked, skipped) = match (major, minor) {
            (3, 4) => (27, 34),
            (3, 5) => (10, 16),
            older if older < (3, 4) => return Self::RefusesCompaction,
            _ => return Self::SkipsTombstone,
        };
        match patch {
            patch if patch < asked => Self::RefusesCompaction,
            patch if patch < skipped => Self::CountsTombstone,
            _ => Self::SkipsTombstone,
        }
    }
}

/// A hash of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct HashKv {
    /// The hash, comparable between members at the same revision and compaction.
    pub hash: u32,
    /// The revision up to which keys were hashed.
    pub revision: i64,
    /// The revision of the last compaction; -1 when there never was one, as etcd writes it.
    pub compact_revision: i64,
}

impl Store {
    /// CRC-32C over the bucket's name, then key and value of each revision up to `revision`; of those that are compacted
    /// only what is still live at `revision` (etcd mvcc `hash.go: unsafeHashByRev`).
    ///
    /// # Errors
    /// Those of [`Store::resolve`] and [`Store::index`]; an index is needed only after a compaction. [`Error::Compacted`]
    /// also for the revision of the compaction, if it is asked for and the rule has it so.
    pub fn hash_kv(&self, revision: Option<i64>, rule: HashRule, progress: &dyn Progress) -> Result<HashKv> {
        let (asked, revision) = (revision, self.resolve(revision)?);
        let compacted = self.compact_revision();
        if let (HashRule::RefusesCompaction, Some(compact_revision)) = (rule, compacted)
            && asked == compacted
        {
            return Err(Error::Compacted { revision, compact_revision });
        }
        let keep = match compacted {
            // Without anything to keep, etcd leaves nothing out.
            Some(_) => Some(self.index(progress)?.live_places(revision, &KeyRange::with_marker()))
                .filter(|keep| !keep.is_empty()),
            None => None,
        };
        let compact_revision = compacted.unwrap_or(-1);
        let mut hash = crc32c::crc32c(buckets::KEY);
        let mut watch = Watch::new(self, progress);
        let mut place = 0;
        self.visit(self.key_bucket(), &mut |element| {
            watch.step(&element)?;
            let at = RevisionKey::parse(element.key).map_err(|message| {
                let defect = crate::defect::Defect::new("revision-malformed", message);
                self.fail(defect.on_page(element.page).at(element.offset))
            })?;
            let main = at.revision.main;
            if main > revision {
                return Ok(ControlFlow::Break(()));
            }
            let dropped = main <= compact_revision && keep.as_ref().is_some_and(|keep| !keep.contains(place));
            let at_compaction = rule == HashRule::SkipsTombstone && at.tombstone && main == compact_revision;
            place += 1;
            if !dropped && !at_compaction {
                hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, element.key), element.value);
            }
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        Ok(HashKv { hash, revision, compact_revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_its_rule() {
        for (release, rule) in [
            ("3.3.27", HashRule::RefusesCompaction),
            ("3.4.26", HashRule::RefusesCompaction),
            ("3.4.27", HashRule::CountsTombstone),
            ("3.4.34", HashRule::SkipsTombstone),
            ("3.5.9", HashRule::RefusesCompaction),
            ("3.5.10", HashRule::CountsTombstone),
            ("3.5.16", HashRule::SkipsTombstone),
            ("3.6.0", HashRule::SkipsTombstone),
        ] {
            assert_eq!(Version::parse(release).map(HashRule::of), Some(rule), "{release}");
        }
    }
}
