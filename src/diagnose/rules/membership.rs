//! Do the members agree on who they are, and are all of them full members?

use std::collections::{BTreeMap, BTreeSet};

use super::reach::{known_members, known_members_by_cluster};
use crate::diagnose::report::Finding;
use crate::facts::{Facts, Member, MemberList};
use crate::hex::hex_id;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    cluster_ids(facts, findings);
    views(facts, findings);
    if facts.list.is_none() && facts.endpoints.iter().any(|entry| entry.reachable) {
        findings.push(
            Finding::warning(
                "member-list-unknown",
                "no endpoint gave a member list, so other members were not looked for",
            )
            .evidence("MemberList failed everywhere")
            .advice("with authentication enabled the list may need a user with the role root (--user)"),
        );
    }
    members(facts, findings);
}

fn cluster_ids(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut clusters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in facts.endpoints.iter().filter(|entry| entry.reachable) {
        if let Some(id) = entry.cluster_id_hex.as_deref() {
            clusters.entry(id).or_default().push(entry.label());
        }
    }
    if clusters.len() > 1 {
        let evidence: Vec<String> =
            clusters.iter().map(|(id, members)| format!("cluster {id}: {}", members.join(", "))).collect();
        findings.push(
            Finding::critical("cluster-id-mismatch", format!("the endpoints belong to {} clusters", clusters.len()))
                .evidence(evidence.join("; "))
                .advice(
                    "either the endpoints are of different clusters, or a member was restored or started with another \
                     --initial-cluster-token or member map: stop the wrong one before clients write to both",
                ),
        );
    }
}

/// What must be equal in all views. Names and client URLs are published by each member when it starts and may arrive
/// late.
fn essence(list: &MemberList) -> Vec<(u64, Vec<&String>, bool)> {
    let mut members: Vec<_> = list
        .members
        .iter()
        .map(|member| {
            let mut peer_urls: Vec<&String> = member.peer_urls.iter().collect();
            peer_urls.sort();
            (member.id, peer_urls, member.is_learner)
        })
        .collect();
    members.sort();
    members
}

fn views(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut groups: Vec<(&MemberList, Vec<&str>)> = Vec::new();
    for (endpoint, list) in &facts.views {
        match groups.iter_mut().find(|(known, _)| essence(known) == essence(list)) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => groups.push((list, vec![endpoint])),
        }
    }
    if groups.len() > 1 {
        let evidence: Vec<String> = groups
            .iter()
            .map(|(list, endpoints)| {
                let members: Vec<String> = list.members.iter().map(describe).collect();
                format!("{} list {}", endpoints.join(", "), members.join(", "))
            })
            .collect();
        findings.push(
            Finding::critical(
                "member-list-mismatch",
                format!("the members give {} different member lists", groups.len()),
            )
            .evidence(evidence.join("; "))
            .advice(
                "while a member is being added or removed this passes in seconds; if it stays so, a member lags \
                     behind, was restored apart from the others, or belongs to another cluster",
            ),
        );
    }
}

fn describe(member: &Member) -> String {
    let learner = if member.is_learner { ", learner" } else { "" };
    format!("{} at {}{learner}", member.label(), member.peer_urls.join(" "))
}

fn members(facts: &Facts, findings: &mut Vec<Finding>) {
    let members = known_members(facts);
    // What a member publishes may arrive after it answers.
    let reached: BTreeSet<u64> =
        facts.endpoints.iter().filter(|entry| entry.reachable).filter_map(|entry| entry.member_id).collect();
    for member in members.values() {
        if member.is_unstarted() && !reached.contains(&member.id) {
            findings.push(
                Finding::warning(
                    "member-unstarted",
                    format!("member {} is on the list and has never started", member.label()),
                )
                .evidence(format!(
                    "it has published no client URL, as a member does when it starts; peer URLs {}",
                    member.peer_urls.join(", ")
                ))
                .advice(format!(
                    "it counts for the majority already: if it was added, start it with --initial-cluster-state \
                     existing; if the cluster was restored, restore it too, from the same snapshot; or remove it \
                     (etcdctl member remove {})",
                    hex_id(member.id)
                )),
            );
        }
        if member.is_learner {
            findings.push(
                Finding::info("member-is-learner", format!("member {} is a learner and has no vote", member.label()))
                    .evidence(format!("isLearner is true; peer URLs {}", member.peer_urls.join(", ")))
                    .advice(format!(
                        "once it has caught up, promote it (etcdctl member promote {})",
                        hex_id(member.id)
                    )),
            );
        }
    }
    for members in known_members_by_cluster(facts).values() {
        even_voters(members, findings);
    }
}

fn even_voters(members: &BTreeMap<u64, &Member>, findings: &mut Vec<Finding>) {
    let voters = members.values().filter(|member| !member.is_learner).count();
    if voters > 0 && voters.is_multiple_of(2) {
        findings.push(
            Finding::info("even-voter-count", format!("the cluster has {voters} voting members"))
                .evidence(format!(
                    "{} are needed for a majority, so {} may fail, as with {} members",
                    voters / 2 + 1,
                    voters - (voters / 2 + 1),
                    voters - 1
                ))
                .advice("an odd number bears as many failures with one machine less"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{found, healthy, ids, kill};
    use super::super::reach;
    use super::*;

    fn findings(facts: &Facts) -> Vec<Finding> {
        found(judge, facts)
    }

    fn everywhere(facts: &mut Facts, change: impl Fn(&mut MemberList)) {
        facts.list.iter_mut().chain(facts.views.values_mut()).for_each(change);
    }

    #[test]
    fn members_that_agree_are_no_finding() {
        assert_eq!(findings(&healthy(3)), vec![]);
    }

    #[test]
    fn order_of_members_and_late_names_are_no_disagreement() {
        let mut facts = healthy(3);
        let view = facts.views.get_mut("http://10.0.0.2:2379").unwrap();
        view.members.reverse();
        view.members[0].name = "late".to_owned();

        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn different_member_lists_are_critical() {
        let mut facts = healthy(3);
        facts.views.get_mut("http://10.0.0.2:2379").unwrap().members.pop();

        assert_eq!(ids(&findings(&facts)), ["member-list-mismatch"]);
    }

    #[test]
    fn learner_in_one_view_and_voter_in_another_is_a_disagreement() {
        let mut facts = healthy(3);
        facts.views.get_mut("http://10.0.0.2:2379").unwrap().members[2].is_learner = true;

        assert_eq!(ids(&findings(&facts)), ["member-list-mismatch"]);
    }

    #[test]
    fn different_cluster_ids_are_critical() {
        let mut facts = healthy(3);
        facts.endpoints[2].cluster_id_hex = Some("c2".to_owned());
        let found = findings(&facts);

        assert_eq!(ids(&found), ["cluster-id-mismatch"]);
        assert!(found[0].evidence.contains("cluster c2: m3"));
    }

    #[test]
    fn member_that_never_started_is_a_warning() {
        for name in ["", "m3"] {
            let mut facts = healthy(3);
            kill(&mut facts, 2);
            facts.endpoints.pop();
            everywhere(&mut facts, |list| {
                list.members[2].name = name.to_owned();
                list.members[2].client_urls.clear();
            });

            assert_eq!(ids(&findings(&facts)), ["member-unstarted"]);
            assert_eq!(found(reach::judge, &facts), vec![]);
        }
    }

    #[test]
    fn member_that_answers_before_its_client_urls_are_published_has_started() {
        let mut facts = healthy(3);
        everywhere(&mut facts, |list| list.members[2].client_urls.clear());

        assert_eq!(findings(&facts), vec![]);
    }

    #[test]
    fn learner_is_told_and_not_counted_as_a_voter() {
        let mut facts = healthy(4);
        everywhere(&mut facts, |list| list.members[3].is_learner = true);

        assert_eq!(ids(&findings(&facts)), ["member-is-learner"]);
    }

    #[test]
    fn even_number_of_voters_is_told() {
        let found = findings(&healthy(4));

        assert_eq!(ids(&found), ["even-voter-count"]);
        assert_eq!(found[0].evidence, "3 are needed for a majority, so 1 may fail, as with 3 members");
    }

    #[test]
    fn list_that_nobody_gave_is_a_warning() {
        let mut facts = healthy(1);
        facts.list = None;
        facts.views.clear();

        assert_eq!(ids(&findings(&facts)), ["member-list-unknown"]);
    }
}
