//! Facts of healthy clusters, for tests to spoil.

use crate::diagnose::Finding;
use crate::facts::{EndpointFacts, Facts, HashKv, Header, Member, MemberList, ReadProbe};
use crate::hex::hex_id;

/// `count` members `m1`, `m2`, ... with ids 1, 2, ... at `http://10.0.0.N:2379`; the first one leads.
pub(in crate::diagnose) fn healthy(count: u64) -> Facts {
    let members: Vec<Member> = (1..=count).map(member).collect();
    let mut facts = Facts::default();
    for id in 1..=count {
        let endpoint = format!("http://10.0.0.{id}:2379");
        let header = Header { cluster_id: 0xc1, member_id: id, raft_term: 2 };
        let list = MemberList { header, members: members.clone() };
        facts.list.get_or_insert_with(|| list.clone());
        facts.views.insert(endpoint.clone(), list);
        facts.endpoints.push(entry(endpoint, id, count));
    }
    facts
}

fn member(id: u64) -> Member {
    Member {
        id,
        name: format!("m{id}"),
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        client_urls: vec![format!("http://10.0.0.{id}:2379")],
        is_learner: false,
    }
}

fn entry(endpoint: String, id: u64, count: u64) -> EndpointFacts {
    let probe = ReadProbe { healthy: true, took_seconds: 0.002, error: None };
    EndpointFacts {
        endpoint,
        given: id == 1,
        reachable: true,
        member_id: Some(id),
        member_id_hex: Some(hex_id(id)),
        cluster_id_hex: Some("c1".to_owned()),
        name: Some(format!("m{id}")),
        version: Some("3.5.30".to_owned()),
        storage_version: Some(String::new()),
        db_size: Some(20480),
        db_size_in_use: Some(16384),
        db_size_quota: Some(0),
        leader_hex: Some("1".to_owned()),
        is_learner: Some(false),
        raft_term: Some(2),
        raft_index: Some(100),
        raft_applied_index: Some(100),
        revision: Some(50),
        linearizable: Some(probe.clone()),
        serializable: Some(probe),
        hash_kv: Some(HashKv { hash: 0xabcd, revision: 50, compact_revision: -1 }),
        members: Some((1..=count).map(hex_id).collect()),
        ..EndpointFacts::default()
    }
}

/// Makes the member at `index` dead: nothing of it is known but what the others list.
pub(in crate::diagnose) fn kill(facts: &mut Facts, index: usize) {
    let dead = &facts.endpoints[index];
    let dead = EndpointFacts {
        endpoint: dead.endpoint.clone(),
        given: dead.given,
        error: Some("Connection refused (os error 111)".to_owned()),
        member_id: dead.member_id,
        member_id_hex: dead.member_id_hex.clone(),
        name: dead.name.clone(),
        ..EndpointFacts::default()
    };
    facts.views.remove(&dead.endpoint);
    facts.endpoints[index] = dead;
}

/// What one rule finds.
pub(in crate::diagnose) fn found(rule: impl FnOnce(&Facts, &mut Vec<Finding>), facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    rule(facts, &mut findings);
    findings
}

pub(in crate::diagnose) fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.id).collect()
}
