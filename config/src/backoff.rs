//! How long to wait before the next try.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Full jitter: a random part of a time that doubles with each failure. Random from zero on, so that clients that
/// failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// It worked: the next failure is the first.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let longest = self.base.saturating_mul(1 << self.failures.min(20)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        part(longest)
    }
}

/// A random part of a time.
pub(crate) fn part(longest: Duration) -> Duration {
    longest.mul_f64(random())
}

/// From 0 to 1. Without randomness of the system: one half.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_differ() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(30));
        let mut backoff = Backoff::new(base, cap);
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next()).collect();
        for (failures, wait) in waits.iter().enumerate() {
            assert!(*wait <= cap.min(base * 2_u32.pow(u32::try_from(failures.min(20)).unwrap())), "{wait:?}");
        }
        let late = &waits[20..];
        assert!(late.iter().any(|wait| *wait > cap / 2) && late.iter().any(|wait| *wait < cap / 2));
        backoff.reset();
        assert!(backoff.next() <= base);
    }
}
