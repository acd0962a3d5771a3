//! `leasepb.Lease`: a value of bucket `lease`, whose key is the id in 8 bytes, big endian.

use crate::proto::{Value, fields};

use super::Malformed;

/// The longest time to live that etcd grants, in seconds (`lessor.go: MaxLeaseTTL`). A server counts in nanoseconds of 63
/// bits, and a time beyond those is over before it begins.
const MAX_TTL: i64 = 9_000_000_000;

/// A lease as it is stored: the time that is left starts anew at every boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// The lease's id.
    pub id: i64,
    /// Granted time to live, in seconds.
    pub ttl: i64,
    /// Remaining seconds as of the last checkpoint, 0 when there was none.
    pub remaining_ttl: i64,
}

impl Lease {
    /// Reads an entry of bucket `lease`.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Self, Malformed> {
        let id = key
            .try_into()
            .map(i64::from_be_bytes)
            .map_err(|_| format!("lease key of {} bytes, an id has 8", key.len()))?;
        let mut lease = Self::default();
        for field in fields(value) {
            match field.map_err(|error| format!("Lease: {error}"))? {
                (1, Value::Varint(id)) => lease.id = id.cast_signed(),
                (2, Value::Varint(ttl)) => lease.ttl = ttl.cast_signed(),
                (3, Value::Varint(remaining)) => lease.remaining_ttl = remaining.cast_signed(),
                (number @ 1..=3, _) => return Err(format!("Lease: field {number} has the wrong wire type")),
                _ => {}
            }
        }
        if lease.id != id {
            return Err(format!("lease {:016x} is stored under the key of {id:016x}", lease.id));
        }
        Ok(lease)
    }

    /// Whether it lasts longer than any that etcd grants.
    #[must_use]
    pub fn is_overlong(self) -> bool {
        self.ttl.max(self.remaining_ttl) > MAX_TTL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_and_must_lie_under_its_own_id() {
        let value = b"\x08\x07\x10\x3c";

        assert_eq!(Lease { id: 7, ttl: 60, remaining_ttl: 0 }, Lease::parse(&7_i64.to_be_bytes(), value).unwrap());
        assert!(Lease::parse(&8_i64.to_be_bytes(), value).unwrap_err().contains("stored under"));
        assert!(Lease::parse(b"short", value).unwrap_err().contains("5 bytes"));
    }

    #[test]
    fn a_lease_is_overlong_by_what_it_got_or_by_what_is_left() {
        let granted = Lease { id: 7, ttl: MAX_TTL, remaining_ttl: MAX_TTL };

        assert!(!granted.is_overlong());
        assert!(Lease { ttl: MAX_TTL + 1, ..granted }.is_overlong());
        assert!(Lease { remaining_ttl: i64::MAX, ..granted }.is_overlong());
        assert!(!Lease { ttl: i64::MIN, remaining_ttl: 0, ..granted }.is_overlong());
    }
}
