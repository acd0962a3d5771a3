//! What is told of a rewrite.

use serde::Serialize;

use crate::snapshot::Contents;

use super::pass::Outcome;
use super::selection::Rewrite;

/// The database that was written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Revision at which a server starts with it, if nothing bumps it.
    pub revision: i64,
    /// Live keys.
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
            keys: outcome.contents.total_key,
            versions: outcome.contents.revisions,
            versions_dropped: outcome.counts.later + outcome.counts.others,
            database_size: outcome.size,
        }
    }
}

/// The steps of a rewrite.
pub(in crate::restore) fn steps(rewrite: &Rewrite, outcome: &Outcome) -> Vec<String> {
    let Outcome { contents, size, counts } = outcome;
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
    steps.push(format!(
        "write {} versions of which {} keys live into {size} bytes without a free page",
        contents.revisions, contents.total_key
    ));
    steps
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
    for (prefix, count) in rewrite.prefixes.iter().zip(&outcome.counts.by_prefix) {
        if *count == 0 {
            warnings.push(format!("no key that is restored begins with {}", shown(prefix)));
        }
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
