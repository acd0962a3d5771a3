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
