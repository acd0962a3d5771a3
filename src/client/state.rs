//! What a live cluster holds beside its keys.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::connect::Connection;
use super::failure::Failure;
use super::keys::LiveKeys;
use crate::error::Result;
use crate::facts::{Alarm, Member};

/// Requests under way at once, where each lease, user and role is asked for by itself.
const AT_ONCE: usize = 16;

/// Members, leases, users and roles of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveState {
    /// The members.
    pub members: Vec<Member>,
    /// The alarms that are raised.
    pub alarms: Vec<Alarm>,
    /// The leases by their ids, with the seconds that were granted.
    pub leases: Vec<(i64, i64)>,
    /// The users with the names of their roles.
    pub users: Vec<(String, Vec<String>)>,
    /// The roles with what they allow.
    pub roles: Vec<(String, Vec<LivePermission>)>,
    /// Version of the storage; `None` before etcd 3.6.
    pub storage_version: Option<String>,
}

/// What a role allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePermission {
    /// `READ`, `WRITE` or `READWRITE`.
    pub kind: &'static str,
    /// The key, or where the range begins.
    pub key: Vec<u8>,
    /// Where the range ends, as in a Range.
    pub range_end: Vec<u8>,
}

type Answer<T> = std::result::Result<T, Failure>;

impl LiveKeys {
    /// What the member that is read tells of all that lies beside the keys, as it is now.
    ///
    /// # Errors
    /// `Denied` where the cluster has authentication enabled and the user has not the role root; `Refused`,
    /// `Unavailable`.
    pub async fn state(&self) -> Result<LiveState> {
        self.connection().state().await.map_err(|failure| failure.into_error(self.endpoint()))
    }
}

impl Connection {
    async fn state(&self) -> Answer<LiveState> {
        Ok(LiveState {
            members: self.member_list().await?.members,
            alarms: self.alarms().await?,
            leases: self.leases().await?,
            users: self.users().await?,
            roles: self.roles().await?,
            storage_version: Some(self.status().await?.storage_version).filter(|version| !version.is_empty()),
        })
    }

    async fn leases(&self) -> Answer<Vec<(i64, i64)>> {
        let mut client = self.client.lease_client();
        let listed = self.call("LeaseLeases", client.leases()).await?.0.leases;
        let granted = listed.into_iter().map(|lease| async move {
            let mut client = self.client.lease_client();
            let answer = self.call("LeaseTimeToLive", client.time_to_live(lease.id, None)).await?.0;
            // One that has expired since has -1 seconds left.
            Ok((answer.ttl >= 0).then_some((lease.id, answer.granted_ttl)))
        });
        let mut leases: Vec<_> =
            stream::iter(granted).buffered(AT_ONCE).try_filter_map(async |one| Ok(one)).try_collect().await?;
        leases.sort_unstable();
        Ok(leases)
    }

    async fn users(&self) -> Answer<Vec<(String, Vec<String>)>> {
        let mut client = self.client.auth_client();
        let names = self.call("UserList", client.user_list()).await?.0.users;
        let users = names.into_iter().map(|name| async move {
            let mut client = self.client.auth_client();
            let roles = self.call("UserGet", client.user_get(name.clone())).await?.0.roles;
            Ok((name, roles))
        });
        stream::iter(users).buffered(AT_ONCE).try_collect().await
    }

    async fn roles(&self) -> Answer<Vec<(String, Vec<LivePermission>)>> {
        let mut client = self.client.auth_client();
        let names = self.call("RoleList", client.role_list()).await?.0.roles;
        let roles = names.into_iter().map(|name| async move {
            let mut client = self.client.auth_client();
            let found = self.call("RoleGet", client.role_get(name.clone())).await?.0.perm;
            let permissions = found.into_iter().map(|one| LivePermission {
                kind: match one.perm_type {
                    0 => "READ",
                    1 => "WRITE",
                    2 => "READWRITE",
                    _ => "UNKNOWN",
                },
                key: one.key,
                range_end: one.range_end,
            });
            Ok((name, permissions.collect()))
        });
        stream::iter(roles).buffered(AT_ONCE).try_collect().await
    }
}
