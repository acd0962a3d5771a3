//! The tokio runtime under the networked verbs: the loop that keeps Ctrl-C alive above it, and the bridge to asyncio.

use std::future::ready;
use std::io::{self, Write};
use std::mem;
use std::panic::resume_unwind;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use futures::TryFutureExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, future_into_py_with_locals};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::error::no_thread;
use super::progress::{PERIOD, Reporter};
use crate::error::{Error, Result};
use crate::threads;

/// The runtime of the process with that id.
///
/// A child of `fork` inherits the runtime without its threads: it makes its own. Whoever holds the lock is attached to
/// Python and calls nothing of it meanwhile, so that under the GIL nobody ever waits for the lock, nobody forks while it
/// is held, and no child inherits it locked. Where there is no GIL, whoever waits does so detached.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// Threads of the runtime that drive its sockets and timers.
const WORKERS: usize = 2;

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
    reporter.come_home();
    Ok(py.detach(|| {
        let result = runtime.block_on(interruptible(reporter, grace, work));
        // What the runtime's threads had to tell of at last.
        reporter.attend();
        result
    }))
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
    if LEAVING.load(Ordering::SeqCst) {
        return Err(PyRuntimeError::new_err(
            "the interpreter is about to end, and nothing can be awaited any more: import dcos_etcd before the handler \
             is given to atexit.register, so that it is called in time, or call the blocking verb of the same name",
        ));
    }
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
            _ = ticks.tick() => {}
            () = reporter.called() => {}
        }
        if !reporter.attend() {
            break;
        }
    }
    timeout(grace, work).await.unwrap_or(Err(Error::Interrupted))
}

/// Does `work`, which blocks, on a thread of its own.
///
/// The runtime's own threads for such work would not do: where it gets no new one, it waits for one that never ends.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    // Nobody takes the result when the event loop went away.
    let thread = threads::start("dcos-etcd-work", move || drop(sender.send(work())))
        .map_err(Error::io("starting a thread", Path::new("")))?;
    match receiver.await {
        Ok(done) => done,
        Err(_) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => Err(Error::Interrupted),
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

/// Does `work`, which may do anything with the runtime, such as waiting for something else that it does.
pub(super) fn outside<T>(work: impl FnOnce() -> T) -> T {
    // On the threads on which this is called no other thread is needed for that.
    block_in_place(work)
}

/// Whether the calling thread belongs to the runtime, or waits within it.
pub(super) fn in_runtime() -> bool {
    Handle::try_current().is_ok()
}

/// Wakes up whoever waits for it, or is about to.
#[derive(Default)]
pub(super) struct Bell(Notify);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.0.notified().await;
    }
}

fn runtime(py: Python<'_>) -> PyResult<Arc<Runtime>> {
    let mut slot = slot(py);
    match slot.take() {
        Some((pid, runtime)) if pid == process::id() => {
            *slot = Some((pid, Arc::clone(&runtime)));
            return Ok(runtime);
        }
        // Dropping the parent's runtime would wait for threads that this process does not have.
        Some((_, inherited)) => mem::forget(inherited),
        None => {}
    }
    let built = build();
    if let Ok(runtime) = &built {
        // The threads that a parent had are not here.
        ATTACHED.store(0, Ordering::SeqCst);
        *slot = Some((process::id(), Arc::clone(runtime)));
    }
    drop(slot);
    built.map_err(|error| no_thread(py, &error))
}

/// A runtime that has its threads: without one of them tokio would panic, or wait for it for ever.
fn build() -> io::Result<Arc<Runtime>> {
    // One more: a thread that has ended may count for a moment longer, and most verbs need one beside these.
    threads::try_out(WORKERS + 1)?;
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("dcos-etcd").enable_all().build()?;
    Ok(Arc::new(runtime))
}

fn slot(py: Python<'_>) -> MutexGuard<'static, Option<(u32, Arc<Runtime>)>> {
    RUNTIME.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
}

/// Waits, before the interpreter is finalized, until no thread of the runtime is attached to it. The package has it
/// called at the end of the program.
#[pyfunction]
pub(super) fn leave(py: Python<'_>) {
    // A child of `fork` without a runtime of its own has none of the threads that were counted.
    let ours = slot(py).as_ref().is_some_and(|(pid, _)| *pid == process::id());
    py.detach(|| {
        LEAVING.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        while ours && ATTACHED.load(Ordering::SeqCst) > 0 && begun.elapsed() < LEAVE {
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
    } else {
        // Whoever still waits does so for ever. Nothing better is left to tell them by, nor to tell of a failure in it.
        let message =
            b"dcos-etcd: work was done as the interpreter was about to end: whoever awaits it waits in vain\n";
        let _ = io::stderr().write_all(message);
    }
}

/// Does `work`, which waits for the GIL, on a thread of its own or, where there is none to be had, on this one.
fn handed_over(work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&work);
    let hand_over = move |work: &Mutex<Option<_>>| {
        if let Some(work) = take(work) {
            attached(work);
        }
    };
    if threads::start("dcos-etcd-answer", move || hand_over(&theirs)).is_err() {
        hand_over(&work);
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
        handed_over(work);
        // Nobody waits for it.
        Box::pin(ready(Ok(())))
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
