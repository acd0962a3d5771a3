//! Archives that are wrong in one place: in their container, in their tar, or in the index of their blocks.

use std::io::{Read, Write};

use fastrand::Rng;
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};

use crate::chance::{get, hostile, mutate_bytes, put};
use crate::database;

const BLOCK: usize = 512;
/// More than this of an archive's content is not looked at.
const MOST: u64 = 1 << 20;
/// A member's header as the product writes it.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const MANIFEST: &[u8] = b"manifest.json\0";

/// Changes an archive or a compressed database.
pub fn mutate(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    if rng.u8(..4) == 0 {
        raw(bytes, most, rng);
        return;
    }
    let Some(mut content) = unpack(bytes) else { return raw(bytes, most, rng) };
    for _ in 0..=rng.u8(..2) {
        inside(&mut content, rng);
    }
    let packed = pack(&content, rng);
    if packed.len() <= most {
        *bytes = packed;
        if rng.u8(..4) == 0 {
            raw(bytes, most, rng);
        }
    } else {
        raw(bytes, most, rng);
    }
}

/// Changes the file itself: headers and trailers of gzip and zstd, the seek table, the compressed data.
fn raw(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    let len = bytes.len();
    match rng.u8(..6) {
        0 => {
            let at = rng.usize(..20.min(len.max(1)));
            let value = hostile(rng, get(bytes, at, 1), &[0x1f, 0x8b, 0x28, 0xb5, 0x50, 0x5e]);
            put(bytes, at, 1, value);
        }
        1 if len > 64 => {
            let at = len - 1 - rng.usize(..64);
            let width = [1, 2, 4][rng.usize(..3)].min(len - at);
            let value = hostile(rng, get(bytes, at, width), &[len as u64]);
            put(bytes, at, width, value);
        }
        2 => bytes.truncate(rng.usize(..=len)),
        3 => {
            // A second member or frame, or what tapes leave behind.
            let more = if rng.bool() { bytes.clone() } else { vec![0; rng.usize(..1024)] };
            bytes.extend_from_slice(&more);
            bytes.truncate(most);
        }
        _ => mutate_bytes(bytes, most),
    }
}

/// What a gzip or zstd file holds; the file itself if it is neither. `None` where nothing comes out.
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    // What comes out before the damage will do.
    let _ = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes).take(MOST).read_to_end(&mut content)
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::Decoder::new(bytes).ok()?.take(MOST).read_to_end(&mut content)
    } else {
        bytes.take(MOST).read_to_end(&mut content)
    };
    (content.len() >= BLOCK).then_some(content)
}

/// Changes a tar stream, or a database that is compressed by itself.
fn inside(content: &mut Vec<u8>, rng: &mut Rng) {
    if content.get(257..262).is_none_or(|magic| magic != b"ustar") {
        return database::mutate(content, MOST as usize, rng);
    }
    let headers = headers(content);
    let at = headers.get(rng.usize(..headers.len().max(1))).copied().unwrap_or_default();
    match rng.u8(..8) {
        0..=2 => header(content, at, rng),
        3 => extension(content, at, rng),
        4 => {
            // An entry that comes twice, or whose padding or end is gone.
            let piece = content[at..(at + BLOCK * rng.usize(1..4)).min(content.len())].to_vec();
            content.splice(at..at, piece);
        }
        5 => content.truncate(rng.usize(..=content.len())),
        _ => manifest(content, rng),
    }
}

/// Where the headers of a tar stream are.
fn headers(content: &[u8]) -> Vec<usize> {
    (0..content.len() / BLOCK)
        .map(|block| block * BLOCK)
        .filter(|at| content.get(at + 257..at + 262).is_some_and(|magic| magic == b"ustar"))
        .take(16)
        .collect()
}

fn fix_header(content: &mut [u8], at: usize) {
    let Some(block) = content.get_mut(at..at + BLOCK) else { return };
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn header(content: &mut [u8], at: usize, rng: &mut Rng) {
    let len = content.len() as u64;
    let Some(block) = content.get_mut(at..at + BLOCK) else { return };
    match rng.u8(..6) {
        0 => block[156] = b"0123456 LKxgSVMD\0\xff"[rng.usize(..18)],
        1 => {
            let size = hostile(rng, len, &[len, 32, 512, 544]);
            let octal = format!("{:011o}\0", size & 0o77_777_777_777);
            block[124..136].copy_from_slice(octal.as_bytes());
        }
        2 => {
            block[124] = 0x80;
            block[125..128].fill(0);
            block[128..136].copy_from_slice(&hostile(rng, len, &[]).to_be_bytes());
        }
        3 => {
            let names: [&[u8]; 6] =
                [b"./etcd_snapshot.db", b"../etcd_snapshot.db", b"/etcd_snapshot.db", b"manifest.json", b"", b"x/y"];
            let name = names[rng.usize(..6)];
            block[..100].fill(0);
            block[..name.len()].copy_from_slice(name);
        }
        4 => block[345 + rng.usize(..155)] = rng.u8(..),
        _ => block[rng.usize(..BLOCK)] = rng.u8(..),
    }
    if rng.u8(..8) > 0 {
        fix_header(content, at);
    }
}

/// Puts an extension record before an entry.
fn extension(content: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let Some(mut block) = content.get(at..at + BLOCK).map(<[u8]>::to_vec) else { return };
    let mut body = match rng.u8(..5) {
        0 => b"25 path=etcd_snapshot.db\n".to_vec(),
        1 => format!("{} size={}\n", 11 + rng.u8(..8), hostile(rng, 544, &[])).into_bytes(),
        2 => b"30 mtime=1700000000.123456789\n".to_vec(),
        3 => b"22 GNU.sparse.major=1\n".to_vec(),
        _ => b"etcd_snapshot.db\0".to_vec(),
    };
    if rng.u8(..4) == 0 {
        mutate_bytes(&mut body, 256);
    }
    block[156] = b"xgLK"[rng.usize(..4)];
    block[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
    fix_header(&mut block, 0);
    body.resize(body.len().next_multiple_of(BLOCK), 0);
    content.splice(at..at, [block, body].concat());
}

/// Changes the text of the manifest.
fn manifest(content: &mut Vec<u8>, rng: &mut Rng) {
    let Some((at, size)) = find_manifest(content) else { return };
    let mut text = content[at + BLOCK..at + BLOCK + size].to_vec();
    match rng.u8(..3) {
        0 if !text.is_empty() => {
            // A number becomes another one.
            let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let digit = digits[rng.usize(..digits.len())];
                let value = hostile(rng, 1, &[]).to_string();
                text.splice(digit..=digit, value.into_bytes());
            }
        }
        _ => mutate_bytes(&mut text, size + 64),
    }
    replace_manifest(content, at, size, text);
}

fn find_manifest(content: &[u8]) -> Option<(usize, usize)> {
    let at = headers(content).into_iter().find(|at| content[*at..].starts_with(MANIFEST))?;
    let size = std::str::from_utf8(content.get(at + 124..at + 135)?).ok()?;
    let size = usize::from_str_radix(size, 8).ok()?;
    (at + BLOCK + size <= content.len()).then_some((at, size))
}

fn replace_manifest(content: &mut Vec<u8>, at: usize, size: usize, mut text: Vec<u8>) {
    let len = text.len();
    text.resize(len.next_multiple_of(BLOCK), 0);
    let end = (at + BLOCK + size.next_multiple_of(BLOCK)).min(content.len());
    content.splice(at + BLOCK..end, text);
    content[at + 124..at + 136].copy_from_slice(format!("{len:011o}\0").as_bytes());
    fix_header(content, at);
}

/// Compresses a content in one of the ways in which archives come.
fn pack(content: &[u8], rng: &mut Rng) -> Vec<u8> {
    let len = [512, 4096, 65536, (128 << 10) + 512, 1 << 20][rng.usize(..5)];
    match rng.u8(..8) {
        0 => content.to_vec(),
        1 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            // Writing into memory does not fail.
            let _ = encoder.write_all(content);
            encoder.finish().unwrap_or_default()
        }
        2 => zstd::encode_all(content, 1).unwrap_or_default(),
        3 | 4 => seekable(content, len, rng),
        _ => indexed(content, len, rng),
    }
}

/// zstd frames with a seek table, which lies now and then.
fn seekable(content: &[u8], len: usize, rng: &mut Rng) -> Vec<u8> {
    let (mut out, mut table) = (Vec::new(), Vec::new());
    let cut = find_manifest(content).map_or(content.len(), |(at, _)| at);
    let frames = content[..cut].chunks(len).chain(Some(&content[cut..])).filter(|raw| !raw.is_empty());
    for raw in frames {
        let mut encoder = zstd::bulk::Compressor::new(1).expect("there is memory for a compressor");
        let _ = encoder.include_checksum(rng.u8(..8) > 0);
        let packed = encoder.compress(raw).unwrap_or_default();
        for number in [packed.len(), raw.len()] {
            table.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
        out.extend_from_slice(&packed);
    }
    if rng.u8(..4) == 0 && !table.is_empty() {
        let at = rng.usize(..table.len() / 4) * 4;
        let value = hostile(rng, get(&table, at, 4), &[len as u64]);
        put(&mut table, at, 4, value);
    }
    let count = u32::try_from(table.len() / 8).unwrap_or(u32::MAX);
    for number in [0x184D_2A5E, u32::try_from(table.len() + 9).unwrap_or(u32::MAX)] {
        out.extend_from_slice(&u32::to_le_bytes(number));
    }
    out.extend_from_slice(&table);
    out.extend_from_slice(&count.to_le_bytes());
    out.push(0);
    out.extend_from_slice(&0x8F92_EAB1_u32.to_le_bytes());
    out
}

/// One gzip member in blocks that a manifest tells of, wrongly now and then.
fn indexed(content: &[u8], len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut content = content.to_vec();
    let mut out = GZIP_HEADER.to_vec();
    let cut = find_manifest(&content).map_or(content.len(), |(at, _)| at);
    let (mut offsets, mut sums) = (Vec::new(), Vec::new());
    for raw in content[..cut].chunks(len) {
        let mut crc = Crc::new();
        crc.update(raw);
        sums.push(u64::from(crc.sum()));
        offsets.push(out.len() as u64);
        out.extend_from_slice(&flushed(raw));
    }
    offsets.push(out.len() as u64);
    if rng.u8(..3) == 0 {
        let at = rng.usize(..offsets.len());
        match rng.u8(..4) {
            0 => drop(offsets.remove(at)),
            1 => offsets.insert(at, offsets[at]),
            _ => offsets[at] = hostile(rng, offsets[at], &[10, out.len() as u64]),
        }
    }
    if let Some((at, size)) = find_manifest(&content) {
        let text = String::from_utf8_lossy(&content[at + BLOCK..at + BLOCK + size]).into_owned();
        let start = text.find("\"blocks\"").unwrap_or(text.len());
        let size_said = if rng.u8(..8) == 0 { hostile(rng, len as u64, &[]) } else { len as u64 };
        if rng.u8(..4) == 0 && !sums.is_empty() {
            let at = rng.usize(..sums.len());
            sums[at] = hostile(rng, sums[at], &[]);
        }
        let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        // Archives of before have no checksums of blocks.
        let sums = if rng.u8(..3) == 0 { String::new() } else { format!(",\"crc32\":[{}]", list(&sums)) };
        let offsets = list(&offsets);
        let text =
            format!("{}\"blocks\": {{\"size\":{size_said},\"offsets\":[{offsets}]{sums}}}\n}}\n", &text[..start]);
        replace_manifest(&mut content, at, size, text.into_bytes());
    }
    let mut last = DeflateEncoder::new(Vec::new(), Compression::fast());
    let _ = last.write_all(&content[cut..]);
    out.extend_from_slice(&last.finish().unwrap_or_default());
    let mut crc = Crc::new();
    crc.update(&content);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// A block that needs nothing of those before it and does not end the stream.
fn flushed(raw: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let _ = encoder.write_all(raw);
    let _ = encoder.flush();
    encoder.get_ref().clone()
}

/// Changes a compressed database: its frames or members, and now and then what is in them.
pub fn mutate_codec(bytes: &mut Vec<u8>, most: usize, rng: &mut Rng) {
    if rng.bool() {
        return raw(bytes, most, rng);
    }
    let Some(content) = unpack(bytes) else { return raw(bytes, most, rng) };
    let cut = rng.usize(..content.len());
    let mut out = Vec::new();
    for piece in [&content[..cut], &content[cut..]] {
        match rng.u8(..6) {
            0 | 1 => out.extend(member(piece, rng)),
            2 => out.extend(seekable(piece, 4096, rng)),
            3 => {
                out.extend_from_slice(&(0x184D_2A50_u32 + rng.u32(..16)).to_le_bytes());
                out.extend_from_slice(&8_u32.to_le_bytes());
                out.extend_from_slice(&rng.u64(..).to_le_bytes());
                out.extend(zstd::encode_all(piece, 1).unwrap_or_default());
            }
            _ => out.extend(zstd::encode_all(piece, rng.i32(-5..10)).unwrap_or_default()),
        }
    }
    if out.len() <= most {
        *bytes = out;
    }
}

/// A gzip member with any header that there may be.
fn member(content: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut builder = flate2::GzBuilder::new().mtime(rng.u32(..));
    if rng.u8(..4) == 0 {
        builder = builder.filename("snapshot.db");
    }
    if rng.u8(..4) == 0 {
        builder = builder.comment("a comment");
    }
    if rng.u8(..4) == 0 {
        builder = builder.extra(vec![1; rng.usize(..300)]);
    }
    let mut encoder = builder.write(Vec::new(), Compression::new(rng.u32(..10)));
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}
