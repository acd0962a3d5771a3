//! A bound on the rate at which a stream is read.
//!
//! Whoever reads no faster holds the server back: HTTP/2's flow control lets it run ahead by one window and no further.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A reader that was kept waiting may make up for so much of the time, and not for more: a server that was silent for
/// a minute is not asked for a minute's bytes at once.
const BURST: Duration = Duration::from_millis(100);

/// The longest single wait: clocks can't count to the end of what a tiny rate asks for.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Lets bytes pass at a rate.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second, at least 1.
    rate: u64,
    /// When the bytes since `base` began to pass.
    start: Instant,
    base: u64,
}

impl Pace {
    /// Begins now, with `passed` bytes behind it.
    pub(super) fn new(rate: u64, passed: u64) -> Self {
        Self { rate: rate.max(1), start: Instant::now(), base: passed }
    }

    /// Waits until `passed` bytes in all are not too many.
    pub(super) async fn wait(&mut self, passed: u64) {
        loop {
            let now = Instant::now();
            let wait = self.ahead(passed, now);
            if wait.is_zero() {
                return;
            }
            sleep_until(now + wait.min(LONGEST_WAIT)).await;
        }
    }

    /// For how long nothing more may pass at `now`.
    fn ahead(&mut self, passed: u64, now: Instant) -> Duration {
        let nanos = u128::from(passed.saturating_sub(self.base)) * 1_000_000_000 / u128::from(self.rate);
        let due = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let elapsed = now.saturating_duration_since(self.start);
        if elapsed > due + BURST {
            // As if all of them had passed at the rate, and the last one a moment ago.
            (self.start, self.base) = (now.checked_sub(BURST).unwrap_or(now), passed);
        }
        due.saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pace: &Pace, milliseconds: u64) -> Instant {
        pace.start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn bytes_are_due_at_the_rate() {
        let mut pace = Pace::new(1000, 500);
        let start = at(&pace, 0);

        assert_eq!(Duration::ZERO, pace.ahead(500, start));
        assert_eq!(Duration::from_millis(250), pace.ahead(750, start));
        assert_eq!(Duration::from_millis(50), pace.ahead(750, start + Duration::from_millis(200)));
        assert_eq!(Duration::ZERO, pace.ahead(750, start + Duration::from_millis(300)));
    }

    #[test]
    fn time_lost_on_a_slow_server_is_made_up_for_in_part_only() {
        let mut pace = Pace::new(1000, 0);
        let later = at(&pace, 10_000);

        assert_eq!(Duration::ZERO, pace.ahead(1000, later));
        assert_eq!(Duration::ZERO, pace.ahead(1100, later));
        assert_eq!(Duration::from_millis(400), pace.ahead(1500, later));
    }

    #[test]
    fn the_least_rate_and_the_most_bytes_are_a_long_wait_and_no_overflow() {
        let mut pace = Pace::new(1, 0);
        let start = at(&pace, 0);

        assert_eq!(Duration::from_nanos(u64::MAX), pace.ahead(u64::MAX, start));
        assert_eq!(Duration::from_secs(32_768), pace.ahead(32_768, start));
        assert_eq!(Duration::from_nanos(499_999_999), Pace::new(u64::MAX, 0).ahead(u64::MAX / 2, start));
    }
}
