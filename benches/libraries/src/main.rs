//! Codecs and checksums on one database, on one thread: `cargo run --release -- FILE [MIB] [ROUNDS] [NAME]`.
//!
//! Takes MIB mebibytes (256 when not told) that lie evenly in the file, in blocks of 1 MiB as the archives have them, and
//! does with each library whose name contains NAME what this project would do with it. Prints the best of ROUNDS (3) rounds
//! as Markdown: speeds in MB (10^6 bytes) of input a second, and how many times smaller the result is.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use sha2::Digest;

type Answer<T> = Result<T, Box<dyn Error>>;

const BLOCK: usize = 1 << 20;

/// Compresses one block of a stream into an empty buffer.
type Pack = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> Answer<()>>;

/// Brings it back; the buffer has the length of the block.
type Unpack = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> Answer<()>>;

/// Digests a block.
type Digester = Box<dyn FnMut(&[u8])>;

fn main() -> Answer<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which file?")?;
    let blocks = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let rounds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let wanted = arguments.next().unwrap_or_default();
    let data = sample(&path, blocks)?;
    println!("{} MiB of {path}, best of {rounds} rounds\n", data.len());
    println!("| library and level         | pack, MB/s | unpack, MB/s | times smaller |");
    println!("| ------------------------- | ---------: | -----------: | ------------: |");
    for (name, mut pack, mut unpack) in codecs()?.into_iter().filter(|codec| codec.0.contains(&wanted)) {
        codec(&name, &data, rounds, &mut pack, &mut unpack)?;
    }
    println!("\n| checksum                  |       MB/s |");
    println!("| ------------------------- | ---------: |");
    for (name, mut digest) in digests().into_iter().filter(|digest| digest.0.contains(&wanted)) {
        let best = best(rounds, || {
            data.iter().for_each(|block| digest(block));
            Ok(())
        })?;
        println!("| {name:25} | {:10.0} |", megabytes(&data) / best);
    }
    Ok(())
}

fn sample(path: &str, blocks: usize) -> Answer<Vec<Vec<u8>>> {
    let file = File::open(path)?;
    let all = usize::try_from(file.metadata()?.len())? / BLOCK;
    let blocks = blocks.min(all).max(1);
    let read = |number: usize| {
        let mut block = vec![0; BLOCK];
        file.read_exact_at(&mut block, (number * all / blocks * BLOCK) as u64).map(|()| block)
    };
    Ok((0..blocks).map(read).collect::<Result<_, _>>()?)
}

fn megabytes(data: &[Vec<u8>]) -> f64 {
    data.iter().map(|block| block.len() as f64 / 1e6).sum()
}

fn best(rounds: usize, mut work: impl FnMut() -> Answer<()>) -> Answer<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let started = Instant::now();
        work()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn codec(name: &str, data: &[Vec<u8>], rounds: usize, pack: &mut Pack, unpack: &mut Unpack) -> Answer<()> {
    let mut packed: Vec<Vec<u8>> = data.iter().map(|_| Vec::with_capacity(BLOCK + BLOCK / 8)).collect();
    let packing = best(rounds, || {
        data.iter().zip(&mut packed).try_for_each(|(block, packed)| {
            packed.clear();
            pack(block, packed)
        })
    })?;
    let mut back = vec![0; BLOCK];
    let unpacking = best(rounds, || packed.iter().try_for_each(|block| unpack(block, &mut back)))?;
    for (block, packed) in data.iter().zip(&packed) {
        unpack(packed, &mut back)?;
        if *block != back {
            return Err(format!("{name} does not give back what it took").into());
        }
    }
    let ratio = megabytes(data) / megabytes(&packed);
    let [packing, unpacking] = [packing, unpacking].map(|seconds| megabytes(data) / seconds);
    println!("| {name:25} | {packing:10.0} | {unpacking:12.0} | {ratio:13.2} |");
    Ok(())
}

fn codecs() -> Answer<Vec<(String, Pack, Unpack)>> {
    let mut all: Vec<(String, Pack, Unpack)> = Vec::new();
    for level in 1..=6 {
        all.push((format!("zlib-rs {level}"), zlib_rs(level, 15), Box::new(inflate)));
    }
    for (level, window) in [(2, 13), (3, 12), (3, 13), (3, 14)] {
        all.push((format!("zlib-rs {level}, 2^{window}"), zlib_rs(level, window), Box::new(inflate)));
    }
    for level in [1, 3, 6] {
        all.push((format!("miniz_oxide {level}"), miniz(level), Box::new(inflate_miniz)));
    }
    for level in [1, 2, 3, 4, 6] {
        all.push((format!("libdeflate {level}"), libdeflate(level)?, inflate_libdeflate()));
    }
    for level in [-1, 1, 2, 3, 4, 6] {
        all.push((format!("zstd {level}"), zstd(level)?, unzstd()?));
    }
    Ok(all)
}

/// As in the archives: a fresh compressor, a sync flush at the end.
fn zlib_rs(level: u32, window: u8) -> Pack {
    Box::new(move |block, packed| {
        let mut compress = Compress::new_with_window_bits(Compression::new(level), false, window);
        packed.reserve(block.len() + block.len() / 16 + 64);
        compress.compress_vec(block, packed, FlushCompress::Sync)?;
        Ok(())
    })
}

fn inflate(packed: &[u8], back: &mut Vec<u8>) -> Answer<()> {
    back.clear();
    Decompress::new(false).decompress_vec(packed, back, FlushDecompress::None)?;
    Ok(())
}

fn miniz(level: u8) -> Pack {
    Box::new(move |block, packed| {
        *packed = miniz_oxide::deflate::compress_to_vec(block, level);
        Ok(())
    })
}

fn inflate_miniz(packed: &[u8], back: &mut Vec<u8>) -> Answer<()> {
    *back = miniz_oxide::inflate::decompress_to_vec(packed).map_err(|error| format!("{error:?}"))?;
    Ok(())
}

fn libdeflate(level: i32) -> Answer<Pack> {
    let level = libdeflater::CompressionLvl::new(level).map_err(|error| format!("{error:?}"))?;
    let mut compressor = libdeflater::Compressor::new(level);
    Ok(Box::new(move |block, packed| {
        packed.resize(compressor.deflate_compress_bound(block.len()), 0);
        let len = compressor.deflate_compress(block, packed)?;
        packed.truncate(len);
        Ok(())
    }))
}

fn inflate_libdeflate() -> Unpack {
    let mut decompressor = libdeflater::Decompressor::new();
    Box::new(move |packed, back| {
        back.resize(BLOCK, 0);
        decompressor.deflate_decompress(packed, back)?;
        Ok(())
    })
}

/// As in the archives: one frame a block, with a checksum.
fn zstd(level: i32) -> Answer<Pack> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    Ok(Box::new(move |block, packed| {
        packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
        compressor.compress_to_buffer(block, packed)?;
        Ok(())
    }))
}

fn unzstd() -> Answer<Unpack> {
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    Ok(Box::new(move |packed, back| {
        back.clear();
        decompressor.decompress_to_buffer(packed, back)?;
        Ok(())
    }))
}

fn digests() -> Vec<(&'static str, Digester)> {
    let mut streaming = sha2::Sha256::new();
    let mut ringing = ring::digest::Context::new(&ring::digest::SHA256);
    vec![
        ("SHA-256, sha2", Box::new(move |block| streaming.update(block))),
        ("SHA-256, ring", Box::new(move |block| ringing.update(block))),
        ("CRC-32C, crc32c", Box::new(|block| _ = black_box(crc32c::crc32c(block)))),
        ("CRC-32, crc32fast", Box::new(|block| _ = black_box(crc32fast::hash(block)))),
        ("CRC-32, flate2's (zlib-rs)", Box::new(|block| {
            let mut crc = flate2::Crc::new();
            crc.update(block);
            black_box(crc.sum());
        })),
    ]
}
