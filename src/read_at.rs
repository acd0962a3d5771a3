//! Bytes that can be read at any offset.
//!
//! Positioned reads, not a memory map: a file that shrinks under a map ends the process with SIGBUS, which is
//! how the official tools meet a truncated snapshot.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::defect::Defect;

/// A source of known length.
pub trait ReadAt: Send + Sync {
    /// Length in bytes, fixed for the life of the value.
    fn len(&self) -> u64;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether these bytes are those of the file that this stands for: not of one that leaves bytes out, which read as
    /// zeros.
    fn holds(&self, offset: u64, len: u64) -> bool {
        let _ = (offset, len);
        true
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when fewer bytes are there, with a [`Defect`] of a file that was cut; whatever the system says
    /// otherwise.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A file, or its first bytes.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// The first `len` bytes of `file`: a snapshot without its trailer, say.
    #[must_use]
    pub fn new(file: File, len: u64) -> Self {
        Self { file, len }
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        within(buf, offset, self.len)?;
        self.file.read_exact_at(buf, offset).map_err(|error| match self.file.metadata() {
            Ok(now) if error.kind() == io::ErrorKind::UnexpectedEof => cut(buf.len(), offset, now.len(), self.len),
            _ => error,
        })
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        within(buf, offset, ReadAt::len(self))?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(start..start + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn holds(&self, offset: u64, len: u64) -> bool {
        (**self).holds(offset, len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }
}

/// What to say of a file that had `before` bytes when it was opened and has `now`.
fn cut(wanted: usize, offset: u64, now: u64, before: u64) -> io::Error {
    let message = format!(
        "{wanted} bytes are wanted from byte {offset} on, but the file, of which {before} bytes were there when it was \
         opened, has {now} bytes now"
    );
    io::Error::new(io::ErrorKind::UnexpectedEof, Defect::new("truncated", message).at(offset))
}

fn within(buf: &[u8], offset: u64, len: u64) -> io::Result<()> {
    match offset.checked_add(buf.len() as u64) {
        Some(end) if end <= len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
