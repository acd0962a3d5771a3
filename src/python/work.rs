//! `_core.Work`: what a verb is about to do, to be waited for or to be awaited.
//!
//! A verb says once what is to be done and what comes of it. Nothing has begun then: [`PyWork::wait`] does it on the
//! calling thread, [`PyWork::start`] beside an asyncio event loop.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::error::settle;
use super::progress::Reporter;
use super::runtime::{aside, aside_waiting, begin, block_on, interruptible};
use crate::error::Result;

/// Makes of a result what Python gets.
type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// Has so long to clean up when it is stopped; then it is dropped.
struct Waiting(Duration, Pin<Box<dyn Future<Output = Result<Answer>> + Send>>);

/// What is to be done.
enum Job {
    /// Waits for servers.
    Waiting(Waiting),
    /// Waits for servers, and reads files in between.
    Mixed(Waiting),
    /// Reads and writes files.
    Busy(Box<dyn FnOnce() -> Result<Answer> + Send>),
}

/// What a verb is about to do; private.
#[pyclass(name = "Work", module = "dcos_etcd._core", frozen)]
pub(super) struct PyWork {
    reporter: Arc<Reporter>,
    job: Mutex<Option<Job>>,
    /// What there is once it came through, whatever is raised then.
    lasting: Option<String>,
    came_through: AtomicBool,
}

impl PyWork {
    /// The same, of which something stays once it came through: a clause that says what.
    pub(super) fn lasting(self, what: String) -> Self {
        Self { lasting: Some(what), ..self }
    }

    /// Waits for servers. Stopped, it has `grace` to clean up; then it is dropped.
    pub(super) fn waiting<T, F>(
        progress: Option<Py<PyAny>>,
        grace: Duration,
        work: impl FnOnce(Arc<Reporter>) -> F,
        answer: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Self::new(progress, |reporter| Job::Waiting(answered(grace, work(reporter), answer)))
    }

    /// Waits for servers and reads files; otherwise as [`PyWork::waiting`].
    pub(super) fn mixed<T, F>(
        progress: Option<Py<PyAny>>,
        grace: Duration,
        work: impl FnOnce(Arc<Reporter>) -> F,
        answer: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Self::new(progress, |reporter| Job::Mixed(answered(grace, work(reporter), answer)))
    }

    /// Reads and writes files. It ends when its progress tells it to.
    pub(super) fn busy<T: Send + 'static>(
        progress: Option<Py<PyAny>>,
        work: impl FnOnce(&Reporter) -> Result<T> + Send + 'static,
        answer: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
    ) -> Self {
        Self::new(progress, |reporter| Job::Busy(Box::new(move || Ok(boxed(work(&reporter)?, answer)))))
    }

    fn new(progress: Option<Py<PyAny>>, job: impl FnOnce(Arc<Reporter>) -> Job) -> Self {
        let reporter = Arc::new(Reporter::new(progress));
        let job = job(Arc::clone(&reporter));
        Self { reporter, job: Mutex::new(Some(job)), lasting: None, came_through: AtomicBool::new(false) }
    }

    fn take(&self) -> PyResult<Job> {
        let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        job.ok_or_else(|| PyRuntimeError::new_err("the work has begun already"))
    }
}

#[pymethods]
impl PyWork {
    /// Does the work on the calling thread, without the GIL.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let result = match self.take()? {
            Job::Waiting(Waiting(grace, work)) | Job::Mixed(Waiting(grace, work)) => {
                block_on(py, &self.reporter, grace, work)?
            }
            Job::Busy(work) => py.detach(work),
        };
        self.came_through.store(result.is_ok(), Ordering::Relaxed);
        settle(py, &self.reporter, result)?(py)
    }

    /// What `wait` has left behind, told also where it raised because a signal or a callback came too late to stop it.
    #[getter]
    fn lasts(&self) -> Option<&str> {
        self.lasting.as_deref().filter(|_| self.came_through.load(Ordering::Relaxed))
    }

    /// Begins the work, and gives the running event loop's future for its result. The callback is called by `tell` only.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let job = self.take()?;
        let reporter = Arc::clone(&self.reporter);
        reporter.keep_events();
        begin(py, async move {
            let result = match job {
                Job::Waiting(Waiting(grace, work)) => interruptible(&reporter, grace, work).await,
                Job::Mixed(Waiting(grace, work)) => {
                    let reporter = Arc::clone(&reporter);
                    aside_waiting(async move { interruptible(&reporter, grace, work).await }).await
                }
                Job::Busy(work) => aside(work).await,
            };
            Ok(Outcome { reporter, result })
        })
    }

    /// Tells the callback what has happened since the last time; what it raises comes out.
    fn tell(&self, py: Python<'_>) -> PyResult<()> {
        self.reporter.tell(py)
    }

    /// Has the work that was started end, cleaned up, as soon as it can.
    fn stop(&self) {
        self.reporter.stop();
    }
}

/// What awaited work came to; becomes an object of Python on a thread that may wait for the GIL.
struct Outcome {
    reporter: Arc<Reporter>,
    result: Result<Answer>,
}

impl<'py> IntoPyObject<'py> for Outcome {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(settle(py, &self.reporter, self.result)?(py)?.into_bound(py))
    }
}

fn answered<T: Send + 'static>(
    grace: Duration,
    work: impl Future<Output = Result<T>> + Send + 'static,
    answer: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
) -> Waiting {
    Waiting(grace, Box::pin(async move { Ok(boxed(work.await?, answer)) }))
}

fn boxed<T: Send + 'static>(
    result: T,
    answer: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
) -> Answer {
    Box::new(move |py| answer(py, result).map(Bound::unbind))
}
