//! What etcd keeps inside its bbolt database: the buckets and the encodings of their keys and values.
//!
//! Source: etcd `server/storage/schema`, `server/storage/mvcc` and the `.proto` files of 3.4 to 3.7.
//!
//! # Promise
//!
//! Values are read where they lie, without a copy. For any bytes whatever: no panic, one pass, memory within a constant
//! factor of the value, and no recursion but that of the JSON of a member, 128 levels deep.

pub mod auth;
pub mod buckets;
mod key_value;
mod lease;
mod members;
mod meta;
mod revision;
mod store;

pub use key_value::KeyValue;
pub use lease::Lease;
pub use members::{StoredMember, parse_member_id};
pub use meta::{NEWEST_STORAGE, StoreMeta, conf_state_json, parse_u64};
pub use revision::{Revision, RevisionKey};
pub use store::foundations;

/// Why bytes are not what their bucket says they are: a lower-case clause.
pub type Malformed = String;
