//! Worker threads that compress blocks, and give them back in the order in which they came.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use flate2::Crc;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use zstd::bulk::Compressor;

use super::compression::Compression;
use crate::threads::start;

/// miniz_oxide at this level deflates JSON in pages in half the time of zlib-rs at 2 to 4, into 7 % more than Python's
/// default (level 9) makes of it; its other levels are slower than zlib-rs.
const GZIP_LEVEL: i32 = 1;

/// miniz_oxide's way to ask for deflate without zlib's frame: a negative number of window bits.
const RAW_DEFLATE: i32 = -15;

/// Both smaller and faster than every other level up to 3 on JSON in pages.
const ZSTD_LEVEL: i32 = 1;

/// Threads are worth their memory up to here: the network and the disk do not bring more.
const MOST_THREADS: usize = 8;

/// A block to compress.
struct Job {
    raw: Vec<u8>,
    /// Empty, with the capacity of an earlier use.
    packed: Vec<u8>,
    last: bool,
    reply: SyncSender<io::Result<Packed>>,
}

/// A compressed block, with the buffer it was made from, to be used again.
pub(super) struct Packed {
    pub(super) raw: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    /// gzip's checksum of `raw`; of nothing for zstd.
    pub(super) crc: Crc,
}

/// The threads and the blocks that are with them.
pub(super) struct Pool {
    jobs: Option<SyncSender<Job>>,
    pending: VecDeque<Receiver<io::Result<Packed>>>,
    workers: Vec<JoinHandle<()>>,
    /// Most blocks that are under way at once; bounds the memory.
    limit: usize,
}

impl Pool {
    /// As many threads as the machine runs side by side, up to a constant.
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Self::with_threads(compression, thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS))
    }

    /// With `threads` or, where the system has no more, with fewer: one is enough.
    pub(super) fn with_threads(compression: Compression, threads: usize) -> io::Result<Self> {
        Self::started(compression, threads, |work| start("dcos-etcd-pack", work))
    }

    fn started(
        compression: Compression,
        threads: usize,
        mut start: impl FnMut(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(2 * threads);
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Vec::new();
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            match start(Box::new(move || work(&queue, compression))) {
                Ok(worker) => workers.push(worker),
                Err(error) if workers.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        let limit = 2 * workers.len();
        Ok(Self { jobs: Some(jobs), pending: VecDeque::new(), workers, limit })
    }

    /// Whether the next [`Pool::push`] must wait for a [`Pool::pop`].
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= self.limit
    }

    /// Hands a block to the next free thread. `packed` is a buffer to use again.
    pub(super) fn push(&mut self, raw: Vec<u8>, packed: Vec<u8>, last: bool) -> io::Result<()> {
        let (reply, answer) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(dead)?;
        jobs.send(Job { raw, packed, last, reply }).map_err(|_| dead())?;
        self.pending.push_back(answer);
        Ok(())
    }

    /// The oldest block that was pushed, when it is ready; `None` when none is under way.
    pub(super) fn pop(&mut self) -> Option<io::Result<Packed>> {
        // A thread that panics drops its end of the channel, so this never waits for one that is gone.
        self.pending.pop_front().map(|answer| answer.recv().unwrap_or_else(|_| Err(dead())))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for worker in self.workers.drain(..) {
            // A panic of a worker was reported by the block that it did not give back.
            let _ = worker.join();
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("a compression thread ended before its time")
}

fn work(queue: &Mutex<Receiver<Job>>, compression: Compression) {
    let mut zstd = None;
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { raw, mut packed, last, reply }) = job else { return };
        packed.clear();
        let crc = match compression {
            Compression::Gzip => deflate(&raw, &mut packed, last),
            Compression::Zstd => frame(&mut zstd, &raw, &mut packed).map(|()| Crc::new()),
        };
        // Nobody listens any more when the archive was given up.
        let _ = reply.send(crc.map(|crc| Packed { raw, bytes: packed, crc }));
    }
}

/// A block of a deflate stream that needs nothing of the blocks before it. A new compressor each time: the output must
/// not depend on which thread got which block.
fn deflate(raw: &[u8], packed: &mut Vec<u8>, last: bool) -> io::Result<Crc> {
    let mut compressor = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(GZIP_LEVEL, RAW_DEFLATE, 0)));
    let flush = if last { TDEFLFlush::Finish } else { TDEFLFlush::Sync };
    let (mut rest, mut written) = (raw, 0);
    loop {
        // More than deflate ever needs for what is left, so that the loop runs once.
        packed.resize(written + rest.len() + rest.len() / 16 + 256, 0);
        let room = packed.get_mut(written..).unwrap_or_default();
        let most = room.len();
        let (status, taken, given) = compress(&mut compressor, rest, room, flush);
        rest = rest.get(taken..).unwrap_or_default();
        written += given;
        match status {
            TDEFLStatus::Done => break,
            TDEFLStatus::Okay if !last && rest.is_empty() && given < most => break,
            TDEFLStatus::Okay => {}
            failed => return Err(io::Error::other(format!("deflate failed: {failed:?}"))),
        }
    }
    packed.truncate(written);
    let mut crc = Crc::new();
    crc.update(raw);
    Ok(crc)
}

/// A zstd frame with its content size and checksum.
fn frame(compressor: &mut Option<Compressor<'static>>, raw: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    let compressor = if let Some(compressor) = compressor {
        compressor
    } else {
        let mut new = Compressor::new(ZSTD_LEVEL)?;
        new.include_checksum(true)?;
        new.include_contentsize(true)?;
        compressor.insert(new)
    };
    packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
    compressor.compress_to_buffer(raw, packed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_whose_threads_are_gone_reports_it_and_never_waits() {
        let mut pool = Pool::with_threads(Compression::Gzip, 1).unwrap();
        let (jobs, queue) = sync_channel(1);
        pool.jobs = Some(jobs);
        pool.push(vec![1], Vec::new(), false).unwrap();
        drop(queue);

        assert!(pool.pop().unwrap().is_err());
        assert!(pool.push(vec![1], Vec::new(), false).is_err());
        assert!(pool.pop().is_none());
    }

    #[test]
    fn a_pool_goes_on_with_the_threads_that_it_gets_and_needs_one() {
        for there_are in 0..3_usize {
            let mut left = there_are;
            let pool = Pool::started(Compression::Zstd, 3, |work| {
                left = left.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
                Ok(thread::spawn(work))
            });

            let Ok(mut pool) = pool else {
                assert_eq!(0, there_are);
                continue;
            };
            for i in 0..2 * there_are {
                assert!(!pool.is_full());
                pool.push(vec![u8::try_from(i).unwrap(); 1 << 16], Vec::new(), false).unwrap();
            }
            assert!(pool.is_full());
            for i in 0..2 * there_are {
                assert_eq!(i, usize::from(pool.pop().unwrap().unwrap().raw[0]));
            }
        }
    }

    #[test]
    fn blocks_come_back_in_order() {
        let mut pool = Pool::with_threads(Compression::Zstd, 3).unwrap();
        for i in 0..6_u8 {
            pool.push(vec![i; 1 + (usize::from(5 - i) << 16)], Vec::new(), false).unwrap();
        }
        assert!(pool.is_full());
        for i in 0..6_u8 {
            assert_eq!(i, pool.pop().unwrap().unwrap().raw[0]);
        }
    }
}
