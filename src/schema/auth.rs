//! `authpb.User`, `authpb.Role` and `etcdserverpb.AlarmMember`, as far as judging them needs.

use crate::proto::{Value, fields};

use super::Malformed;

/// An alarm: which member raised which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alarm {
    /// Id of the member that the alarm is about.
    pub member_id: u64,
    /// 1 NOSPACE, 2 CORRUPT.
    pub kind: u64,
}

impl Alarm {
    /// Reads a key of bucket `alarm`.
    pub fn parse(key: &[u8]) -> Result<Self, Malformed> {
        let mut alarm = Self::default();
        for field in fields(key) {
            match field.map_err(|error| format!("AlarmMember: {error}"))? {
                (1, Value::Varint(id)) => alarm.member_id = id,
                (2, Value::Varint(kind)) => alarm.kind = kind,
                (number @ 1..=2, _) => return Err(format!("AlarmMember: field {number} has the wrong wire type")),
                _ => {}
            }
        }
        Ok(alarm)
    }

    /// etcd's own name of the alarm.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind {
            0 => "NONE",
            1 => "NOSPACE",
            2 => "CORRUPT",
            _ => "UNKNOWN",
        }
    }
}

/// Checks an entry of `authUsers` or `authRoles`: the message parses, and its name (field 1) is its key.
pub fn check_named(message: &'static str, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let mut name: &[u8] = b"";
    for field in fields(value) {
        if let (1, Value::Bytes(bytes)) = field.map_err(|error| format!("{message}: {error}"))? {
            name = bytes;
        }
    }
    if name == key { Ok(()) } else { Err(format!("{message} is stored under another name than its own")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_tells_its_member_and_its_name() {
        let alarm = Alarm::parse(b"\x08\x05\x10\x01").unwrap();

        assert_eq!((5, "NOSPACE"), (alarm.member_id, alarm.name()));
        assert!(Alarm::parse(b"\x0a\x01a").is_err());
    }

    #[test]
    fn a_user_must_lie_under_its_own_name() {
        assert!(check_named("User", b"root", b"\x0a\x04root").is_ok());
        assert!(check_named("User", b"root", b"\x0a\x04toor").is_err());
        assert!(check_named("User", b"root", b"\x0a\x09root").is_err());
    }
}
