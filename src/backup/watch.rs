//! Progress on a timer, beside work that may be waiting for a silent server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// At least this often somebody is asked whether to go on: what a person takes for "at once".
const TICK: Duration = Duration::from_millis(100);

/// How far the work is, for a look from the side.
#[derive(Debug, Default)]
pub(super) struct Counter {
    received: AtomicU64,
    /// 0 while it is not known.
    total: AtomicU64,
    syncing: AtomicBool,
}

impl Counter {
    pub(super) fn announce(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn syncing(&self) {
        self.syncing.store(true, Ordering::Relaxed);
    }

    /// Reports how far the work is.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when told to stop.
    pub(super) fn report(&self, progress: &dyn Progress) -> Result<()> {
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        let stage = if self.syncing.load(Ordering::Relaxed) { Stage::Sync } else { Stage::Receive };
        progress.step(stage, self.received.load(Ordering::Relaxed), total)
    }
}

/// Does the work and reports beside it; drops it when told to stop.
///
/// # Errors
/// Those of the work, and [`Error::Interrupted`].
pub(super) async fn watched<T>(
    progress: &dyn Progress,
    counter: &Counter,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        loop {
            ticks.tick().await;
            if let Err(error) = counter.report(progress) {
                return error;
            }
        }
    };
    tokio::select! {
        outcome = work => outcome,
        error = asking => Err(error),
    }
}

/// Whether an error means that somebody asked to stop.
pub(super) fn is_stop(error: &Error) -> bool {
    matches!(error, Error::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Remembers what it was told and stops at the given call.
    struct StopAt(usize, Mutex<Vec<(Stage, u64, Option<u64>)>>);

    impl Progress for StopAt {
        fn update(&self, stage: Stage, done: u64, total: Option<u64>) -> bool {
            let mut calls = self.1.lock().unwrap();
            calls.push((stage, done, total));
            calls.len() < self.0
        }
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn silent_work_is_stopped_by_the_timer() {
        let progress = StopAt(3, Mutex::default());
        let started = std::time::Instant::now();
        let outcome = run(watched(&progress, &Counter::default(), std::future::pending::<Result<()>>()));

        assert!(matches!(outcome, Err(Error::Interrupted)));
        assert_eq!(progress.1.into_inner().unwrap(), [(Stage::Receive, 0, None); 3]);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn numbers_and_stage_are_those_of_the_counter() {
        let progress = StopAt(1, Mutex::default());
        let counter = Counter::default();
        counter.announce(100);
        counter.received(40);
        assert!(counter.report(&progress).is_err());
        counter.syncing();
        assert!(counter.report(&progress).is_err());

        assert_eq!(progress.1.into_inner().unwrap(), [(Stage::Receive, 40, Some(100)), (Stage::Sync, 40, Some(100))]);
    }
}
