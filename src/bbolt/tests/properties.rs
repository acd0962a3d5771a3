//! What holds for any content and for any damage.

use std::ops::ControlFlow;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::super::{Append, Bucket, Builder, Database, Entry, Patch};
use super::{Buckets, apply, as_entries, clean, judge, sample};
use crate::bbolt::build;

fn contents() -> impl Strategy<Value = Buckets> {
    let key = prop_oneof![8 => vec(any::<u8>(), 1..20), 1 => vec(any::<u8>(), 1..700)];
    let value = prop_oneof![8 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 0..3000)];
    btree_map(vec(any::<u8>(), 1..12), btree_map(key, value, 0..80), 0..8)
}

fn builder() -> impl Strategy<Value = Builder> {
    let page_size = prop_oneof![Just(512_u32), Just(1024), Just(4096), Just(16384), Just(65536)];
    (page_size, any::<bool>(), proptest::option::of(0_u64..200), 0_u64..3).prop_map(|(size, inline, free, sequence)| {
        let builder = Builder::new(size).sequence(sequence);
        let builder = if inline { builder } else { builder.without_inline() };
        free.map_or(builder.clone(), |free| builder.freelist(free))
    })
}

fn patches() -> impl Strategy<Value = (Patch, Vec<u8>)> {
    let entries = btree_map(vec(any::<u8>(), 1..12), vec(any::<u8>(), 0..200), 0..20);
    let entries = entries.prop_map(|entries| entries.into_iter().collect::<Vec<Entry>>());
    let replace = btree_map(vec(any::<u8>(), 1..12), entries, 0..4);
    (replace, vec(any::<u8>(), 0..5000)).prop_map(|(replace, value)| (Patch { replace, append: None }, value))
}

fn first_from(db: &Database<&Vec<u8>>, bucket: &Bucket, from: &[u8]) -> Option<Vec<u8>> {
    let mut first = None;
    db.for_each_from(bucket, from, &mut |element| {
        first = Some(element.key.to_vec());
        ControlFlow::Break(())
    })
    .unwrap();
    first
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_built_is_sound_and_reads_back(buckets in contents(), builder in builder()) {
        let bytes = builder.build(&buckets).unwrap();
        let expected = as_entries(&buckets);
        prop_assert_eq!(clean(&bytes), expected.clone());
        let db = Database::open(&bytes).unwrap();
        let found = db.buckets().unwrap();
        prop_assert_eq!(found.len(), expected.len());
        for bucket in &found {
            let entries = &expected[bucket.name()];
            prop_assert_eq!(&db.entries(bucket).unwrap(), entries);
            prop_assert_eq!(db.last(bucket).unwrap(), entries.last().cloned());
            prop_assert_eq!(db.bucket(bucket.name()).unwrap(), Some(bucket.clone()));
            for (at, (key, value)) in entries.iter().enumerate() {
                prop_assert_eq!(db.get(bucket, key).unwrap(), Some(value.clone()));
                for (from, at) in [(key.clone(), at), ([key.as_slice(), b"\0"].concat(), at + 1)] {
                    let expected = entries.iter().map(|(key, _)| key).skip(at).find(|key| **key >= from).cloned();
                    prop_assert_eq!(first_from(&db, bucket, &from), expected);
                }
            }
            let mut all = Vec::new();
            db.for_each_from(bucket, b"", &mut |element| {
                all.push((element.key.to_vec(), element.value.to_vec()));
                ControlFlow::Continue(())
            }).unwrap();
            prop_assert_eq!(&all, entries);
        }
    }

    #[test]
    fn what_is_patched_is_sound_and_holds_the_patch(
        buckets in contents(),
        builder in builder(),
        (mut patch, value) in patches(),
        choice in any::<prop::sample::Index>(),
    ) {
        let bytes = builder.build(&buckets).unwrap();
        let mut expected = as_entries(&buckets);
        expected.extend(patch.replace.clone());
        if !expected.is_empty() {
            let bucket = expected.keys().nth(choice.index(expected.len())).unwrap().clone();
            let entries = expected.get_mut(&bucket).unwrap();
            let mut key = entries.last().map_or_else(Vec::new, |(key, _)| key.clone());
            key.push(0);
            entries.push((key.clone(), value.clone()));
            patch.append = Some(Append { bucket, key, value });
        }
        let patched = apply(&bytes, &patch);
        prop_assert_eq!(clean(&patched), expected.clone());
        // And once more, on a file that is patched already.
        prop_assert_eq!(clean(&apply(&patched, &Patch::default())), expected);
    }

    #[test]
    fn flipped_bytes_never_panic_nor_hand_out_more_than_there_is(
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        free in any::<bool>(),
    ) {
        let builder = Builder::new(512);
        let mut bytes = if free { builder.freelist(9) } else { builder }.build(&sample()).unwrap();
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        survive(&bytes);
    }

    #[test]
    fn a_truncated_file_never_opens(length in any::<prop::sample::Index>()) {
        let mut bytes = build(512, &sample());
        bytes.truncate(length.index(bytes.len()));
        prop_assert!(Database::open(bytes).is_err());
    }

    #[test]
    fn any_bytes_at_all_never_panic(bytes in vec(any::<u8>(), 0..4096)) {
        survive(&bytes);
    }
}

/// Everything that can be asked of a file, whatever it answers.
pub(super) fn survive(bytes: &Vec<u8>) {
    let Ok(db) = Database::open(bytes) else { return };
    let (seen, walked) = judge(bytes).unwrap();
    assert!(seen.bytes <= bytes.len() as u64, "{} bytes out of {}", seen.bytes, bytes.len());
    assert!(walked.pages_reachable <= walked.pages);
    let buckets = db.buckets().unwrap_or_default();
    let before = seen.defects.is_empty();
    for bucket in &buckets {
        let (entries, last) = (db.entries(bucket), db.last(bucket));
        assert!(!before || (entries.is_ok() && last.is_ok()), "a sound database is readable");
        let _ = db.get(bucket, b"k");
        let append = Some(Append { bucket: bucket.name().to_vec(), key: vec![0xff; 30], value: vec![] });
        let rendered = Patch { append, ..Patch::default() }.render(&db);
        // The key need not be the greatest, and there is no transaction after the last one.
        let refused = rendered.err().map_or("", |defect| defect.code);
        assert!(!before || ["", "append-order", "too-large"].contains(&refused), "{refused}");
    }
}
