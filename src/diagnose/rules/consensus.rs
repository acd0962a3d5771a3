//! Is there one leader, and does everybody answer reads?

use std::collections::BTreeMap;

use super::duplicates::duplicates;
use super::reach::{known_members_by_cluster, reachable_by_cluster};
use crate::diagnose::report::Finding;
use crate::facts::{EndpointFacts, Facts, Member, ReadProbe};
use crate::hex::hex_id;

/// Seconds after which a read of one key is slow. etcd calls a request slow in its log from 0.1 s on; five times that
/// leaves room for the way to a distant member.
const SLOW_READ_SECONDS: f64 = 0.5;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    // Each cluster has a leader and a majority of its own.
    for members in reachable_by_cluster(facts).values() {
        leaders(members, findings);
    }
    for (cluster, members) in known_members_by_cluster(facts) {
        quorum(facts, &cluster, &members, findings);
    }
    for entry in facts.endpoints.iter().filter(|entry| entry.reachable && !entry.denied) {
        reads(entry, findings);
        complaints(entry, findings);
    }
}

fn leaders(members: &[&EndpointFacts], findings: &mut Vec<Finding>) {
    let mut followers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in members {
        if let Some(leader) = entry.leader_hex.as_deref() {
            let term = entry.raft_term.unwrap_or_default();
            followers.entry(leader).or_default().push(format!("{} in term {term}", entry.label()));
        }
    }
    let answering: usize = followers.values().map(Vec::len).sum();
    if let Some(without) = followers.remove("0") {
        let message = format!("{} of {answering} members that answer know no leader", without.len());
        findings.push(Finding::critical("no-leader", message).evidence(without.join("; ")).advice(
            "an election may be under way: ask again in some seconds; if it stays so, bring back enough members \
                     for a majority and let them reach one another's peer URLs",
        ));
    }
    if followers.len() > 1 {
        let evidence: Vec<String> = followers
            .iter()
            .map(|(leader, followers)| format!("leader {leader} according to {}", followers.join(", ")))
            .collect();
        findings.push(
            Finding::critical("two-leaders", format!("the members follow {} different leaders", followers.len()))
                .evidence(evidence.join("; "))
                .advice(
                    "just after an election this passes in seconds; if it stays so, members are cut off from one \
                     another: compare member lists and raft terms, and write nothing until one side is stopped",
                ),
        );
    }
}

/// Tells a lost majority as such, which explains why nobody answers reads.
fn quorum(facts: &Facts, cluster: &str, members: &BTreeMap<u64, &Member>, findings: &mut Vec<Finding>) {
    let own = || facts.endpoints.iter().filter(|entry| entry.cluster_id_hex.as_deref() == Some(cluster));
    if own().any(|entry| entry.linearizable.as_ref().is_some_and(|read| read.healthy)) {
        return;
    }
    let voters: Vec<u64> = members.values().filter(|member| !member.is_learner).map(|member| member.id).collect();
    let duplicates = duplicates(facts);
    let reached = own().filter(|entry| {
        let counts = entry.member_id.is_some_and(|id| voters.contains(&id));
        entry.reachable && counts && !duplicates.contains(entry.endpoint.as_str())
    });
    let names: Vec<String> = reached.map(EndpointFacts::label).collect();
    let needed = voters.len() / 2 + 1;
    if voters.is_empty() || names.len() >= needed {
        return;
    }
    findings.push(
        Finding::critical(
            "quorum-lost",
            format!("{} of {} voting members answer, and {needed} are needed", names.len(), voters.len()),
        )
        .evidence(format!(
            "answering: {}; voting: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            voters.iter().map(|id| hex_id(*id)).collect::<Vec<_>>().join(", ")
        ))
        .advice(
            "bring the missing members back; where their data is lost for good, take a backup of a member that still \
             answers (dcos-etcdctl backup works without a quorum) and restore it as a new cluster",
        ),
    );
}

fn reads(entry: &EndpointFacts, findings: &mut Vec<Finding>) {
    // A learner serves no linearizable reads; that is its nature and no fault.
    let linearizable = entry.linearizable.as_ref().filter(|_| entry.is_learner != Some(true));
    if let Some(read) = linearizable {
        let advice = "it can't reach a majority through a leader: see the leader and the members that don't answer, and \
                      this member's log";
        read_failed(entry, read, "linearizable-read-failed", "a linearizable read", advice, findings);
    }
    if let Some(read) = &entry.serializable {
        let advice = "it can't read its own data: see its log and its disk; a member whose data is damaged is removed \
                      and added again with an empty data directory";
        read_failed(entry, read, "serializable-read-failed", "a read of its own data", advice, findings);
    }
    let slow = [("linearizable", linearizable), ("serializable", entry.serializable.as_ref())];
    let slow: Vec<String> = slow
        .into_iter()
        .filter_map(|(kind, read)| read.map(|read| (kind, read)))
        .filter(|(_, read)| read.healthy && read.took_seconds >= SLOW_READ_SECONDS)
        .map(|(kind, read)| format!("{kind} read of one key: {:.3} s", read.took_seconds))
        .collect();
    if !slow.is_empty() {
        findings.push(
            Finding::warning("slow-read", format!("{} answers slowly", entry.label()))
                .at(&entry.endpoint)
                .evidence(format!("{}, limit {SLOW_READ_SECONDS} s", slow.join("; ")))
                .advice(
                    "look at disk latency (etcd_disk_wal_fsync_duration_seconds), network delay between the members and \
                     CPU of that machine",
                ),
        );
    }
}

fn read_failed(
    entry: &EndpointFacts,
    read: &ReadProbe,
    id: &'static str,
    what: &str,
    advice: &str,
    findings: &mut Vec<Finding>,
) {
    if read.healthy {
        return;
    }
    let error = read.error.as_deref().unwrap_or("no reason given");
    findings.push(
        Finding::critical(id, format!("{} does not answer {what}", entry.label()))
            .at(&entry.endpoint)
            .evidence(format!("{error}, after {:.3} s", read.took_seconds))
            .advice(advice),
    );
}

/// What the member says of itself, save what other rules tell: alarms and the missing leader.
fn complaints(entry: &EndpointFacts, findings: &mut Vec<Finding>) {
    let told = |error: &&String| !error.contains("no leader") && !error.contains("alarm:");
    let errors: Vec<&str> = entry.errors.iter().filter(told).map(|error| error.trim()).collect();
    if !errors.is_empty() {
        findings.push(
            Finding::warning("status-errors", format!("{} reports errors", entry.label()))
                .at(&entry.endpoint)
                .evidence(errors.join("; "))
                .advice("look at that member's log"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{found, healthy, ids, kill};
    use super::*;

    fn findings(facts: &Facts) -> Vec<Finding> {
        found(judge, facts)
    }

    fn failed(error: &str) -> ReadProbe {
        ReadProbe { healthy: false, took_seconds: 5.0, error: Some(error.to_owned()) }
    }

    #[test]
    fn one_leader_and_quick_answers_are_no_finding() {
        assert_eq!(findings(&healthy(3)), vec![]);
    }

    #[test]
    fn member_without_a_leader_is_critical() {
        let mut facts = healthy(3);
        facts.endpoints[1].leader_hex = Some("0".to_owned());

        assert_eq!(ids(&findings(&facts)), ["no-leader"]);
    }

    #[test]
    fn two_leaders_are_critical() {
        let mut facts = healthy(3);
        facts.endpoints[2].leader_hex = Some("3".to_owned());
        let found = findings(&facts);

        assert_eq!(ids(&found), ["two-leaders"]);
        assert!(found[0].evidence.contains("leader 3 according to m3 (http://10.0.0.3:2379) in term 2"));
    }

    #[test]
    fn each_cluster_has_a_leader_of_its_own() {
        let mut facts = healthy(3);
        facts.endpoints[2].cluster_id_hex = Some("c2".to_owned());
        facts.endpoints[2].leader_hex = Some("3".to_owned());

        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn lost_majority_is_told_with_its_numbers() {
        let mut facts = healthy(3);
        kill(&mut facts, 1);
        kill(&mut facts, 2);
        facts.endpoints[0].leader_hex = Some("0".to_owned());
        facts.endpoints[0].linearizable = Some(failed("no answer to a linearizable read within 5 s"));
        let found = findings(&facts);

        assert_eq!(ids(&found), ["no-leader", "quorum-lost", "linearizable-read-failed"]);
        assert_eq!(found[1].message, "1 of 3 voting members answer, and 2 are needed");
    }

    #[test]
    fn majority_that_answers_reads_is_no_lost_quorum() {
        let mut facts = healthy(3);
        kill(&mut facts, 2);

        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn read_of_own_data_that_fails_is_critical() {
        let mut facts = healthy(3);
        facts.endpoints[1].serializable = Some(failed("etcdserver: corrupt cluster"));

        assert_eq!(ids(&findings(&facts)), ["serializable-read-failed"]);
    }

    #[test]
    fn learner_is_not_asked_for_consensus() {
        let mut facts = healthy(3);
        facts.endpoints[2].is_learner = Some(true);
        facts.endpoints[2].linearizable = Some(failed("etcdserver: rpc not supported for learner"));

        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn slow_reads_are_a_warning_from_the_limit_on() {
        for (seconds, expected) in [(0.499, vec![]), (0.5, vec!["slow-read"])] {
            let mut facts = healthy(1);
            facts.endpoints[0].linearizable = Some(ReadProbe { healthy: true, took_seconds: seconds, error: None });

            assert_eq!(ids(&findings(&facts)), expected, "{seconds}");
        }
    }

    #[test]
    fn complaints_are_told_unless_another_rule_does() {
        let mut facts = healthy(1);
        facts.endpoints[0].errors = vec!["memberID:7 alarm:NOSPACE ".to_owned(), "etcdserver: no leader".to_owned()];
        assert_eq!(findings(&facts), vec![]);

        facts.endpoints[0].errors.push("disk on fire".to_owned());
        assert_eq!(ids(&findings(&facts)), ["status-errors"]);
    }
}
