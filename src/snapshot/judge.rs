//! The visitor that judges every entry of an etcd database while the pages are walked.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::bbolt::{Element, Visitor};
use crate::defect::Defect;
use crate::schema::auth::{Alarm, Role, User};
use crate::schema::{
    KeyValue, Lease, Revision, RevisionKey, StoreMeta, StoredMember, buckets, parse_member_id, parse_u64,
};

/// More defects than this say nothing that these do not; the rest are counted.
const MAX_DEFECTS: usize = 10_000;

/// What the entries of a database add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// See [`Status::hash`](super::Status::hash).
    pub hash: u32,
    /// Main revision of the last key of bucket `key`, 0 when there is none.
    pub last_revision: i64,
    /// Live user keys.
    pub total_key: u64,
    /// Entries of bucket `key`: versions and tombstones.
    pub revisions: u64,
    /// The bucket `meta`.
    pub meta: StoreMeta,
    /// Entries of bucket `members`.
    pub members: u64,
    /// The bucket `alarm`.
    pub alarms: Vec<Alarm>,
    /// Leases that are stored.
    pub leases: u64,
    /// Whether authentication is on.
    pub auth_enabled: bool,
    /// Live keys on a lease that is not stored: etcd logs them at boot and keeps them for ever.
    pub dangling_leases: u64,
    /// Versions whose `mod_revision` is not the revision under which they lie.
    pub misfiled: u64,
    /// Whether a downgrade job is stored.
    pub downgrade: bool,
}

impl Contents {
    /// The revision at which a server with this store starts.
    #[must_use]
    pub fn current_revision(&self) -> i64 {
        self.meta.current_revision(self.last_revision)
    }

    /// What should be known before this is restored.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for alarm in &self.alarms {
            warnings.push(format!(
                "alarm {} of member {:x} is raised in the snapshot and outlives a restore: etcdctl alarm disarm",
                alarm.name(),
                alarm.member_id
            ));
        }
        if self.auth_enabled {
            warnings.push("authentication is enabled in the snapshot, and so it is after a restore".to_owned());
        }
        if self.dangling_leases > 0 {
            let keys = self.dangling_leases;
            warnings.push(format!("{keys} live keys hang on leases that are not stored; they never expire"));
        }
        if self.misfiled > 0 {
            let versions = self.misfiled;
            warnings.push(format!("{versions} versions lie under another revision than their mod_revision"));
        }
        if self.downgrade {
            warnings.push("a downgrade job is stored in the snapshot; a restore drops it".to_owned());
        }
        warnings
    }
}

/// Which encodings the bucket under the walk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Alarm,
    Auth,
    AuthRoles,
    AuthUsers,
    Cluster,
    Key,
    Lease,
    Members,
    MembersRemoved,
    Meta,
    Foreign,
}

/// Collects the [`Contents`] and every defect.
#[derive(Debug)]
pub struct Judge {
    contents: Contents,
    room: Room,
    has_key: bool,
    has_meta: bool,
    last: Option<Revision>,
    live: Fingerprints,
    lease_ids: HashSet<i64>,
    defects: Vec<Defect>,
    uncounted: u64,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            contents: Contents::default(),
            room: Room::Foreign,
            has_key: false,
            has_meta: false,
            last: None,
            live: Fingerprints::default(),
            lease_ids: HashSet::new(),
            defects: Vec::new(),
            uncounted: 0,
        }
    }
}

impl Judge {
    /// What was found, after the walk is over.
    #[must_use]
    pub fn finish(mut self) -> (Contents, Vec<Defect>) {
        for (there, name) in [(self.has_key, "key"), (self.has_meta, "meta")] {
            if !there {
                let message = format!("there is no bucket `{name}`: a bbolt database, but not etcd's");
                self.defect(Defect::new("bucket-missing", message));
            }
        }
        if self.uncounted > 0 {
            let message = format!("{} more defects were found and left out of the list", self.uncounted);
            self.defects.push(Defect::new("more-defects", message));
        }
        self.contents.total_key = self.live.len();
        self.contents.leases = self.lease_ids.len() as u64;
        self.contents.dangling_leases = self.live.on_other_leases_than(&self.lease_ids);
        (self.contents, self.defects)
    }

    fn judge(&mut self, element: &Element<'_>) -> Result<(), (&'static str, String)> {
        let Element { key, value, .. } = *element;
        let contents = &mut self.contents;
        let bad = |code: &'static str| move |message: String| (code, message);
        match self.room {
            Room::Key => return self.version(key, value),
            Room::Meta => contents.meta.take(key, value).map_err(bad("meta-malformed"))?,
            Room::Lease => {
                let lease = Lease::parse(key, value).map_err(bad("lease-malformed"))?;
                self.lease_ids.insert(lease.id);
            }
            Room::Members => {
                StoredMember::parse(key, value).map_err(bad("member-malformed"))?;
                contents.members += 1;
            }
            Room::MembersRemoved => {
                parse_member_id(key).map_err(bad("member-malformed"))?;
            }
            Room::Alarm => contents.alarms.push(Alarm::parse(key).map_err(bad("alarm-malformed"))?),
            Room::AuthUsers => {
                User::parse(key, value).map_err(bad("user-malformed"))?;
            }
            Room::AuthRoles => {
                Role::parse(key, value).map_err(bad("role-malformed"))?;
            }
            Room::Auth => match key {
                buckets::AUTH_ENABLED => contents.auth_enabled = value == [1],
                buckets::AUTH_REVISION => {
                    parse_u64(value).map_err(bad("auth-malformed"))?;
                }
                _ => {}
            },
            Room::Cluster => {
                if key == buckets::CLUSTER_VERSION && std::str::from_utf8(value).is_err() {
                    return Err(("cluster-malformed", "clusterVersion is not UTF-8".to_owned()));
                }
                // A finished or cancelled downgrade leaves {"target-version":"","enabled":false} behind.
                contents.downgrade |=
                    key == buckets::CLUSTER_DOWNGRADE && value.windows(14).any(|text| text == br#""enabled":true"#);
            }
            Room::Foreign => {}
        }
        Ok(())
    }

    fn version(&mut self, key: &[u8], value: &[u8]) -> Result<(), (&'static str, String)> {
        let at = RevisionKey::parse(key).map_err(|error| ("revision-malformed", error))?;
        self.contents.revisions += 1;
        self.contents.last_revision = at.revision.main;
        if self.last.is_some_and(|last| last == at.revision) {
            let Revision { main, sub } = at.revision;
            return Err(("revision-twice", format!("revision {main}_{sub} is both a put and a deletion")));
        }
        self.last = Some(at.revision);
        let kv = KeyValue::parse(value).map_err(|error| ("value-malformed", error))?;
        if at.tombstone {
            self.live.remove(kv.key);
        } else {
            self.live.insert(kv.key, kv.lease);
            // The marker that a revision bump leaves behind is empty on purpose.
            if kv.mod_revision != at.revision.main && !value.is_empty() {
                self.contents.misfiled += 1;
            }
        }
        Ok(())
    }
}

impl Visitor for Judge {
    fn bucket(&mut self, name: &[u8]) {
        self.contents.hash = crc32c::crc32c_append(self.contents.hash, name);
        self.room = match name {
            buckets::ALARM => Room::Alarm,
            buckets::AUTH => Room::Auth,
            buckets::AUTH_ROLES => Room::AuthRoles,
            buckets::AUTH_USERS => Room::AuthUsers,
            buckets::CLUSTER => Room::Cluster,
            buckets::KEY => Room::Key,
            buckets::LEASE => Room::Lease,
            buckets::MEMBERS => Room::Members,
            buckets::MEMBERS_REMOVED => Room::MembersRemoved,
            buckets::META => Room::Meta,
            _ => Room::Foreign,
        };
        self.has_key |= self.room == Room::Key;
        self.has_meta |= self.room == Room::Meta;
    }

    fn entry(&mut self, element: Element<'_>) {
        let hash = crc32c::crc32c_append(self.contents.hash, element.key);
        self.contents.hash = crc32c::crc32c_append(hash, element.value);
        if let Err((code, message)) = self.judge(&element) {
            self.defect(Defect::new(code, message).on_page(element.page).at(element.offset));
        }
    }

    fn nested_bucket(&mut self, element: Element<'_>) {
        let message = "a bucket inside a bucket, where etcd keeps none".to_owned();
        self.defect(Defect::new("bucket-nested", message).on_page(element.page).at(element.offset));
    }

    fn defect(&mut self, defect: Defect) {
        if self.defects.len() < MAX_DEFECTS {
            self.defects.push(defect);
        } else {
            self.uncounted += 1;
        }
    }
}

/// The set of live keys by 128-bit fingerprint: memory by the number of keys, not by their length.
///
/// Two keys with one fingerprint would make `totalKey` one too small. The two hashers are keyed at random in each
/// process, so no file can be made to bring that about, and by chance it happens once in 2^128 / n^2.
#[derive(Debug, Default)]
struct Fingerprints {
    hashers: (RandomState, RandomState),
    keys: HashSet<(u64, u64)>,
    /// Lease of those that hang on one.
    leased: HashMap<(u64, u64), i64>,
}

impl Fingerprints {
    fn of(&self, key: &[u8]) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    fn insert(&mut self, key: &[u8], lease: i64) {
        let fingerprint = self.of(key);
        self.keys.insert(fingerprint);
        if lease == 0 {
            self.leased.remove(&fingerprint);
        } else {
            self.leased.insert(fingerprint, lease);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let fingerprint = self.of(key);
        self.keys.remove(&fingerprint);
        self.leased.remove(&fingerprint);
    }

    fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    fn on_other_leases_than(&self, stored: &HashSet<i64>) -> u64 {
        self.leased.values().filter(|lease| !stored.contains(lease)).count() as u64
    }
}
