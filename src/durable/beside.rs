//! Syncing a file while it is read.

use std::fs::File;
use std::io;
use std::thread;

/// Does `work` while another thread puts on stable storage what `file` holds now, so that the sync at the end finds
/// only what was changed since.
///
/// # Errors
/// What the sync answered, beside what `work` gave: the system tells of a failed write once only, and a later sync of
/// the same file would pass.
pub fn sync_beside<T>(file: &File, work: impl FnOnce() -> T) -> (T, io::Result<()>) {
    thread::scope(|scope| {
        let sync = thread::Builder::new().name("dcos-etcd-sync".to_owned()).spawn_scoped(scope, || file.sync_data());
        let done = work();
        match sync.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(synced)) => (done, synced),
            Ok(Err(_)) => (done, Err(io::Error::other("the syncing thread ended before its time"))),
            // Without the thread, the last sync has everything to do.
            Err(_) => (done, Ok(())),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn what_the_work_gives_comes_with_what_the_sync_says() {
        let file = tempfile::tempfile().unwrap();
        let (done, synced) = sync_beside(&file, || 7);
        assert_eq!(7, done);
        synced.unwrap();

        // A pipe can't be synced.
        let (_, writer) = io::pipe().unwrap();
        let (done, synced) = sync_beside(&File::from(OwnedFd::from(writer)), || "done");
        assert_eq!("done", done);
        assert_eq!(io::ErrorKind::InvalidInput, synced.unwrap_err().kind());
    }
}
