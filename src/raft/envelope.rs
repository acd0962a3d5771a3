//! The outermost messages: of a WAL record and of a `.snap` file. Both hold a CRC of their data and nothing that
//! protects themselves, so they are read more strictly than what they carry: a flipped bit in a tag must not pass
//! for a field of the future. All releases from 3.4 to 3.7 write the same fields.

use super::messages::{Malformed, read};
use crate::proto::{Value, put_bytes, put_uint};

/// `walpb.Record`, its data where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) kind: u64,
    pub(super) crc: u32,
    pub(super) data: Option<&'a [u8]>,
}

/// `snappb.Snapshot`, its data where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SnapFile<'a> {
    pub(super) crc: u32,
    pub(super) data: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.map_or(0, <[u8]>::len) + 16);
        put_uint(&mut out, 1, self.kind);
        put_uint(&mut out, 2, u64::from(self.crc));
        if let Some(data) = self.data {
            put_bytes(&mut out, 3, data);
        }
        out
    }

    pub(super) fn decode(message: &'a [u8]) -> std::result::Result<Self, Malformed> {
        let (mut kind, mut crc, mut data) = (0, 0, None);
        read("Record", message, |field, value| {
            match (field, value) {
                (1, Value::Varint(number)) => kind = number,
                (2, Value::Varint(number)) => crc = number,
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                (1..=3, _) => return Ok(false),
                _ => return Err(format!("unknown field {field}")),
            }
            Ok(true)
        })?;
        let crc = u32::try_from(crc).map_err(|_| "Record: crc of more than 32 bits".to_owned())?;
        Ok(Self { kind, crc, data })
    }
}

impl<'a> SnapFile<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 16);
        put_uint(&mut out, 1, u64::from(self.crc));
        put_bytes(&mut out, 2, self.data);
        out
    }

    pub(super) fn decode(message: &'a [u8]) -> std::result::Result<Self, Malformed> {
        let (mut crc, mut data) = (0, &[][..]);
        read("Snapshot", message, |field, value| {
            match (field, value) {
                (1, Value::Varint(number)) => crc = number,
                (2, Value::Bytes(bytes)) => data = bytes,
                (1 | 2, _) => return Ok(false),
                _ => return Err(format!("unknown field {field}")),
            }
            Ok(true)
        })?;
        let crc = u32::try_from(crc).map_err(|_| "Snapshot: crc of more than 32 bits".to_owned())?;
        Ok(Self { crc, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn type_and_crc_are_written_always_and_data_only_where_there_is_some() {
        assert_eq!(Record { kind: 4, crc: 0, data: None }.encode(), b"\x08\x04\x10\x00");
        assert_eq!(Record { kind: 0, crc: 0, data: Some(b"") }.encode(), b"\x08\x00\x10\x00\x1a\x00");
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert_eq!(Record::decode(b"\x08\x04\x10\x00\x30\x01"), Err("Record: unknown field 6".to_owned()));
        assert_eq!(SnapFile::decode(b"\x08\x01\x1a\x00"), Err("Snapshot: unknown field 3".to_owned()));
    }

    #[test]
    fn a_crc_of_more_than_32_bits_is_refused() {
        assert!(Record::decode(b"\x10\x80\x80\x80\x80\x10").is_err());
        assert!(SnapFile::decode(b"\x08\x80\x80\x80\x80\x10").is_err());
    }

    proptest! {
        #[test]
        fn both_round_trip(kind: u64, crc: u32, bytes: Vec<u8>) {
            let record = Record { kind, crc, data: Some(&bytes) };
            let message = record.encode();
            prop_assert_eq!(Record::decode(&message), Ok(record));
            let file = SnapFile { crc, data: &bytes };
            let message = file.encode();
            prop_assert_eq!(SnapFile::decode(&message), Ok(file));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = (Record::decode(&bytes), SnapFile::decode(&bytes));
        }
    }
}
