//! The extended header of a tar entry in POSIX's (PAX) format.

/// What an extended header changes about the entry after it, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The body is not the file's content but a map of a sparse file.
    pub(super) sparse: bool,
}

/// Reads the records `"<length> <key>=<value>\n"`; of two with one key the later one counts. The error is a
/// clause that says what is wrong.
pub(super) fn parse(mut records: &[u8]) -> Result<Pax, String> {
    let mut pax = Pax::default();
    while !records.is_empty() {
        let (key, value, rest) = split(records).ok_or_else(|| "a PAX record is malformed".to_owned())?;
        records = rest;
        match key {
            b"path" => pax.path = Some(value.to_vec()),
            b"size" => {
                let size = decimal(value).filter(|size| i64::try_from(*size).is_ok());
                pax.size = Some(size.ok_or_else(|| "the size in a PAX record is no number".to_owned())?);
            }
            _ if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
            // Times, owners, comments: nothing that changes name or content.
            _ => {}
        }
    }
    Ok(pax)
}

/// Key and value of the first record, and what follows it.
fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(records.get(..space)?)?).ok()?;
    let (record, rest) = records.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_size_are_taken_and_the_rest_is_passed_over() {
        let pax = parse(b"30 mtime=1700000000.123456789\n19 path=./a=b\nc.db\n18 size=123456789\n").unwrap();
        assert_eq!(Pax { path: Some(b"./a=b\nc.db".to_vec()), size: Some(123_456_789), sparse: false }, pax);
        assert_eq!(Pax::default(), parse(b"").unwrap());
        assert!(parse(b"22 GNU.sparse.major=1\n").unwrap().sparse);
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            b"10 size=1".as_slice(),
            b"10 size=12",
            b"99 size=1\n",
            b"0 a=\n",
            b"3 a=\n",
            b" a=b\n",
            b"+6 a=b\n",
            b"6 a_bc\n",
            b"99999999999999999999 a=b\n",
            b"10 size=x\n",
            b"11 size=-1\n",
            b"28 size=9223372036854775808\n",
            b"\0\0\0",
        ] {
            assert!(parse(records).is_err(), "{}", String::from_utf8_lossy(records));
        }
    }
}
