//! The tokio runtime under the networked verbs: the loop that keeps Ctrl-C alive above it, and the bridge to asyncio.

use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use futures::TryFutureExt;
use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, future_into_py_with_locals};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::progress::{PERIOD, Reporter};
use crate::error::{Error, Result};

/// The runtime of the process with that id.
///
/// A child of `fork` inherits the runtime without its threads: it makes its own. The lock is held only by a thread
/// that is attached to Python, as the one that forks is, so no child inherits it locked.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// Threads of the runtime that are attached to Python, or about to be.
///
/// An interpreter that is finalized ends a thread that wants to attach to it again, wherever that is, and with it the
/// process. The last that such a thread does is to wake up the event loop, after which the program may end at any moment.
static ATTACHED: AtomicUsize = AtomicUsize::new(0);
/// Whether the interpreter is about to be finalized: nobody attaches from now on.
static LEAVING: AtomicBool = AtomicBool::new(false);
/// For so long the end of the program waits for those threads, which have but to hand a result over.
const LEAVE: Duration = Duration::from_secs(10);

/// Runs `work` to its end on the calling thread, without the GIL.
///
/// When it is to stop, `work` has `grace` to see that its progress says so and to clean up; then it is dropped.
pub(super) fn block_on<T: Send>(
    py: Python<'_>,
    reporter: &Reporter,
    grace: Duration,
    work: impl Future<Output = Result<T>> + Send,
) -> PyResult<Result<T>> {
    let runtime = runtime(py)?;
    Ok(py.detach(|| runtime.block_on(interruptible(reporter, grace, work))))
}

/// Begins to run `work`, and gives the running event loop's future for what it comes to.
///
/// Nobody cancels that future but a loop that goes away: whoever wants `work` to end tells its reporter, and waits.
pub(super) fn begin<'py, T>(
    py: Python<'py>,
    work: impl Future<Output = PyResult<T>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>>
where
    T: for<'any> IntoPyObject<'any> + Send + 'static,
{
    let locals = TaskLocals::with_running_loop(py)?;
    let runtime = runtime(py)?;
    let _inside = runtime.enter();
    future_into_py_with_locals::<Ours, _, _>(py, locals, work)
}

/// Does `work`, until it is done or has to stop.
pub(super) async fn interruptible<T>(
    reporter: &Reporter,
    grace: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
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

/// Does `work`, which blocks, on a thread of the runtime that is there for such.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::Interrupted),
        },
    }
}

/// Does `work`, which waits for servers and reads files, on such a thread.
pub(super) async fn aside_waiting<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let handle = Handle::current();
    aside(move || handle.block_on(work)).await
}

fn runtime(py: Python<'_>) -> PyResult<Arc<Runtime>> {
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
    // The threads that a parent had are not here.
    ATTACHED.store(0, Ordering::SeqCst);
    py.import("atexit")?.call_method1("register", (wrap_pyfunction!(leave, py)?,))?;
    *slot = Some((process::id(), Arc::clone(&runtime)));
    Ok(runtime)
}

/// Waits, before the interpreter is finalized, until no thread of the runtime is attached to it.
#[pyfunction]
fn leave(py: Python<'_>) {
    py.detach(|| {
        LEAVING.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        while ATTACHED.load(Ordering::SeqCst) > 0 && begun.elapsed() < LEAVE {
            sleep(Duration::from_millis(1));
        }
    });
}

/// A thread that is counted.
struct Attached;

impl Attached {
    /// `None` when it is too late to attach.
    fn new() -> Option<Self> {
        // In this order: whoever is not waited for sees that it is too late.
        ATTACHED.fetch_add(1, Ordering::SeqCst);
        let counted = Self;
        (!LEAVING.load(Ordering::SeqCst)).then_some(counted)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        ATTACHED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does `work`, which attaches to Python, unless that is about to end.
fn attached(work: impl FnOnce()) {
    if let Some(_counted) = Attached::new() {
        work();
    }
}

/// The runtime in which the calling thread is, for `pyo3_async_runtimes`, whose own one a child of `fork` could not
/// use.
struct Ours;

/// A task that panicked.
struct Panicked(tokio::task::JoinError);

impl generic::JoinError for Panicked {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.0.into_panic()
    }
}

impl generic::Runtime for Ours {
    type JoinError = Panicked;
    type JoinHandle = Pin<Box<dyn Future<Output = std::result::Result<(), Panicked>> + Send>>;

    fn spawn<F: Future<Output = ()> + Send + 'static>(work: F) -> Self::JoinHandle {
        Box::pin(tokio::spawn(work).map_err(Panicked))
    }

    fn spawn_blocking<F: FnOnce() + Send + 'static>(work: F) -> Self::JoinHandle {
        Box::pin(tokio::task::spawn_blocking(|| attached(work)).map_err(Panicked))
    }
}

/// Nothing in the core calls back into an event loop, so that none needs to be remembered.
impl ContextExt for Ours {
    fn scope<F, R>(_: TaskLocals, work: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(work)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        None
    }
}
