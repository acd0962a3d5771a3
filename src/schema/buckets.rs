//! Names of the buckets, and of the single keys inside `meta`, `auth` and `cluster`.
//!
//! Source: etcd `server/storage/schema/bucket.go` and `migration.go`.

/// Raised alarms: key is an `AlarmMember` message, the value is empty.
pub const ALARM: &[u8] = b"alarm";
/// Whether authentication is on.
pub const AUTH: &[u8] = b"auth";
/// Role name to `authpb.Role`.
pub const AUTH_ROLES: &[u8] = b"authRoles";
/// User name to `authpb.User`.
pub const AUTH_USERS: &[u8] = b"authUsers";
/// The cluster's version and a downgrade under way.
pub const CLUSTER: &[u8] = b"cluster";
/// Revision to `mvccpb.KeyValue`: the data.
pub const KEY: &[u8] = b"key";
/// Lease id to `leasepb.Lease`.
pub const LEASE: &[u8] = b"lease";
/// Member id in hex to the member's JSON.
pub const MEMBERS: &[u8] = b"members";
/// Member id in hex to `removed`.
pub const MEMBERS_REMOVED: &[u8] = b"members_removed";
/// Where raft and compaction stand.
pub const META: &[u8] = b"meta";

/// All of them. Servers of every line since 3.4 make them when they start; what was written by others may lack some.
pub const ALL: [&[u8]; 10] = [ALARM, AUTH, AUTH_ROLES, AUTH_USERS, CLUSTER, KEY, LEASE, MEMBERS, MEMBERS_REMOVED, META];

/// The bucket whose name `name` could be with one byte damaged. No two of etcd's own are so near.
#[must_use]
pub fn damaged(name: &[u8]) -> Option<&'static [u8]> {
    ALL.into_iter()
        .find(|own| own.len() == name.len() && own.iter().zip(name).filter(|(own, byte)| own != byte).count() == 1)
}

/// Raft index up to which entries are applied: u64, big endian.
pub const META_CONSISTENT_INDEX: &[u8] = b"consistent_index";
/// Raft term of that index: u64, big endian; since 3.5.
pub const META_TERM: &[u8] = b"term";
/// JSON of `raftpb.ConfState`; since 3.5.
pub const META_CONF_STATE: &[u8] = b"confState";
/// Storage version as text such as `3.6.0`; since 3.6.
pub const META_STORAGE_VERSION: &[u8] = b"storageVersion";
/// Revision of the last compaction that was asked for.
pub const META_SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
/// Revision of the last compaction that was carried out.
pub const META_FINISHED_COMPACT: &[u8] = b"finishedCompactRev";

/// One byte, 1 when authentication is on.
pub const AUTH_ENABLED: &[u8] = b"authEnabled";
/// u64, big endian.
pub const AUTH_REVISION: &[u8] = b"authRevision";

/// Text such as `3.6.0`; since 3.5.
pub const CLUSTER_VERSION: &[u8] = b"clusterVersion";
/// JSON of a downgrade job; since 3.5.
pub const CLUSTER_DOWNGRADE: &[u8] = b"downgrade";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_one_damaged_byte_is_known_and_no_other() {
        assert_eq!(damaged(b"lembers"), Some(MEMBERS));
        assert_eq!(damaged(b"authRoleS"), Some(AUTH_ROLES));
        for name in ALL.into_iter().chain([&b"leases"[..], b"test", b"lembfrs", b""]) {
            assert_eq!(damaged(name), None, "{}", String::from_utf8_lossy(name));
        }
    }
}
