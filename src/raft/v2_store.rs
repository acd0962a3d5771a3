//! etcd's v2 store as JSON: a tree of nodes, the ring of the last events, and counters. All that is left in it are
//! the members of the cluster.
//!
//! Source: etcd `server/etcdserver/api/v2store`: `store.go: Save`, `node.go`, `event_queue.go`, `stats.go`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::go_text::{push_json, push_json_list};
use super::membership::{Member, Membership};
use crate::defect::Defect;
use crate::hex::hex_id;

/// Length of the ring of events. A server that finds fewer places in it ends at its next event.
const EVENT_CAPACITY: usize = 1_000;

/// Defects that are kept; a store of nothing else would fill the memory.
const MAX_DEFECTS: usize = 1_000;
/// Characters of a name or a path that a message shows.
const LONGEST_SHOWN: usize = 100;

/// The store of a new cluster, byte for byte as 3.4 and 3.5 write it: members created in the order of their ids,
/// the n-th at index n. (3.6 and later create them in random order.)
pub(super) fn restored(membership: &Membership) -> String {
    let mut out = String::with_capacity(8 << 10);
    out.push_str("{\"Root\":");
    push_tree(&mut out, membership);
    out.push_str(",\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[");
    let count = membership.members.len();
    push_events(&mut out, &membership.members);
    let (size, front) = (count.min(EVENT_CAPACITY), if count > EVENT_CAPACITY { count % EVENT_CAPACITY } else { 0 });
    let (back, start) = (count % EVENT_CAPACITY, count - size + 1);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "],\"Size\":{size},\"Front\":{front},\"Back\":{back},\"Capacity\":{EVENT_CAPACITY}}},\
         \"StartIndex\":{start},\"LastIndex\":{count}}}}},\"CurrentIndex\":{count},\
         \"Stats\":{{\"getsSuccess\":0,\"getsFail\":0,\"setsSuccess\":0,\"setsFail\":0,\
         \"deleteSuccess\":0,\"deleteFail\":0,\"updateSuccess\":0,\"updateFail\":0,\
         \"createSuccess\":{count},\"createFail\":0,\"compareAndSwapSuccess\":0,\"compareAndSwapFail\":0,\
         \"compareAndDeleteSuccess\":0,\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0}},\
         \"CurrentVersion\":2}}"
    );
    out
}

fn push_tree(out: &mut String, membership: &Membership) {
    push_node(out, "/", 0, "");
    out.push_str("{\"0\":");
    push_node(out, "/0", 0, "");
    out.push_str("{\"members\":");
    push_node(out, "/0/members", 1, "");
    out.push('{');
    // Go writes the keys of a map in the order of their text.
    let by_text: BTreeMap<String, (usize, &Member)> =
        (1..).zip(&membership.members).map(|(index, member)| (hex_id(member.id), (index, member))).collect();
    for (position, (id, (index, member))) in by_text.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        let _ = write!(out, "\"{id}\":");
        push_node(out, &format!("/0/members/{id}"), *index, "");
        out.push_str("{\"raftAttributes\":");
        push_node(out, &format!("/0/members/{id}/raftAttributes"), *index, &raft_attributes(member));
        out.push_str("null}}}");
    }
    out.push_str("}}}},\"1\":");
    push_node(out, "/1", 0, "");
    out.push_str("{}}}}");
}

/// Appends a node up to its children: `{..}` and `}` or, for a node that is no directory, `null}` follow.
fn push_node(out: &mut String, path: &str, index: usize, value: &str) {
    let _ = write!(
        out,
        "{{\"Path\":\"{path}\",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},\
         \"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":"
    );
    push_json(out, value);
    out.push_str(",\"Children\":");
}

/// etcd's `membership.RaftAttributes` in JSON; a restored member is no learner.
fn raft_attributes(member: &Member) -> String {
    let mut json = "{\"peerURLs\":".to_owned();
    push_json_list(&mut json, &member.peer_urls);
    json.push('}');
    json
}

fn push_events(out: &mut String, members: &[Member]) {
    let mut ring: Vec<Option<(usize, &Member)>> = vec![None; EVENT_CAPACITY];
    for ((index, member), place) in (1..).zip(members).zip((0..EVENT_CAPACITY).cycle()) {
        if let Some(slot) = ring.get_mut(place) {
            *slot = Some((index, member));
        }
    }
    for (place, event) in ring.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        let Some((index, member)) = event else {
            out.push_str("null");
            continue;
        };
        let id = hex_id(member.id);
        let _ = write!(out, "{{\"action\":\"create\",\"node\":{{\"key\":\"/0/members/{id}/raftAttributes\",\"value\":");
        push_json(out, &raft_attributes(member));
        let _ = write!(out, ",\"modifiedIndex\":{index},\"createdIndex\":{index}}}}}");
    }
}

/// A member as the v2 store knows it. Names come only with `attributes`, after a member's first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V2Member {
    /// Its id.
    pub id: u64,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// Whether it has no vote.
    pub is_learner: bool,
}

/// What the v2 store says of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct V2Store {
    /// Ascending by id.
    pub(super) members: Vec<V2Member>,
    /// Ids of removed members, ascending.
    pub(super) removed: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoreJson {
    root: NodeJson,
    watcher_hub: Option<WatcherHubJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeJson {
    path: String,
    #[serde(default)]
    value: String,
    /// `None` for what is no directory.
    children: Option<BTreeMap<String, NodeJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WatcherHubJson {
    event_history: EventHistoryJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventHistoryJson {
    queue: QueueJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueJson {
    events: Vec<IgnoredAny>,
    capacity: usize,
}

#[derive(Deserialize)]
struct RaftAttributesJson {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default)]
    is_learner: bool,
}

/// Reads the store; its depth is bounded by serde_json.
///
/// # Errors
/// A message when it is no JSON of a store at all. What else is wrong goes to `defects`.
pub(super) fn read(json: &[u8], defects: &mut Vec<Defect>) -> Result<V2Store, String> {
    let store: StoreJson = serde_json::from_slice(json).map_err(|error| format!("v2 store: {error}"))?;
    if let Some(queue) = store.watcher_hub.map(|hub| hub.event_history.queue)
        && queue.events.len() != queue.capacity
    {
        let message = format!("{} events in a ring of {}", queue.events.len(), queue.capacity);
        push(defects, "snap-event-ring", &message);
    }
    check_paths(&store.root, &mut String::new(), defects);
    let child = |node: Option<NodeJson>, name: &str| node?.children?.remove(name);
    let mut cluster = child(Some(store.root), "0").and_then(|node| node.children).unwrap_or_default();
    let mut read = V2Store::default();
    for (name, node) in cluster.remove("members").and_then(|node| node.children).unwrap_or_default() {
        match member(&name, node) {
            Ok(member) => read.members.push(member),
            Err(error) => push(defects, "snap-member", &format!("member {}: {error}", shown(&name))),
        }
    }
    for name in cluster.remove("removed_members").and_then(|node| node.children).unwrap_or_default().into_keys() {
        match parse_id(&name) {
            Some(id) => read.removed.push(id),
            None => push(defects, "snap-member", &format!("removed member {} is no id", shown(&name))),
        }
    }
    read.members.sort_unstable_by_key(|member| member.id);
    read.removed.sort_unstable();
    Ok(read)
}

/// Every node says where it is; and outside of the cluster's own part nothing may be kept, or 3.6 refuses to start
/// (`detected disallowed custom content in v2store`).
///
/// `path` is that of `node`, of the root an empty one; it grows and shrinks on the way, since a path for each node would
/// take the product of a long name and the nodes below it.
fn check_paths(node: &NodeJson, path: &mut String, defects: &mut Vec<Defect>) {
    let own = if path.is_empty() { "/" } else { path.as_str() };
    if node.path != own {
        push(defects, "snap-path", &format!("the node {} calls itself {}", shown(own), shown(&node.path)));
    }
    if !node.value.is_empty() && !own.starts_with("/0/") {
        push(defects, "snap-v2-content", &format!("{} holds a value, which 3.6 refuses", shown(own)));
    }
    let len = path.len();
    for (name, child) in node.children.iter().flatten() {
        path.push('/');
        path.push_str(name);
        check_paths(child, path, defects);
        path.truncate(len);
    }
}

fn push(defects: &mut Vec<Defect>, code: &'static str, message: &str) {
    if defects.len() < MAX_DEFECTS {
        defects.push(Defect::new(code, format!("v2 store: {message}")));
    }
}

/// A name or a path in quotes, cut off where it is endless.
fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

fn member(name: &str, node: NodeJson) -> Result<V2Member, String> {
    let id = parse_id(name).ok_or("its name is no id")?;
    let attributes = node.children.and_then(|mut children| children.remove("raftAttributes"));
    let attributes = attributes.ok_or("no raftAttributes")?;
    let attributes: RaftAttributesJson =
        serde_json::from_str(&attributes.value).map_err(|error| format!("raftAttributes: {error}"))?;
    Ok(V2Member { id, peer_urls: attributes.peer_urls, is_learner: attributes.is_learner })
}

fn parse_id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|id| hex_id(*id) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::fixture::{plan, three_members};
    use crate::raft::membership::bootstrap;

    #[test]
    fn a_restored_store_is_that_of_etcd() {
        let single = bootstrap(&plan("m1", "m1=http://127.0.0.1:42700", "http://127.0.0.1:42700")).unwrap();
        let expected = r#"{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{
 "0":{"Path":"/0","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{
  "members":{"Path":"/0/members","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{
   "22e81eaacabed8c3":{"Path":"/0/members/22e81eaacabed8c3","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{
    "raftAttributes":{"Path":"/0/members/22e81eaacabed8c3/raftAttributes","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z",
     "Value":"{\"peerURLs\":[\"http://127.0.0.1:42700\"]}","Children":null}}}}}}},
 "1":{"Path":"/1","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{}}}},
"WatcherHub":{"EventHistory":{"Queue":{"Events":[{"action":"create","node":{"key":"/0/members/22e81eaacabed8c3/raftAttributes",
 "value":"{\"peerURLs\":[\"http://127.0.0.1:42700\"]}","modifiedIndex":1,"createdIndex":1}},NULLS],
 "Size":1,"Front":0,"Back":1,"Capacity":1000},"StartIndex":1,"LastIndex":1}},
"CurrentIndex":1,
"Stats":{"getsSuccess":0,"getsFail":0,"setsSuccess":0,"setsFail":0,"deleteSuccess":0,"deleteFail":0,"updateSuccess":0,"updateFail":0,
 "createSuccess":1,"createFail":0,"compareAndSwapSuccess":0,"compareAndSwapFail":0,"compareAndDeleteSuccess":0,"compareAndDeleteFail":0,
 "expireCount":0,"watchers":0},
"CurrentVersion":2}"#;
        let expected: String = expected.lines().map(str::trim_start).collect();
        assert_eq!(restored(&single), expected.replace("NULLS", &vec!["null"; 999].join(",")));
    }

    #[test]
    fn the_ring_of_events_wraps_as_that_of_etcd() {
        let members = |count: u64| {
            let member = |id| Member { id, name: String::new(), peer_urls: vec![format!("http://h:{id}")] };
            Membership { cluster_id: 1, local_id: 1, members: (1..=count).map(member).collect() }
        };
        assert!(
            restored(&members(999)).contains(r#""Size":999,"Front":0,"Back":999,"Capacity":1000},"StartIndex":1,"#)
        );
        assert!(
            restored(&members(1000)).contains(r#"],"Size":1000,"Front":0,"Back":0,"Capacity":1000},"StartIndex":1,"#)
        );
        let wrapped = restored(&members(1001));
        assert!(
            wrapped.contains(r#"],"Size":1000,"Front":1,"Back":1,"Capacity":1000},"StartIndex":2,"LastIndex":1001}"#)
        );
        assert!(wrapped.contains(r#""Events":[{"action":"create","node":{"key":"/0/members/3e9/"#));
        let mut defects = Vec::new();
        assert_eq!(read(wrapped.as_bytes(), &mut defects).unwrap().members.len(), 1001);
        assert_eq!(defects, []);
    }

    #[test]
    fn odd_urls_survive_two_layers_of_json() {
        let url = "http://h:1?a=\"&\\<\u{2028}";
        let member = Member { id: 0x1f, name: "m".to_owned(), peer_urls: vec![url.to_owned()] };
        let membership = Membership { cluster_id: 1, local_id: 0x1f, members: vec![member] };
        let json = restored(&membership);
        assert!(
            json.contains(r#""Value":"{\"peerURLs\":[\"http://h:1?a=\\\"\\u0026\\\\\\u003c\\u2028\"]}""#),
            "{json}"
        );
        let read = read(json.as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(read.members, [V2Member { id: 0x1f, peer_urls: vec![url.to_owned()], is_learner: false }]);
    }

    #[test]
    fn damage_is_found() {
        let json = restored(&three_members());
        let cases = [
            ("null],\"Size", "null,null],\"Size", "snap-event-ring"),
            ("\"Path\":\"/0/members\"", "\"Path\":\"/0/member\"", "snap-path"),
            ("\"20882c385690775a\":{\"Path\"", "\"020882c385690775a\":{\"Path\"", "snap-member"),
            ("\"raftAttributes\":{\"Path\"", "\"attributes\":{\"Path\"", "snap-member"),
            ("\"Value\":\"{\\\"peer", "\"Value\":\"\\\"peer", "snap-member"),
            ("\"1\":{\"Path\":\"/1\"", "\"1\":{\"Value\":\"x\",\"Path\":\"/1\"", ""),
            ("\"Value\":\"\",\"Children\":{}", "\"Value\":\"x\",\"Children\":{}", "snap-v2-content"),
        ];
        for (from, to, code) in cases {
            assert!(json.contains(from), "{from}");
            let mut defects = Vec::new();
            match read(json.replacen(from, to, 1).as_bytes(), &mut defects) {
                Ok(_) => assert!(defects.iter().any(|defect| defect.code == code), "{to}: {defects:?}"),
                Err(error) => assert!(code.is_empty() && error.contains("duplicate field"), "{to}: {error}"),
            }
        }
    }

    #[test]
    fn messages_and_their_number_do_not_multiply_what_is_read() {
        let children: Vec<String> = (0..20_000).map(|name| format!("\"{name}\":{{\"Path\":\"\"}}")).collect();
        let long = "n".repeat(1 << 20);
        let json = format!(
            "{{\"Root\":{{\"Path\":\"/\",\"Children\":{{\"{long}\":{{\"Path\":\"\",\"Children\":{{{}}}}}}}}}}}",
            children.join(",")
        );
        let mut defects = Vec::new();
        read(json.as_bytes(), &mut defects).unwrap();
        assert_eq!(defects.len(), MAX_DEFECTS);
        assert!(defects.iter().all(|defect| defect.code == "snap-path" && defect.message.len() < 500));
        assert!(defects[0].message.contains("nnn\"... calls itself \"\""), "{}", defects[0].message);
    }

    #[test]
    fn depth_is_bounded() {
        let json = format!("{{\"Root\":{}", "{\"Path\":\"/\",\"Children\":{\"a\":".repeat(100_000));
        assert!(read(json.as_bytes(), &mut Vec::new()).unwrap_err().contains("recursion limit"));
    }
}
