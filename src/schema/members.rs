//! Entries of bucket `members`: id in hex to a member's JSON, and of `members_removed`.

use serde::Deserialize;

use super::Malformed;

/// A member as etcd stores it, in etcd's own field names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredMember {
    /// The member's id.
    pub id: u64,
    /// Peer URLs.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Whether it has no vote yet.
    #[serde(rename = "isLearner", default)]
    pub is_learner: bool,
    /// Empty until the member has started once.
    #[serde(default)]
    pub name: String,
    /// Empty until the member has started once.
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Vec<String>,
}

impl StoredMember {
    /// Reads an entry of bucket `members`.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Self, Malformed> {
        let id = parse_member_id(key)?;
        let member: Self = serde_json::from_slice(value).map_err(|error| format!("member JSON: {error}"))?;
        if member.id != id {
            return Err(format!("member {:x} is stored under the key of {id:x}", member.id));
        }
        Ok(member)
    }
}

/// Reads a key of `members` or `members_removed`: lower-case hex without leading zeros.
pub fn parse_member_id(key: &[u8]) -> Result<u64, Malformed> {
    std::str::from_utf8(key)
        .ok()
        .filter(|text| text.len() <= 16)
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| "key is no member id in hex".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_and_must_lie_under_its_own_id() {
        let json = br#"{"id":3167415885184769721,"peerURLs":["http://127.0.0.1:42901"],"name":"m1"}"#;

        let member = StoredMember::parse(b"2bf4ebf7445e1eb9", json).unwrap();

        assert_eq!(("m1", false), (member.name.as_str(), member.is_learner));
        assert!(StoredMember::parse(b"2bf4ebf7445e1eb8", json).unwrap_err().contains("stored under"));
        assert!(StoredMember::parse(b"zz", json).unwrap_err().contains("hex"));
        assert!(StoredMember::parse(b"2bf4ebf7445e1eb9", b"{").unwrap_err().contains("JSON"));
    }
}
