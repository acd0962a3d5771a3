//! Reads gzip: every member, every checksum, and nothing but zeros after the last one.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::decoder::{Ending, Failure};
use super::layout::GZIP_MAGIC;
use super::source::Source;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;
const DEFLATE: u8 = 8;

/// Offsets are those of the file.
pub(super) struct Gunzip<'a> {
    source: Source<'a>,
    state: State,
    inflate: Decompress,
    crc: Crc,
    ending: Ending,
}

enum State {
    /// Between members, or before the first.
    Between,
    /// In the deflate stream of a member.
    Data,
    /// Behind the last member.
    End,
}

impl<'a> Gunzip<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        let (inflate, crc) = (Decompress::new(false), Crc::new());
        Self { source, state: State::Between, inflate, crc, ending: Ending::default() }
    }

    /// Goes on inside a member, at a block that needs nothing of those before it. `crc` is of what they inflate to.
    pub(super) fn resume(source: Source<'a>, crc: Crc) -> Self {
        let ending = Ending { blocks: true, ..Ending::default() };
        Self { source, state: State::Data, inflate: Decompress::new(false), crc, ending }
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending
    }

    pub(super) fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// Some of the next bytes; zero only at the end, or when `buf` is empty.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.state {
                State::Between => self.next_member()?,
                State::Data => {
                    let count = self.inflate(buf)?;
                    if count > 0 || buf.is_empty() {
                        return Ok(count);
                    }
                }
                State::End => return Ok(0),
            }
        }
    }

    fn next_member(&mut self) -> Result<(), Failure> {
        let next = self.source.peek(GZIP_MAGIC.len())?;
        if next.starts_with(&GZIP_MAGIC) {
            self.header()?;
            self.inflate.reset(false);
            self.crc.reset();
            self.state = State::Data;
            return Ok(());
        }
        // Zeros are what tapes and some copying tools pad a file with; gzip passes over them too.
        loop {
            let offset = self.source.offset();
            let next = self.source.peek(1)?;
            if let Some(position) = next.iter().position(|byte| *byte != 0) {
                let at = offset + position as u64;
                return Err(Failure::damage(
                    "gzip-trailing",
                    "bytes follow the end of the gzip stream in the file",
                    at,
                ));
            }
            let count = next.len();
            if count == 0 {
                self.state = State::End;
                return Ok(());
            }
            self.source.consume(count);
        }
    }

    fn header(&mut self) -> Result<(), Failure> {
        let start = self.source.offset();
        let bad =
            |message: &str| Failure::damage("gzip-header", format!("{message} in the gzip header of the file"), start);
        let mut crc = Crc::new();
        let [_, _, method, flags, _, _, _, _, _, _] = self.header_bytes::<10>(&mut crc)?;
        if method != DEFLATE {
            return Err(bad("unknown compression method"));
        }
        if flags & FLAGS_RESERVED != 0 {
            return Err(bad("reserved flags"));
        }
        if flags & FLAG_EXTRA != 0 {
            let len = u16::from_le_bytes(self.header_bytes(&mut crc)?);
            for _ in 0..len {
                self.header_bytes::<1>(&mut crc)?;
            }
        }
        for flag in [FLAG_NAME, FLAG_COMMENT] {
            while flags & flag != 0 && self.header_bytes(&mut crc)? != [0] {}
        }
        if flags & FLAG_HEADER_CRC != 0 {
            let [low, high, ..] = crc.sum().to_le_bytes();
            if self.header_bytes(&mut Crc::new())? != [low, high] {
                return Err(bad("wrong checksum"));
            }
        }
        Ok(())
    }

    fn header_bytes<const N: usize>(&mut self, crc: &mut Crc) -> Result<[u8; N], Failure> {
        let bytes = self.source.take()?.ok_or_else(|| self.truncated())?;
        crc.update(&bytes);
        Ok(bytes)
    }

    fn inflate(&mut self, buf: &mut [u8]) -> Result<usize, Failure> {
        // Possibly nothing: the decoder may still hold output of what it took before.
        let input = self.source.peek(1)?;
        let at_end = input.is_empty();
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, buf, FlushDecompress::None);
        let taken = self.inflate.total_in() - before_in;
        let given = self.inflate.total_out() - before_out;
        let (Ok(taken), Ok(given), Ok(status)) = (usize::try_from(taken), usize::try_from(given), status) else {
            return Err(self.bad_data());
        };
        self.source.consume(taken);
        self.crc.update(buf.get(..given).unwrap_or_default());
        match status {
            Status::StreamEnd => self.trailer()?,
            Status::Ok | Status::BufError if at_end && given == 0 && !buf.is_empty() => return Err(self.truncated()),
            // Neither taking nor giving with room on both sides: it would stay so.
            Status::Ok | Status::BufError if taken == 0 && given == 0 && !buf.is_empty() => {
                return Err(self.bad_data());
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(given)
    }

    fn trailer(&mut self) -> Result<(), Failure> {
        let offset = self.source.offset();
        let (Some(crc), Some(len)) = (self.source.take()?, self.source.take()?) else {
            return Err(self.truncated());
        };
        let (expected, computed) = (u32::from_le_bytes(crc), self.crc.sum());
        if expected != computed {
            let message = format!("gzip checksum in the file is {expected:08x}, of the data {computed:08x}");
            return Err(Failure::damage("gzip-crc", message, offset));
        }
        let (expected, computed) = (u32::from_le_bytes(len), self.crc.amount());
        if expected != computed {
            let message = format!("gzip length in the file is {expected}, of the data {computed} (modulo 2^32)");
            return Err(Failure::damage("gzip-length", message, offset + 4));
        }
        self.state = State::Between;
        Ok(())
    }

    fn bad_data(&self) -> Failure {
        Failure::damage("gzip-data", "the gzip stream of the file cannot be inflated", self.source.offset())
    }

    fn truncated(&self) -> Failure {
        Failure::damage("truncated", "the file ends inside its gzip stream", self.source.offset())
    }
}
