//! Inflates the blocks of an archive of ours on several threads, and hands them on in their order.
//!
//! Nothing is taken on trust from the index. A block counts only when it is, alone and to its last byte, what its
//! place says; then what comes out is what a reader from start to end would get. With the first block for which that
//! does not hold such a reader takes over from the start of the file, so that damage is found by the one who knows
//! how to name it. If it finds none, the index itself is what is wrong ([`contradiction`]). It also reads what lies behind
//! the blocks.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder};

use flate2::Crc;
use libdeflater::Decompressor;
use zstd::zstd_safe::{self, DCtx};

use super::decoder::{Decoder, Wrapping};
use super::gunzip::Gunzip;
use super::index::Index;
use super::source::Source;
use super::stream::{self, Outlet};
use super::unzstd::{Unzstd, WINDOW_LOG_MAX};
use crate::read_at::ReadAt;

/// The hash and the disk are slower than so many threads that inflate.
const MOST_THREADS: usize = 8;

/// Bytes that stand behind the blocks of a deflate stream when one of them is inflated alone.
const SENTINEL: usize = 8;

/// Where a zstd frame says whether its content is its window, and where it says how large that is if not.
const DESCRIPTOR: usize = 4;
const SINGLE_SEGMENT: u8 = 1 << 5;
const WINDOW: usize = 5;

/// A block to inflate.
struct Job {
    number: usize,
    /// A buffer to use again.
    raw: Vec<u8>,
    reply: SyncSender<Option<Inflated>>,
}

/// A block that is what its place says.
struct Inflated {
    raw: Vec<u8>,
    /// gzip's checksum of `raw`; of nothing for zstd.
    crc: Crc,
}

/// Sends all that `input` inflates to, and its end, through `outlet`.
pub(super) fn unpack(input: &dyn ReadAt, index: &Index, outlet: &Outlet) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let (jobs, queue) = sync_channel(2 * threads);
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        let (queue, mut running) = (&queue, 0);
        for _ in 0..threads {
            let thread = Builder::new().name("dcos-etcd-inflate".to_owned());
            running += usize::from(thread.spawn_scoped(scope, || work(input, index, queue)).is_ok());
        }
        let mut blocks = Blocks { index, outlet, jobs, pending: VecDeque::new(), limit: 2 * running, next: 0 };
        let mut crc = Crc::new();
        for number in 0..index.blocks() {
            let Some(inflated) = blocks.pop() else {
                drop(blocks);
                return again(input, index, number, outlet);
            };
            crc.combine(&inflated.crc);
            let end = index.packed(number).map_or(0, |packed| packed.end);
            if !outlet.send(inflated.raw, end) {
                return;
            }
        }
        match rest(input, index, crc) {
            Ok(decoder) => stream::decode(decoder, 0, outlet),
            Err(error) => outlet.fail(error.into()),
        }
    });
}

/// The blocks that are with the threads.
struct Blocks<'a> {
    index: &'a Index,
    outlet: &'a Outlet,
    jobs: SyncSender<Job>,
    pending: VecDeque<Receiver<Option<Inflated>>>,
    /// Most blocks that are under way at once; bounds the memory.
    limit: usize,
    next: usize,
}

impl Blocks<'_> {
    /// The next block in order; `None` when it is not what its place says, or a thread is gone.
    fn pop(&mut self) -> Option<Inflated> {
        while self.pending.len() < self.limit && self.next < self.index.blocks() {
            let (reply, answer) = sync_channel(1);
            self.jobs.send(Job { number: self.next, raw: self.outlet.spare(), reply }).ok()?;
            self.pending.push_back(answer);
            self.next += 1;
        }
        self.pending.pop_front()?.recv().ok()?
    }
}

/// Reads from the start of the file, and passes over what the first `blocks` blocks were.
fn again(input: &dyn ReadAt, index: &Index, blocks: usize, outlet: &Outlet) {
    let sent = index.raw(blocks).map_or(0, |raw| raw.start);
    match Decoder::new(input) {
        Ok(decoder) => stream::decode(decoder, sent, outlet),
        Err(error) => outlet.fail(error.into()),
    }
}

/// Reads what lies behind the blocks, which inflate to something with this checksum.
fn rest<'a>(input: &'a dyn ReadAt, index: &Index, crc: Crc) -> io::Result<Decoder<'a>> {
    let source = Source::new(input, index.end());
    if index.wrapping() == Wrapping::Gzip {
        return Ok(Decoder::Gzip(Gunzip::resume(source, crc)));
    }
    let places = (0..index.blocks()).filter_map(|number| Some((index.packed(number)?, index.raw(number)?)));
    let lens = places.map(|(packed, raw)| (packed.end - packed.start, raw.end - raw.start)).collect();
    Ok(Decoder::Zstd(Unzstd::resume(source, lens)?))
}

/// Where in the file the first block lies that is not, alone and to its last byte, what `index` says; `None` when all
/// are.
pub(super) fn contradiction(input: &dyn ReadAt, index: &Index) -> Option<u64> {
    let mut inflater = Inflater::new();
    let mut raw = Vec::new();
    for number in 0..index.blocks() {
        match inflater.block(input, index, number, raw) {
            Some(block) => raw = block.raw,
            None => return Some(index.packed(number).map_or(0, |packed| packed.start)),
        }
    }
    None
}

/// One of the threads.
fn work(input: &dyn ReadAt, index: &Index, queue: &Mutex<Receiver<Job>>) {
    let mut inflater = Inflater::new();
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { number, raw, reply }) = job else { return };
        // Nobody listens any more when the archive was given up.
        let _ = reply.send(inflater.block(input, index, number, raw));
    }
}

struct Inflater {
    packed: Vec<u8>,
    /// Nobody can know it who makes a file.
    sentinel: [u8; SENTINEL],
    gzip: Option<Decompressor>,
    zstd: Option<DCtx<'static>>,
}

impl Inflater {
    fn new() -> Self {
        let sentinel = RandomState::new().hash_one(0).to_le_bytes();
        Self { packed: Vec::new(), sentinel, gzip: None, zstd: None }
    }

    fn block(&mut self, input: &dyn ReadAt, index: &Index, number: usize, mut raw: Vec<u8>) -> Option<Inflated> {
        let (from, to) = (index.packed(number)?, index.raw(number)?);
        let len = usize::try_from(to.end - to.start).ok()?;
        self.packed.resize(usize::try_from(from.end - from.start).ok()?, 0);
        input.read_exact_at(&mut self.packed, from.start).ok()?;
        let mut crc = Crc::new();
        if index.wrapping() == Wrapping::Gzip {
            self.deflated(len, &mut raw)?;
            crc.update(&raw);
            // Who reads at random holds a block against its checksum, so it has to be the right one.
            if index.sum(number).is_some_and(|sum| sum != crc.sum()) {
                return None;
            }
        } else {
            self.frame(len, &mut raw)?;
        }
        Some(Inflated { raw, crc })
    }

    /// Inflates a block of a deflate stream that must not end in it, and must end where it does.
    ///
    /// A final stored block is put behind it. Only if its bytes come out as the last ones was everything before them
    /// read, and read in step.
    fn deflated(&mut self, len: usize, raw: &mut Vec<u8>) -> Option<()> {
        const FINAL_STORED: u8 = 1;
        let stored_len = u16::try_from(SENTINEL).ok()?;
        self.packed.push(FINAL_STORED);
        self.packed.extend(stored_len.to_le_bytes());
        self.packed.extend((!stored_len).to_le_bytes());
        self.packed.extend(self.sentinel);
        raw.resize(len + SENTINEL, 0);
        let inflated = self.gzip.get_or_insert_with(Decompressor::new).deflate_decompress(&self.packed, raw).ok()?;
        let whole = inflated == raw.len() && raw.ends_with(&self.sentinel);
        raw.truncate(len);
        whole.then_some(())
    }

    /// Decompresses one frame that says how long its content is, and asks for no larger window than others may.
    fn frame(&mut self, len: usize, raw: &mut Vec<u8>) -> Option<()> {
        let packed = self.packed.as_slice();
        let one = zstd_safe::find_frame_compressed_size(packed).ok()? == packed.len()
            && zstd_safe::get_frame_content_size(packed).ok()? == Some(len as u64)
            && (packed.get(DESCRIPTOR)? & SINGLE_SEGMENT != 0 || window_log(*packed.get(WINDOW)?) < WINDOW_LOG_MAX);
        if self.zstd.is_none() {
            self.zstd = DCtx::try_create();
        }
        raw.resize(len, 0);
        (one && self.zstd.as_mut()?.decompress(raw.as_mut_slice(), packed).ok()? == len).then_some(())
    }
}

/// The power of two that a window descriptor's size begins with; it may come close to the next.
fn window_log(descriptor: u8) -> u32 {
    10 + u32::from(descriptor >> 3)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BOTH, archive, snapshot};
    use super::*;
    use crate::archive::index::find_index;
    use crate::archive::layout::BLOCK_LEN;

    fn inflater() -> Inflater {
        Inflater { packed: Vec::new(), sentinel: *b"\x01sentine", gzip: None, zstd: None }
    }

    #[test]
    fn every_block_of_ours_is_what_its_place_says() {
        let snapshot = snapshot(3 * BLOCK_LEN + 4096);
        for compression in BOTH {
            let bytes = archive(compression, &snapshot);
            let index = find_index(&bytes).unwrap();
            let mut tar = Vec::new();
            let mut inflater = inflater();
            for number in 0..index.blocks() {
                tar.extend(inflater.block(&bytes, &index, number, vec![0xaa; 7]).unwrap().raw);
            }
            assert_eq!(4, index.blocks());
            assert!(tar[512..].starts_with(&snapshot), "{compression:?}");
        }
    }

    #[test]
    fn a_block_that_ends_the_stream_or_ends_out_of_step_is_none() {
        let raw = b"bytes of a block";
        let deflate = |flush| {
            let mut packed = Vec::with_capacity(100);
            flate2::Compress::new(flate2::Compression::fast(), false).compress_vec(raw, &mut packed, flush).unwrap();
            packed
        };
        let judge = |packed: Vec<u8>, len| {
            let mut inflater = inflater();
            inflater.packed = packed;
            inflater.deflated(len, &mut Vec::new())
        };
        let sound = deflate(flate2::FlushCompress::Sync);
        assert_eq!(Some(()), judge(sound.clone(), raw.len()));
        assert_eq!(None, judge(sound.clone(), raw.len() - 1));
        assert_eq!(None, judge(sound.clone(), raw.len() + 1));
        assert_eq!(None, judge(sound[..sound.len() - 1].to_vec(), raw.len()));
        assert_eq!(None, judge([sound.as_slice(), &[0]].concat(), raw.len()));
        assert_eq!(None, judge(deflate(flate2::FlushCompress::Finish), raw.len()));
        assert_eq!(None, judge(deflate(flate2::FlushCompress::Partial), raw.len()));
        let ended = [deflate(flate2::FlushCompress::Finish), sound].concat();
        assert_eq!(None, judge(ended, raw.len()));
    }

    #[test]
    fn a_frame_that_is_not_alone_or_asks_for_too_large_a_window_is_none() {
        let raw = vec![7; 100_000];
        let frame = zstd::bulk::compress(&raw, 1).unwrap();
        let judge = |packed: &[u8], len| {
            let mut inflater = inflater();
            inflater.packed = packed.to_vec();
            inflater.frame(len, &mut Vec::new())
        };
        assert_eq!(Some(()), judge(&frame, raw.len()));
        assert_eq!(None, judge(&frame, raw.len() - 1));
        assert_eq!(None, judge(&frame, raw.len() + 1));
        assert_eq!(None, judge(&frame[..frame.len() - 1], raw.len()));
        assert_eq!(None, judge(&[frame.as_slice(), &frame].concat(), raw.len()));
        assert_eq!(None, judge(&[frame.as_slice(), b"\x50\x2a\x4d\x18\0\0\0\0"].concat(), raw.len()));

        for (window_log, expected) in [(26_u8, Some(())), (27, None), (31, None)] {
            // Magic, a descriptor with a content size of four bytes, the window, the content as one raw block.
            let mut frame = 0xFD2F_B528_u32.to_le_bytes().to_vec();
            frame.extend([0x80, (window_log - 10) << 3]);
            frame.extend(100_u32.to_le_bytes());
            frame.extend(((100_u32 << 3) | 1).to_le_bytes()[..3].iter());
            frame.extend(&raw[..100]);
            assert_eq!(expected, judge(&frame, 100), "{window_log}");
        }
    }
}
