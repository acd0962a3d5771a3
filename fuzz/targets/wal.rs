//! The write-ahead log, in segments one behind the other (`dcos_etcd_fuzz::log::SEGMENT`), read alone and as a member's.

#![no_main]

use std::fs;

use dcos_etcd::data_dir::inspect;
use dcos_etcd::progress::NoProgress;
use dcos_etcd::raft::wal::read_dir;
use dcos_etcd_fuzz::{budget, log, mutator, scratch};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator(data, size, max_size, seed, log::mutate)
});

fuzz_target!(|bytes: &[u8]| {
    let member = scratch::empty("wal.etcd");
    let directory = member.join("member/wal");
    fs::create_dir_all(&directory).expect("there is room for temporary files");
    for (sequence, (index, segment)) in log::segments(bytes).into_iter().take(8).enumerate() {
        let path = directory.join(format!("{sequence:016x}-{index:016x}.wal"));
        fs::write(path, segment).expect("there is room for temporary files");
    }
    budget::limit(bytes, 4 << 20, 64);
    let wal = read_dir(&directory).expect("files in memory can be read");
    assert!(wal.defects.len() <= 1_000);
    // Of the newest segment alone, and behind what counts of it.
    let torn = wal.torn.as_ref().and_then(|torn| torn.offset);
    assert!(torn.is_none_or(|at| wal.segments.last().is_some_and(|segment| (segment.used..segment.len).contains(&at))));
    assert!(wal.segments.iter().all(|segment| segment.used <= segment.len));
    assert!(wal.valid_snapshots().count() <= wal.snapshots.len());
    assert!(wal.conf_changes.is_sorted_by_key(|change| change.index));
    assert!(wal.entries == 0 || wal.first_index <= wal.last_index || !wal.defects.is_empty());
    inspect(&member, None, false, &NoProgress).expect("damage is a defect, never an error");
});
