//! Is everybody there who should be, and nobody else?

use std::net::IpAddr;

use super::reach::known_members;
use crate::diagnose::report::Finding;
use crate::facts::{Facts, Member};

pub(in crate::diagnose) fn judge(facts: &Facts, expect: &[String], findings: &mut Vec<Finding>) {
    let expect: Vec<&str> = expect.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).collect();
    // Without a list nobody is known to be there or not; that nobody gave one is a finding already.
    if expect.is_empty() || facts.list.is_none() {
        return;
    }
    let members = known_members(facts);
    for item in &expect {
        if !members.values().any(|member| matches(member, item)) {
            findings.push(
                Finding::critical("expected-member-missing", format!("{item} is expected and is no member"))
                    .evidence(format!("members: {}", list(members.values().copied())))
                    .advice(
                        "add it (etcdctl member add NAME --peer-urls=URL) and start it with --initial-cluster-state \
                         existing, or correct what is expected (--expect)",
                    ),
            );
        }
    }
    for member in members.values().filter(|member| !expect.iter().any(|item| matches(member, item))) {
        findings.push(
            Finding::critical("unexpected-member", format!("member {} is not expected", member.label()))
                .evidence(format!("peer URLs {}; expected: {}", member.peer_urls.join(", "), expect.join(", ")))
                .advice(format!(
                    "if it is a leftover, remove it (etcdctl member remove {:x}): it counts for the majority; else \
                     correct what is expected (--expect)",
                    member.id
                )),
        );
    }
}

fn list<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let each: Vec<String> =
        members.map(|member| format!("{} at {}", member.label(), member.peer_urls.join(" "))).collect();
    each.join(", ")
}

/// Whether `item` means this member: its name, or the host (and port, if given) of one of its URLs.
fn matches(member: &Member, item: &str) -> bool {
    if !member.name.is_empty() && member.name == item {
        return true;
    }
    let (host, port) = host_and_port(item);
    member.peer_urls.iter().chain(&member.client_urls).any(|url| {
        let (its_host, its_port) = host_and_port(url);
        same_host(host, its_host) && (port.is_none() || port == its_port)
    })
}

fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    if let Some((host, after)) = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        return (host, after.strip_prefix(':'));
    }
    match rest.rsplit_once(':') {
        // More than one colon: an IPv6 address without brackets.
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (rest, None),
    }
}

fn same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{healthy, ids};
    use super::*;

    fn findings(facts: &Facts, expect: &[&str]) -> Vec<Finding> {
        let expect: Vec<String> = expect.iter().map(|&item| item.to_owned()).collect();
        let mut findings = Vec::new();
        judge(facts, &expect, &mut findings);
        findings
    }

    #[test]
    fn everybody_who_is_expected_is_no_finding() {
        for expect in [
            vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"],
            vec!["m1", "10.0.0.2:2379", "http://10.0.0.3:2380"],
            vec![" 10.0.0.1 ", "10.0.0.2", "", "10.0.0.3"],
            vec![],
        ] {
            assert_eq!(findings(&healthy(3), &expect), vec![], "{expect:?}");
        }
    }

    #[test]
    fn expected_member_that_is_missing_is_critical() {
        let found = findings(&healthy(3), &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);

        assert_eq!(ids(&found), ["expected-member-missing"]);
        assert!(found[0].message.contains("10.0.0.4"));
    }

    #[test]
    fn member_that_nobody_expects_is_critical() {
        let found = findings(&healthy(3), &["10.0.0.1", "10.0.0.2"]);

        assert_eq!(ids(&found), ["unexpected-member"]);
        assert!(found[0].advice.contains("member remove 3"));
    }

    #[test]
    fn port_that_is_given_must_be_right() {
        assert_eq!(ids(&findings(&healthy(1), &["10.0.0.1:9999"])), ["expected-member-missing", "unexpected-member"]);
    }

    #[test]
    fn address_is_compared_as_a_whole() {
        assert_eq!(ids(&findings(&healthy(1), &["10.0.0.11"])), ["expected-member-missing", "unexpected-member"]);
    }

    #[test]
    fn ipv6_addresses_are_equal_however_they_are_written() {
        let mut facts = healthy(1);
        facts.views.clear();
        facts.list.as_mut().unwrap().members[0].peer_urls = vec!["https://[fd00::1]:2380".to_owned()];

        assert_eq!(findings(&facts, &["fd00:0:0::1"]), vec![]);
    }
}
