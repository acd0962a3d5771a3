//! `mvccpb.KeyValue`: a value of bucket `key`.

use crate::proto::{Value, fields, put_bytes, put_uint};

use super::Malformed;

/// One version of one key, read where it lies.
///
/// A tombstone carries only its key; the marker of a revision bump is wholly empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyValue<'a> {
    /// The user's key.
    pub key: &'a [u8],
    /// Main revision of the put that made the key.
    pub create_revision: i64,
    /// Main revision of this version.
    pub mod_revision: i64,
    /// 1 for the put that made the key, then counting up.
    pub version: i64,
    /// The user's value.
    pub value: &'a [u8],
    /// Lease that the key hangs on, 0 for none.
    pub lease: i64,
}

impl<'a> KeyValue<'a> {
    /// Reads a `KeyValue` message; fields that it does not know are passed over, as protobuf demands.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut kv = Self::default();
        for field in fields(bytes) {
            match field.map_err(|error| format!("KeyValue: {error}"))? {
                (1, Value::Bytes(key)) => kv.key = key,
                (2, Value::Varint(revision)) => kv.create_revision = revision.cast_signed(),
                (3, Value::Varint(revision)) => kv.mod_revision = revision.cast_signed(),
                (4, Value::Varint(version)) => kv.version = version.cast_signed(),
                (5, Value::Bytes(value)) => kv.value = value,
                (6, Value::Varint(lease)) => kv.lease = lease.cast_signed(),
                (number @ 1..=6, _) => return Err(format!("KeyValue: field {number} has the wrong wire type")),
                _ => {}
            }
        }
        Ok(kv)
    }

    /// Appends the message as etcd writes it: fields in the order of their numbers, none that is zero or empty.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, number, bytes: &[u8]| {
            if !bytes.is_empty() {
                put_bytes(out, number, bytes);
            }
        };
        let integer = |out: &mut Vec<u8>, number, value: i64| {
            if value != 0 {
                put_uint(out, number, value.cast_unsigned());
            }
        };
        text(out, 1, self.key);
        integer(out, 2, self.create_revision);
        integer(out, 3, self.mod_revision);
        integer(out, 4, self.version);
        text(out, 5, self.value);
        integer(out, 6, self.lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_and_a_tombstone_are_read_as_etcd_wrote_them() {
        let put = KeyValue::parse(b"\x0a\x01\x61\x10\x02\x18\x02\x20\x01\x2a\x01\x31").unwrap();
        let expected = KeyValue { key: b"a", create_revision: 2, mod_revision: 2, version: 1, value: b"1", lease: 0 };

        assert_eq!(expected, put);
        assert_eq!(KeyValue { key: b"b", ..KeyValue::default() }, KeyValue::parse(b"\x0a\x01\x62").unwrap());
        assert_eq!(KeyValue::default(), KeyValue::parse(b"").unwrap());
    }

    #[test]
    fn what_etcd_wrote_is_written_alike() {
        for bytes in [&b"\x0a\x01\x61\x10\x02\x18\x03\x20\x02\x2a\x01\x31\x30\x7b"[..], b"\x0a\x01\x62", b""] {
            let mut out = Vec::new();
            KeyValue::parse(bytes).unwrap().encode(&mut out);
            assert_eq!(bytes, out);
        }
    }

    #[test]
    fn a_value_cut_short_or_of_the_wrong_type_is_refused() {
        for bytes in [&b"\x0a\x05ab"[..], b"\x0a", b"\x10", b"\x08\x01", b"\x12\x01a", b"\xff"] {
            assert!(KeyValue::parse(bytes).is_err(), "{bytes:?} was read");
        }
    }
}
