//! Buffered reading of a file, with the offset of every byte known.

use std::io;

use crate::read_at::ReadAt;

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;

/// A file that is read from some offset to its end.
pub(super) struct Source<'a> {
    input: &'a dyn ReadAt,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(input: &'a dyn ReadAt, offset: u64) -> Self {
        Self { input, buffer: vec![0; BUFFER], start: 0, end: 0, offset }
    }

    /// Offset of the first byte that was not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is buffered, after reading until it is at least `want` bytes or the file ends. `want` is small.
    pub(super) fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        if self.end - self.start < want {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < want {
                let room = self.buffer.get_mut(self.end..).unwrap_or_default();
                match read(self.input, room, self.offset + self.end as u64)? {
                    0 => break,
                    count => self.end += count,
                }
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Passes over bytes that were peeked at.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// The next `N` bytes, consumed; fewer only at the end of the file, then none is consumed.
    pub(super) fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let taken = self.peek(N)?.first_chunk().copied();
        if taken.is_some() {
            self.consume(N);
        }
        Ok(taken)
    }

    /// Reads straight into `buf`, what is buffered first. Zero at the end of the file.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let buffered = self.buffer.get(self.start..self.end).unwrap_or_default();
        let count = if buffered.is_empty() {
            read(self.input, buf, self.offset)?
        } else {
            let count = buffered.len().min(buf.len());
            for (to, from) in buf.iter_mut().zip(buffered) {
                *to = *from;
            }
            self.start += count;
            count
        };
        self.offset += count as u64;
        Ok(count)
    }
}

/// As many bytes as are there, up to the length of `buf`.
fn read(input: &dyn ReadAt, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let rest = usize::try_from(input.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let count = rest.min(buf.len());
    input.read_exact_at(buf.get_mut(..count).unwrap_or_default(), offset)?;
    Ok(count)
}
