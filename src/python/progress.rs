//! [`Progress`] that looks for signals and tells the caller's callback.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::runtime::{Bell, in_runtime, outside};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// Time between two looks: soon enough for a finger on Ctrl-C, and too seldom to slow the work down.
pub(super) const PERIOD: Duration = Duration::from_millis(50);

/// Stands between the core, which counts bytes without the GIL, and Python, which has signals and a callback.
pub(super) struct Reporter {
    callback: Option<Py<PyAny>>,
    state: Mutex<State>,
    /// Rings when an event was kept for the thread that waits.
    bell: Bell,
}

/// The lock is never held while waiting for the GIL: its holder may wait for the lock.
#[derive(Default)]
struct State {
    telling: Telling,
    told: Option<(Stage, Instant)>,
    stopped: bool,
    cause: Option<PyErr>,
    /// What the callback has not been told yet.
    kept: Vec<Event>,
}

/// Who calls the callback.
#[derive(Clone, Copy, Default)]
enum Telling {
    /// The thread on which something happens.
    #[default]
    AtOnce,
    /// The same, but for threads of the runtime: those never wait for Python, which may itself wait for what only they can
    /// do. For them this thread does, which waits for the work.
    Home(ThreadId),
    /// Whoever calls [`Reporter::tell`].
    Later,
}

type Event = (Stage, u64, Option<u64>);

impl Reporter {
    /// Tells `callback`, if there is one, of each step as `(stage, done, total)`.
    pub(super) fn new(callback: Option<Py<PyAny>>) -> Self {
        Self { callback, state: Mutex::default(), bell: Bell::default() }
    }

    /// From now on the work is awaited: signals are the event loop's, [`Reporter::stop`] is what stops it, and events
    /// are kept for [`Reporter::tell`]. So no thread of the core takes the GIL, which it might hold while others have
    /// the processor.
    pub(super) fn keep_events(&self) {
        self.lock().telling = Telling::Later;
    }

    /// From now on the calling thread waits for work that the runtime does, and calls [`Reporter::attend`] now and then.
    pub(super) fn come_home(&self) {
        self.lock().telling = Telling::Home(thread::current().id());
    }

    /// Waits until there is something to attend to beside signals.
    pub(super) async fn called(&self) {
        self.bell.rung().await;
    }

    /// Tells the callback of the events that were kept, on the calling thread.
    pub(super) fn tell(&self, py: Python<'_>) -> PyResult<()> {
        let kept = mem::take(&mut self.lock().kept);
        let Some(callback) = &self.callback else { return Ok(()) };
        kept.into_iter()
            .try_for_each(|(stage, done, total)| callback.call1(py, (stage.as_str(), done, total)).map(drop))
    }

    /// Stops the work at its next step.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Whether to go on. Work that blocks runs the handlers of signals that have arrived and tells of what was kept; it
    /// stops when one of them raises, such as `KeyboardInterrupt`.
    ///
    /// Python runs them on its main thread only; on others this looks for none.
    pub(super) fn attend(&self) -> bool {
        let held = self.lock();
        if matches!(held.telling, Telling::Later) {
            return !held.stopped;
        }
        drop(held);
        self.look(|py| self.tell(py))
    }

    /// Why the work was stopped, if it was.
    pub(super) fn take_cause(&self) -> Option<PyErr> {
        self.lock().cause.take()
    }

    /// Does what `then` says as a step of the work: an exception stops it.
    pub(super) fn call(&self, then: impl FnOnce(Python<'_>) -> PyResult<()>) -> Result<()> {
        if self.look(then) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Looks for signals, then does what `then` says.
    fn look(&self, then: impl FnOnce(Python<'_>) -> PyResult<()>) -> bool {
        if self.lock().stopped {
            return false;
        }
        // Handlers and callbacks may do what verbs they like.
        let looked = outside(|| Python::try_attach(|py| py.check_signals().and_then(|()| then(py))));
        let cause = match looked {
            Some(Ok(())) => return true,
            Some(Err(cause)) => Some(cause),
            // The interpreter is about to end, and nobody waits any more.
            None => None,
        };
        let mut held = self.lock();
        held.stopped = true;
        // Two threads may fail at once; the first one tells.
        if held.cause.is_none() {
            held.cause = cause;
        }
        false
    }

    /// Whether Python is to be told now: on the first step and the last one of a stage, and now and then between.
    fn is_due(&self, stage: Stage, done: u64, total: Option<u64>) -> bool {
        let mut held = self.lock();
        let now = Instant::now();
        let due = match held.told {
            Some((told, when)) => told != stage || now.duration_since(when) >= PERIOD || total == Some(done),
            None => true,
        };
        if due {
            held.told = Some((stage, now));
        }
        due || held.stopped
    }

    /// Keeps an event. If somebody else tells the callback, it gives whether to go on.
    fn keep(&self, event: Event) -> Option<bool> {
        let mut held = self.lock();
        let is_mine = match held.telling {
            Telling::Later => false,
            Telling::Home(home) => home == thread::current().id() || !in_runtime(),
            Telling::AtOnce => true,
        };
        if self.callback.is_some() {
            held.kept.push(event);
            if !is_mine {
                self.bell.ring();
            }
        }
        (!is_mine).then_some(!held.stopped)
    }

    /// The state is whole at every moment, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Reporter {
    fn update(&self, stage: Stage, done: u64, total: Option<u64>) -> bool {
        if !self.is_due(stage, done, total) {
            return true;
        }
        self.keep((stage, done, total)).unwrap_or_else(|| self.attend())
    }
}
