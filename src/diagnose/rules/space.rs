//! Room in the database.

use crate::diagnose::report::Finding;
use crate::facts::{EndpointFacts, Facts};
use crate::version::Version;

/// etcd's quota where no `--quota-backend-bytes` is given.
const DEFAULT_QUOTA: i64 = 2 * 1024 * 1024 * 1024;

/// From this part of the quota on there is little time left: at the quota the whole cluster refuses writes.
const NEAR_QUOTA_PERCENT: i64 = 80;

/// From this part of free pages on a defragmentation is worth its pause.
const MUCH_FREE_PERCENT: i64 = 50;

/// And not in a small database, where the free part is soon used again: etcd grows its file by 16 MiB steps.
const MUCH_FREE_BYTES: i64 = 100 * 1024 * 1024;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    for entry in facts.endpoints.iter().filter(|entry| entry.reachable) {
        if let Some(size) = entry.db_size {
            near_quota(entry, size, findings);
            if let Some(in_use) = entry.db_size_in_use {
                much_free(entry, size, in_use, findings);
            }
        }
    }
}

/// The quota in bytes, and whether the server told it.
fn quota(entry: &EndpointFacts, size: i64) -> Option<(i64, bool)> {
    match entry.db_size_quota {
        Some(quota) if quota > 0 => Some((quota, true)),
        // A negative quota means none.
        Some(quota) if quota < 0 => None,
        // Not told. A database beyond the default shows that another quota is set.
        _ => (size <= DEFAULT_QUOTA).then_some((DEFAULT_QUOTA, false)),
    }
}

fn near_quota(entry: &EndpointFacts, size: i64, findings: &mut Vec<Finding>) {
    let Some((quota, told)) = quota(entry, size) else { return };
    let percent = percent(size, quota);
    if percent < NEAR_QUOTA_PERCENT {
        return;
    }
    let (message, evidence) = if told {
        (
            format!("the database of {} is near its quota", entry.label()),
            format!("{size} of {quota} bytes, {percent} %; limit {NEAR_QUOTA_PERCENT} %"),
        )
    } else {
        let version = entry.version.as_deref().and_then(Version::parse);
        let older = if version.is_some_and(|v| (v.major, v.minor) < (3, 6)) { ", older than 3.6," } else { "" };
        (
            format!("the database of {} is near the default quota", entry.label()),
            format!(
                "{size} of {quota} bytes, {percent} %; limit {NEAR_QUOTA_PERCENT} %; this server{older} does not tell its \
                 quota, another one may be set"
            ),
        )
    };
    findings
        .push(Finding::warning("database-near-quota", message).at(&entry.endpoint).evidence(evidence).advice(format!(
        "compact old revisions (etcdctl compact REVISION) and defragment (etcdctl defrag --endpoints={}), find what \
             grows, or raise --quota-backend-bytes",
        entry.endpoint
    )));
}

fn much_free(entry: &EndpointFacts, size: i64, in_use: i64, findings: &mut Vec<Finding>) {
    let free = size.saturating_sub(in_use);
    let percent = percent(free, size);
    if free < MUCH_FREE_BYTES || percent < MUCH_FREE_PERCENT {
        return;
    }
    findings.push(
        Finding::warning("database-fragmented", format!("much of the database of {} is free space", entry.label()))
            .at(&entry.endpoint)
            .evidence(format!(
                "{free} of {size} bytes are free, {percent} %; limits {MUCH_FREE_PERCENT} % and {MUCH_FREE_BYTES} bytes"
            ))
            .advice(format!(
                "defragment one member after the other, the leader last, since each stops working meanwhile: etcdctl \
                 defrag --endpoints={}",
                entry.endpoint
            )),
    );
}

fn percent(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    i64::try_from(i128::from(part) * 100 / i128::from(whole)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{healthy, ids};
    use super::*;

    const MIB: i64 = 1024 * 1024;

    fn findings(size: i64, in_use: i64, quota: i64) -> Vec<Finding> {
        let mut facts = healthy(1);
        facts.endpoints[0].db_size = Some(size);
        facts.endpoints[0].db_size_in_use = Some(in_use);
        facts.endpoints[0].db_size_quota = Some(quota);
        let mut findings = Vec::new();
        judge(&facts, &mut findings);
        findings
    }

    #[test]
    fn roomy_and_dense_databases_are_no_finding() {
        for (size, in_use, quota) in [
            (79 * MIB, 79 * MIB, 100 * MIB),
            (1600 * MIB, 1600 * MIB, 0),
            // Beyond the default: another quota must be set, and nobody knows which.
            (4000 * MIB, 4000 * MIB, 0),
            (4000 * MIB, 4000 * MIB, -1),
            // Small, however free.
            (99 * MIB, 0, 8192 * MIB),
            (300 * MIB, 151 * MIB, 8192 * MIB),
            (0, 0, 0),
        ] {
            assert_eq!(findings(size, in_use, quota), vec![], "{size} {in_use} {quota}");
        }
    }

    #[test]
    fn database_near_its_quota_is_a_warning() {
        let found = findings(80 * MIB, 80 * MIB, 100 * MIB);

        assert_eq!(ids(&found), ["database-near-quota"]);
        assert!(found[0].evidence.starts_with("83886080 of 104857600 bytes, 80 %"));
    }

    #[test]
    fn quota_that_is_not_told_is_taken_as_the_default_and_said_so() {
        let found = findings(1800 * MIB, 1800 * MIB, 0);

        assert_eq!(ids(&found), ["database-near-quota"]);
        assert!(found[0].evidence.contains("another one may be set"));
    }

    #[test]
    fn much_free_space_is_a_warning() {
        let found = findings(300 * MIB, 150 * MIB, 8192 * MIB);

        assert_eq!(ids(&found), ["database-fragmented"]);
        assert!(found[0].advice.contains("--endpoints=http://10.0.0.1:2379"));
    }
}
