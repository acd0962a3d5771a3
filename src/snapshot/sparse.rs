//! What is left of an unpacked database when the leaves that were noted are left out.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::read_at::{FileSource, ReadAt};

/// Takes the bytes of a database and writes those into an empty file that nothing else tells of.
#[derive(Debug)]
pub(super) struct SparseWriter<'f> {
    file: &'f File,
    at: u64,
    absent: Absent,
}

/// The pages that were left out.
#[derive(Debug, Default)]
struct Absent {
    page_size: u64,
    /// One bit a page.
    words: Vec<u64>,
}

impl<'f> SparseWriter<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, at: 0, absent: Absent::default() }
    }

    /// Takes the next bytes, of which `left_out`, ascending and whole pages of `page_size`, are not written.
    pub(super) fn write(&mut self, bytes: &[u8], left_out: &[Range<usize>], page_size: usize) -> io::Result<()> {
        self.absent.page_size = page_size as u64;
        let mut written = 0;
        for range in left_out {
            self.put(bytes, written..range.start)?;
            self.absent.add(self.at + range.start as u64, (range.end - range.start) as u64);
            written = range.end;
        }
        self.put(bytes, written..bytes.len())?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn put(&self, bytes: &[u8], range: Range<usize>) -> io::Result<()> {
        let offset = self.at + range.start as u64;
        self.file.write_all_at(bytes.get(range).unwrap_or_default(), offset)
    }

    /// What was written, to be read.
    pub(super) fn finish(self) -> io::Result<Sparse> {
        self.file.set_len(self.at)?;
        Ok(Sparse { file: FileSource::new(self.file.try_clone()?, self.at), absent: self.absent })
    }
}

impl Absent {
    fn add(&mut self, offset: u64, len: u64) {
        for page in self.pages(offset, len) {
            let Ok(word) = usize::try_from(page / 64) else { continue };
            if self.words.len() <= word {
                self.words.resize(word + 1, 0);
            }
            if let Some(word) = self.words.get_mut(word) {
                *word |= 1 << (page % 64);
            }
        }
    }

    /// Whether any of these bytes were left out.
    fn any(&self, offset: u64, len: u64) -> bool {
        let word = |page: u64| usize::try_from(page / 64).ok().and_then(|word| self.words.get(word)).copied();
        // Without a page size each byte would be looked at.
        !self.words.is_empty()
            && self.pages(offset, len).any(|page| word(page).unwrap_or_default() & (1 << (page % 64)) != 0)
    }

    /// The pages that hold these bytes.
    fn pages(&self, offset: u64, len: u64) -> Range<u64> {
        let page_size = self.page_size.max(1);
        offset / page_size..offset.saturating_add(len).div_ceil(page_size)
    }
}

/// A database without some of its pages, and which they are.
#[derive(Debug)]
pub(super) struct Sparse {
    file: FileSource,
    absent: Absent,
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn holds(&self, offset: u64, len: u64) -> bool {
        !self.absent.any(offset, len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_known_and_the_rest_is_where_it_was() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_u8).collect();
        let mut writer = SparseWriter::new(&file);
        writer.write(&bytes[..50], &[10..20, 30..50], 10).unwrap();
        writer.write(&bytes[50..], std::slice::from_ref(&(0..10)), 10).unwrap();
        let sparse = writer.finish().unwrap();

        assert_eq!(100, sparse.len());
        let held: Vec<bool> = (0..10).map(|page| sparse.holds(page * 10, 10)).collect();
        assert_eq!([true, false, true, false, false, false, true, true, true, true].as_slice(), held);
        assert!(sparse.holds(60, 40) && !sparse.holds(55, 10) && !sparse.holds(0, 11) && sparse.holds(0, 10));
        for page in (0..10_usize).filter(|page| held[*page]) {
            let mut read = [0; 10];
            sparse.read_exact_at(&mut read, page as u64 * 10).unwrap();
            assert_eq!(bytes[page * 10..page * 10 + 10], read);
        }
    }
}
