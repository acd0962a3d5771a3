//! What is told of a rewrite.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::snapshot::Contents;

use super::pass::{Barren, Outcome};
use super::selection::Rewrite;

/// The database that was written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Revision at which a server starts with it, if nothing bumps it.
    pub revision: i64,
    /// Live keys; that of a bump, which has no name, is none.
    pub keys: u64,
    /// Versions and tombstones that are in it.
    pub versions: u64,
    /// Versions and tombstones of the snapshot that are not.
    pub versions_dropped: u64,
    /// Its length in bytes.
    pub database_size: u64,
}

impl Rewritten {
    pub(in crate::restore) fn new(revision: i64, outcome: &Outcome) -> Self {
        Self {
            revision,
            keys: outcome.live_keys(),
            versions: outcome.contents.revisions,
            versions_dropped: outcome.counts.later + outcome.counts.others,
            database_size: outcome.size,
        }
    }
}

/// Refuses a part of the snapshot at `path` in which there is no live key, while there are others: that is a slip of the
/// pen, not a cluster that anybody wants. A snapshot that is empty itself is none.
pub(in crate::restore) fn refuse_nothing(
    path: &Path,
    rewrite: &Rewrite,
    before: &Contents,
    outcome: &Outcome,
) -> Result<()> {
    let is_empty = outcome.counts.others == 0 || (rewrite.revision.is_none() && before.total_key == 0);
    if rewrite.prefixes.is_empty() || outcome.live_keys() > 0 || is_empty {
        return Ok(());
    }
    let excluded = match &rewrite.exclude_prefixes[..] {
        [] => String::new(),
        some => format!(" and --exclude-prefix {}", listed(some)),
    };
    Err(Error::invalid(format!(
        "--prefix {}{excluded} takes no live key of {} at revision {}, so there would be none: 'dcos-etcdctl keys' lists \
         what there is",
        listed(&rewrite.prefixes),
        path.display(),
        rewrite.revision.unwrap_or_else(|| before.current_revision())
    )))
}

/// The steps of a rewrite that change what the database holds.
pub(in crate::restore) fn changes(rewrite: &Rewrite, outcome: &Outcome) -> Vec<String> {
    let counts = &outcome.counts;
    let mut steps = Vec::new();
    if let Some(revision) = rewrite.revision {
        steps.push(format!("go back to revision {revision}: drop {} later versions", counts.later));
    }
    if rewrite.selects_keys() {
        let mut which = Vec::new();
        if !rewrite.prefixes.is_empty() {
            which.push(format!("keep keys that begin with {}", listed(&rewrite.prefixes)));
        }
        if !rewrite.exclude_prefixes.is_empty() {
            which.push(format!("drop keys that begin with {}", listed(&rewrite.exclude_prefixes)));
        }
        steps.push(format!("{}: drop {} versions", which.join(", "), counts.others));
    }
    if rewrite.repairs.drop_leases {
        steps.push(format!("drop {} leases, and take {} versions off theirs", counts.leases, counts.leased));
    }
    steps
}

/// The last step of a rewrite.
pub(in crate::restore) fn written(outcome: &Outcome) -> String {
    let (versions, keys, size) = (outcome.contents.revisions, outcome.live_keys(), outcome.size);
    format!("write {versions} versions of which {keys} keys live into {size} bytes without a free page")
}

/// The steps that change small buckets only.
pub(in crate::restore) fn repairs(rewrite: &Rewrite, before: &Contents) -> Vec<String> {
    let mut steps = Vec::new();
    if rewrite.repairs.clear_alarms {
        steps.push(format!("clear {} alarms", before.alarms.len()));
    }
    if rewrite.repairs.disable_auth {
        let was = if before.auth_enabled { "users and roles stay" } else { "it was not enabled" };
        steps.push(format!("disable authentication ({was})"));
    }
    steps
}

/// What should be known of the restored contents, in place of what should have been of those of the snapshot.
pub(in crate::restore) fn warnings(rewrite: &Rewrite, before: &Contents, outcome: Option<&Outcome>) -> Vec<String> {
    let mut contents = before.clone();
    if rewrite.repairs.clear_alarms {
        contents.alarms.clear();
    }
    contents.auth_enabled &= !rewrite.repairs.disable_auth;
    let Some(outcome) = outcome else { return contents.warnings() };
    contents.dangling_leases = outcome.contents.dangling_leases;
    contents.leases_uncompared = outcome.contents.leases_uncompared;
    contents.leases = outcome.contents.leases;
    contents.overlong_leases = outcome.contents.overlong_leases;
    contents.misfiled = outcome.contents.misfiled;
    let mut warnings = contents.warnings();
    let revision = rewrite.revision.unwrap_or_else(|| before.current_revision());
    for Barren { prefix, versions } in &outcome.barren {
        let prefix = shown(prefix);
        warnings.push(match versions {
            0 => format!("no key that is restored begins with {prefix}"),
            _ => format!(
                "no live key that is restored begins with {prefix}: those that were there are deleted at revision \
                 {revision}, only their history of {versions} versions is restored"
            ),
        });
    }
    let chooses = rewrite.revision.is_some() || !rewrite.exclude_prefixes.is_empty();
    if chooses && rewrite.prefixes.is_empty() && outcome.live_keys() == 0 {
        warnings.push(format!("no live key is restored: at revision {revision} there is none that was asked for"));
    }
    warnings
}

fn listed(prefixes: &[Vec<u8>]) -> String {
    let shown: Vec<_> = prefixes.iter().map(|prefix| shown(prefix)).collect();
    shown.join(" or ")
}

/// Quoted; bytes that are no text are spelled out.
fn shown(prefix: &[u8]) -> String {
    match std::str::from_utf8(prefix) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", prefix.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_shown_as_text_where_they_are_text() {
        assert_eq!(listed(&[b"/a".to_vec(), b"\n\xff".to_vec()]), r#""/a" or b"\n\xff""#);
    }
}
