//! Putting a file on stable storage while it is still being written.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Bytes that are left to the system before they are asked for. Fewer would sync more often than a disk likes, more
/// would leave much to the end.
const EVERY: u64 = 64 << 20;

/// Told of what is written.
#[derive(Debug)]
pub struct WriteBack {
    waiting: AtomicU64,
    requests: SyncSender<()>,
}

impl WriteBack {
    /// So many bytes more were written.
    pub fn wrote(&self, bytes: u64) {
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes >= EVERY {
            self.flush();
        }
    }

    /// Puts on the disk what was written so far, and does not wait for it.
    pub fn flush(&self) {
        // One that is under way or waits already is as good, but for the last bytes.
        if self.requests.try_send(()).is_ok() {
            self.waiting.store(0, Ordering::Relaxed);
        }
    }
}

/// A file whose writes a [`WriteBack`] is told of.
#[derive(Debug)]
pub struct Followed<'f> {
    file: &'f File,
    write_back: &'f WriteBack,
}

impl<'f> Followed<'f> {
    /// Writes to `file` are told to `write_back`.
    pub fn new(file: &'f File, write_back: &'f WriteBack) -> Self {
        Self { file, write_back }
    }
}

impl Write for Followed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.write_back.wrote(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Followed<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Does `work`, which writes to `file`, while another thread syncs what was written, so that the sync that must
/// follow finds little to do.
///
/// # Errors
/// What a sync answered, beside what `work` gave: the system tells of a failed write once only, and a later sync of
/// the same file would pass.
pub fn written_back<T>(file: &File, work: impl FnOnce(&WriteBack) -> T) -> (T, io::Result<()>) {
    let (requests, queue) = sync_channel(1);
    thread::scope(|scope| {
        let syncing = thread::Builder::new()
            .name("dcos-etcd-sync".to_owned())
            .spawn_scoped(scope, move || queue.into_iter().try_for_each(|()| file.sync_data()));
        let write_back = WriteBack { waiting: AtomicU64::new(0), requests };
        let done = work(&write_back);
        drop(write_back);
        match syncing.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(synced)) => (done, synced),
            Ok(Err(_)) => (done, Err(io::Error::other("the syncing thread ended before its time"))),
            // Without the thread, the last sync has everything to do.
            Err(_) => (done, Ok(())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_work_gives_comes_with_what_the_syncs_said() {
        let mut file = tempfile::tempfile().unwrap();
        let written = file.try_clone().unwrap();
        let (done, synced) = written_back(&written, |write_back| {
            file.write_all(b"bytes").unwrap();
            write_back.wrote(EVERY);
            write_back.flush();
            7
        });
        assert_eq!(7, done);
        synced.unwrap();
    }

    #[test]
    fn a_sync_that_fails_is_told() {
        // A pipe can't be synced.
        let (_, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let (done, synced) = written_back(&file, |write_back| {
            write_back.wrote(EVERY);
            "done"
        });
        assert_eq!("done", done);
        assert_eq!(io::ErrorKind::InvalidInput, synced.unwrap_err().kind());
    }
}
