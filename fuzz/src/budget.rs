//! Bounds the memory that reading one input may take.

use std::alloc::System;

use cap::Cap;

/// The memory of Rust's code. That of libFuzzer and of zstd's C code goes by it; `-rss_limit_mb` sees all of it.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// From now on `base` bytes may be taken, and `factor` bytes for each byte of the input. Who takes more ends the
/// process, which is a finding.
pub fn limit(input: &[u8], base: usize, factor: usize) {
    let most = HEAP.allocated().saturating_add(base).saturating_add(input.len().saturating_mul(factor));
    // Always succeeds: it is more than what is taken already.
    let _ = HEAP.set_limit(most);
}

/// Takes the bound away, for what is done with what was read.
pub fn lift() {
    let _ = HEAP.set_limit(usize::MAX);
}
