//! A rate: how fast tokens come back, and how many there are at most (generic cell rate algorithm).
//!
//! A bucket is one number, the time at which it is full again; how far that lies ahead is what has been taken. Times are
//! since the start of the process, in sixteenths of a nanosecond, which last for 36 years.

use std::time::Duration;

/// Sixteenths: a limit of a hundred million in a second is still right by a percent.
const SHIFT: u32 = 4;
/// No bucket takes longer to fill, in units: two years.
const DEEPEST: u64 = 1 << 60;

/// Compiled, of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    requests: u64,
    /// In units.
    window: u64,
    /// Units until an empty bucket is full.
    depth: u64,
    /// Tokens of a full bucket.
    burst: u64,
}

/// What became of a wish for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether they were there, and were taken.
    pub(super) is_admitted: bool,
    /// Tokens left.
    pub(super) remaining: u64,
    /// Until one more is there; of a refusal, until as many are as were asked for. Zero: the bucket is full.
    pub(super) wait: Duration,
}

impl Rate {
    /// `requests` in each `window`, `burst` at once. `requests` 0: none at all.
    pub(super) fn new(requests: u64, window: Duration, burst: u64) -> Self {
        let mut rate = Self { requests, window: units(window), depth: 0, burst };
        if requests > 0 {
            rate.depth = rate.price(burst).min(DEEPEST);
        }
        rate
    }

    /// A full bucket.
    pub(super) const fn full() -> u64 {
        0
    }

    /// What is missing of a bucket, in units: the fuller, the less.
    pub(super) fn missing(bucket: u64, now: Duration) -> u64 {
        bucket.saturating_sub(units(now))
    }

    /// Takes `cost` tokens if there are as many. The bucket is what it is to be then.
    pub(super) fn take(self, bucket: u64, now: Duration, cost: u64) -> (Option<u64>, Taken) {
        let missing = Self::missing(bucket, now);
        let after = missing.saturating_add(self.price(cost));
        let is_admitted = after <= self.depth || cost == 0;
        let taken = |missing: u64, wait: u64| Taken {
            is_admitted,
            remaining: self.tokens(self.depth.saturating_sub(missing)),
            wait: nanos(wait),
        };
        if is_admitted {
            // Of the token that is partly there.
            let next = if after == 0 { 0 } else { (after - 1) % self.price(1).max(1) + 1 };
            return (Some(units(now).saturating_add(after)), taken(after, next));
        }
        // What is more than a bucket holds never comes; the client should not hear "at once".
        let wait = if self.price(cost) > self.depth { self.window } else { after.saturating_sub(self.depth) };
        (None, taken(missing, wait))
    }

    /// Takes `cost` tokens whether they are there or not; a bucket owes as much again as it holds, at most.
    pub(super) fn charge(self, bucket: u64, now: Duration, cost: u64) -> u64 {
        let after = Self::missing(bucket, now).saturating_add(self.price(cost));
        units(now).saturating_add(after.min(self.depth.saturating_mul(2)))
    }

    /// The bucket with `cost` tokens more, which were taken out of it.
    pub(super) fn give_back(self, bucket: u64, cost: u64) -> u64 {
        bucket.saturating_sub(self.price(cost))
    }

    /// The time in which `requests` come back.
    pub(super) const fn window(self) -> Duration {
        nanos(self.window)
    }

    /// Tokens of a full bucket.
    pub(super) const fn burst(self) -> u64 {
        self.burst
    }

    /// The time that `cost` tokens take to come back, in units. Of a rate of none they never do.
    fn price(self, cost: u64) -> u64 {
        if self.requests == 0 {
            return if cost == 0 { 0 } else { u64::MAX };
        }
        match self.window.checked_mul(cost) {
            Some(product) => product / self.requests,
            None => {
                let product = u128::from(self.window) * u128::from(cost) / u128::from(self.requests);
                u64::try_from(product).unwrap_or(u64::MAX)
            }
        }
    }

    /// Tokens that come back in a time.
    fn tokens(self, units: u64) -> u64 {
        let tokens = u128::from(units) * u128::from(self.requests) / u128::from(self.window.max(1));
        u64::try_from(tokens).unwrap_or(u64::MAX).min(self.burst)
    }
}

fn units(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() << SHIFT).unwrap_or(u64::MAX)
}

/// Rounded up: a client that comes at this time finds what it waited for.
const fn nanos(units: u64) -> Duration {
    Duration::from_nanos(units.div_ceil(1 << SHIFT))
}

#[cfg(test)]
mod tests;
