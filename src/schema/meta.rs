//! The bucket `meta`: where raft and compaction stand, and by which version of the schema.

use super::buckets;
use super::{Malformed, Revision};
use crate::version::Version;

/// The newest storage version that is read; 3.8 may change what is stored.
pub const NEWEST_STORAGE: &str = "3.7.0";

/// The entries of `meta` that matter, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreMeta {
    /// Raft index up to which entries are applied to the store.
    pub consistent_index: Option<u64>,
    /// Raft term of that index; since 3.5.
    pub term: Option<u64>,
    /// Text of `raftpb.ConfState` in JSON; since 3.5.
    pub conf_state: Option<String>,
    /// Text such as `3.6.0`; since 3.6.
    pub storage_version: Option<String>,
    /// Last compaction that was asked for.
    pub scheduled_compact: Option<Revision>,
    /// Last compaction that was carried out.
    pub finished_compact: Option<Revision>,
}

/// The revision of a store to which nothing was ever written; the first write of a user makes 2.
const FIRST_REVISION: i64 = 1;

impl StoreMeta {
    /// Takes in one entry of the bucket; keys that it does not know are passed over.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let named = |error: Malformed| format!("meta {}: {error}", String::from_utf8_lossy(key));
        match key {
            buckets::META_CONSISTENT_INDEX => self.consistent_index = Some(parse_u64(value).map_err(named)?),
            buckets::META_TERM => self.term = Some(parse_u64(value).map_err(named)?),
            buckets::META_CONF_STATE => self.conf_state = Some(parse_text(value).map_err(named)?),
            buckets::META_STORAGE_VERSION => self.storage_version = Some(parse_text(value).map_err(named)?),
            buckets::META_SCHEDULED_COMPACT => self.scheduled_compact = Some(Revision::parse(value).map_err(named)?),
            buckets::META_FINISHED_COMPACT => self.finished_compact = Some(Revision::parse(value).map_err(named)?),
            _ => {}
        }
        Ok(())
    }

    /// The revision at which a server with this store starts, given the main revision of the last key.
    ///
    /// The greatest of the three, and 1 at least: compaction may have removed the last keys, and an empty store is at
    /// revision 1 (etcd mvcc `kvstore.go: NewStore, restore`).
    #[must_use]
    pub fn current_revision(&self, last_key: i64) -> i64 {
        let compact = |revision: Option<Revision>| revision.map_or(0, |revision| revision.main);
        [compact(self.scheduled_compact), compact(self.finished_compact), FIRST_REVISION]
            .into_iter()
            .fold(last_key, i64::max)
    }

    /// The revision at which a server of any release starts at least: a compaction that is scheduled and not finished,
    /// which may have removed the last key already, counts since 3.4.32 and 3.5.14 only (etcd pull requests 17864, 17865).
    #[must_use]
    pub fn least_revision(&self, last_key: i64) -> i64 {
        Self { finished_compact: self.finished_compact, ..Self::default() }.current_revision(last_key)
    }

    /// The storage version, if it is newer than [`NEWEST_STORAGE`].
    #[must_use]
    pub fn newer_storage(&self) -> Option<&str> {
        let line = |version: &str| Version::parse(version).map(|version| (version.major, version.minor));
        let known = line(NEWEST_STORAGE)?;
        self.storage_version.as_deref().filter(|found| line(found).is_some_and(|found| found > known))
    }
}

/// A u64 as etcd stores it in `meta` and `auth`.
pub fn parse_u64(value: &[u8]) -> Result<u64, Malformed> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| format!("{} bytes where a number has 8", value.len()))
}

fn parse_text(value: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| "not UTF-8".to_owned())
}

/// JSON of a `raftpb.ConfState` with these voters and nobody else, as etcd 3.5 and later store it.
#[must_use]
pub fn conf_state_json(voters: &[u64]) -> String {
    let ids: Vec<String> = voters.iter().map(u64::to_string).collect();
    format!(r#"{{"voters":[{}],"auto_leave":false}}"#, ids.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_revision_is_the_greatest_of_last_key_and_compactions() {
        let mut meta = StoreMeta::default();
        assert_eq!(7, meta.current_revision(7));
        assert_eq!(1, meta.current_revision(0), "an empty store");

        meta.take(buckets::META_SCHEDULED_COMPACT, &Revision { main: 9, sub: 0 }.to_bytes()).unwrap();
        meta.take(buckets::META_FINISHED_COMPACT, &Revision { main: 8, sub: 0 }.to_bytes()).unwrap();

        assert_eq!(9, meta.current_revision(7));
        assert_eq!(12, meta.current_revision(12));
        assert_eq!([8, 9], [7, 9].map(|last_key| meta.least_revision(last_key)), "what is scheduled does not count");
    }

    #[test]
    fn a_number_of_the_wrong_length_is_refused_by_name() {
        let error = StoreMeta::default().take(buckets::META_TERM, b"\x01").unwrap_err();

        assert_eq!("meta term: 1 bytes where a number has 8", error);
    }

    #[test]
    fn a_conf_state_is_written_as_etcd_writes_it() {
        assert_eq!(
            r#"{"voters":[15885997446024340187],"auto_leave":false}"#,
            conf_state_json(&[15_885_997_446_024_340_187])
        );
    }
}
