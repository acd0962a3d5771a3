//! Protocol buffers' wire format, as much of it as etcd's stored messages use.
//!
//! Reading borrows and never allocates; lengths are checked against what is there. Writing appends to a buffer and
//! leaves to the caller which zero fields appear: etcd 3.4 to 3.6 write some of them always.
//!
//! Source: protobuf.dev, "Encoding". Groups (wire types 3 and 4) are refused: no etcd message has any.

use std::fmt;

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0: every integer, bool and enum.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: bytes, text, messages and packed lists.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Why a message could not be read, with the offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    /// Byte offset in the message where the bad field begins.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the message", self.reason, self.offset)
    }
}

impl std::error::Error for WireError {}

/// Iterates over the fields of `message` in the order in which they stand; ends after the first error.
#[must_use]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message, length: message.len() }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.length - self.rest.len();
        match field(self.rest) {
            Ok((number, value, rest)) => {
                self.rest = rest;
                Some(Ok((number, value)))
            }
            Err(reason) => {
                self.rest = &[];
                Some(Err(WireError { offset, reason }))
            }
        }
    }
}

/// The greatest field number there is; Go's readers refuse greater ones.
const MAX_FIELD: u32 = (1 << 29) - 1;

#[inline]
fn field(bytes: &[u8]) -> Result<(u32, Value<'_>, &[u8]), &'static str> {
    let (tag, rest) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| *number <= MAX_FIELD).ok_or("field number too large")?;
    if number == 0 {
        return Err("field number 0");
    }
    match tag & 7 {
        0 => {
            let (value, rest) = varint(rest)?;
            Ok((number, Value::Varint(value), rest))
        }
        1 => {
            let (value, rest) = rest.split_first_chunk::<8>().ok_or("fixed64 cut short")?;
            Ok((number, Value::Fixed64(u64::from_le_bytes(*value)), rest))
        }
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).map_err(|_| "length too large")?;
            let (value, rest) = rest.split_at_checked(length).ok_or("bytes cut short")?;
            Ok((number, Value::Bytes(value), rest))
        }
        5 => {
            let (value, rest) = rest.split_first_chunk::<4>().ok_or("fixed32 cut short")?;
            Ok((number, Value::Fixed32(u32::from_le_bytes(*value)), rest))
        }
        _ => Err("unknown wire type"),
    }
}

/// Reads a varint off the front; gives it and the rest.
#[inline]
pub fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    match bytes.split_first() {
        // Tags and short lengths, which most of them are.
        Some((&byte, rest)) if byte < 0x80 => Ok((u64::from(byte), rest)),
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte holds the 64th bit alone; more would be lost silently.
        if at == 9 && byte > 1 {
            return Err("varint overflows 64 bits");
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((value, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    Err(if bytes.len() < 10 { "varint cut short" } else { "varint overflows 64 bits" })
}

/// Appends `value` as a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

fn low_byte(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

/// Appends field `number` as a varint, zero or not.
pub fn put_uint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends field `number` as bytes, empty or not.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_wire_type_is_read() {
        let message = b"\x08\xac\x02\x11\x01\0\0\0\0\0\0\0\x1a\x02hi\x25\x02\0\0\0";

        let read: Vec<_> = fields(message).collect::<Result<_, _>>().unwrap();

        let expected =
            vec![(1, Value::Varint(300)), (2, Value::Fixed64(1)), (3, Value::Bytes(b"hi")), (4, Value::Fixed32(2))];
        assert_eq!(expected, read);
    }

    #[test]
    fn an_error_names_its_offset_and_ends_the_iteration() {
        let mut read = fields(b"\x08\x01\x1a\x05hi");

        assert_eq!(Some(Ok((1, Value::Varint(1)))), read.next());
        assert_eq!(Some(Err(WireError { offset: 2, reason: "bytes cut short" })), read.next());
        assert_eq!(None, read.next());
    }

    #[test]
    fn groups_field_zero_and_long_varints_are_refused() {
        for bytes in [&b"\x0b"[..], b"\x00\x01", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", b"\x08\x80"] {
            assert!(fields(bytes).any(|field| field.is_err()), "{bytes:?} was read");
        }
    }

    proptest! {
        #[test]
        fn varints_round_trip(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(Ok((value, &[][..])), varint(&out));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            for field in fields(&bytes) {
                let _ = field;
            }
        }
    }
}
