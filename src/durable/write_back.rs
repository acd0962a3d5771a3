//! Writing to the disk while the rest of a file is still being made.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};

/// Bytes after which the system is asked to write: large enough for the disk, small enough to leave little to the sync.
const STEP: u64 = 8 << 20;

/// A file that is written from its start to its end, and asks the system to begin with its part of the work early: a
/// sync at the end then finds most of it done.
#[derive(Debug)]
pub struct WriteBack<'a> {
    file: &'a File,
    written: u64,
    started: u64,
}

impl<'a> WriteBack<'a> {
    /// Writes to a file that is empty.
    #[must_use]
    pub fn new(file: &'a File) -> Self {
        Self { file, written: 0, started: 0 }
    }

    /// Linux takes the advice that pages will not be needed as a reason to write those that are dirty, and to write
    /// them without anybody waiting; as they are dirty, they stay in the cache.
    fn start(&mut self) {
        if let Some(len) = NonZeroU64::new(self.written - self.started) {
            // Only the time of the writing depends on it.
            let _ = fadvise(self.file, self.started, Some(len), Advice::DontNeed);
            self.started = self.written;
        }
    }
}

impl Write for WriteBack<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        if self.written - self.started >= STEP {
            self.start();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_written_is_what_the_file_holds() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::create(path.path()).unwrap();
        let mut writer = WriteBack::new(&file);
        let block: Vec<u8> = (0..3_000_001_u32).flat_map(u32::to_le_bytes).collect();
        for _ in 0..2 {
            writer.write_all(&block).unwrap();
        }
        writer.flush().unwrap();
        assert!(writer.started > STEP && writer.started <= writer.written);

        let mut read = Vec::new();
        File::open(path.path()).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!([block.clone(), block].concat(), read);
    }
}
