//! What a snapshot holds beside its keys: members, leases, alarms, users, roles, versions. None of it needs an index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::scan::Stored;
use super::store::{Store, Watch};
use crate::bbolt::Element;
use crate::defect::Defect;
use crate::error::Result;
use crate::progress::Progress;
use crate::schema::auth::{Alarm, Role, User};
use crate::schema::{Lease, StoredMember, buckets, parse_u64};

/// A lease with the keys that hang on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseKeys {
    /// The lease as it is stored.
    pub lease: Lease,
    /// Its keys, in order: those that a server attaches at boot.
    pub keys: Vec<Vec<u8>>,
}

/// Whether, and since which change, access is restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuthState {
    /// Whether authentication is on.
    pub enabled: bool,
    /// Number of the last change to users and roles; 0 when none was ever made.
    pub revision: u64,
}

impl Store {
    /// The members that the cluster had.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for a member that can't be read.
    pub fn members(&self) -> Result<Vec<StoredMember>> {
        self.collect(buckets::MEMBERS, "member-malformed", |key, value| StoredMember::parse(key, value).map(Some))
    }

    /// The alarms that are raised.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for an alarm that can't be read.
    pub fn alarms(&self) -> Result<Vec<Alarm>> {
        self.collect(buckets::ALARM, "alarm-malformed", |key, _| Alarm::parse(key).map(Some))
    }

    /// Calls `each` with every user, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for a user that can't be read.
    pub fn users<T>(&self, mut each: impl FnMut(&User<'_>) -> T) -> Result<Vec<T>> {
        self.collect(buckets::AUTH_USERS, "user-malformed", |key, value| {
            User::parse(key, value).map(|user| Some(each(&user)))
        })
    }

    /// Calls `each` with every role, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for a role that can't be read.
    pub fn roles<T>(&self, mut each: impl FnMut(&Role<'_>) -> T) -> Result<Vec<T>> {
        self.collect(buckets::AUTH_ROLES, "role-malformed", |key, value| {
            Role::parse(key, value).map(|role| Some(each(&role)))
        })
    }

    /// Whether authentication is on.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for what can't be read.
    pub fn auth(&self) -> Result<AuthState> {
        let mut state = AuthState::default();
        self.collect(buckets::AUTH, "auth-malformed", |key, value| {
            match key {
                buckets::AUTH_ENABLED => state.enabled = value == [1],
                buckets::AUTH_REVISION => state.revision = parse_u64(value)?,
                _ => {}
            }
            Ok(None::<()>)
        })?;
        Ok(state)
    }

    /// The version that the cluster had agreed on, such as `3.6.0`; `None` where none is stored.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when it is no text.
    pub fn cluster_version(&self) -> Result<Option<String>> {
        let found = self.collect(buckets::CLUSTER, "cluster-malformed", |key, value| {
            if key != buckets::CLUSTER_VERSION {
                return Ok(None);
            }
            let text = std::str::from_utf8(value).map_err(|_| "clusterVersion is not UTF-8".to_owned())?;
            Ok(Some(text.to_owned()))
        })?;
        Ok(found.into_iter().next())
    }

    /// The leases in the order of their ids, each with its keys. Reads every revision, and remembers of them the keys that
    /// hang on a lease.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) with page and offset; [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn leases(&self, progress: &dyn Progress) -> Result<Vec<LeaseKeys>> {
        let stored =
            self.collect(buckets::LEASE, "lease-malformed", |key, value| Lease::parse(key, value).map(Some))?;
        let mut holders = HashMap::<Vec<u8>, i64>::new();
        let mut watch = Watch::new(self, progress);
        if !stored.is_empty() {
            self.visit(self.key_bucket(), &mut |element| {
                watch.step(&element)?;
                let Stored { at, kv } = Stored::parse(&element).map_err(|defect| self.fail(defect))?;
                if at.tombstone || kv.lease == 0 {
                    holders.remove(kv.key);
                } else {
                    holders.insert(kv.key.to_vec(), kv.lease);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let mut keys = BTreeMap::<i64, BTreeSet<Vec<u8>>>::new();
        for (key, lease) in holders {
            keys.entry(lease).or_default().insert(key);
        }
        let mut keys_of = |lease: &Lease| keys.remove(&lease.id).unwrap_or_default().into_iter().collect();
        Ok(stored.into_iter().map(|lease| LeaseKeys { lease, keys: keys_of(&lease) }).collect())
    }

    /// Reads the entries of a bucket that may be missing.
    fn collect<T>(
        &self,
        name: &[u8],
        code: &'static str,
        mut parse: impl FnMut(&[u8], &[u8]) -> std::result::Result<Option<T>, String>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let Some(bucket) = self.bucket(name)? else { return Ok(found) };
        self.visit(&bucket, &mut |Element { key, value, page, offset }| {
            let parsed =
                parse(key, value).map_err(|message| self.fail(Defect::new(code, message).on_page(page).at(offset)))?;
            found.extend(parsed);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}
