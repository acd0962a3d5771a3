//! What lies beside the keys of a snapshot or a cluster, in the shapes in which Python gets it.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::client::{LivePermission, LiveState};
use crate::error::Result;
use crate::hex::hex_id;
use crate::history::Store;
use crate::progress::Progress;

/// Id, name, peer URLs, client URLs, whether it is a learner.
type Member = (String, String, Vec<String>, Vec<String>, bool);
/// Id of the member and name of the alarm.
type Alarm = (String, String);
/// Name, roles, whether it is without a password.
type User = (String, Vec<String>, bool);
/// Kind, key, end of the range.
type Permission = (&'static str, Vec<u8>, Vec<u8>);
type Role = (String, Vec<Permission>);

/// Everything beside the keys.
pub(super) struct Beside {
    members: Vec<Member>,
    alarms: Vec<Alarm>,
    /// Ids, and the seconds that were granted.
    leases: Vec<(i64, i64)>,
    users: Vec<User>,
    roles: Vec<Role>,
    storage_version: Option<String>,
    /// What a cluster does not tell: whether access is restricted, and the version that its members agreed upon.
    stored: Option<(bool, Option<String>)>,
}

impl Beside {
    /// That of a snapshot.
    pub(super) fn stored(store: &Store, progress: &dyn Progress) -> Result<Self> {
        let leases = store.leases(progress)?;
        Ok(Self {
            members: members(store)?,
            alarms: alarms(store)?,
            leases: leases.iter().map(|held| (held.lease.id, held.lease.ttl)).collect(),
            users: users(store)?,
            roles: roles(store)?,
            storage_version: store.meta().storage_version.clone(),
            stored: Some((store.auth()?.enabled, store.cluster_version()?)),
        })
    }

    /// That of a cluster, which does not tell of passwords.
    pub(super) fn live(state: LiveState) -> Self {
        let LiveState { members, alarms, leases, users, roles, storage_version } = state;
        let members = members.into_iter().map(|one| {
            let id = hex_id(one.id);
            (id, one.name, one.peer_urls, one.client_urls, one.is_learner)
        });
        let permission = |one: LivePermission| (one.kind, one.key, one.range_end);
        let permissions = |all: Vec<LivePermission>| all.into_iter().map(permission).collect();
        Self {
            members: members.collect(),
            alarms: alarms.into_iter().map(|alarm| (alarm.member_id_hex, alarm.alarm)).collect(),
            leases,
            users: users.into_iter().map(|(name, roles)| (name, roles, false)).collect(),
            roles: roles.into_iter().map(|(name, all)| (name, permissions(all))).collect(),
            storage_version,
            stored: None,
        }
    }

    /// A `dict` by these names.
    pub(super) fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let dict = PyDict::new(py);
        dict.set_item("members", &self.members)?;
        dict.set_item("alarms", &self.alarms)?;
        dict.set_item("leases", &self.leases)?;
        dict.set_item("users", &self.users)?;
        dict.set_item("roles", role_rows(py, &self.roles)?)?;
        dict.set_item("storage_version", &self.storage_version)?;
        if let Some((auth_enabled, cluster_version)) = &self.stored {
            dict.set_item("auth_enabled", auth_enabled)?;
            dict.set_item("cluster_version", cluster_version)?;
        }
        Ok(dict.into_any())
    }
}

pub(super) fn members(store: &Store) -> Result<Vec<Member>> {
    let members = store.members()?.into_iter().map(|member| {
        let id = hex_id(member.id);
        (id, member.name, member.peer_urls, member.client_urls, member.is_learner)
    });
    Ok(members.collect())
}

pub(super) fn alarms(store: &Store) -> Result<Vec<Alarm>> {
    let alarms = store.alarms()?;
    Ok(alarms.iter().map(|alarm| (hex_id(alarm.member_id), alarm.name().to_owned())).collect())
}

pub(super) fn users(store: &Store) -> Result<Vec<User>> {
    store.users(|user| {
        let roles = user.roles.iter().map(|role| (*role).to_owned()).collect();
        (String::from_utf8_lossy(user.name).into_owned(), roles, user.no_password)
    })
}

pub(super) fn roles(store: &Store) -> Result<Vec<Role>> {
    store.roles(|role| {
        let permissions = role.permissions.iter();
        let permissions = permissions.map(|one| (one.name(), one.key.to_vec(), one.range_end.to_vec()));
        (String::from_utf8_lossy(role.name).into_owned(), permissions.collect())
    })
}

/// Roles with their permissions, keys as `bytes`.
pub(super) fn role_rows<'py>(py: Python<'py>, roles: &[Role]) -> PyResult<Bound<'py, PyList>> {
    let rows = roles.iter().map(|(name, permissions)| {
        let permissions = permissions.iter();
        let permissions = permissions.map(|(kind, key, end)| (*kind, PyBytes::new(py, key), PyBytes::new(py, end)));
        (name, permissions.collect::<Vec<_>>()).into_pyobject(py)
    });
    PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}
