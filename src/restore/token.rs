//! The token that members derive from what they are restored from, and how.

use sha2::{Digest as _, Sha256};

use super::options::RestoreOptions;
use super::rewrite::{Repairs, Rewrite};
use crate::hex::hex;

/// Bytes of the digest that tells of a changed content: enough that two ways to change it differ.
const DIGEST_LEN: usize = 8;

/// What lengthens the token: `-` and the SHA-256 of the snapshot's database in hex, and where `options` change what that
/// holds, `-` and a digest of how.
///
/// Members that were restored with different content would be told apart by nobody: they agree on the revision, and go
/// on as one cluster. So they must not have one identity. The digest is of the options in one spelling, whatever the
/// order in which they were given; a revision that is the snapshot's own, `current_revision`, is none, and `--compact`
/// changes no content.
pub(super) fn suffix(options: &RestoreOptions, sha256: &str, current_revision: i64) -> String {
    let changes = changes(options, current_revision);
    if changes.is_empty() {
        return format!("-{sha256}");
    }
    let digest = Sha256::digest(&changes);
    format!("-{sha256}-{}", hex(digest.get(..DIGEST_LEN).unwrap_or_default()))
}

/// The options that change the content, each as its name, the number of its values, and these with their lengths; nothing
/// where none does.
fn changes(options: &RestoreOptions, current_revision: i64) -> Vec<u8> {
    let Rewrite { revision, prefixes, exclude_prefixes, compact: _, repairs } = &options.rewrite;
    let Repairs { clear_alarms, disable_auth, drop_leases } = *repairs;
    let revision = revision.filter(|revision| *revision != current_revision).map(i64::to_be_bytes);
    let bump = options.bump_revision.map(u64::to_be_bytes);
    let mut changes = Vec::new();
    let mut add = |name: &str, values: &[&[u8]]| {
        if !values.is_empty() {
            for part in [&[name.as_bytes(), &(values.len() as u64).to_be_bytes()], values].concat() {
                changes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                changes.extend_from_slice(part);
            }
        }
    };
    let yes: &[&[u8]] = &[&[]];
    let flag = |given: bool| if given { yes } else { &[] };
    add("revision", revision.as_ref().map(<[u8; 8]>::as_slice).as_slice());
    add("prefix", &least(prefixes));
    add("exclude-prefix", &least(exclude_prefixes));
    add("drop-leases", flag(drop_leases));
    add("disable-auth", flag(disable_auth));
    add("clear-alarms", flag(clear_alarms));
    add("bump-revision", bump.as_ref().map(<[u8; 8]>::as_slice).as_slice());
    changes
}

/// The fewest prefixes that say the same, sorted: none that begins with another one.
fn least(prefixes: &[Vec<u8>]) -> Vec<&[u8]> {
    let mut least: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
    least.sort_unstable();
    least.dedup_by(|next, kept| next.starts_with(kept));
    least
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::raft::Bootstrap;
    use crate::restore::Existing;

    fn options(rewrite: Rewrite) -> RestoreOptions {
        RestoreOptions {
            data_dir: "m".into(),
            existing: Existing::Refuse,
            carry_over: Vec::new(),
            owner: None,
            wal_dir: None,
            bootstrap: Bootstrap {
                name: String::new(),
                initial_cluster: String::new(),
                initial_advertise_peer_urls: String::new(),
                initial_cluster_token: String::new(),
            },
            derive_token: true,
            bump_revision: None,
            mark_compacted: false,
            skip_hash_check: false,
            rewrite,
            dry_run: false,
        }
    }

    fn token(rewrite: Rewrite) -> String {
        suffix(&options(rewrite), "abc", 20)
    }

    fn prefixes(listed: &[&str]) -> Vec<Vec<u8>> {
        listed.iter().map(|prefix| prefix.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_changes_no_content_leaves_the_token_to_the_snapshot() {
        for plain in [
            Rewrite::default(),
            Rewrite { compact: true, ..Rewrite::default() },
            Rewrite { revision: Some(20), ..Rewrite::default() },
        ] {
            assert_eq!(token(plain), "-abc");
        }
    }

    #[test]
    fn each_way_to_change_the_content_has_a_token_of_its_own() {
        let repairs = |clear_alarms, disable_auth, drop_leases| Rewrite {
            repairs: Repairs { clear_alarms, disable_auth, drop_leases },
            ..Rewrite::default()
        };
        let rewrites = [
            Rewrite::default(),
            Rewrite { revision: Some(19), ..Rewrite::default() },
            Rewrite { revision: Some(18), ..Rewrite::default() },
            Rewrite { prefixes: prefixes(&["/a"]), ..Rewrite::default() },
            Rewrite { prefixes: prefixes(&["/a", "/b"]), ..Rewrite::default() },
            Rewrite { prefixes: prefixes(&["/a/b"]), ..Rewrite::default() },
            Rewrite { exclude_prefixes: prefixes(&["/a"]), ..Rewrite::default() },
            Rewrite { exclude_prefixes: prefixes(&["/b"]), prefixes: prefixes(&["/a"]), ..Rewrite::default() },
            repairs(true, false, false),
            repairs(false, true, false),
            repairs(false, false, true),
            repairs(true, true, true),
        ];
        let mut tokens: BTreeSet<String> = rewrites.iter().cloned().map(token).collect();
        for by in [1, 2] {
            tokens.insert(suffix(
                &RestoreOptions { bump_revision: Some(by), ..options(Rewrite::default()) },
                "abc",
                20,
            ));
        }

        assert_eq!(tokens.len(), rewrites.len() + 2);
        assert!(tokens.iter().filter(|token| *token != "-abc").all(|token| token.len() == "-abc-".len() + 16));
    }

    #[test]
    fn the_token_is_the_same_in_every_release() {
        // Masters may be restored by different ones.
        let rewrite =
            Rewrite { revision: Some(19), prefixes: prefixes(&["/b", "/a"]), compact: true, ..Rewrite::default() };

        assert_eq!(token(rewrite), "-abc-e6945f2fe4542d08");
    }

    #[test]
    fn the_same_options_spelled_otherwise_give_the_same_token() {
        let one = Rewrite {
            revision: Some(19),
            prefixes: prefixes(&["/b", "/a"]),
            exclude_prefixes: prefixes(&["/a/x"]),
            ..Rewrite::default()
        };
        let other = Rewrite {
            prefixes: prefixes(&["/a", "/b", "/a", "/b/c"]),
            exclude_prefixes: prefixes(&["/a/x/y", "/a/x"]),
            compact: true,
            ..one.clone()
        };

        assert_eq!(token(one), token(other));
    }
}
