//! Revisions as keys of bucket `key`, and as the compaction bounds in `meta`.
//!
//! Layout (etcd `server/storage/mvcc/revision.go`): main i64 big endian, `_`, sub i64 big endian; a tombstone has a
//! `t` behind.

use super::Malformed;

const LEN: usize = 17;
const TOMBSTONE_LEN: usize = 18;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// The greatest sub-revision that is read. They count the changes of one transaction, which a request brings whole, and
/// no request is as long as this many would be.
const MAX_SUB: i64 = u32::MAX as i64;

/// The greatest main revision that is read. An etcd ends at the write for which no number is left; one that
/// counts from 1 does not come here in a hundred thousand years of a million writes a second.
const MAX_MAIN: i64 = 1 << 62;

/// A point in the store's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// Number of the transaction; the first one of a user is 2.
    pub main: i64,
    /// Number of the change inside the transaction, from 0.
    pub sub: i64,
}

/// A key of bucket `key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionKey {
    /// When the change was made.
    pub revision: Revision,
    /// Whether the change was a deletion.
    pub tombstone: bool,
}

impl Revision {
    /// The 17 bytes of this revision.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [SEPARATOR; LEN];
        let (main, rest) = bytes.split_at_mut(8);
        main.copy_from_slice(&self.main.to_be_bytes());
        if let Some(sub) = rest.get_mut(1..) {
            sub.copy_from_slice(&self.sub.to_be_bytes());
        }
        bytes
    }

    /// Reads exactly 17 bytes: a value of `scheduledCompactRev` or `finishedCompactRev`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match read(bytes)? {
            RevisionKey { revision, tombstone: false } => Ok(revision),
            RevisionKey { .. } => Err("a revision with a tombstone mark where none belongs".to_owned()),
        }
    }
}

impl RevisionKey {
    /// What stands behind the revision in the key of a tombstone.
    pub const TOMBSTONE: u8 = TOMBSTONE;

    /// Reads the 17 or 18 bytes of a key. What etcd 3.6 panics on is an error here, and what every etcd passes over when
    /// it starts: revisions below 1 (etcd mvcc `kvstore.go: restore`).
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let at = read(bytes)?;
        if at.revision.main == 0 {
            return Err(format!("revision 0_{} comes before the first one, which is 1", at.revision.sub));
        }
        Ok(at)
    }
}

fn read(bytes: &[u8]) -> Result<RevisionKey, Malformed> {
    let (body, tombstone) = match (bytes.len(), bytes.split_last()) {
        (LEN, _) => (bytes, false),
        (TOMBSTONE_LEN, Some((&TOMBSTONE, body))) => (body, true),
        (TOMBSTONE_LEN, Some((mark, _))) => {
            return Err(format!("key of {TOMBSTONE_LEN} bytes ends in {mark:#04x}, not in the tombstone mark 't'"));
        }
        (length, _) => {
            return Err(format!("key of {length} bytes is no revision, which has {LEN} or {TOMBSTONE_LEN}"));
        }
    };
    let (Some((main, rest)), Some((_, sub))) = (body.split_first_chunk::<8>(), body.split_last_chunk::<8>()) else {
        return Err("key too short for a revision".to_owned());
    };
    if rest.first() != Some(&SEPARATOR) {
        return Err("revision has no '_' at byte 8".to_owned());
    }
    let revision = Revision { main: i64::from_be_bytes(*main), sub: i64::from_be_bytes(*sub) };
    if revision.main < 0 || revision.sub < 0 {
        return Err(format!("revision {}_{} is negative", revision.main, revision.sub));
    }
    if revision.main > MAX_MAIN {
        return Err(format!("revision {}_{} leaves no room for later ones", revision.main, revision.sub));
    }
    if revision.sub > MAX_SUB {
        return Err(format!("revision {}_{} has more changes than a transaction", revision.main, revision.sub));
    }
    Ok(RevisionKey { revision, tombstone })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_and_its_tombstone_round_trip() {
        let revision = Revision { main: 4, sub: 1 };
        let mut bytes = revision.to_bytes().to_vec();
        assert_eq!(bytes, b"\0\0\0\0\0\0\0\x04_\0\0\0\0\0\0\0\x01");
        assert_eq!(RevisionKey::parse(&bytes).unwrap(), RevisionKey { revision, tombstone: false });

        bytes.push(b't');

        assert_eq!(RevisionKey::parse(&bytes).unwrap(), RevisionKey { revision, tombstone: true });
        assert!(Revision::parse(&bytes).is_err());
    }

    #[test]
    fn the_greatest_revision_round_trips() {
        let revision = Revision { main: MAX_MAIN, sub: MAX_SUB };
        assert_eq!(RevisionKey::parse(&revision.to_bytes()).unwrap(), RevisionKey { revision, tombstone: false });
    }

    #[test]
    fn a_compaction_at_0_is_what_a_client_may_ask_for() {
        let revision = Revision { main: 0, sub: 0 };
        assert_eq!(Revision::parse(&revision.to_bytes()).unwrap(), revision);
        assert!(RevisionKey::parse(&Revision { main: 1, sub: 0 }.to_bytes()).is_ok());
        assert!(Revision::parse(&Revision { main: MAX_MAIN + 1, sub: 0 }.to_bytes()).is_err());
    }

    #[test]
    fn what_etcd_panics_on_and_what_it_never_writes_is_refused() {
        let good = Revision { main: 4, sub: 1 }.to_bytes();
        for (bytes, word) in [
            (good[..16].to_vec(), "no revision"),
            (Vec::new(), "no revision"),
            ([good.as_slice(), b"x"].concat(), "tombstone mark"),
            ([good.as_slice(), b"tt"].concat(), "no revision"),
            (Revision { main: -1, sub: 0 }.to_bytes().to_vec(), "negative"),
            (Revision { main: 0, sub: 3 }.to_bytes().to_vec(), "before the first one"),
            (Revision { main: MAX_MAIN + 1, sub: 0 }.to_bytes().to_vec(), "no room for later ones"),
            (Revision { main: 1, sub: -1 }.to_bytes().to_vec(), "negative"),
            (Revision { main: 1, sub: MAX_SUB + 1 }.to_bytes().to_vec(), "more changes"),
            (good.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect(), "no '_'"),
        ] {
            let error = RevisionKey::parse(&bytes).unwrap_err();
            assert!(error.contains(word), "{error:?} should say {word:?}");
        }
    }
}
