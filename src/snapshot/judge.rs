//! The visitor that judges every entry of an etcd database while the pages are walked.

use std::ops::ControlFlow;

use crate::bbolt::{Database, Element, Ends, Part, Visitor, Walked, walk, walk_noted};
use crate::defect::Defect;
use crate::error::Result;
use crate::progress::Progress;
use crate::read_at::ReadAt;
use crate::schema::auth::{Alarm, Role, User};
use crate::schema::{
    KeyValue, Lease, Revision, RevisionKey, StoreMeta, StoredMember, buckets, parse_member_id, parse_u64,
};

use super::census::{Census, Change, Hashers, MAX_LEASES, Reading};
use super::crc::combine;
use super::note::{KeyNotes, Noted};

/// More defects than this say nothing that these do not; the rest are counted.
const MAX_DEFECTS: usize = 10_000;

/// More entries than this of a stretch are left to be judged in turn, so that what is under way stays small.
const MAX_CHANGES: usize = 32 << 10;

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
    /// Those that last longer than any that etcd grants: it may take them for expired, and delete their keys.
    pub overlong_leases: u64,
    /// Whether authentication is on.
    pub auth_enabled: bool,
    /// Live keys on a lease that is not stored: etcd logs them at boot and keeps them for ever.
    pub dangling_leases: u64,
    /// Whether more leases are stored than keys were compared with, so that `dangling_leases` is 0 whatever it should be.
    pub leases_uncompared: bool,
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

    /// A compaction that has gone past the last entry, which it removed, and is not marked as finished. It goes through
    /// the entries from the first to the last, so nothing is left to it but the mark.
    #[must_use]
    pub fn unmarked_compaction(&self) -> Option<Revision> {
        self.meta.scheduled_compact.filter(|to| to.main > self.meta.least_revision(self.last_revision))
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
            warnings.push(format!(
                "{keys} live keys hang on leases that are not stored: they never expire, and a put to one of them that is to \
                 keep its lease (--ignore-lease) ends etcd with a panic on every member, at every start anew; \
                 --drop-leases (drop_leases=True) restores them without a lease"
            ));
        }
        if self.leases_uncompared {
            let leases = self.leases;
            warnings
                .push(format!("{leases} leases are stored, more than the {MAX_LEASES} that keys are compared with"));
        }
        if self.overlong_leases > 0 {
            let leases = self.overlong_leases;
            warnings.push(format!(
                "{leases} leases last longer than etcd grants, and it may delete their keys at once; --drop-leases keeps the keys"
            ));
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

impl Contents {
    /// Reads all of `database`, and says what is wrong with it; several times where it holds more live keys than are
    /// counted in one reading.
    ///
    /// # Errors
    /// Those of [`walk`](walk()).
    pub fn read<R: ReadAt>(database: &Database<R>, progress: &dyn Progress) -> Result<(Self, Walked, Vec<Defect>)> {
        Self::read_noted(database, None, progress)
    }

    /// [`Contents::read`], which goes by notes of the leaves of which there are some.
    pub(super) fn read_noted<R: ReadAt>(
        database: &Database<R>,
        notes: Option<&KeyNotes>,
        progress: &dyn Progress,
    ) -> Result<(Self, Walked, Vec<Defect>)> {
        let hashers = notes.map_or_else(Hashers::default, KeyNotes::hashers);
        let notes = notes.map(KeyNotes::notes);
        let mut judge = Judge::new(Census::new(database.size(), hashers, stored_leases(database)));
        let walked = walk_noted(database, notes, &mut judge, progress)?;
        while judge.census.next_reading() && judge.defects.is_empty() {
            let mut recount = Recount { census: &mut judge.census, is_key: false, defect: None };
            walk_noted(database, notes, &mut recount, progress)?;
            judge.defects.extend(recount.defect);
        }
        let (contents, defects) = judge.finish();
        Ok((contents, walked, defects))
    }
}

/// The defect of a bucket that is missing where one of nearly its name is.
pub(crate) fn misnamed(own: &[u8], found: &[u8]) -> Defect {
    let message = format!(
        "there is no bucket `{}`, and one called `{}` in its place: its name is damaged",
        String::from_utf8_lossy(own),
        found.escape_ascii()
    );
    Defect::new("bucket-name", message)
}

/// Collects the [`Contents`] and every defect.
#[derive(Debug)]
struct Judge {
    contents: Contents,
    room: Room,
    has_key: bool,
    has_meta: bool,
    /// Etcd's buckets that are there, and those whose name may be damaged with what is there instead.
    named: Vec<&'static [u8]>,
    misnamed: Vec<(&'static [u8], Vec<u8>)>,
    last: Option<Revision>,
    census: Census,
    defects: Vec<Defect>,
    uncounted: u64,
}

impl Judge {
    fn new(census: Census) -> Self {
        Self {
            contents: Contents::default(),
            room: Room::Foreign,
            has_key: false,
            has_meta: false,
            named: Vec::new(),
            misnamed: Vec::new(),
            last: None,
            census,
            defects: Vec::new(),
            uncounted: 0,
        }
    }

    /// What was found, after the last reading.
    fn finish(mut self) -> (Contents, Vec<Defect>) {
        for (there, name) in [(self.has_key, "key"), (self.has_meta, "meta")] {
            if !there {
                let message = format!("there is no bucket `{name}`: a bbolt database, but not etcd's");
                self.defect(Defect::new("bucket-missing", message));
            }
        }
        for (own, name) in std::mem::take(&mut self.misnamed) {
            if !self.named.contains(&own) {
                self.defect(misnamed(own, &name));
            }
        }
        if self.uncounted > 0 {
            let message = format!("{} more defects were found and left out of the list", self.uncounted);
            self.defects.push(Defect::new("more-defects", message));
        }
        self.contents.total_key = self.census.live();
        self.contents.dangling_leases = self.census.on_missing_leases();
        self.contents.leases_uncompared = self.contents.leases > MAX_LEASES as u64;
        (self.contents, self.defects)
    }

    fn judge(&mut self, element: &Element<'_>) -> std::result::Result<(), (&'static str, String)> {
        let Element { key, value, .. } = *element;
        let contents = &mut self.contents;
        let bad = |code: &'static str| move |message: String| (code, message);
        match self.room {
            Room::Key => return self.version(key, value),
            Room::Meta => contents.meta.take(key, value).map_err(bad("meta-malformed"))?,
            Room::Lease => {
                let lease = Lease::parse(key, value).map_err(bad("lease-malformed"))?;
                contents.leases += 1;
                contents.overlong_leases += u64::from(lease.is_overlong());
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

    fn version(&mut self, key: &[u8], value: &[u8]) -> std::result::Result<(), (&'static str, String)> {
        let at = RevisionKey::parse(key).map_err(|error| ("revision-malformed", error))?;
        self.contents.revisions += 1;
        self.contents.last_revision = at.revision.main;
        if self.last.is_some_and(|last| last == at.revision) {
            let Revision { main, sub } = at.revision;
            return Err(("revision-twice", format!("revision {main}_{sub} is both a put and a deletion")));
        }
        self.last = Some(at.revision);
        let version = Version::parse(at, value)?;
        self.contents.misfiled += u64::from(version.misfiled);
        if let Some(change) = self.census.reading().change(version.key, version.lease, at.tombstone) {
            self.census.take(change);
        }
        Ok(())
    }
}

impl Visitor for Judge {
    type Part = KeyPart;

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
        match buckets::ALL.into_iter().find(|own| *own == name) {
            Some(own) => self.named.push(own),
            // More of them say nothing that these do not.
            None if self.misnamed.len() < buckets::ALL.len() => {
                self.misnamed.extend(buckets::damaged(name).map(|own| (own, name.to_vec())));
            }
            None => {}
        }
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

    fn part(&self) -> Option<KeyPart> {
        (self.room == Room::Key).then(|| KeyPart::new(self.census.reading().clone()))
    }

    fn take(&mut self, part: KeyPart) -> bool {
        let (Some(first), Some(last)) = (part.first, part.last) else { return true };
        if self.last == Some(first) {
            return false;
        }
        self.last = Some(last);
        self.contents.hash = combine(self.contents.hash, part.crc, part.len);
        self.contents.last_revision = last.main;
        self.contents.revisions += part.revisions;
        self.contents.misfiled += part.misfiled;
        part.changes.into_iter().for_each(|change| self.census.take(change));
        true
    }
}

/// What a stretch of bucket `key` comes to.
#[derive(Debug)]
struct KeyPart {
    reading: Reading,
    crc: u32,
    len: usize,
    revisions: u64,
    misfiled: u64,
    first: Option<Revision>,
    last: Option<Revision>,
    changes: Vec<Change>,
}

impl KeyPart {
    fn new(reading: Reading) -> Self {
        let (first, last) = (None, None);
        Self { reading, crc: 0, len: 0, revisions: 0, misfiled: 0, first, last, changes: Vec::new() }
    }

    /// Takes in a leaf as it was noted; `None` when it has to be read.
    fn take(&mut self, noted: &Noted<'_>) -> Option<()> {
        if self.last == Some(noted.first.revision) {
            return None;
        }
        self.first = self.first.or(Some(noted.first.revision));
        self.last = Some(noted.last.revision);
        self.crc = combine(self.crc, noted.crc, noted.len);
        self.len += noted.len;
        self.revisions += noted.revisions;
        self.misfiled += noted.misfiled;
        for record in noted.records() {
            let (key, lease, tombstone) = record?;
            if self.changes.len() >= MAX_CHANGES {
                return None;
            }
            self.changes.extend(self.reading.change_of(key, lease, tombstone));
        }
        Some(())
    }
}

impl Part for KeyPart {
    fn entry(&mut self, element: Element<'_>) -> bool {
        let Ok(at) = RevisionKey::parse(element.key) else { return false };
        if self.last == Some(at.revision) || self.changes.len() >= MAX_CHANGES {
            return false;
        }
        let Ok(version) = Version::parse(at, element.value) else { return false };
        self.first = self.first.or(Some(at.revision));
        self.last = Some(at.revision);
        self.revisions += 1;
        self.misfiled += u64::from(version.misfiled);
        self.changes.extend(self.reading.change(version.key, version.lease, at.tombstone));
        true
    }

    fn bytes(&mut self, stretch: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, stretch);
        self.len += stretch.len();
    }

    fn noted(&mut self, note: &[u8], ends: &mut Ends) -> bool {
        let Some(noted) = Noted::parse(note) else { return false };
        noted.put_ends(ends);
        self.take(&noted).is_some()
    }
}

/// What is judged of a value of bucket `key`.
pub(super) struct Version<'a> {
    pub(super) key: &'a [u8],
    pub(super) lease: i64,
    /// `mod_revision` is not the revision that it lies under.
    pub(super) misfiled: bool,
}

impl<'a> Version<'a> {
    /// Reads the value under `at`; of what is wrong with it, gives the code and the message.
    pub(super) fn parse(at: RevisionKey, value: &'a [u8]) -> std::result::Result<Self, (&'static str, String)> {
        let KeyValue { key, mod_revision, lease, .. } =
            KeyValue::parse(value).map_err(|error| ("value-malformed", error))?;
        // A watcher goes on behind the mod_revision that it was told last, and etcd panics where that is still to come
        // (mvcc `watcher_group.go: chooseAll`). Of a tombstone it takes the key's own revision.
        if !at.tombstone && mod_revision > at.revision.main {
            let Revision { main, sub } = at.revision;
            let message = format!("mod_revision {mod_revision} is ahead of revision {main}_{sub}, under which it lies");
            return Err(("revision-ahead", message));
        }
        // The marker that a revision bump leaves behind is empty on purpose, a tombstone has a key only.
        let misfiled = !at.tombstone && mod_revision != at.revision.main && !value.is_empty();
        Ok(Self { key, lease, misfiled })
    }
}

/// Takes in bucket `key` once more, for another share of its keys. Nothing was wrong when it was read before.
struct Recount<'a> {
    census: &'a mut Census,
    is_key: bool,
    /// The first of what is wrong now, so that the keys behind it are not counted: bytes that changed meanwhile, or
    /// leaves that were left out, where a thread that should have gone by their notes failed.
    defect: Option<Defect>,
}

/// The part of a [`Recount`], which needs no hash.
struct Recounted(KeyPart);

impl Part for Recounted {
    fn entry(&mut self, element: Element<'_>) -> bool {
        self.0.entry(element)
    }

    fn bytes(&mut self, _stretch: &[u8]) {}

    fn noted(&mut self, note: &[u8], ends: &mut Ends) -> bool {
        self.0.noted(note, ends)
    }
}

impl Visitor for Recount<'_> {
    type Part = Recounted;

    fn bucket(&mut self, name: &[u8]) {
        self.is_key = name == buckets::KEY;
    }

    fn entry(&mut self, element: Element<'_>) {
        if let Some(Recounted(mut part)) = self.part()
            && part.entry(element)
        {
            part.changes.into_iter().for_each(|change| self.census.take(change));
        }
    }

    fn defect(&mut self, defect: Defect) {
        self.defect.get_or_insert(defect);
    }

    fn part(&self) -> Option<Recounted> {
        self.is_key.then(|| Recounted(KeyPart::new(self.census.reading().clone())))
    }

    fn take(&mut self, Recounted(part): Recounted) -> bool {
        part.changes.into_iter().for_each(|change| self.census.take(change));
        true
    }
}

/// Live keys of `database`, which is sound, that are `counted`: exact and in bounded memory, as [`Contents::total_key`].
///
/// # Errors
/// Those of [`walk`](walk()).
pub(crate) fn live_keys<R: ReadAt>(
    database: &Database<R>,
    counted: &dyn Fn(&[u8]) -> bool,
    progress: &dyn Progress,
) -> Result<u64> {
    let mut census = Census::new(database.size(), Hashers::default(), None);
    loop {
        walk(database, &mut CountSome { census: &mut census, is_key: false, counted }, progress)?;
        if !census.next_reading() {
            return Ok(census.live());
        }
    }
}

/// Takes in those keys of bucket `key` that are `counted`.
struct CountSome<'a> {
    census: &'a mut Census,
    is_key: bool,
    counted: &'a dyn Fn(&[u8]) -> bool,
}

impl Visitor for CountSome<'_> {
    type Part = KeyPart;

    fn bucket(&mut self, name: &[u8]) {
        self.is_key = name == buckets::KEY;
    }

    fn entry(&mut self, element: Element<'_>) {
        if !self.is_key {
            return;
        }
        let (Ok(at), Ok(kv)) = (RevisionKey::parse(element.key), KeyValue::parse(element.value)) else { return };
        if (self.counted)(kv.key)
            && let Some(change) = self.census.reading().change(kv.key, 0, at.tombstone)
        {
            self.census.take(change);
        }
    }

    fn defect(&mut self, _defect: Defect) {}

    /// No part: what is counted is decided in turn.
    fn part(&self) -> Option<KeyPart> {
        None
    }

    fn take(&mut self, _part: KeyPart) -> bool {
        false
    }
}

/// Ids of the leases that `database` stores; `None` when they are more than keys are compared with, or can't be read,
/// which the walk reports.
fn stored_leases<R: ReadAt>(database: &Database<R>) -> Option<Vec<i64>> {
    let Some(bucket) = database.bucket(buckets::LEASE).ok()? else { return Some(Vec::new()) };
    let mut leases = Vec::new();
    let read = database.for_each(&bucket, &mut |element| {
        leases.extend(element.key.try_into().map(i64::from_be_bytes));
        if leases.len() > MAX_LEASES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (read.is_ok() && leases.len() <= MAX_LEASES).then_some(leases)
}
