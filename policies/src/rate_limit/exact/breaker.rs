//! Does not ask a service that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::rate_limit::nanos;

/// Failures in a row after which it is not asked.
const MOST: u32 = 10;
/// For so long; then by one request, whose answer decides.
const PAUSE: Duration = Duration::from_secs(1);

/// Without a lock; written only while something fails.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// In a row.
    failures: AtomicU32,
    /// Nobody asks before, in nanoseconds of the clock.
    until: AtomicU64,
}

impl Breaker {
    /// Whether a request may ask.
    pub(super) fn permits(&self, now: Duration) -> bool {
        if self.failures.load(Relaxed) < MOST {
            return true;
        }
        let (now, until) = (nanos(now), self.until.load(Relaxed));
        let next = now.saturating_add(nanos(PAUSE));
        // Of all that come when the pause is over one asks.
        now >= until && self.until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    /// It answered.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) > 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// It did not.
    pub(super) fn failed(&self, now: Duration) {
        // Far from the end of the numbers: those who may ask are few once there are MOST.
        if self.failures.fetch_add(1, Relaxed) + 1 >= MOST {
            self.until.store(nanos(now.saturating_add(PAUSE)), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_fails_is_asked_once_a_second_until_it_answers() {
        let (breaker, mut now) = (Breaker::default(), Duration::from_secs(5));
        for _ in 1..MOST {
            breaker.failed(now);
            assert!(breaker.permits(now));
        }
        breaker.succeeded();
        for _ in 0..MOST {
            assert!(breaker.permits(now), "only failures in a row count");
            breaker.failed(now);
        }
        for _ in 0..3 {
            assert!(!breaker.permits(now));
            assert!(!breaker.permits(now + PAUSE - Duration::from_nanos(1)));
            now += PAUSE;
            assert_eq!((0..5).filter(|_| breaker.permits(now)).count(), 1, "one finds out");
            breaker.failed(now);
        }
        now += PAUSE;
        assert!(breaker.permits(now) && !breaker.permits(now));
        breaker.succeeded();
        assert!((0..5).all(|_| breaker.permits(now)));
    }
}
