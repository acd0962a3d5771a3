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

/// Checks an entry of `authUsers`: an `authpb.User` that lies under its own name. etcd panics on what it cannot read.
pub fn check_user(key: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let mut name: &[u8] = b"";
    for field in fields(value) {
        match field.map_err(|error| format!("User: {error}"))? {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(_)) => {}
            // proto3's strings are UTF-8, and 3.7 insists on it.
            (3, Value::Bytes(role)) if std::str::from_utf8(role).is_ok() => {}
            (3, Value::Bytes(_)) => return Err("User: name of a role that is not UTF-8".to_owned()),
            (4, Value::Bytes(options)) => {
                check_nested("User.options", options, |(number, value)| {
                    number != 1 || matches!(value, Value::Varint(_))
                })?;
            }
            (number @ 1..=4, _) => return Err(format!("User: field {number} has the wrong wire type")),
            _ => {}
        }
    }
    if name == key { Ok(()) } else { Err("User is stored under another name than its own".to_owned()) }
}

/// Checks an entry of `authRoles`, as [`check_user`] does one of `authUsers`.
pub fn check_role(key: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let mut name: &[u8] = b"";
    for field in fields(value) {
        match field.map_err(|error| format!("Role: {error}"))? {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(permission)) => check_nested("Role.keyPermission", permission, |field| match field {
                (1, value) => matches!(value, Value::Varint(_)),
                (2 | 3, value) => matches!(value, Value::Bytes(_)),
                _ => true,
            })?,
            (number @ 1..=2, _) => return Err(format!("Role: field {number} has the wrong wire type")),
            _ => {}
        }
    }
    if name == key { Ok(()) } else { Err("Role is stored under another name than its own".to_owned()) }
}

fn check_nested(name: &str, message: &[u8], sound: impl Fn((u32, Value<'_>)) -> bool) -> Result<(), Malformed> {
    for field in fields(message) {
        let field = field.map_err(|error| format!("{name}: {error}"))?;
        if !sound(field) {
            return Err(format!("{name}: field {} has the wrong wire type", field.0));
        }
    }
    Ok(())
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
    fn a_user_and_a_role_must_lie_under_their_own_names() {
        for check in [check_user, check_role] {
            assert!(check(b"root", b"\x0a\x04root").is_ok());
            assert!(check(b"root", b"\x0a\x04toor").is_err());
            assert!(check(b"root", b"\x0a\x09root").is_err());
        }
    }

    #[test]
    fn what_lies_inside_of_a_user_or_a_role_must_be_readable_too() {
        let user = |rest: &[u8]| check_user(b"a", &[b"\x0a\x01a", rest].concat());
        assert!(user(b"\x12\x02pw\x1a\x04role\x22\x02\x08\x01").is_ok());
        for rest in [&b"\x10\x01"[..], b"\x1a\x01\xff", b"\x22\x01\x08", b"\x22\x02\x0a\x00", b"\x18\x01"] {
            assert!(user(rest).is_err(), "{rest:?} was read");
        }
        let role = |rest: &[u8]| check_role(b"a", &[b"\x0a\x01a", rest].concat());
        assert!(role(b"\x12\x08\x08\x01\x12\x01k\x1a\x01l").is_ok());
        for rest in [&b"\x10\x01"[..], b"\x12\x01\x08", b"\x12\x02\x10\x01", b"\x12\x02\x0a\x00"] {
            assert!(role(rest).is_err(), "{rest:?} was read");
        }
    }
}
