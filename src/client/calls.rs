//! The requests that a member is asked, each bounded by the command timeout.

use std::time::Instant;

use etcd_client::{AlarmAction, AlarmType, GetOptions, KvClient, SnapshotStreaming};
use tokio::time::timeout;

use super::connect::Connection;
use super::failure::{Failure, FailureKind};
use crate::facts::{Alarm, HashKv, Header, Member, MemberList, MemberStatus, ReadProbe};
use crate::hex::hex_id;

/// The key that etcdctl reads to see whether an endpoint is healthy.
const HEALTH_KEY: &str = "health";

/// New tokens that are asked for where users or roles keep changing.
const NEW_TOKENS: u32 = 5;

type Answer<T> = std::result::Result<T, Failure>;

impl Connection {
    pub(super) async fn call<T>(
        &self,
        what: &str,
        request: impl Future<Output = std::result::Result<T, etcd_client::Error>>,
    ) -> Answer<T> {
        match timeout(self.command_timeout, request).await {
            Ok(outcome) => self.judge(outcome),
            Err(_) => Err(Failure::timed_out(what, self.command_timeout)),
        }
    }

    /// Asks for keys or writes them; again with a new token where users or roles were changed since this one was made, for
    /// a signed token (`--auth-token=jwt`) is worth nothing then. etcd's own client does so too (`shouldRefreshToken` in
    /// `client/v3/retry_interceptor.go`).
    pub(super) async fn call_kv<T, R>(&self, what: &str, request: impl Fn(KvClient) -> R) -> Answer<T>
    where
        R: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let mut tokens = 0;
        loop {
            match self.call(what, request(self.client.kv_client())).await {
                Err(failure) if failure.is_of_old_auth() && tokens < NEW_TOKENS => {
                    tokens += 1;
                    // Who has no token is known by a certificate, and only asks again.
                    Box::pin(self.call("Authenticate", self.client.refresh_token())).await?;
                }
                answer => return answer,
            }
        }
    }

    /// `Maintenance.Status`.
    pub async fn status(&self) -> Answer<MemberStatus> {
        let mut client = self.client.maintenance_client();
        let status = self.call("Status", client.status()).await?.0;
        let header = status.header.unwrap_or_default();
        Ok(MemberStatus {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: status.raft_term,
            raft_index: status.raft_index,
            raft_applied_index: status.raft_applied_index,
            version: status.version,
            storage_version: status.storage_version,
            db_size: status.db_size,
            db_size_in_use: status.db_size_in_use,
            db_size_quota: status.db_size_quota,
            leader: status.leader,
            is_learner: status.is_learner,
            errors: status.errors,
        })
    }

    /// `Cluster.MemberList`, as the member itself knows it: answered without a leader too.
    pub async fn member_list(&self) -> Answer<MemberList> {
        let mut client = self.client.cluster_client();
        let list = self.call("MemberList", client.member_list()).await?.0;
        let header = list.header.unwrap_or_default();
        let members = list.members.into_iter().map(|member| Member {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            is_learner: member.is_learner,
        });
        Ok(MemberList {
            header: Header { cluster_id: header.cluster_id, member_id: header.member_id, raft_term: header.raft_term },
            members: members.collect(),
        })
    }

    /// `Maintenance.Alarm` with action GET.
    pub async fn alarms(&self) -> Answer<Vec<Alarm>> {
        let mut client = self.client.maintenance_client();
        let answer = self.call("Alarm", client.alarm(AlarmAction::Get, AlarmType::None, None)).await?.0;
        let alarms = answer.alarms.into_iter().map(|raised| Alarm {
            member_id_hex: hex_id(raised.member_id),
            alarm: match AlarmType::try_from(raised.alarm) {
                Ok(AlarmType::Nospace) => "NOSPACE".to_owned(),
                Ok(AlarmType::Corrupt) => "CORRUPT".to_owned(),
                _ => raised.alarm.to_string(),
            },
        });
        Ok(alarms.collect())
    }

    /// Reads one key, through consensus or from the member's own data, as etcdctl's `endpoint health` does. A refusal
    /// for want of permission is healthy: it went the same way. The second value is the failure of an unhealthy read.
    pub async fn read(&self, linearizable: bool) -> (ReadProbe, Option<Failure>) {
        let mut options = GetOptions::new().with_keys_only();
        if !linearizable {
            options = options.with_serializable();
        }
        let started = Instant::now();
        let what = if linearizable { "a linearizable read" } else { "a serializable read" };
        let get = |mut client: KvClient| {
            let options = options.clone();
            async move { client.get(HEALTH_KEY, Some(options)).await }
        };
        let answer = self.call_kv(what, get).await;
        let took_seconds = started.elapsed().as_secs_f64();
        match answer {
            Ok(_) => (ReadProbe { healthy: true, took_seconds, error: None }, None),
            Err(failure) if failure.kind == FailureKind::PermissionDenied => {
                (ReadProbe { healthy: true, took_seconds, error: None }, None)
            }
            Err(failure) => {
                (ReadProbe { healthy: false, took_seconds, error: Some(failure.to_string()) }, Some(failure))
            }
        }
    }

    /// `Maintenance.HashKV` up to `revision`, which must be greater than 0.
    pub async fn hash_kv(&self, revision: i64) -> Answer<HashKv> {
        let mut client = self.client.maintenance_client();
        let answer = self.call("HashKV", client.hash_kv(revision)).await?.0;
        Ok(HashKv { hash: answer.hash, revision, compact_revision: answer.compact_revision })
    }

    /// Opens `Maintenance.Snapshot`. Unbounded: a server answers when it has the first bytes, so that the time allowed
    /// for them bounds this too.
    pub(super) async fn snapshot(&self) -> Answer<SnapshotStreaming> {
        let mut client = self.client.maintenance_client();
        self.judge(client.snapshot().await)
    }
}
