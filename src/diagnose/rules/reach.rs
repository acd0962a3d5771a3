//! Who could not be reached, and who refused to answer.

use std::collections::{BTreeMap, BTreeSet};

use super::duplicates::duplicates;
use crate::diagnose::report::Finding;
use crate::facts::{EndpointFacts, Facts, Member};
use crate::hex::hex_id;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    if !facts.endpoints.iter().any(|entry| entry.reachable || entry.denied) {
        silent_cluster(facts, findings);
    }
    let reached: BTreeSet<u64> =
        facts.endpoints.iter().filter(|entry| entry.reachable).filter_map(|entry| entry.member_id).collect();
    let mut told: BTreeSet<u64> = BTreeSet::new();
    for entry in &facts.endpoints {
        let error = entry.error.clone().unwrap_or_default();
        if entry.denied {
            findings.push(
                Finding::critical("access-denied", format!("{} refuses to answer", entry.label()))
                    .at(&entry.endpoint)
                    .evidence(error)
                    .advice(
                        "nothing could be judged there: give a CA (--cacert), a client certificate (--cert, --key) or a \
                         user with the role root (--user) that it accepts",
                    ),
            );
        } else if entry.reachable {
            if !error.is_empty() {
                findings.push(incomplete(&entry.label(), &entry.endpoint, error));
            }
        } else {
            endpoint_unreachable(facts, entry, &reached, findings);
        }
        if !entry.reachable
            && let Some(id) = entry.member_id
        {
            told.insert(id);
        }
    }
    // Members whose URLs lead nowhere that was not asked already, and then to somebody else.
    for member in known_members(facts).values() {
        if !member.is_unstarted() && !reached.contains(&member.id) && !told.contains(&member.id) {
            let urls = member.client_urls.join(", ");
            findings.push(
                member_unreachable(&member.label())
                    .evidence(format!("none of its client URLs leads to it: {urls}"))
                    .advice(
                        "its --advertise-client-urls must hold addresses that lead to it from everywhere, not localhost",
                    ),
            );
        }
    }
}

/// Every member that any view lists, by id.
pub(super) fn known_members(facts: &Facts) -> BTreeMap<u64, &Member> {
    let lists = facts.list.iter().chain(facts.views.values());
    let mut members = BTreeMap::new();
    for member in lists.flat_map(|list| &list.members) {
        members.entry(member.id).or_insert(member);
    }
    members
}

/// The same for each cluster apart, by its id as hexadecimal text: endpoints of several may have been given together.
pub(super) fn known_members_by_cluster(facts: &Facts) -> BTreeMap<String, BTreeMap<u64, &Member>> {
    let mut clusters: BTreeMap<String, BTreeMap<u64, &Member>> = BTreeMap::new();
    for list in facts.list.iter().chain(facts.views.values()) {
        let members = clusters.entry(hex_id(list.header.cluster_id)).or_default();
        for member in &list.members {
            members.entry(member.id).or_insert(member);
        }
    }
    clusters
}

/// Who answered, each cluster apart; those whose cluster is not known are one of their own. Each member once, without
/// other servers that run under its id.
pub(super) fn reachable_by_cluster(facts: &Facts) -> BTreeMap<Option<&str>, Vec<&EndpointFacts>> {
    let mut clusters: BTreeMap<Option<&str>, Vec<&EndpointFacts>> = BTreeMap::new();
    let duplicates = duplicates(facts);
    let members = facts.endpoints.iter().filter(|entry| !duplicates.contains(entry.endpoint.as_str()));
    for entry in members.filter(|entry| entry.reachable) {
        clusters.entry(entry.cluster_id_hex.as_deref()).or_default().push(entry);
    }
    clusters
}

fn silent_cluster(facts: &Facts, findings: &mut Vec<Finding>) {
    let tried: Vec<&str> = facts.endpoints.iter().map(|entry| entry.endpoint.as_str()).collect();
    findings.push(
        Finding::critical("cluster-unreachable", "no endpoint answered, nothing is known of the cluster")
            .evidence(format!("asked: {}", if tried.is_empty() { "nobody".to_owned() } else { tried.join(", ") }))
            .advice("see the reason of each endpoint; check addresses, TLS options and that etcd runs"),
    );
}

fn endpoint_unreachable(facts: &Facts, entry: &EndpointFacts, reached: &BTreeSet<u64>, findings: &mut Vec<Finding>) {
    let error = entry.error.clone().unwrap_or_default();
    let lost = entry.member_id.filter(|id| !reached.contains(id));
    if let Some(id) = lost {
        let label = known_members(facts).get(&id).map_or_else(|| entry.label(), |member| member.label());
        findings.push(
            member_unreachable(&label).at(&entry.endpoint).evidence(format!("{}: {error}", entry.endpoint)).advice(
                "see whether etcd runs there and what its log says; if the machine is lost, remove the member \
                 (etcdctl member remove ID) and add a new one",
            ),
        );
        return;
    }
    let message = format!("endpoint {} can't be reached", entry.endpoint);
    let finding = if entry.member_id.is_some() {
        Finding::warning("endpoint-unreachable", message)
            .advice("its member answers under another URL; drop this endpoint or repair it")
    } else {
        Finding::critical("endpoint-unreachable", message)
            .advice("check the address, and that etcd runs there; no member is known to serve clients at it")
    };
    findings.push(finding.at(&entry.endpoint).evidence(error));
}

fn member_unreachable(label: &str) -> Finding {
    Finding::critical("member-unreachable", format!("member {label} can't be reached"))
}

fn incomplete(label: &str, endpoint: &str, error: String) -> Finding {
    Finding::warning("facts-incomplete", format!("{label} did not answer everything, so not everything was checked"))
        .at(endpoint)
        .evidence(error)
        .advice("alarms are told only through a leader; with authentication enabled some questions need a user with the role root \
             (--user)")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{found, healthy, ids, kill};
    use super::*;
    use crate::diagnose::Severity;

    fn findings(facts: &Facts) -> Vec<Finding> {
        found(judge, facts)
    }

    #[test]
    fn members_that_answer_are_no_finding() {
        assert_eq!(findings(&healthy(3)), vec![]);
    }

    #[test]
    fn dead_member_is_critical_and_told_once() {
        let mut facts = healthy(3);
        kill(&mut facts, 2);
        let found = findings(&facts);

        assert_eq!(ids(&found), ["member-unreachable"]);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(found[0].endpoint.as_deref(), Some("http://10.0.0.3:2379"));
        assert!(found[0].evidence.contains("Connection refused"));
        assert!(found[0].message.contains("m3 (3)"));
    }

    #[test]
    fn dead_endpoint_of_a_member_that_answers_elsewhere_is_a_warning() {
        let mut facts = healthy(3);
        facts.endpoints.push(EndpointFacts {
            endpoint: "http://192.168.0.3:2379".to_owned(),
            given: true,
            error: Some("no connection within 2 s".to_owned()),
            member_id: Some(3),
            ..Default::default()
        });
        let found = findings(&facts);

        assert_eq!(ids(&found), ["endpoint-unreachable"]);
        assert_eq!(found[0].severity, Severity::Warning);
    }

    #[test]
    fn dead_endpoint_of_nobody_is_critical() {
        let mut facts = healthy(1);
        facts.endpoints.push(EndpointFacts {
            endpoint: "http://10.9.9.9:2379".to_owned(),
            given: true,
            error: Some("no connection within 2 s".to_owned()),
            ..Default::default()
        });
        let found = findings(&facts);

        assert_eq!(ids(&found), ["endpoint-unreachable"]);
        assert_eq!(found[0].severity, Severity::Critical);
    }

    #[test]
    fn member_whose_url_leads_to_another_is_unreachable() {
        let mut facts = healthy(3);
        facts.endpoints.remove(2);

        assert_eq!(ids(&findings(&facts)), ["member-unreachable"]);
    }

    #[test]
    fn refusal_is_told_as_such() {
        let mut facts = healthy(3);
        facts.endpoints[0].denied = true;
        facts.endpoints[0].error = Some("etcdserver: user name is empty".to_owned());

        assert_eq!(ids(&findings(&facts)), ["access-denied"]);
    }

    #[test]
    fn answer_that_is_lacking_is_a_warning() {
        let mut facts = healthy(3);
        facts.endpoints[0].error = Some("alarms: permission denied".to_owned());

        assert_eq!(ids(&findings(&facts)), ["facts-incomplete"]);
    }
}
