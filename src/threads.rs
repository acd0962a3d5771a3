//! Threads, of which a system may have no more to give: `ulimit -u`, systemd's `TasksMax`, `pids.max` of a container.

use std::io;
#[cfg(feature = "python")]
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};

/// Starts a thread called `name`.
///
/// # Errors
/// The system's, in words that tell that threads are short, and of the same kind.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(|error| short(&error))
}

/// Finds out whether so many threads can run beside each other at this moment; none of them is left.
///
/// # Errors
/// As those of [`start`].
#[cfg(feature = "python")]
pub(crate) fn try_out(count: usize) -> io::Result<()> {
    let mut held = Vec::new();
    let tried = (0..count).try_for_each(|_| {
        let (release, wait) = channel::<()>();
        let thread = start("dcos-etcd-try", move || {
            let _ = wait.recv();
        })?;
        held.push((release, thread));
        Ok(())
    });
    for (release, thread) in held {
        drop(release);
        // It does nothing that could panic.
        let _ = thread.join();
    }
    tried
}

fn short(error: &io::Error) -> io::Error {
    let message = format!("no further thread can be started ({error}): raise ulimit -u, TasksMax or pids.max");
    io::Error::new(error.kind(), message)
}
