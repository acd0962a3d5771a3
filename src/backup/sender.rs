//! Who sends the snapshot, and what may be said of it.
//!
//! A stream does not tell whom it comes from. A member says so itself when it is asked, but behind a proxy or a load
//! balancer each request may go to another one. So an endpoint is asked before the stream is opened and twice, at once,
//! behind it; and what was said is held against the database that came before any of it is written down.

use std::collections::BTreeSet;
use std::time::Duration;

use super::choose::Candidate;
use crate::archive::{FORMAT_VERSION, Manifest, ManifestMember, RandomArchive};
use crate::bbolt::Database;
use crate::client::{Failure, FailureKind, SnapshotStream, Unopened};
use crate::clock::rfc3339;
use crate::facts::{Header, Member, MemberStatus};
use crate::hex::hex_id;
use crate::schema::foundations;
use crate::version::Version;

/// Times that a stream is opened at an endpoint behind which one member has given way to another.
const ATTEMPTS: u32 = 3;

/// Opens the stream and describes its sender. A member that has given way to another since it was described, as when a
/// broken connection made itself anew, is left for that one.
///
/// # Errors
/// Those of [`SnapshotStream::open`]; [`Unopened::Failed`] when members of several clusters answer.
pub(super) async fn open(
    candidate: &Candidate,
    stall_timeout: Duration,
) -> Result<(SnapshotStream, Described), Unopened> {
    let connection = &candidate.connection;
    let mut status = candidate.status.clone();
    let mut attempt = 1;
    loop {
        let mut described = Described::of(candidate, status).await;
        let stream = SnapshotStream::open(connection, stall_timeout).await?;
        let (first, second) = tokio::join!(connection.status(), connection.status());
        let mut now = Answers::default();
        [&first, &second].into_iter().flatten().for_each(|status| now.take(status));
        let answers = &mut described.answers;
        let another = now.members.len() == 1 && answers.members.len() == 1 && now.members != answers.members;
        answers.add(now);
        if let Some(message) = answers.several_clusters() {
            return Err(Unopened::Failed(Failure { kind: FailureKind::Answered, message }));
        }
        if !another || attempt == ATTEMPTS {
            described.leave_out_what_is_not_sure();
            return Ok((stream, described));
        }
        status = first.or(second).ok();
        attempt += 1;
    }
}

/// Who answered at an endpoint; an id of 0 is none.
#[derive(Debug, Default)]
struct Answers {
    clusters: BTreeSet<u64>,
    members: BTreeSet<u64>,
    versions: BTreeSet<String>,
}

impl Answers {
    fn take(&mut self, status: &MemberStatus) {
        self.clusters.extend(Some(status.cluster_id).filter(|id| *id != 0));
        self.members.extend(Some(status.member_id).filter(|id| *id != 0));
        self.versions.insert(status.version.clone());
    }

    fn take_header(&mut self, header: &Header) {
        self.clusters.extend(Some(header.cluster_id).filter(|id| *id != 0));
        self.members.extend(Some(header.member_id).filter(|id| *id != 0));
    }

    fn add(&mut self, others: Self) {
        self.clusters.extend(others.clusters);
        self.members.extend(others.members);
        self.versions.extend(others.versions);
    }

    fn several_clusters(&self) -> Option<String> {
        (self.clusters.len() > 1).then(|| {
            format!(
                "members of {} clusters answer there ({}): give an endpoint of one",
                self.clusters.len(),
                ids(&self.clusters)
            )
        })
    }
}

fn ids(ids: &BTreeSet<u64>) -> String {
    ids.iter().copied().map(hex_id).collect::<Vec<_>>().join(", ")
}

/// What is told of the cluster in the manifest.
pub(super) struct Described {
    pub(super) endpoint: String,
    status: MemberStatus,
    members: Vec<Member>,
    pub(super) warnings: Vec<String>,
    answers: Answers,
}

impl Described {
    /// Collects what the manifest says of the cluster, before the stream is opened: the snapshot of a member holds at
    /// least what it said before.
    async fn of(candidate: &Candidate, status: Option<MemberStatus>) -> Self {
        let list = candidate.connection.member_list().await;
        let mut answers = Answers::default();
        if let Some(status) = &status {
            answers.take(status);
        }
        if let Ok(list) = &list {
            answers.take_header(&list.header);
        }
        let mut warnings = Vec::new();
        if let Some(doubt) = &candidate.doubt {
            warnings.push(format!(
                "no endpoint is healthy; the snapshot holds what this member has, and may lack the newest writes: {doubt}"
            ));
        }
        let status = status.unwrap_or_else(|| {
            warnings.push(
                "the member's status is not known to this user: version, revision and raft index are missing \
                           in the manifest"
                    .to_owned(),
            );
            let header = list.as_ref().map(|list| list.header.clone()).unwrap_or_default();
            MemberStatus {
                cluster_id: header.cluster_id,
                member_id: header.member_id,
                raft_term: header.raft_term,
                ..MemberStatus::default()
            }
        });
        warnings.extend(status.errors.iter().map(|error| format!("the member reports: {}", error.trim())));
        if Version::parse(&status.version).is_some_and(Version::loses_data) {
            warnings.push(format!(
                "etcd {} can lose data when a server is killed; compare the members (dcos-etcdctl diagnostic), upgrade",
                status.version
            ));
        }
        let members = match list {
            Ok(list) => list.members,
            Err(failure) => {
                warnings.push(format!("the members are missing in the manifest: {failure}"));
                Vec::new()
            }
        };
        Self { endpoint: candidate.connection.endpoint().to_string(), status, members, warnings, answers }
    }

    /// Where several members answered, any of them may be the sender. The revision stays, to be held against the database.
    fn leave_out_what_is_not_sure(&mut self) {
        if self.answers.members.len() < 2 {
            return;
        }
        self.warnings.push(format!(
            "{} members answer at this endpoint ({}), as behind a load balancer: which of them sent the snapshot is not \
             known, and its id is missing in the manifest",
            self.answers.members.len(),
            ids(&self.answers.members)
        ));
        self.status.member_id = 0;
        self.status.raft_index = 0;
        if self.answers.versions.len() > 1 {
            self.status.version.clear();
            self.status.storage_version.clear();
        }
    }

    pub(super) fn manifest(self, stream: &SnapshotStream, now: u64) -> Manifest {
        let storage_version = if stream.version().is_empty() { &self.status.storage_version } else { stream.version() };
        Manifest {
            format_version: FORMAT_VERSION,
            created_at: rfc3339(now),
            tool: concat!("dcos-etcd ", env!("CARGO_PKG_VERSION")).to_owned(),
            endpoint: self.endpoint,
            cluster_id: hex_id(self.status.cluster_id),
            member_id: if self.status.member_id == 0 { String::new() } else { hex_id(self.status.member_id) },
            etcd_version: self.status.version,
            storage_version: storage_version.to_owned(),
            revision: self.status.revision,
            raft_term: self.status.raft_term,
            raft_index: self.status.raft_index,
            members: self.members.into_iter().map(manifest_member).collect(),
            size: stream.database_len(),
            sha256: String::new(),
        }
    }
}

/// Holds the manifest against the database that came: where that ends below the revision that was told, whoever told
/// it is not the sender, or has lost writes. Gives the warning that says so. A database that can't be read is no matter
/// of the manifest's.
pub(super) fn settle(manifest: &mut Manifest, sent: RandomArchive) -> Option<String> {
    let database = Database::open(sent).ok()?;
    let (_, meta, last_revision) = foundations(&database).ok()?;
    let ends = meta.current_revision(last_revision);
    let told = manifest.revision;
    if told <= ends {
        return None;
    }
    manifest.revision = ends;
    manifest.raft_index = 0;
    manifest.member_id.clear();
    Some(format!(
        "the snapshot ends at revision {ends}, and {told} was told at this endpoint before: it comes from a member that \
         lags behind, or has lost writes, and lacks the newest ones; back up again, from the members' own endpoints, and \
         compare the members (dcos-etcdctl diagnostic)"
    ))
}

fn manifest_member(member: Member) -> ManifestMember {
    ManifestMember {
        id: hex_id(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        is_learner: member.is_learner,
    }
}
