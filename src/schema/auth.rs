//! `authpb.User`, `authpb.Role` and `etcdserverpb.AlarmMember`.

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
                (2, Value::Varint(kind)) => alarm.kind = enumerated(kind),
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

/// What Go's decoders keep of the number of an enum: the low 32 bits.
fn enumerated(number: u64) -> u64 {
    number & u64::from(u32::MAX)
}

/// An `authpb.User`: who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User<'a> {
    /// The user's name.
    pub name: &'a [u8],
    /// bcrypt's text; empty for a user who comes by certificate alone.
    pub password: &'a [u8],
    /// Names of the user's roles.
    pub roles: Vec<&'a str>,
    /// Whether the user has no password and comes by certificate alone; since 3.4.
    pub no_password: bool,
}

impl<'a> User<'a> {
    /// Reads an entry of `authUsers`, which lies under its own name. etcd panics on what it cannot read.
    pub fn parse(key: &[u8], value: &'a [u8]) -> Result<Self, Malformed> {
        let mut user = Self::default();
        for field in fields(value) {
            match field.map_err(|error| format!("User: {error}"))? {
                (1, Value::Bytes(name)) => user.name = name,
                (2, Value::Bytes(password)) => user.password = password,
                // proto3's strings are UTF-8, and 3.7 insists on it.
                (3, Value::Bytes(role)) => {
                    let role = std::str::from_utf8(role).map_err(|_| "User: name of a role that is not UTF-8")?;
                    user.roles.push(role);
                }
                (4, Value::Bytes(options)) => user.no_password = no_password(options)?,
                (number @ 1..=4, _) => return Err(format!("User: field {number} has the wrong wire type")),
                _ => {}
            }
        }
        if user.name == key { Ok(user) } else { Err("User is stored under another name than its own".to_owned()) }
    }
}

fn no_password(options: &[u8]) -> Result<bool, Malformed> {
    let mut no_password = false;
    for field in fields(options) {
        match field.map_err(|error| format!("User.options: {error}"))? {
            (1, Value::Varint(number)) => no_password = number != 0,
            (1, _) => return Err("User.options: field 1 has the wrong wire type".to_owned()),
            _ => {}
        }
    }
    Ok(no_password)
}

/// An `authpb.Role`: what may be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Role<'a> {
    /// The role's name.
    pub name: &'a [u8],
    /// Each range of keys with what is allowed there.
    pub permissions: Vec<Permission<'a>>,
}

/// An `authpb.Permission`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permission<'a> {
    /// 0 READ, 1 WRITE, 2 READWRITE.
    pub kind: u64,
    /// The key, or where the range begins.
    pub key: &'a [u8],
    /// Where the range ends, as in a Range: empty for one key, a NUL for no end.
    pub range_end: &'a [u8],
}

impl<'a> Role<'a> {
    /// Reads an entry of `authRoles`, as [`User::parse`] does one of `authUsers`.
    pub fn parse(key: &[u8], value: &'a [u8]) -> Result<Self, Malformed> {
        let mut role = Self::default();
        for field in fields(value) {
            match field.map_err(|error| format!("Role: {error}"))? {
                (1, Value::Bytes(name)) => role.name = name,
                (2, Value::Bytes(permission)) => role.permissions.push(Permission::parse(permission)?),
                (number @ 1..=2, _) => return Err(format!("Role: field {number} has the wrong wire type")),
                _ => {}
            }
        }
        if role.name == key { Ok(role) } else { Err("Role is stored under another name than its own".to_owned()) }
    }
}

impl<'a> Permission<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut permission = Self::default();
        for field in fields(message) {
            match field.map_err(|error| format!("Role.keyPermission: {error}"))? {
                (1, Value::Varint(kind)) => permission.kind = enumerated(kind),
                (2, Value::Bytes(key)) => permission.key = key,
                (3, Value::Bytes(end)) => permission.range_end = end,
                (number @ 1..=3, _) => {
                    return Err(format!("Role.keyPermission: field {number} has the wrong wire type"));
                }
                _ => {}
            }
        }
        Ok(permission)
    }

    /// etcd's own name of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind {
            0 => "READ",
            1 => "WRITE",
            2 => "READWRITE",
            _ => "UNKNOWN",
        }
    }
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
    fn of_a_kind_only_the_low_32_bits_count() {
        // 2^32 + 1, and 2^33 + 2.
        let alarm = Alarm::parse(b"\x08\x05\x10\x81\x80\x80\x80\x10").unwrap();
        let role = Role::parse(b"r", b"\x0a\x01r\x12\x09\x08\x82\x80\x80\x80\x20\x12\x01k").unwrap();

        assert_eq!((1, "NOSPACE"), (alarm.kind, alarm.name()));
        assert_eq!((2, "READWRITE"), (role.permissions[0].kind, role.permissions[0].name()));
    }

    #[test]
    fn a_user_and_a_role_must_lie_under_their_own_names() {
        for check in [|value| User::parse(b"root", value).map(drop), |value| Role::parse(b"root", value).map(drop)] {
            assert!(check(b"\x0a\x04root").is_ok());
            assert!(check(b"\x0a\x04toor").is_err());
            assert!(check(b"\x0a\x09root").is_err());
        }
    }

    #[test]
    fn what_lies_inside_of_a_user_or_a_role_must_be_readable_too() {
        let user = |rest: &[u8]| User::parse(b"a", &[b"\x0a\x01a", rest].concat()).map(drop);
        assert!(user(b"\x12\x02pw\x1a\x04role\x22\x02\x08\x01").is_ok());
        for rest in [&b"\x10\x01"[..], b"\x1a\x01\xff", b"\x22\x01\x08", b"\x22\x02\x0a\x00", b"\x18\x01"] {
            assert!(user(rest).is_err(), "{rest:?} was read");
        }
        let role = |rest: &[u8]| Role::parse(b"a", &[b"\x0a\x01a", rest].concat()).map(drop);
        assert!(role(b"\x12\x08\x08\x01\x12\x01k\x1a\x01l").is_ok());
        for rest in [&b"\x10\x01"[..], b"\x12\x01\x08", b"\x12\x02\x10\x01", b"\x12\x02\x0a\x00"] {
            assert!(role(rest).is_err(), "{rest:?} was read");
        }
    }

    #[test]
    fn a_user_and_a_role_tell_what_they_hold() {
        let user = User::parse(b"a", b"\x0a\x01a\x12\x02pw\x1a\x01r\x1a\x01s\x22\x02\x08\x01").unwrap();
        let expected = User { name: b"a", password: b"pw", roles: vec!["r", "s"], no_password: true };
        assert_eq!(expected, user);

        let role = Role::parse(b"r", b"\x0a\x01r\x12\x08\x08\x02\x12\x01k\x1a\x01l\x12\x03\x12\x01m").unwrap();
        let [first, second] = role.permissions.as_slice() else { panic!("two permissions") };
        assert_eq!(("READWRITE", &b"k"[..], &b"l"[..]), (first.name(), first.key, first.range_end));
        assert_eq!(("READ", &b"m"[..], &b""[..]), (second.name(), second.key, second.range_end));
    }
}
