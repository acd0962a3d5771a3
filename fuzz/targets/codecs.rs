//! gzip and zstd alone: what comes out is what another decoder makes of it.

#![no_main]

use std::io::Read;

use dcos_etcd::Error;
use dcos_etcd::archive::extract;
use dcos_etcd::progress::NoProgress;
use dcos_etcd_fuzz::{budget, chance, mutator, scratch};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// More is not unpacked.
const MOST: usize = 1 << 20;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator(data, size, max_size, seed, |bytes, most, rng| {
        dcos_etcd_fuzz::archive::mutate_codec(bytes, most, rng);
        if rng.u8(..8) == 0 {
            chance::mutate_bytes(bytes, most);
        }
    })
});

fuzz_target!(|bytes: &[u8]| {
    let path = scratch::file("codec", bytes);
    budget::limit(bytes, (64 << 20) + MOST, 16);
    let mut content = Vec::new();
    let extracted = extract(
        &path,
        &mut |piece| {
            content.extend_from_slice(piece);
            if content.len() > MOST { Err(Error::Interrupted) } else { Ok(()) }
        },
        &NoProgress,
    );
    let Ok(extracted) = extracted else { return };
    if !extracted.kind.as_str().starts_with("db.") {
        return;
    }
    let mut expected = Vec::new();
    let read = if extracted.kind.as_str() == "db.gz" {
        inflated(bytes, &mut expected)
    } else {
        zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut expected)).is_ok()
    };
    assert!(read, "another decoder refuses what was unpacked");
    expected.truncate(content.len());
    assert!(content == expected, "another decoder unpacks other bytes");
});

/// Inflates the members of a gzip file with a decoder that has nothing in common with ours.
fn inflated(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = bytes;
    while rest.starts_with(&[0x1f, 0x8b]) {
        let Some(start) = member_data(rest) else { return false };
        let mut inflater = miniz_oxide::inflate::stream::InflateState::new_boxed(miniz_oxide::DataFormat::Raw);
        let mut at = start;
        loop {
            let mut piece = [0; 4096];
            let result = miniz_oxide::inflate::stream::inflate(
                &mut inflater,
                &rest[at..],
                &mut piece,
                miniz_oxide::MZFlush::None,
            );
            at += result.bytes_consumed;
            out.extend_from_slice(&piece[..result.bytes_written]);
            match result.status {
                Ok(miniz_oxide::MZStatus::StreamEnd) => break,
                Ok(_) if result.bytes_consumed + result.bytes_written > 0 => {}
                _ => return false,
            }
        }
        let Some(next) = rest.get(at + 8..) else { return false };
        rest = next;
    }
    true
}

/// Where a member's deflate stream begins.
fn member_data(member: &[u8]) -> Option<usize> {
    let flags = *member.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes(member.get(at..at + 2)?.try_into().ok()?));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += member.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= member.len()).then_some(at)
}
