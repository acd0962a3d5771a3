//! Buffered reading of a file, with the offset of every byte known.

use std::io::{self, Read};

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;

/// A file that is read from start to end.
pub(super) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: vec![0; BUFFER], start: 0, end: 0, offset: 0 }
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
                match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                    Ok(0) => break,
                    Ok(count) => self.end += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
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
            self.input.read(buf)?
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
