//! Which keys a read is about, in etcd's conventions.

use std::ops::Bound;

/// Keys from `start` on, below `end`.
///
/// Never the empty key: no client can write it, and only the marker of a revision bump lies under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

/// The least key that there can be; as a range end it stands for no end at all.
const NUL: &[u8] = b"\0";

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: NUL.to_vec(), end: None }
    }

    /// `key` alone; nothing when it is empty.
    #[must_use]
    pub fn one(key: &[u8]) -> Self {
        Self::bounded(key.to_vec(), Some([key, NUL].concat()))
    }

    /// The keys that begin with `prefix`; all of them when it is empty.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let end = prefix.iter().rposition(|byte| *byte < u8::MAX).and_then(|last| {
            let mut end = prefix.get(..=last)?.to_vec();
            let byte = end.last_mut()?;
            *byte = byte.saturating_add(1);
            Some(end)
        });
        Self::bounded(prefix.to_vec(), end)
    }

    /// What etcd reads for `start` as key and `end` as range end: below `end`, where one NUL stands for no end. Without
    /// `end` there is none either.
    #[must_use]
    pub fn between(start: &[u8], end: Option<&[u8]>) -> Self {
        Self::bounded(start.to_vec(), end.filter(|end| *end != NUL).map(<[u8]>::to_vec))
    }

    fn bounded(start: Vec<u8>, end: Option<Vec<u8>>) -> Self {
        Self { start: if start.is_empty() { NUL.to_vec() } else { start }, end }
    }

    /// Every key and the marker of a revision bump too.
    pub(super) fn with_marker() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    /// The least key.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key that does not belong any more; `None` for no end.
    #[must_use]
    pub fn end_key(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Where the range ends.
    #[must_use]
    pub fn end(&self) -> Bound<&[u8]> {
        self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_can_be_raised() {
        for (prefix, inside, outside) in [
            (&b"/a"[..], &[&b"/a"[..], b"/a\0", b"/a\xff\xff"][..], &[&b"/"[..], b"/b", b"/A"][..]),
            (b"a\xff", &[b"a\xff", b"a\xff\xff"], &[b"a\xfe", b"b"]),
            (b"\xff\xff", &[b"\xff\xff", b"\xff\xff\xff"], &[b"\xff", b"\xff\xfe"]),
            (b"", &[b"\0", b"a", b"\xff"], &[b""]),
        ] {
            let range = KeyRange::prefix(prefix);
            assert!(inside.iter().all(|key| range.contains(key)), "{prefix:?}");
            assert!(!outside.iter().any(|key| range.contains(key)), "{prefix:?}");
        }
    }

    #[test]
    fn one_nul_as_the_end_is_no_end() {
        let range = KeyRange::between(b"b", Some(b"\0"));

        assert!(range.contains(b"b") && range.contains(b"\xff\xff") && !range.contains(b"a"));
        assert_eq!(KeyRange::between(b"b", None), range);
        assert!(!KeyRange::between(b"b", Some(b"b")).contains(b"b"));
        assert!(!KeyRange::between(b"b", Some(b"a")).contains(b"a"));
    }

    #[test]
    fn the_empty_key_is_in_no_range() {
        for range in [KeyRange::all(), KeyRange::prefix(b""), KeyRange::between(b"", None), KeyRange::one(b"")] {
            assert!(!range.contains(b""));
        }
        assert!(!KeyRange::one(b"").contains(b"\0"));
    }

    #[test]
    fn one_key_is_a_range_of_its_own() {
        let range = KeyRange::one(b"a");

        assert!(range.contains(b"a") && !range.contains(b"a\0") && !range.contains(b"b"));
    }
}
