//! Whatever holds a snapshot, as an archive of ours or of others: recognised, unpacked, and read at random.

#![no_main]

use std::sync::Arc;

use dcos_etcd::Error;
use dcos_etcd::archive::{RandomArchive, extract, look};
use dcos_etcd::history::Store;
use dcos_etcd::progress::NoProgress;
use dcos_etcd::read_at::ReadAt;
use dcos_etcd::snapshot::{VerifyOptions, verify};
use dcos_etcd_fuzz::{archive, budget, mutator, readers, scratch};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// More is not unpacked: the rest of a bomb is like its beginning.
const MOST: usize = 4 << 20;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator(data, size, max_size, seed, archive::mutate)
});

fuzz_target!(|bytes: &[u8]| {
    let path = scratch::file("archive", bytes);
    // The constants that the docs promise, and what is unpacked here.
    budget::limit(bytes, (96 << 20) + MOST, 16);
    let told = look(&path);
    let mut database = Vec::new();
    let extracted = extract(
        &path,
        &mut |piece| {
            database.extend_from_slice(piece);
            if database.len() > MOST { Err(Error::Interrupted) } else { Ok(()) }
        },
        &NoProgress,
    );
    if let Ok(extracted) = &extracted {
        assert_eq!(extracted.database_len, database.len() as u64);
        assert_eq!(told.as_ref().map(|look| look.kind).ok(), Some(extracted.kind));
    }
    if let Ok(Some(random)) = RandomArchive::open(&path) {
        at_random(&random, extracted.is_ok().then_some(&database));
    }
    if extracted.is_ok() {
        let verified = verify(&path, VerifyOptions::default(), &NoProgress).ok();
        readers::read(&path, verified.as_ref());
    } else {
        let _ = Store::open(&path, &NoProgress).map(Arc::new);
    }
});

/// Reads all of it from the end to the start, where what came out from start to end has to be.
fn at_random(random: &RandomArchive, expected: Option<&Vec<u8>>) {
    let len = random.len();
    let mut buffer = vec![0; 64 << 10];
    let mut end = len.min(MOST as u64);
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let piece = &mut buffer[..usize::try_from(end - start).expect("a buffer's length")];
        // An index may be wrong, and then its blocks are no blocks; but what is read is what is there.
        if random.read_exact_at(piece, start).is_ok()
            && let Some(expected) = expected
        {
            let start = usize::try_from(start).expect("less than is unpacked");
            assert!(expected.get(start..start + piece.len()) == Some(&*piece), "other bytes at random, at {start}");
        }
        end = start;
    }
    assert!(random.read_exact_at(&mut [0; 1], len).is_err());
}
