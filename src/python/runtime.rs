//! The tokio runtime under the networked verbs, and the loop that keeps Ctrl-C alive above it.

use std::pin::pin;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::error::settle;
use super::progress::{PERIOD, Reporter};
use crate::error::{Error, Result};

/// The runtime of the process with that id.
///
/// A child of `fork` inherits the runtime without its threads: it makes its own. The lock is held only by a thread
/// that is attached to Python, as the one that forks is, so no child inherits it locked.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// Runs `work` to its end on the calling thread, without the GIL.
///
/// When a signal handler raises, `work` has `grace` to see that its progress says stop and to clean up; then it is
/// dropped.
pub(super) fn drive<T: Send>(
    py: Python<'_>,
    reporter: &Reporter,
    grace: Duration,
    work: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    let runtime = runtime(py)?;
    let result = py.detach(|| runtime.block_on(interruptible(reporter, grace, work)));
    settle(py, reporter, result)
}

async fn interruptible<T>(reporter: &Reporter, grace: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => if !reporter.poll() { break },
        }
    }
    timeout(grace, work).await.unwrap_or(Err(Error::Interrupted))
}

fn runtime(_attached: Python<'_>) -> PyResult<Arc<Runtime>> {
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match slot.take() {
        Some((pid, runtime)) if pid == process::id() => {
            *slot = Some((pid, Arc::clone(&runtime)));
            return Ok(runtime);
        }
        // Dropping the parent's runtime would wait for threads that this process does not have.
        Some((_, inherited)) => std::mem::forget(inherited),
        None => {}
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("dcos-etcd").enable_all().build()?;
    let runtime = Arc::new(runtime);
    *slot = Some((process::id(), Arc::clone(&runtime)));
    Ok(runtime)
}
