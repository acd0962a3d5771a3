//! Reads zstd: every frame, and the seek table of those that have one.

use std::io;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::decoder::{Ending, Failure};
use super::layout::{SEEK_ENTRY_LEN, SEEK_FOOTER_LEN, SEEK_TABLE_MAGIC, SEEKABLE_MAGIC, SKIPPABLE_MAGIC, ZSTD_MAGIC};
use super::source::Source;

/// Largest window that a frame may ask for, as a power of two: zstd's own default. Bounds the memory.
pub(super) const WINDOW_LOG_MAX: u32 = 27;

/// Frames whose lengths are kept to check a seek table. An archive of 1 TiB has as many.
const MOST_FRAMES: usize = 1 << 20;

/// Offsets are those of the file.
pub(super) struct Unzstd<'a> {
    source: Source<'a>,
    decoder: Decoder<'static>,
    in_frame: bool,
    /// Where the current frame began, and how much came out of it.
    frame_start: u64,
    frame_len: u64,
    /// Compressed and decompressed length of each frame so far; empty from [`MOST_FRAMES`] on.
    lens: Vec<(u64, u64)>,
    ending: Ending,
}

impl<'a> Unzstd<'a> {
    pub(super) fn new(source: Source<'a>) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        let ending = Ending::default();
        Ok(Self { source, decoder, in_frame: false, frame_start: 0, frame_len: 0, lens: Vec::new(), ending })
    }

    /// Goes on behind frames that were decompressed already, whose compressed and decompressed lengths these are.
    pub(super) fn resume(source: Source<'a>, lens: Vec<(u64, u64)>) -> io::Result<Self> {
        let mut resumed = Self::new(source)?;
        resumed.ending.frames = lens.len() as u64;
        resumed.ending.first_frame_len = lens.first().map_or(0, |(_, len)| *len);
        resumed.lens = lens;
        Ok(resumed)
    }

    pub(super) fn offset(&self) -> u64 {
        self.source.offset()
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending
    }

    /// Some of the next bytes; zero only at the end, or when `buf` is empty.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failure> {
        loop {
            if self.in_frame {
                let count = self.decompress(buf)?;
                if count > 0 || buf.is_empty() {
                    return Ok(count);
                }
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }

    /// Begins a frame or passes over a skippable one; `false` at the end of the file.
    fn next_frame(&mut self) -> Result<bool, Failure> {
        let start = self.source.offset();
        let next = self.source.peek(ZSTD_MAGIC.len())?;
        let Some(magic) = next.first_chunk().copied() else {
            let begun = [ZSTD_MAGIC, SEEK_TABLE_MAGIC.to_le_bytes()].iter().any(|magic| magic.starts_with(next));
            return match next.len() {
                0 => Ok(false),
                _ if begun => Err(self.truncated()),
                _ => Err(trailing(start)),
            };
        };
        if magic == ZSTD_MAGIC {
            self.decoder.reinit()?;
            self.in_frame = true;
            self.frame_start = start;
            self.frame_len = 0;
            // A seek table is the last thing of all.
            self.ending.seek_table = false;
            return Ok(true);
        }
        let magic = u32::from_le_bytes(magic);
        if magic & !0xf != SKIPPABLE_MAGIC {
            return Err(trailing(start));
        }
        self.source.consume(ZSTD_MAGIC.len());
        let len = u64::from(u32::from_le_bytes(self.take()?));
        let expected = self.lens.len() * SEEK_ENTRY_LEN + SEEK_FOOTER_LEN;
        if magic == SEEK_TABLE_MAGIC && !self.lens.is_empty() && len == expected as u64 {
            self.seek_table()?;
        } else {
            self.skip(len)?;
        }
        Ok(true)
    }

    fn decompress(&mut self, buf: &mut [u8]) -> Result<usize, Failure> {
        // Possibly nothing: the decoder may still hold output of what it took before.
        let input = self.source.peek(1)?;
        let (at_end, has_room) = (input.is_empty(), !buf.is_empty());
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(buf);
        let outcome = self.decoder.run(&mut input, &mut output);
        let (taken, given) = (input.pos(), output.pos());
        self.source.consume(taken);
        let hint = outcome.map_err(|error| {
            let message = format!("the zstd stream of the file cannot be decompressed: {error}");
            Failure::damage("zstd-data", message, self.source.offset())
        })?;
        self.frame_len += given as u64;
        if hint == 0 {
            self.end_frame();
        } else if at_end && given == 0 && has_room {
            return Err(self.truncated());
        } else if taken == 0 && given == 0 && has_room {
            // Neither taking nor giving with room on both sides: it would stay so.
            return Err(Failure::damage("zstd-data", "the zstd stream of the file is stuck", self.source.offset()));
        }
        Ok(given)
    }

    fn end_frame(&mut self) {
        self.in_frame = false;
        if self.ending.frames == 0 {
            self.ending.first_frame_len = self.frame_len;
        }
        self.ending.frames += 1;
        if self.lens.len() < MOST_FRAMES && self.lens.len() as u64 + 1 == self.ending.frames {
            self.lens.push((self.source.offset() - self.frame_start, self.frame_len));
        } else {
            self.lens.clear();
        }
    }

    /// Holds a seek table of the length that fits against the frames that were met: a reader that trusts it must
    /// find what a reader from start to end finds.
    fn seek_table(&mut self) -> Result<(), Failure> {
        let wrong = |at| Failure::damage("zstd-seek-table", "the seek table of the file contradicts its frames", at);
        for (packed, raw) in std::mem::take(&mut self.lens) {
            let at = self.source.offset();
            let entry = (self.take_u32()?, self.take_u32()?);
            if (u64::from(entry.0), u64::from(entry.1)) != (packed, raw) {
                return Err(wrong(at));
            }
        }
        let at = self.source.offset();
        let count = u64::from(self.take_u32()?);
        let [descriptor] = self.take()?;
        if (count, descriptor, self.take_u32()?) != (self.ending.frames, 0, SEEKABLE_MAGIC) {
            return Err(wrong(at));
        }
        self.ending.seek_table = true;
        Ok(())
    }

    fn skip(&mut self, mut len: u64) -> Result<(), Failure> {
        while len > 0 {
            let available = self.source.peek(1)?.len();
            if available == 0 {
                return Err(self.truncated());
            }
            let count = usize::try_from(len).unwrap_or(usize::MAX).min(available);
            self.source.consume(count);
            len -= count as u64;
        }
        Ok(())
    }

    fn take_u32(&mut self) -> Result<u32, Failure> {
        self.take().map(u32::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        self.source.take()?.ok_or_else(|| self.truncated())
    }

    fn truncated(&self) -> Failure {
        Failure::damage("truncated", "the file ends inside its zstd stream", self.source.offset())
    }
}

fn trailing(offset: u64) -> Failure {
    Failure::damage("zstd-trailing", "bytes that are no zstd frame follow in the file", offset)
}
