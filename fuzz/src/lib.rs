//! What the fuzz targets share: budgets, files to read from, and mutations that checksums don't stop.
//!
//! An input is always a file as an operator may have it, so that a finding can be handed to `dcos-etcdctl` as it is. The
//! mutators put checksums right after they have changed something; the targets change nothing.

pub mod archive;
pub mod budget;
pub mod chance;
pub mod database;
pub mod log;
pub mod readers;
pub mod scratch;

use fastrand::Rng;

/// What every `fuzz_mutator!` does around `change`, which gets the bytes and how many they may become; gives how many
/// there are in `data` then.
pub fn mutator(
    data: &mut [u8],
    size: usize,
    most: usize,
    seed: u32,
    change: impl FnOnce(&mut Vec<u8>, usize, &mut Rng),
) -> usize {
    budget::lift();
    let mut bytes = data[..size].to_vec();
    change(&mut bytes, most, &mut Rng::with_seed(seed.into()));
    bytes.truncate(most);
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}
