//! Values that hurt.

use fastrand::Rng;
use libfuzzer_sys::fuzzer_mutate;

/// A value for a field: nothing, one, all, the limits of each width, what was there give or take one, and `others`.
pub fn hostile(rng: &mut Rng, before: u64, others: &[u64]) -> u64 {
    const LIMITS: [u64; 14] = [
        0,
        1,
        2,
        0x7f,
        0xff,
        0x7fff,
        0xfffe,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ];
    match rng.u8(..6) {
        0 | 1 => LIMITS[rng.usize(..LIMITS.len())],
        2 => before.wrapping_add(1),
        3 => before.wrapping_sub(1),
        4 if !others.is_empty() => others[rng.usize(..others.len())],
        _ => before ^ (1 << rng.u32(..64)),
    }
}

/// Changes some bytes as libFuzzer does, which knows what the code compares with.
pub fn mutate_bytes(bytes: &mut Vec<u8>, most: usize) {
    let len = bytes.len();
    bytes.resize(most.max(len).max(1), 0);
    let max = bytes.len();
    let len = fuzzer_mutate(bytes, len, max);
    bytes.truncate(len);
}

/// Overwrites `width` bytes at `at` with the low bytes of `value`, in little-endian order.
pub fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// Reads back what [`put`] writes; 0 where there is nothing.
pub fn get(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut value = [0; 8];
    if let Some(found) = bytes.get(at..at + width) {
        value[..width].copy_from_slice(found);
    }
    u64::from_le_bytes(value)
}
