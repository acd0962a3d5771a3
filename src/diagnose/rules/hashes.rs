//! Do all members hold the same keys?
//!
//! Hashes are comparable when they were taken at one revision and begin at one compacted revision, and when both servers
//! compute them alike: etcd 3.4.34 and 3.5.16 began to keep a tombstone at the compacted revision in the hash. What can't
//! be compared is a finding of its own and no pass. Equal hashes are equal content, whatever computed them.

use std::collections::{BTreeMap, BTreeSet};

use super::reach::{known_members, reachable_by_cluster};
use crate::diagnose::report::Finding;
use crate::facts::{EndpointFacts, Facts, HashKv};
use crate::version::Version;

/// The first releases that hash a tombstone at the compacted revision.
const NEW_HASH_SINCE: [Version; 2] =
    [Version { major: 3, minor: 4, patch: 34 }, Version { major: 3, minor: 5, patch: 16 }];

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let reachable: Vec<&EndpointFacts> = reachable_by_cluster(facts).into_values().flatten().collect();
    let started = known_members(facts).values().filter(|member| !member.is_unstarted()).count();
    if reachable.is_empty() || reachable.len().max(started) < 2 {
        return;
    }
    let mut hashed: BTreeMap<Comparable<'_>, Vec<(&EndpointFacts, &HashKv)>> = BTreeMap::new();
    for entry in &reachable {
        if let Some(hash) = &entry.hash_kv {
            hashed.entry(Comparable::of(entry, hash)).or_default().push((entry, hash));
        }
    }
    for (key, members) in &hashed {
        mismatch(key, members, findings);
    }
    not_compared(facts, &hashed, findings);
}

/// Hashes with equal keys may be compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Comparable<'a> {
    cluster: Option<&'a str>,
    revision: i64,
    compact_revision: i64,
    new_hash: Option<bool>,
}

impl<'a> Comparable<'a> {
    fn of(entry: &'a EndpointFacts, hash: &HashKv) -> Self {
        Self {
            cluster: entry.cluster_id_hex.as_deref(),
            revision: hash.revision,
            compact_revision: hash.compact_revision,
            new_hash: entry.version.as_deref().and_then(Version::parse).map(has_new_hash),
        }
    }
}

fn has_new_hash(version: Version) -> bool {
    let same_minor = NEW_HASH_SINCE.iter().find(|since| (since.major, since.minor) == (version.major, version.minor));
    same_minor.map_or((version.major, version.minor) > (3, 5), |since| version >= *since)
}

fn mismatch(key: &Comparable<'_>, members: &[(&EndpointFacts, &HashKv)], findings: &mut Vec<Finding>) {
    let mut by_hash: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (entry, hash) in members {
        by_hash.entry(hash.hash).or_default().push(entry.label());
    }
    if by_hash.len() < 2 {
        return;
    }
    let evidence: Vec<String> = by_hash.iter().map(|(hash, labels)| format!("{hash}: {}", labels.join(", "))).collect();
    let odd = odd_ones(&by_hash, members.len());
    let advice = match &odd {
        Some(odd) => format!(
            "most members agree, so {odd} is wrong: take a backup of a member that agrees, remove the wrong one (etcdctl \
             member remove ID) and add it again with an empty data directory"
        ),
        None => "no majority agrees, so nothing tells who is right: stop writes, take a backup of every member, and compare \
                 them before anything is removed"
            .to_owned(),
    };
    findings.push(
        Finding::critical("key-space-mismatch", "the members hold different keys at one revision")
            .evidence(format!(
                "hashes at revision {}, compacted at {}: {}",
                key.revision,
                key.compact_revision,
                evidence.join("; ")
            ))
            .advice(advice),
    );
}

/// The members outside a strict majority, if there is one.
fn odd_ones(by_hash: &BTreeMap<u32, Vec<String>>, total: usize) -> Option<String> {
    let (majority, _) = by_hash.iter().find(|(_, labels)| labels.len() * 2 > total)?;
    let odd: Vec<String> =
        by_hash.iter().filter(|(hash, _)| *hash != majority).flat_map(|(_, labels)| labels.clone()).collect();
    Some(odd.join(", "))
}

fn not_compared(
    facts: &Facts,
    hashed: &BTreeMap<Comparable<'_>, Vec<(&EndpointFacts, &HashKv)>>,
    findings: &mut Vec<Finding>,
) {
    let mut reasons: Vec<String> = Vec::new();
    for entry in facts.endpoints.iter().filter(|entry| entry.hash_kv.is_none()) {
        let reason = entry.hash_kv_error.as_deref().or(entry.error.as_deref()).unwrap_or("was not asked");
        reasons.push(format!("{}: {reason}", entry.label()));
    }
    let distinct: BTreeSet<u32> = hashed.values().flatten().map(|(_, hash)| hash.hash).collect();
    if hashed.len() > 1 && distinct.len() > 1 {
        for (key, members) in hashed {
            let labels: Vec<String> = members.iter().map(|(entry, _)| entry.label()).collect();
            let way = match key.new_hash {
                Some(true) => "hashed the way of 3.4.34, 3.5.16 and later",
                Some(false) => "hashed the way of releases before 3.4.34 and 3.5.16",
                None => "of unknown version",
            };
            let cluster = key.cluster.unwrap_or("unknown");
            reasons.push(format!(
                "{}: revision {}, compacted at {}, cluster {cluster}, {way}",
                labels.join(", "),
                key.revision,
                key.compact_revision
            ));
        }
    }
    if reasons.is_empty() {
        return;
    }
    findings.push(
        Finding::warning("key-space-not-compared", "the keys of some members could not be compared with the others'")
            .evidence(reasons.join("; "))
            .advice(
                "this is no pass: ask again when all members answer, run one version and no compaction is under way; \
                 HashKV needs the role root (--user) and on a large database more time (--command-timeout)",
            ),
    );
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{found, healthy, ids, kill};
    use super::*;

    fn findings(facts: &Facts) -> Vec<Finding> {
        found(judge, facts)
    }

    fn hash(hash: u32, compact_revision: i64) -> HashKv {
        HashKv { hash, revision: 50, compact_revision }
    }

    #[test]
    fn equal_hashes_are_no_finding() {
        assert_eq!(findings(&healthy(3)), vec![]);
    }

    #[test]
    fn single_member_has_nothing_to_compare() {
        let mut facts = healthy(1);
        facts.endpoints[0].hash_kv = None;

        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn different_hashes_are_critical_and_the_majority_tells_the_odd_one() {
        let mut facts = healthy(3);
        facts.endpoints[1].hash_kv = Some(hash(1, -1));
        let found = findings(&facts);

        assert_eq!(ids(&found), ["key-space-mismatch"]);
        assert!(found[0].advice.contains("so m2 (http://10.0.0.2:2379) is wrong"), "{}", found[0].advice);
        assert!(found[0].evidence.contains("43981: m1"), "{}", found[0].evidence);
    }

    #[test]
    fn without_a_majority_nobody_is_called_wrong() {
        let mut facts = healthy(2);
        facts.endpoints[1].hash_kv = Some(hash(1, -1));

        assert!(findings(&facts)[0].advice.contains("nothing tells who is right"));
    }

    #[test]
    fn dead_member_could_not_be_compared() {
        let mut facts = healthy(3);
        kill(&mut facts, 2);

        assert_eq!(ids(&findings(&facts)), ["key-space-not-compared"]);
    }

    #[test]
    fn refused_hash_could_not_be_compared() {
        let mut facts = healthy(3);
        facts.endpoints[0].hash_kv = None;
        facts.endpoints[0].hash_kv_error = Some("etcdserver: permission denied".to_owned());
        let found = findings(&facts);

        assert_eq!(ids(&found), ["key-space-not-compared"]);
        assert!(found[0].evidence.contains("permission denied"));
    }

    #[test]
    fn different_compactions_could_not_be_compared() {
        let mut facts = healthy(3);
        facts.endpoints[2].hash_kv = Some(hash(1, 40));

        assert_eq!(ids(&findings(&facts)), ["key-space-not-compared"]);
    }

    #[test]
    fn versions_that_hash_differently_could_not_be_compared() {
        let mut facts = healthy(3);
        facts.endpoints[2].version = Some("3.5.15".to_owned());
        facts.endpoints[2].hash_kv = Some(hash(1, -1));
        assert_eq!(ids(&findings(&facts)), ["key-space-not-compared"]);

        facts.endpoints[2].hash_kv = Some(hash(0xabcd, -1));
        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn new_hash_begins_where_upstream_says() {
        for (text, expected) in [
            ("3.4.33", false),
            ("3.4.34", true),
            ("3.5.15", false),
            ("3.5.16", true),
            ("3.6.0", true),
            ("3.7.1", true),
            ("3.3.27", false),
        ] {
            assert_eq!(has_new_hash(Version::parse(text).unwrap()), expected, "{text}");
        }
    }
}
