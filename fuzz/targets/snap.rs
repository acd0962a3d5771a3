//! raft's `.snap` file with etcd's v2 store in it.

#![no_main]

use dcos_etcd::raft::snap;
use dcos_etcd_fuzz::{budget, log};
use fastrand::Rng;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    budget::lift();
    let mut bytes = data[..size].to_vec();
    log::mutate_snap(&mut bytes, max_size, &mut Rng::with_seed(seed.into()));
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
});

fuzz_target!(|bytes: &[u8]| {
    budget::limit(bytes, 1 << 20, 64);
    let Ok(read) = snap::read(bytes) else { return };
    assert!(read.members.is_sorted_by_key(|member| member.id));
    assert!(read.removed.is_sorted());
    for member in &read.members {
        assert!(member.peer_urls.iter().map(String::len).sum::<usize>() <= bytes.len());
    }
});
