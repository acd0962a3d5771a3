//! `manifest.json`: where a snapshot came from, and what it must be.

use std::io;

use serde::{Deserialize, Serialize};

use crate::defect::Defect;

/// The version of the manifest that this crate writes, and the greatest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Largest manifest that is read, in bytes: a snapshot of 1 TiB stays below it.
pub(super) const LONGEST: u64 = 16 << 20;

/// Where a snapshot came from, and what it must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// When the stream was opened: RFC 3339, UTC.
    pub created_at: String,
    /// What wrote the archive: `dcos-etcd 0.1.0`.
    pub tool: String,
    /// Whom it came from, as the caller named it.
    pub endpoint: String,
    /// Hexadecimal, as etcd prints ids.
    pub cluster_id: String,
    /// Hexadecimal, as etcd prints ids; empty where it is not known which member sent the snapshot.
    pub member_id: String,
    /// Version of the server; empty where it is not known.
    pub etcd_version: String,
    /// Storage version of the database; empty before etcd 3.6.
    pub storage_version: String,
    /// Revision of the member when the stream was opened; the snapshot holds at least it. 0 where it is not known.
    pub revision: i64,
    /// Raft term at that time.
    pub raft_term: u64,
    /// Raft index at that time; 0 where it is not known.
    pub raft_index: u64,
    /// The members of the cluster at that time.
    pub members: Vec<ManifestMember>,
    /// Bytes of the database, its hash excluded.
    pub size: u64,
    /// SHA-256 of the database, hexadecimal.
    pub sha256: String,
}

/// A member of the cluster that was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestMember {
    /// Hexadecimal, as etcd prints ids.
    pub id: String,
    /// Empty for a member that has not started yet.
    pub name: String,
    /// URLs for the other members.
    pub peer_urls: Vec<String>,
    /// URLs for clients.
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    pub is_learner: bool,
}

/// How the archive is cut, for readers that want a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blocks {
    /// Bytes of the tar stream in each block.
    pub(super) size: u64,
    /// Offsets in the file of the blocks of the snapshot and of the one with the manifest. Absent for zstd, whose
    /// seek table says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) offsets: Vec<u64>,
    /// CRC-32 of what each block of the snapshot holds, as gzip has it of the whole. Absent for zstd, whose frames have
    /// a checksum each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) crc32: Vec<u32>,
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

#[derive(Deserialize)]
struct Cut {
    #[serde(default)]
    blocks: Option<Blocks>,
}

/// The file as it goes into the archive. `blocks` stays on one line, since it may have thousands of numbers.
pub(super) fn render(manifest: &Manifest, blocks: &Blocks) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_string_pretty(manifest)?;
    let end = text.trim_end_matches(['}', '\n']).len();
    text.truncate(end);
    text.push_str(",\n  \"blocks\": ");
    text.push_str(&serde_json::to_string(blocks)?);
    text.push_str("\n}\n");
    Ok(text.into_bytes())
}

/// Reads a manifest. Fields that it does not know are passed over: a later writer of the same format version may
/// add some.
pub(super) fn parse(bytes: &[u8]) -> Result<(Manifest, Option<Blocks>), Defect> {
    let syntax =
        |error: serde_json::Error| Defect::new("manifest-syntax", format!("manifest.json in the tar stream: {error}"));
    let Version { format_version } = serde_json::from_slice(bytes).map_err(syntax)?;
    if !(1..=FORMAT_VERSION).contains(&format_version) {
        let message = format!(
            "manifest.json in the tar stream has format version {format_version}, this release reads up to {FORMAT_VERSION}"
        );
        return Err(Defect::new("manifest-version", message));
    }
    // One pass each: serde's `flatten` would hold every unknown field in memory, at many times its length.
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(syntax)?;
    if !is_utc(&manifest.created_at) {
        let message =
            format!("manifest.json: created_at is {:?}, no time as in 2026-11-22T23:00:00Z", manifest.created_at);
        return Err(Defect::new("manifest-time", message));
    }
    let Cut { blocks } = serde_json::from_slice(bytes).map_err(syntax)?;
    Ok((manifest, blocks))
}

/// Whether `text` is a moment that exists, in RFC 3339 with `Z`, with a fraction of six digits at the most.
fn is_utc(text: &str) -> bool {
    let Some((seconds, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_at_checked(19)) else {
        return false;
    };
    let shape: String = seconds.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let fits = match fraction.strip_prefix('.') {
        Some(digits) => (1..=6).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()),
        None => fraction.is_empty(),
    };
    if shape != "0000-00-00T00:00:00" || !fits {
        return false;
    }
    let numbers: Vec<u32> = seconds.split(['-', 'T', ':']).filter_map(|number| number.parse().ok()).collect();
    let &[year, month, day, hour, minute, second] = numbers.as_slice() else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    year > 0 && (1..=12).contains(&month) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn example() -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            created_at: "2026-11-22T23:00:00Z".into(),
            tool: "dcos-etcd 0.1.0".into(),
            endpoint: "https://10.0.0.1:2379".into(),
            cluster_id: "cdf818194e3a8c32".into(),
            member_id: "8e9e05c52164694d".into(),
            etcd_version: "3.5.30".into(),
            storage_version: String::new(),
            revision: 42,
            raft_term: 3,
            raft_index: u64::MAX,
            members: vec![ManifestMember {
                id: "8e9e05c52164694d".into(),
                name: "}\n".into(),
                peer_urls: vec!["https://10.0.0.1:2380".into()],
                client_urls: vec![],
                is_learner: false,
            }],
            size: 1 << 40,
            sha256: "00".repeat(32),
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        for offsets in [vec![], vec![10, 500, u64::MAX]] {
            let blocks = Blocks { size: 1 << 20, offsets, crc32: vec![u32::MAX, 0] };
            let text = render(&example(), &blocks).unwrap();
            assert!(text.ends_with(b"}\n"));
            assert_eq!((example(), Some(blocks)), parse(&text).unwrap());
        }
        let plain = serde_json::to_vec(&example()).unwrap();
        assert_eq!((example(), None), parse(&plain).unwrap());
    }

    #[test]
    fn unknown_fields_are_passed_over_and_newer_versions_refused() {
        let text = String::from_utf8(serde_json::to_vec(&example()).unwrap()).unwrap();
        let later = text.replacen('{', "{\"mood\": [1, {}],", 1);
        assert_eq!((example(), None), parse(later.as_bytes()).unwrap());

        for version in ["0", "2"] {
            let newer = text.replacen("\"format_version\":1", &format!("\"format_version\":{version}"), 1);
            assert_eq!("manifest-version", parse(newer.as_bytes()).unwrap_err().code);
        }
    }

    #[test]
    fn moments_that_exist_are_taken_for_times() {
        for text in
            ["2026-11-22T23:00:00Z", "2024-02-29T00:00:00Z", "2000-02-29T23:59:59.5Z", "9999-12-31T23:59:59.123456Z"]
        {
            assert!(is_utc(text), "{text}");
        }
    }

    #[test]
    fn a_manifest_with_another_time_is_refused() {
        let text = String::from_utf8(serde_json::to_vec(&example()).unwrap()).unwrap();
        for time in [
            "",
            "yesterday",
            "2026-11-22T23:00:00",
            "2026-11-22 23:00:00Z",
            "2026-11-22T23:00:00+01:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567Z",
            "2026-01-01T00:00:0\u{e9}Z",
        ] {
            let other = text.replacen("2026-11-22T23:00:00Z", time, 1);
            assert_eq!("manifest-time", parse(other.as_bytes()).unwrap_err().code, "{time}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let nested = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for bytes in [b"".as_slice(), b"{}", b"[]", b"{\"format_version\": 1}", b"\xff", &nested] {
            assert_eq!("manifest-syntax", parse(bytes).unwrap_err().code);
        }
    }
}
