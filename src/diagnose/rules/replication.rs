//! Does everybody keep up?

use std::collections::BTreeSet;

use super::reach::reachable_by_cluster;
use crate::diagnose::report::Finding;
use crate::facts::{EndpointFacts, Facts};

/// Entries from which on a member that is behind is asked again. Fewer come of the asking itself: each member's list of
/// alarms goes through the log.
pub(in crate::diagnose) const NOTICEABLE_LAG: u64 = 16;

/// Entries that a member may be behind when nobody asked it again: members are not asked at one instant, and a busy
/// cluster commits some thousands a second.
const INDEX_LAG: u64 = 1000;

/// Entries that may be committed and not applied. etcd itself refuses writes ("too many requests") from 5000 on.
const APPLIED_LAG: u64 = 1000;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    // Indexes of different clusters have nothing to do with each other.
    for members in reachable_by_cluster(facts).values() {
        index_lag(members, findings);
        terms(members, findings);
        for entry in members {
            applied_lag(entry, findings);
        }
    }
}

fn index_lag(members: &[&EndpointFacts], findings: &mut Vec<Finding>) {
    let Some(newest) = members.iter().filter_map(|entry| entry.raft_index).max() else { return };
    for entry in members {
        let Some(index) = entry.raft_index else { continue };
        let behind = newest.saturating_sub(index);
        let (lags, later) = match entry.raft_index_later {
            Some(later) => (later < newest, format!(", and {later} when asked again")),
            None => (behind > INDEX_LAG, format!("; limit {INDEX_LAG} entries")),
        };
        if behind >= NOTICEABLE_LAG && lags {
            findings.push(
                Finding::warning("raft-index-lagging", format!("{} lags behind the others", entry.label()))
                    .at(&entry.endpoint)
                    .evidence(format!("raft index {index} where another member had {newest}: {behind} entries{later}"))
                    .advice(
                        "look at its network to the leader, its disk and its log; a member that is too far behind gets \
                         the whole database anew",
                    ),
            );
        }
    }
}

fn applied_lag(entry: &EndpointFacts, findings: &mut Vec<Finding>) {
    let (Some(index), Some(applied)) = (entry.raft_index, entry.raft_applied_index) else { return };
    let waiting = index.saturating_sub(applied);
    if waiting > APPLIED_LAG {
        findings.push(
            Finding::warning("applied-index-lagging", format!("{} is slow to apply what is committed", entry.label()))
                .at(&entry.endpoint)
                .evidence(format!("raft index {index}, applied {applied}: {waiting} entries; limit {APPLIED_LAG}"))
                .advice(
                    "look at its disk (etcd_disk_backend_commit_duration_seconds) and CPU, and for expensive requests",
                ),
        );
    }
}

fn terms(members: &[&EndpointFacts], findings: &mut Vec<Finding>) {
    let terms: BTreeSet<u64> = members.iter().filter_map(|entry| entry.raft_term).collect();
    if terms.len() > 1 {
        let evidence: Vec<String> = members
            .iter()
            .filter_map(|entry| entry.raft_term.map(|term| format!("{}: term {term}", entry.label())))
            .collect();
        findings.push(
            Finding::warning("raft-term-mismatch", "the members are in different raft terms")
                .evidence(evidence.join("; "))
                .advice(
                    "during an election this passes in seconds; if it stays so, a member is cut off and holds elections \
                     of its own",
                ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{healthy, ids};
    use super::*;

    fn findings(change: impl FnOnce(&mut EndpointFacts)) -> Vec<Finding> {
        let mut facts = healthy(3);
        facts.endpoints.iter_mut().for_each(|entry| {
            entry.raft_index = Some(5000);
            entry.raft_applied_index = Some(5000);
        });
        change(&mut facts.endpoints[2]);
        let mut findings = Vec::new();
        judge(&facts, &mut findings);
        findings
    }

    #[test]
    fn members_that_keep_up_are_no_finding() {
        assert_eq!(findings(|_| ()), vec![]);
        assert_eq!(findings(|entry| entry.raft_index = Some(4000)), vec![]);
        assert_eq!(findings(|entry| entry.raft_applied_index = Some(4000)), vec![]);
    }

    #[test]
    fn member_that_catches_up_when_asked_again_is_no_finding() {
        let caught_up = findings(|entry| {
            entry.raft_index = Some(10);
            entry.raft_applied_index = Some(10);
            entry.raft_index_later = Some(5000);
        });

        assert_eq!(caught_up, vec![]);
    }

    #[test]
    fn member_that_stays_behind_is_a_warning_though_it_is_not_far() {
        let found = findings(|entry| {
            entry.raft_index = Some(4980);
            entry.raft_index_later = Some(4980);
            entry.raft_applied_index = Some(4980);
        });

        assert_eq!(ids(&found), ["raft-index-lagging"]);
        assert!(found[0].evidence.contains("20 entries, and 4980 when asked again"));
    }

    #[test]
    fn member_far_behind_is_a_warning() {
        let found = findings(|entry| {
            entry.raft_index = Some(3999);
            entry.raft_applied_index = Some(3999);
        });

        assert_eq!(ids(&found), ["raft-index-lagging"]);
    }

    #[test]
    fn member_that_applies_slowly_is_a_warning() {
        assert_eq!(ids(&findings(|entry| entry.raft_applied_index = Some(3999))), ["applied-index-lagging"]);
    }

    #[test]
    fn indexes_of_different_clusters_are_not_compared() {
        let found = findings(|entry| {
            entry.cluster_id_hex = Some("c2".to_owned());
            entry.raft_index = Some(1);
            entry.raft_applied_index = Some(1);
            entry.raft_term = Some(9);
        });

        assert_eq!(found, vec![]);
    }

    #[test]
    fn different_terms_are_a_warning() {
        assert_eq!(ids(&findings(|entry| entry.raft_term = Some(7))), ["raft-term-mismatch"]);
    }
}
