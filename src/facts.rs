//! What the members of a live cluster say of themselves, as plain values.
//!
//! Nothing here needs a socket: facts can be gathered in one place, saved as JSON and judged in another.
//! Field names follow etcd's own messages; ids come as numbers where etcd's JSON has them so, and beside that as the
//! hexadecimal text that etcd prints, since many JSON readers damage numbers above 2^53.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hex::hex_id;

/// Header of a response, as `member list -w json` prints it: zero fields left out, no revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Id of the cluster that the answering member belongs to.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cluster_id: u64,
    /// Id of the member that answered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub member_id: u64,
    /// Its raft term.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub raft_term: u64,
}

/// A member as `member list -w json` prints it: order, names and omissions are etcd's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Member id.
    #[serde(rename = "ID", default, skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Its name; empty for a member that was added and has never started. A restore writes names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where the other members talk to it.
    #[serde(rename = "peerURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub peer_urls: Vec<String>,
    /// Where it advertises to serve clients; empty for a member that has never started.
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
    /// Whether it is a learner: it receives the log and has no vote.
    #[serde(rename = "isLearner", default, skip_serializing_if = "is_false")]
    pub is_learner: bool,
}

impl Member {
    /// Whether it has never started in this cluster: it publishes its client URLs when it does. The name tells nothing:
    /// a restore writes the names of all members, and etcd 3.6 and later list what is written.
    pub fn is_unstarted(&self) -> bool {
        self.client_urls.is_empty()
    }

    /// `name (hex id)`, or the id alone where there is no name.
    pub fn label(&self) -> String {
        if self.name.is_empty() { hex_id(self.id) } else { format!("{} ({})", self.name, hex_id(self.id)) }
    }
}

/// Answer to `MemberList`, as one member sees the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// Who answered.
    pub header: Header,
    /// All members, itself among them.
    pub members: Vec<Member>,
}

/// Answer to `Status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// Id of the cluster.
    pub cluster_id: u64,
    /// Id of the member that answered.
    pub member_id: u64,
    /// Revision of the key space, as far as this member has applied it.
    pub revision: i64,
    /// Raft term.
    pub raft_term: u64,
    /// Committed raft index.
    pub raft_index: u64,
    /// Applied raft index.
    pub raft_applied_index: u64,
    /// Version of the server, such as `3.5.30`.
    pub version: String,
    /// Version of the database's format; empty before etcd 3.6.
    pub storage_version: String,
    /// Bytes of the database, free pages included.
    pub db_size: i64,
    /// Bytes of the database in use.
    pub db_size_in_use: i64,
    /// Quota in bytes; 0 where the server does not tell (before etcd 3.6).
    pub db_size_quota: i64,
    /// Id of the leader as this member knows it; 0 when it knows none.
    pub leader: u64,
    /// Whether the member is a learner.
    pub is_learner: bool,
    /// What the member complains of itself.
    pub errors: Vec<String>,
}

/// An alarm that is raised in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alarm {
    /// The member that it is raised for, as hexadecimal text. It may have left the cluster: alarms outlive a restore.
    pub member_id_hex: String,
    /// `NOSPACE`, `CORRUPT`, or the number of a kind that is not known here.
    pub alarm: String,
}

/// A read of one key, to see whether it is answered and how soon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadProbe {
    /// Answered, or refused for want of permission: that answer went through consensus too.
    pub healthy: bool,
    /// Seconds from the request to the answer or the failure.
    pub took_seconds: f64,
    /// Why it is not healthy.
    pub error: Option<String>,
}

/// Answer to `HashKV`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKv {
    /// CRC-32C of the key space up to `revision`.
    pub hash: u32,
    /// The revision that was asked for.
    pub revision: i64,
    /// Where the hash begins: the member's compacted revision, -1 when it was never compacted.
    pub compact_revision: i64,
}

/// Everything that one endpoint told, or why it told nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointFacts {
    /// The endpoint as it was given, or the client URL under which a member was found.
    pub endpoint: String,
    /// Whether the caller gave it; otherwise it was found in a member list.
    pub given: bool,
    /// Whether it answered at least one request.
    pub reachable: bool,
    /// Whether etcd or TLS refused the caller.
    pub denied: bool,
    /// Why it could not be reached or was not told everything.
    pub error: Option<String>,
    /// Id of the member behind it; of a dead one, if a member list tells whose URL it is.
    pub member_id: Option<u64>,
    /// The same as hexadecimal text.
    pub member_id_hex: Option<String>,
    /// Id of the cluster that it says it belongs to.
    pub cluster_id_hex: Option<String>,
    /// Name of the member.
    pub name: Option<String>,
    /// Version of the server.
    pub version: Option<String>,
    /// Version of the database's format, from etcd 3.6 on.
    pub storage_version: Option<String>,
    /// Bytes of the database, free pages included.
    pub db_size: Option<i64>,
    /// Bytes of the database in use.
    pub db_size_in_use: Option<i64>,
    /// Quota in bytes, where the server tells (etcd 3.6 and later).
    pub db_size_quota: Option<i64>,
    /// The leader it follows; `0` when it knows none.
    pub leader_hex: Option<String>,
    /// Whether it is a learner.
    pub is_learner: Option<bool>,
    /// Raft term.
    pub raft_term: Option<u64>,
    /// Committed raft index.
    pub raft_index: Option<u64>,
    /// Committed raft index, asked again a while later, when the first one lagged behind another member's.
    pub raft_index_later: Option<u64>,
    /// Applied raft index.
    pub raft_applied_index: Option<u64>,
    /// Revision of the key space.
    pub revision: Option<i64>,
    /// Alarms that are raised for this member: `NOSPACE`, `CORRUPT`.
    pub alarms: Vec<String>,
    /// What the member complains of itself.
    pub errors: Vec<String>,
    /// A read through consensus.
    pub linearizable: Option<ReadProbe>,
    /// A read of the member's own data.
    pub serializable: Option<ReadProbe>,
    /// Hash of its key space at the revision common to all that were asked.
    pub hash_kv: Option<HashKv>,
    /// Why there is no hash.
    pub hash_kv_error: Option<String>,
    /// The cluster's members in its own view, as hexadecimal ids.
    pub members: Option<Vec<String>>,
}

impl EndpointFacts {
    /// `name (endpoint)`, or the endpoint alone where no name is known.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) if !name.is_empty() => format!("{name} ({})", self.endpoint),
            _ => self.endpoint.clone(),
        }
    }
}

/// One of several looks at endpoints that gave one member id, taken one after another. None of the numbers ever falls
/// within one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The endpoint that was asked.
    pub endpoint: String,
    /// Raft term.
    pub raft_term: u64,
    /// Committed raft index.
    pub raft_index: u64,
    /// Revision of the key space.
    pub revision: i64,
}

/// What all endpoints told: the whole input of a diagnosis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The member list of the first endpoint that gave one; none when nobody did.
    pub list: Option<MemberList>,
    /// One entry a server that was found, and one for each given endpoint that could not be told to be a member's.
    pub endpoints: Vec<EndpointFacts>,
    /// Looks in turn at two endpoints that gave one member id, in the order in which they were taken: a list a pair.
    #[serde(default)]
    pub looks: Vec<Vec<Look>>,
    /// Every alarm that any member listed.
    pub alarms: Vec<Alarm>,
    /// The member list of each endpoint that gave one, by endpoint.
    pub views: BTreeMap<String, MemberList>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_list_prints_as_etcdctl_does() {
        let list = MemberList {
            header: Header {
                cluster_id: 8_728_544_135_174_399_746,
                member_id: 15_852_239_548_554_799_391,
                raft_term: 2,
            },
            members: vec![Member {
                id: 15_852_239_548_554_799_391,
                name: "n34".to_owned(),
                peer_urls: vec!["http://127.0.0.1:42341".to_owned()],
                client_urls: vec!["http://127.0.0.1:42340".to_owned()],
                is_learner: false,
            }],
        };
        let etcdctl = r#"{"header":{"cluster_id":8728544135174399746,"member_id":15852239548554799391,"raft_term":2},"members":[{"ID":15852239548554799391,"name":"n34","peerURLs":["http://127.0.0.1:42341"],"clientURLs":["http://127.0.0.1:42340"]}]}"#;

        assert_eq!(serde_json::to_string(&list).unwrap(), etcdctl);
        assert_eq!(serde_json::from_str::<MemberList>(etcdctl).unwrap(), list);
    }

    #[test]
    fn unstarted_learner_prints_without_name_and_client_urls() {
        let member =
            Member { id: 7, peer_urls: vec!["http://a:2380".to_owned()], is_learner: true, ..Member::default() };

        assert_eq!(
            serde_json::to_string(&member).unwrap(),
            r#"{"ID":7,"peerURLs":["http://a:2380"],"isLearner":true}"#
        );
        assert!(member.is_unstarted());
    }

    #[test]
    fn name_that_a_restore_wrote_starts_no_member() {
        let restored = Member { id: 7, name: "m3".to_owned(), ..Member::default() };
        let started = Member { client_urls: vec!["http://a:2379".to_owned()], ..restored.clone() };

        assert!(restored.is_unstarted());
        assert!(!started.is_unstarted());
    }

    #[test]
    fn facts_survive_being_saved() {
        let facts = Facts {
            list: Some(MemberList::default()),
            endpoints: vec![EndpointFacts {
                endpoint: "http://a:2379".to_owned(),
                member_id: Some(u64::MAX),
                linearizable: Some(ReadProbe { healthy: true, took_seconds: 0.25, error: None }),
                ..EndpointFacts::default()
            }],
            looks: vec![vec![Look { endpoint: "http://a:2379".to_owned(), raft_term: 2, raft_index: 9, revision: 1 }]],
            alarms: vec![Alarm { member_id_hex: "7".to_owned(), alarm: "NOSPACE".to_owned() }],
            views: BTreeMap::from([("http://a:2379".to_owned(), MemberList::default())]),
        };
        let text = serde_json::to_string(&facts).unwrap();

        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    }
}
