//! Asks all members side by side.
//!
//! Each given endpoint is asked at once; the client URLs in a member list are asked as soon as it comes. Everything
//! about one endpoint is asked at the same time, so that a dead one costs its timeout once, beside the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};

use super::rules::duplicates::{contradictions, duplicates, told_apart};
use super::rules::replication::NOTICEABLE_LAG;
use crate::client::{Access, Connection, Connector, EndpointUrl, Failure, FailureKind};
use crate::error::Result;
use crate::facts::{Alarm, EndpointFacts, Facts, Look, MemberList, MemberStatus};
use crate::hex::hex_id;

/// Endpoints that are asked at most: etcd clusters have up to nine members or so, and a member list is only a claim.
const MOST_ENDPOINTS: usize = 64;

/// Time that a member gets to catch up before it is asked again. A follower in step learns of a commit with the next
/// heartbeat, 0.1 s by default and seldom more than 0.5 s where the members are far apart.
const CATCH_UP_TIME: Duration = Duration::from_secs(1);

/// Times that two endpoints with one member id are looked at in turn. Two servers that stand still meet at one index in
/// at most one of them, since each raises the second one's, so two contradict one another: as many as are needed.
const LOOKS_IN_TURN: usize = 3;

/// Gathers the facts of the cluster behind `access`.
///
/// # Errors
/// `InvalidArgument` and `Io` for options and files that can't be used. What fails on the way is a fact.
pub async fn gather(access: &Access) -> Result<Facts> {
    let connector = Connector::new(access)?;
    let mut answers = ask_everybody(&connector).await;
    let looks = tell_apart(&mut answers).await;
    let (mut facts, connections) = arrange(answers);
    facts.looks = looks;
    ask_laggards_again(&mut facts, &connections).await;
    hash_key_spaces(&mut facts, &connections).await;
    Ok(facts)
}

/// What came from one endpoint.
struct Answer {
    /// Place among all endpoints: the given ones first.
    order: usize,
    /// The member whose list entry named this URL.
    expected: Option<u64>,
    /// Whether it is another server than the one that gave its member id before.
    apart: bool,
    facts: EndpointFacts,
    list: Option<MemberList>,
    alarms: Vec<Alarm>,
    connection: Option<Connection>,
}

async fn ask_everybody(connector: &Connector) -> Vec<Answer> {
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut waiting: FuturesUnordered<BoxFuture<'_, Answer>> = FuturesUnordered::new();
    for endpoint in connector.endpoints() {
        let order = asked.len();
        if asked.insert(endpoint.uri()) {
            waiting.push(ask(connector, endpoint.clone(), order, None).boxed());
        }
    }
    let mut answers = Vec::new();
    while let Some(answer) = waiting.next().await {
        for member in answer.list.iter().flat_map(|list| &list.members) {
            // A URL that can't be parsed can't be asked either; its member then counts as unreachable.
            for endpoint in member.client_urls.iter().filter_map(|url| connector.parse(url).ok()) {
                let order = asked.len();
                if order < MOST_ENDPOINTS && asked.insert(endpoint.uri()) {
                    waiting.push(ask(connector, endpoint, order, Some(member.id)).boxed());
                }
            }
        }
        answers.push(answer);
    }
    answers.sort_by_key(|answer| answer.order);
    answers
}

async fn ask(connector: &Connector, endpoint: EndpointUrl, order: usize, expected: Option<u64>) -> Answer {
    let facts = EndpointFacts { endpoint: endpoint.to_string(), given: expected.is_none(), ..EndpointFacts::default() };
    let mut answer = Answer { order, expected, apart: false, facts, list: None, alarms: Vec::new(), connection: None };
    let connection = match Box::pin(connector.connect(&endpoint)).await {
        Ok(connection) => connection,
        Err(failure) => {
            answer.facts.denied = failure.is_denied();
            answer.facts.error = Some(failure.message);
            return answer;
        }
    };
    let (status, list, alarms, (linearizable, read_failure), (serializable, own_failure)) = tokio::join!(
        connection.status(),
        connection.member_list(),
        connection.alarms(),
        connection.read(true),
        connection.read(false),
    );
    let failures =
        [("Status", status.as_ref().err()), ("MemberList", list.as_ref().err()), ("Alarm", alarms.as_ref().err())];
    let facts = &mut answer.facts;
    take_failures(facts, &failures, [&read_failure, &own_failure], &connection);
    if facts.reachable {
        // What was refused for want of a token tells nothing of the member.
        let telling =
            |failure: &Option<Failure>| !failure.as_ref().is_some_and(|failure| tokenless(&connection, failure));
        facts.linearizable = Some(linearizable).filter(|_| telling(&read_failure));
        facts.serializable = Some(serializable).filter(|_| telling(&own_failure));
        answer.connection = Some(connection);
    }
    if let Ok(status) = status {
        take_status(facts, status);
    }
    if let Ok(list) = list {
        take_list(facts, &list);
        answer.list = Some(list);
    }
    answer.alarms = alarms.unwrap_or_default();
    answer
}

/// Tells from what failed whether the endpoint is alive, and whether it refuses this caller.
fn take_failures(
    facts: &mut EndpointFacts,
    requests: &[(&str, Option<&Failure>)],
    reads: [&Option<Failure>; 2],
    connection: &Connection,
) {
    let failures: Vec<(&str, &Failure)> =
        requests.iter().filter_map(|(what, failure)| failure.map(|failure| (*what, failure))).collect();
    let reads: Vec<Option<&Failure>> = reads.into_iter().map(Option::as_ref).collect();
    let every = || failures.iter().map(|(_, failure)| *failure).chain(reads.iter().copied().flatten());
    let refused = |failure: &&Failure| failure.kind == FailureKind::Denied && !tokenless(connection, failure);
    facts.reachable = failures.len() < requests.len()
        || reads.iter().any(Option::is_none)
        || every().any(Failure::is_answer)
        || connection.without_token().is_some();
    facts.denied = every().any(|failure| refused(&failure));
    let unexpected: Vec<(&str, &Failure)> = failures
        .iter()
        .filter(|(_, failure)| !failure.is_of_a_learner() && !tokenless(connection, failure))
        .copied()
        .collect();
    facts.error = words(&unexpected, connection.without_token());
    if facts.error.is_none() && facts.denied {
        facts.error = reads.iter().copied().flatten().next().map(|failure| failure.message.clone());
    }
}

/// Whether a request failed only because the member could not check the password just now.
fn tokenless(connection: &Connection, failure: &Failure) -> bool {
    connection.without_token().is_some() && failure.kind == FailureKind::Denied
}

/// The failures in one line; one that befell every request is told once.
fn words(failures: &[(&str, &Failure)], without_token: Option<&str>) -> Option<String> {
    let mut parts: Vec<String> = without_token.map(|reason| format!("no token: {reason}")).into_iter().collect();
    let messages: BTreeSet<&str> = failures.iter().map(|(_, failure)| failure.message.as_str()).collect();
    match failures {
        [(_, failure), _, ..] if messages.len() == 1 => parts.push(failure.message.clone()),
        [first, ..] if failures.iter().all(|(_, failure)| failure.is_dead()) => parts.push(first.1.message.clone()),
        _ => parts.extend(failures.iter().map(|(what, failure)| format!("{what}: {failure}"))),
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn take_status(facts: &mut EndpointFacts, status: MemberStatus) {
    identify(facts, status.member_id);
    facts.cluster_id_hex = Some(hex_id(status.cluster_id));
    facts.version = Some(status.version);
    facts.storage_version = Some(status.storage_version);
    facts.db_size = Some(status.db_size);
    facts.db_size_in_use = Some(status.db_size_in_use);
    facts.db_size_quota = Some(status.db_size_quota);
    facts.leader_hex = Some(hex_id(status.leader));
    facts.is_learner = Some(status.is_learner);
    facts.raft_term = Some(status.raft_term);
    facts.raft_index = Some(status.raft_index);
    facts.raft_applied_index = Some(status.raft_applied_index);
    facts.revision = Some(status.revision);
    facts.errors = status.errors;
}

fn take_list(facts: &mut EndpointFacts, list: &MemberList) {
    identify(facts, list.header.member_id);
    facts.cluster_id_hex.get_or_insert_with(|| hex_id(list.header.cluster_id));
    facts.raft_term.get_or_insert(list.header.raft_term);
    facts.members = Some(list.members.iter().map(|member| hex_id(member.id)).collect());
}

fn identify(facts: &mut EndpointFacts, member_id: u64) {
    facts.member_id = Some(member_id);
    facts.member_id_hex = Some(hex_id(member_id));
}

/// Finds out which of the answers with one member id come of one server, and returns what was seen on the way.
///
/// One server answers at several URLs, and that is well. But servers that were started with one peer URL and token have
/// one member id too, and so has a copy of a member's directory.
async fn tell_apart(answers: &mut [Answer]) -> Vec<Vec<Look>> {
    let mut looks = Vec::new();
    let mut servers: Vec<&Answer> = Vec::new();
    for answer in answers.iter_mut() {
        let id = answer.facts.member_id;
        if !answer.facts.reachable || id.is_none() || (answer.expected.is_some() && answer.expected != id) {
            continue;
        }
        let namesakes: Vec<&Answer> = servers.iter().copied().filter(|server| server.facts.member_id == id).collect();
        answer.apart = !namesakes.is_empty();
        for server in &namesakes {
            if other_cluster(&server.facts, &answer.facts) {
                continue;
            }
            let seen = look_in_turn(server, answer).await;
            answer.apart &= told_apart(&seen);
            looks.push(seen);
            if !answer.apart {
                break;
            }
        }
        if answer.apart || namesakes.is_empty() {
            servers.push(answer);
        }
    }
    looks
}

fn other_cluster(one: &EndpointFacts, other: &EndpointFacts) -> bool {
    one.cluster_id_hex.is_some() && other.cluster_id_hex.is_some() && one.cluster_id_hex != other.cluster_id_hex
}

/// Looks at both in turn, until enough contradicts that they are one server. Fewer looks than planned, or none, where a
/// server does not tell.
async fn look_in_turn(first: &Answer, second: &Answer) -> Vec<Look> {
    let commits = |answer: &Answer| answer.facts.linearizable.as_ref().is_some_and(|read| read.healthy);
    let mut looks: Vec<Look> = look(first).await.into_iter().collect();
    for _ in 0..LOOKS_IN_TURN {
        if looks.is_empty() || told_apart(&looks) {
            break;
        }
        // Servers with equal data can be told apart by what only one of them commits: the list of alarms goes through
        // its log, and changes nothing.
        if contradictions(&looks) == 0
            && commits(second)
            && let Some(connection) = &second.connection
        {
            let _ = connection.alarms().await;
        }
        for answer in [second, first] {
            match look(answer).await {
                Some(seen) => looks.push(seen),
                None => return looks,
            }
        }
    }
    looks
}

async fn look(answer: &Answer) -> Option<Look> {
    let status = status_of(answer.connection.as_ref()).await?;
    (Some(status.member_id) == answer.facts.member_id).then(|| Look {
        endpoint: answer.facts.endpoint.clone(),
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        revision: status.revision,
    })
}

/// One entry a server, whatever number of endpoints led to it; dead endpoints get the member that they belong to.
fn arrange(mut answers: Vec<Answer>) -> (Facts, BTreeMap<String, Connection>) {
    let mut facts = Facts::default();
    let mut connections = BTreeMap::new();
    let lists: Vec<MemberList> = answers.iter().filter_map(|answer| answer.list.clone()).collect();
    let members = || lists.iter().flat_map(|list| &list.members);
    let name_of = |id| members().find(|member| member.id == id && !member.name.is_empty()).map(|m| m.name.clone());
    let owner_of = |url: &str| members().find(|member| member.client_urls.iter().any(|own| same_url(own, url)));
    for answer in answers.iter_mut().filter(|answer| answer.expected.is_some()) {
        misdirected(answer);
    }
    let reached: BTreeSet<u64> =
        answers.iter().filter(|answer| answer.facts.reachable).filter_map(|answer| answer.facts.member_id).collect();
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    for mut answer in answers {
        let entry = &mut answer.facts;
        if entry.member_id.is_none()
            && let Some(id) = answer.expected.or_else(|| owner_of(&entry.endpoint).map(|member| member.id))
        {
            identify(entry, id);
        }
        if let Some(id) = entry.member_id {
            let dead_detour = !entry.reachable && !entry.given && reached.contains(&id);
            let dead_given = !entry.reachable && entry.given;
            if dead_detour || (!answer.apart && !seen.insert(id) && !dead_given) {
                continue;
            }
            if dead_given && reached.contains(&id) {
                // The entry of the member itself is still to come.
                seen.remove(&id);
            }
            entry.name = name_of(id);
            if entry.reachable && entry.is_learner.is_none() {
                // A learner's own status is not to be had where a token is needed.
                entry.is_learner = members().find(|member| member.id == id).map(|member| member.is_learner);
            }
        }
        let raised = |alarm: &&Alarm| Some(&alarm.member_id_hex) == entry.member_id_hex.as_ref();
        entry.alarms = answer.alarms.iter().filter(raised).map(|alarm| alarm.alarm.clone()).collect();
        facts.alarms.append(&mut answer.alarms);
        if let Some(list) = answer.list {
            facts.list.get_or_insert_with(|| list.clone());
            facts.views.insert(entry.endpoint.clone(), list);
        }
        if let Some(connection) = answer.connection {
            connections.insert(entry.endpoint.clone(), connection);
        }
        facts.endpoints.push(answer.facts);
    }
    facts.alarms.sort();
    facts.alarms.dedup();
    (facts, connections)
}

/// A client URL at which another member answers does not lead to the member that advertises it.
fn misdirected(answer: &mut Answer) {
    let (Some(expected), Some(actual)) = (answer.expected, answer.facts.member_id) else { return };
    if expected != actual {
        let mut facts = EndpointFacts { endpoint: answer.facts.endpoint.clone(), ..EndpointFacts::default() };
        identify(&mut facts, expected);
        facts.error = Some(format!("member {} answers there", hex_id(actual)));
        answer.facts = facts;
        answer.list = None;
        answer.connection = None;
    }
}

fn same_url(one: &str, other: &str) -> bool {
    let uri = |text| EndpointUrl::parse(text, false).map(|url| url.uri()).ok();
    // Without a scheme the endpoint may mean either.
    let with_tls = |text| EndpointUrl::parse(text, true).map(|url| url.uri()).ok();
    uri(one).is_some() && (uri(one) == uri(other) || with_tls(one) == with_tls(other))
}

/// Asks those behind the newest raft index again: members are not asked at one instant, and what a busy cluster
/// committed in between is no lag.
async fn ask_laggards_again(facts: &mut Facts, connections: &BTreeMap<String, Connection>) {
    let apart: BTreeSet<String> = duplicates(facts).into_iter().map(str::to_owned).collect();
    let mut members: Vec<&mut EndpointFacts> =
        facts.endpoints.iter_mut().filter(|entry| !apart.contains(&entry.endpoint)).collect();
    let newest = members.iter().filter_map(|entry| entry.raft_index).max().unwrap_or_default();
    members.retain(|entry| entry.raft_index.is_some_and(|index| newest.saturating_sub(index) >= NOTICEABLE_LAG));
    let mut laggards = members;
    if laggards.is_empty() {
        return;
    }
    tokio::time::sleep(CATCH_UP_TIME).await;
    let again = join_all(laggards.iter().map(|entry| status_of(connections.get(&entry.endpoint)))).await;
    for (entry, status) in laggards.iter_mut().zip(again) {
        entry.raft_index_later = status.map(|status| status.raft_index);
    }
}

async fn status_of(connection: Option<&Connection>) -> Option<MemberStatus> {
    connection?.status().await.ok()
}

/// Hashes the key space of the members of each cluster at the newest revision that all of them have. A duplicate has a
/// history of its own, and a revision of its own.
async fn hash_key_spaces(facts: &mut Facts, connections: &BTreeMap<String, Connection>) {
    let apart: BTreeSet<String> = duplicates(facts).into_iter().map(str::to_owned).collect();
    let mut clusters: BTreeMap<(Option<String>, Option<&String>), Vec<&mut EndpointFacts>> = BTreeMap::new();
    for entry in facts.endpoints.iter_mut().filter(|entry| entry.reachable) {
        let alone = apart.get(&entry.endpoint);
        clusters.entry((entry.cluster_id_hex.clone(), alone)).or_default().push(entry);
    }
    join_all(clusters.into_values().map(|members| hash_cluster(members, connections))).await;
}

async fn hash_cluster(mut members: Vec<&mut EndpointFacts>, connections: &BTreeMap<String, Connection>) {
    let revisions: Vec<Option<i64>> = members.iter().map(|entry| entry.revision).collect();
    hash_at_common_revision(&mut members, &revisions, connections).await;
    if !worth_a_retry(&members) {
        return;
    }
    // A compaction came between, or a member went back to an older revision: once more with fresh numbers.
    let fresh = join_all(members.iter().map(|entry| status_of(connections.get(&entry.endpoint)))).await;
    let revisions: Vec<Option<i64>> = fresh.into_iter().map(|status| status.map(|status| status.revision)).collect();
    hash_at_common_revision(&mut members, &revisions, connections).await;
}

async fn hash_at_common_revision(
    members: &mut [&mut EndpointFacts],
    revisions: &[Option<i64>],
    connections: &BTreeMap<String, Connection>,
) {
    let Some(common) = revisions.iter().flatten().copied().filter(|revision| *revision > 0).min() else {
        for entry in members {
            entry.hash_kv_error = Some("no revision is known".to_owned());
        }
        return;
    };
    let hashes = join_all(members.iter().map(|entry| async {
        match connections.get(&entry.endpoint) {
            Some(connection) => connection.hash_kv(common).await.map_err(|failure| failure.message),
            None => Err("no connection".to_owned()),
        }
    }))
    .await;
    for (entry, hash) in members.iter_mut().zip(hashes) {
        match hash {
            Ok(hash) => {
                entry.hash_kv = Some(hash);
                entry.hash_kv_error = None;
            }
            Err(reason) => {
                entry.hash_kv = None;
                entry.hash_kv_error = Some(reason);
            }
        }
    }
}

fn worth_a_retry(members: &[&mut EndpointFacts]) -> bool {
    let moved = |entry: &&mut EndpointFacts| {
        entry.hash_kv_error.as_deref().is_some_and(|error| error.contains("compacted") || error.contains("future"))
    };
    let compactions: BTreeSet<i64> =
        members.iter().filter_map(|entry| entry.hash_kv.as_ref().map(|hash| hash.compact_revision)).collect();
    members.iter().any(moved) || compactions.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Header, Member};

    fn list() -> MemberList {
        let member = |id: u64| Member {
            id,
            name: format!("m{id}"),
            peer_urls: vec![format!("http://10.0.0.{id}:2380")],
            client_urls: vec![format!("http://10.0.0.{id}:2379")],
            is_learner: false,
        };
        MemberList {
            header: Header { cluster_id: 9, member_id: 1, raft_term: 2 },
            members: (1..=3).map(member).collect(),
        }
    }

    fn answer(order: usize, endpoint: &str, expected: Option<u64>, member_id: Option<u64>) -> Answer {
        let mut facts =
            EndpointFacts { endpoint: endpoint.to_owned(), given: expected.is_none(), ..EndpointFacts::default() };
        if let Some(id) = member_id {
            identify(&mut facts, id);
            facts.reachable = true;
        }
        let list = member_id.map(|_| list());
        Answer { order, expected, apart: false, facts, list, alarms: Vec::new(), connection: None }
    }

    fn arranged(answers: Vec<Answer>) -> Vec<(String, bool, Option<u64>, Option<String>)> {
        let (facts, _) = arrange(answers);
        let summary = |entry: EndpointFacts| (entry.endpoint, entry.reachable, entry.member_id, entry.name);
        facts.endpoints.into_iter().map(summary).collect()
    }

    fn named(endpoint: &str, reachable: bool, id: u64) -> (String, bool, Option<u64>, Option<String>) {
        (endpoint.to_owned(), reachable, Some(id), Some(format!("m{id}")))
    }

    #[test]
    fn two_endpoints_of_one_member_are_one_entry() {
        let entries = arranged(vec![
            answer(0, "localhost:2379", None, Some(1)),
            answer(1, "http://10.0.0.1:2379", Some(1), Some(1)),
            answer(2, "http://10.0.0.2:2379", Some(2), Some(2)),
        ]);

        assert_eq!(entries, [named("localhost:2379", true, 1), named("http://10.0.0.2:2379", true, 2)]);
    }

    #[test]
    fn two_servers_with_one_id_are_two_entries() {
        let mut duplicate = answer(1, "http://10.0.0.2:2379", None, Some(1));
        duplicate.apart = true;
        let entries = arranged(vec![answer(0, "http://10.0.0.1:2379", None, Some(1)), duplicate]);

        assert_eq!(entries, [named("http://10.0.0.1:2379", true, 1), named("http://10.0.0.2:2379", true, 1)]);
    }

    #[test]
    fn dead_member_keeps_its_url_and_name() {
        let entries = arranged(vec![
            answer(0, "10.0.0.3:2379", None, None),
            answer(1, "10.0.0.1:2379", None, Some(1)),
            answer(2, "http://10.0.0.2:2379", Some(2), None),
        ]);

        assert_eq!(
            entries,
            [
                named("10.0.0.3:2379", false, 3),
                named("10.0.0.1:2379", true, 1),
                named("http://10.0.0.2:2379", false, 2)
            ]
        );
    }

    #[test]
    fn dead_given_endpoint_of_a_live_member_stays_beside_it() {
        let mut second = answer(1, "http://10.0.9.1:2379", Some(1), Some(1));
        second.facts.given = false;
        let entries = arranged(vec![answer(0, "10.0.0.1:2379", None, None), second]);

        assert_eq!(entries, [named("10.0.0.1:2379", false, 1), named("http://10.0.9.1:2379", true, 1)]);
    }

    #[test]
    fn url_that_leads_to_another_member_is_dead() {
        let entries = arranged(vec![
            answer(0, "10.0.0.1:2379", None, Some(1)),
            answer(1, "http://localhost:2379", Some(2), Some(1)),
        ]);

        assert_eq!(entries, [named("10.0.0.1:2379", true, 1), named("http://localhost:2379", false, 2)]);
    }

    #[test]
    fn learner_that_tells_no_status_is_known_by_the_list() {
        let mut known = answer(0, "10.0.0.1:2379", None, Some(1));
        known.list.as_mut().unwrap().members[1].is_learner = true;
        let mut learner = answer(1, "http://10.0.0.2:2379", Some(2), None);
        learner.facts.reachable = true;
        let (facts, _) = arrange(vec![known, learner]);

        assert_eq!(facts.endpoints[1].is_learner, Some(true));
    }

    #[test]
    fn one_reason_for_all_failures_is_told_once() {
        let refused = Failure { kind: FailureKind::Denied, message: "user name is empty".to_owned() };
        let other = Failure { kind: FailureKind::Answered, message: "no leader".to_owned() };

        assert_eq!(words(&[("Status", &refused), ("Alarm", &refused)], None).unwrap(), "user name is empty");
        assert_eq!(
            words(&[("Status", &refused), ("Alarm", &other)], None).unwrap(),
            "Status: user name is empty; Alarm: no leader"
        );
        assert_eq!(words(&[], None), None);
    }
}
