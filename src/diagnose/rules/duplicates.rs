//! Is each member one server?
//!
//! A member id is made from peer URLs and the cluster's token, and kept in the data directory. Servers that were started
//! with the same ones, or with copies of one directory, have one id, and each takes itself for the member.
//!
//! One server reached at two URLs has one id as well. It is told from two servers by looks in turn: within one server
//! term, committed index and revision never fall, however busy it is, so a look that shows less than the one before it
//! is one at another server.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::report::Finding;
use crate::facts::{EndpointFacts, Facts, Look};

/// Contradictions from which on two endpoints are two servers. A server that starts again between two looks may show
/// less than before, once.
const PROOF: usize = 2;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut members: BTreeMap<&str, Vec<&[Look]>> = BTreeMap::new();
    for (second, looks) in apart(facts) {
        members.entry(second.member_id_hex.as_deref().unwrap_or("unknown")).or_default().push(looks);
    }
    for (id, pairs) in members {
        let seen: BTreeSet<&str> = pairs.iter().copied().flatten().map(|look| look.endpoint.as_str()).collect();
        let servers: Vec<&EndpointFacts> =
            facts.endpoints.iter().filter(|entry| seen.contains(entry.endpoint.as_str())).collect();
        let each: Vec<String> = servers.iter().map(|entry| figures(entry)).collect();
        let proof: Vec<String> = pairs.iter().filter_map(|looks| falls(looks).next()).map(fall).collect();
        findings.push(
            Finding::critical("duplicate-member-id", format!("{} servers run as one member, {id}", servers.len()))
                .evidence(format!("{}. Within one server these never fall: {}", each.join("; "), proof.join("; ")))
                .advice(
                    "stop clients from writing, take a backup of each and see which one holds the data (dcos-etcdctl \
                     stats, diff). If the data directory of a member was copied, stop the copy. If these are to be \
                     members of one cluster, restore that backup on each with its own --name and \
                     --initial-advertise-peer-urls, and with all of them in --initial-cluster and one \
                     --initial-cluster-token of this cluster. If they are clusters of their own, give each its own token",
                ),
        );
    }
}

/// The endpoints, but the first of each member, that are servers of their own under the id of another one.
///
/// They are judged by themselves: compared with the members, their history would put these in the wrong.
pub(in crate::diagnose) fn duplicates(facts: &Facts) -> BTreeSet<&str> {
    apart(facts).into_iter().map(|(second, _)| second.endpoint.as_str()).collect()
}

/// Whether these looks, taken at two endpoints in turn, can't be of one server.
pub(in crate::diagnose) fn told_apart(looks: &[Look]) -> bool {
    contradictions(looks) >= PROOF
}

/// How often a look shows less than the one before it.
pub(in crate::diagnose) fn contradictions(looks: &[Look]) -> usize {
    falls(looks).count()
}

/// The pairs of endpoints that are two servers: the entry of the second one, and the looks.
fn apart(facts: &Facts) -> Vec<(&EndpointFacts, &[Look])> {
    let mut found = Vec::new();
    for looks in facts.looks.iter().filter(|looks| told_apart(looks)) {
        let second = looks.get(1).map(|look| &look.endpoint);
        // An endpoint that turned out to lead to a known server has no entry.
        if let Some(entry) = facts.endpoints.iter().find(|entry| Some(&entry.endpoint) == second) {
            found.push((entry, looks.as_slice()));
        }
    }
    found
}

fn falls(looks: &[Look]) -> impl Iterator<Item = (&Look, &Look)> {
    looks.iter().zip(looks.iter().skip(1)).filter(|(before, after)| {
        after.raft_term < before.raft_term || after.raft_index < before.raft_index || after.revision < before.revision
    })
}

fn fall((before, after): (&Look, &Look)) -> String {
    let numbers =
        |look: &Look| format!("term {}, raft index {}, revision {}", look.raft_term, look.raft_index, look.revision);
    format!("{} showed {}, and then {} {}", before.endpoint, numbers(before), after.endpoint, numbers(after))
}

fn figures(entry: &EndpointFacts) -> String {
    let known = |number: Option<i64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let hash = entry.hash_kv.as_ref();
    let hash = hash.map_or_else(String::new, |hash| format!(", hash {} at revision {}", hash.hash, hash.revision));
    let (revision, in_use) = (known(entry.revision), known(entry.db_size_in_use));
    format!("{}: revision {revision}, {in_use} bytes in use{hash}", entry.label())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{found, healthy, ids};
    use super::*;
    use crate::diagnose::judge as judge_all;

    const FIRST: &str = "http://10.0.0.1:2379";
    const SECOND: &str = "http://10.0.9.1:2379";

    fn looks(indexes: &[u64]) -> Vec<Look> {
        let endpoints = [FIRST, SECOND].into_iter().cycle();
        let look = |(endpoint, index): (&str, &u64)| Look {
            endpoint: endpoint.to_owned(),
            raft_term: 2,
            raft_index: *index,
            revision: 50,
        };
        endpoints.zip(indexes).map(look).collect()
    }

    /// A healthy cluster of which a second server says that it is its first member.
    fn copied(count: u64) -> Facts {
        let mut facts = healthy(count);
        let mut copy = facts.endpoints[0].clone();
        copy.endpoint = SECOND.to_owned();
        copy.raft_index = Some(9000);
        copy.raft_term = Some(7);
        copy.leader_hex = Some("5".to_owned());
        copy.hash_kv.as_mut().unwrap().hash = 1;
        let view = facts.views[FIRST].clone();
        facts.views.insert(SECOND.to_owned(), view);
        facts.endpoints.push(copy);
        facts.looks.push(looks(&[100, 9000, 100, 9001, 101]));
        facts
    }

    #[test]
    fn one_server_at_two_urls_is_one_however_busy_it_is() {
        assert!(!told_apart(&looks(&[100, 100, 100, 100, 100, 100, 100])));
        assert!(!told_apart(&looks(&[100, 101, 101, 2000, 2002, 2002, 90000])));
        assert!(!told_apart(&[]));
    }

    #[test]
    fn server_that_starts_again_between_two_looks_is_one() {
        assert!(!told_apart(&looks(&[100, 101, 98, 102, 103, 103, 104])));
    }

    #[test]
    fn looks_that_fall_again_and_again_are_at_two_servers() {
        assert!(told_apart(&looks(&[100, 130, 100, 130, 100])));
        assert!(told_apart(&looks(&[130, 100, 130, 100, 130])));
        // What stands still at the index of the other one meets it once.
        assert!(told_apart(&looks(&[100, 99, 100, 100, 100, 101, 100])));
    }

    #[test]
    fn two_servers_with_one_id_are_critical_and_both_are_named() {
        let found = found(judge, &copied(1));

        assert_eq!(ids(&found), ["duplicate-member-id"]);
        assert_eq!(found[0].message, "2 servers run as one member, 1");
        for part in [FIRST, SECOND, "hash 43981 at revision 50", "raft index 9000", "raft index 100"] {
            assert!(found[0].evidence.contains(part), "{part}: {}", found[0].evidence);
        }
    }

    #[test]
    fn copy_of_a_member_puts_no_member_in_the_wrong() {
        assert_eq!(ids(&judge_all(&copied(3), &[])), ["duplicate-member-id"]);
        assert_eq!(ids(&judge_all(&copied(1), &[])), ["duplicate-member-id"]);
    }

    #[test]
    fn copy_of_a_member_is_no_second_vote() {
        let mut facts = copied(3);
        for endpoint in ["http://10.0.0.2:2379", "http://10.0.0.3:2379"] {
            let index = facts.endpoints.iter().position(|entry| entry.endpoint == endpoint).unwrap();
            super::super::fixtures::kill(&mut facts, index);
        }
        for entry in &mut facts.endpoints {
            entry.linearizable = None;
        }
        let found = judge_all(&facts, &[]);
        let lost = found.iter().find(|finding| finding.id == "quorum-lost").unwrap();

        assert_eq!(lost.message, "1 of 3 voting members answer, and 2 are needed");
    }

    #[test]
    fn endpoint_that_leads_to_a_known_server_is_no_duplicate() {
        let mut facts = copied(1);
        facts.endpoints.pop();

        assert_eq!(found(judge, &facts), vec![]);
    }
}
