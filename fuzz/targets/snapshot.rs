//! A bare database with its SHA-256: what `verify` accepts, every reader reads, and every restore restores.

#![no_main]

use dcos_etcd::progress::NoProgress;
use dcos_etcd::snapshot::{VerifyOptions, verify};
use dcos_etcd_fuzz::{budget, database, readers, scratch};
use fastrand::Rng;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    budget::lift();
    let mut bytes = data[..size].to_vec();
    database::mutate(&mut bytes, max_size, &mut Rng::with_seed(seed.into()));
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
});

fuzz_target!(|bytes: &[u8]| {
    let path = scratch::file("snapshot.db", bytes);
    budget::limit(bytes, 32 << 20, 64);
    let verified = verify(&path, VerifyOptions { skip_hash_check: bytes.len() % 512 == 0 }, &NoProgress).ok();
    readers::read(&path, verified.as_ref());
    if let Some(report) = verified {
        readers::restored(&path, &report, crc32c::crc32c(bytes));
    }
});
