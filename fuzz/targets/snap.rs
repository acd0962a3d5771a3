//! raft's `.snap` file with etcd's v2 store in it.

#![no_main]

use dcos_etcd::raft::snap;
use dcos_etcd_fuzz::{budget, log, mutator};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator(data, size, max_size, seed, log::mutate_snap)
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
