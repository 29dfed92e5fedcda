//! What is known of one endpoint: requests in flight, latency, errors, and whether connecting fails.
//!
//! Time is a parameter (milliseconds since the process started), so everything here is deterministic. Nothing locks:
//! an average and the time it is from share one atomic word.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;

/// Milliseconds since the process started.
pub(crate) type Millis = u64;

/// Latencies halve in this time without news, so that a shunned endpoint is tried again.
const LATENCY_HALF_LIFE: f32 = 3_000.0;
/// Errors are forgotten by half in this time.
const ERROR_HALF_LIFE: f32 = 5_000.0;
/// Least weight of a new sample: averages follow some 32 recent samples when there are many per second.
const LEAST_WEIGHT: f32 = 1.0 / 32.0;
/// Added to latencies in microseconds: below a millisecond, differences are noise and fairness matters more.
const LATENCY_FLOOR: f32 = 1_000.0;
/// The first connect failure shuts an endpoint for this long, each further one for twice as long.
const FIRST_SHUT: Millis = 1_000;
/// The longest an endpoint is shut.
const LONGEST_SHUT: Millis = 10_000;

/// One endpoint's state; it outlives changes of its cluster.
#[derive(Debug)]
pub(super) struct Health {
    in_flight: AtomicU32,
    /// Microseconds to the response head; rises at once, falls slowly (peak EWMA).
    latency: Average,
    /// Share of failures, 0 to 1.
    errors: Average,
    /// A [`Shut`]; 0 while connecting works.
    shut: AtomicU64,
}

/// Whether an endpoint may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// It was shut; one request may find out.
    Probe,
    Shut,
}

/// An endpoint that connections to failed.
#[derive(Debug, Clone, Copy)]
struct Shut {
    until: Millis,
    /// One request is finding out.
    probing: bool,
    /// In a row; at least 1.
    failures: u8,
}

impl Shut {
    const fn unpack(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        Some(Self { until: word >> 16, probing: word & 0x100 != 0, failures: word as u8 })
    }

    const fn pack(self) -> u64 {
        self.until << 16 | (self.probing as u64) << 8 | self.failures as u64
    }
}

impl Health {
    /// `latency`: what to believe at first, in microseconds; the cluster's mean rather than 0, or all would rush to a
    /// new endpoint.
    pub(super) fn new(now: Millis, latency: f32) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            latency: Average::new(now, latency),
            errors: Average::new(now, 0.0),
            shut: AtomicU64::new(0),
        }
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn latency(&self, now: Millis) -> f32 {
        self.latency.at(now, LATENCY_HALF_LIFE)
    }

    pub(super) fn errors(&self, now: Millis) -> f32 {
        self.errors.at(now, ERROR_HALF_LIFE)
    }

    /// What one more request here costs; only comparisons mean anything. `mean`: latency of the whole cluster.
    pub(super) fn cost(&self, now: Millis, mean: f32) -> f32 {
        let errors = self.errors(now);
        let mut latency = self.latency(now);
        if errors > 0.01 {
            // Failing is often fast, and failures are no latency samples: an endpoint that fails must not look good.
            latency = latency.max(mean);
        }
        // 1 % errors weigh 1.03, 10 % 1.4, half 8, all 1,000: a failing endpoint must not absorb what healthy ones
        // are still busy with.
        let success = (1.0 - errors).max(0.1);
        (latency + LATENCY_FLOOR) * (self.in_flight() as f32 + 1.0) / (success * success * success)
    }

    pub(super) fn gate(&self, now: Millis) -> Gate {
        match Shut::unpack(self.shut.load(Ordering::Relaxed)) {
            None => Gate::Open,
            Some(shut) if now < shut.until => Gate::Shut,
            Some(_) => Gate::Probe,
        }
    }

    /// Claims the probe that [`Gate::Probe`] offers: until its outcome, or for a while, others see the gate shut.
    pub(super) fn claim_probe(&self, now: Millis) {
        let _ = self.shut.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let shut = Shut::unpack(word).filter(|shut| now >= shut.until)?;
            Some(Shut { until: now + FIRST_SHUT, probing: true, ..shut }.pack())
        });
    }

    pub(super) fn record(&self, now: Millis, outcome: Outcome, latency: Duration) {
        let micros = latency.as_micros() as f32;
        match outcome {
            Outcome::Success => {
                self.latency.add(now, LATENCY_HALF_LIFE, micros, Rise::AtOnce);
                self.errors.add(now, ERROR_HALF_LIFE, 0.0, Rise::By(0.1));
                self.open();
            }
            Outcome::ServerError => {
                self.errors.add(now, ERROR_HALF_LIFE, 1.0, Rise::By(0.1));
                self.open();
            }
            Outcome::Broken => {
                // It would have taken at least this long.
                self.latency.raise(now, LATENCY_HALF_LIFE, micros);
                self.errors.add(now, ERROR_HALF_LIFE, 1.0, Rise::By(0.2));
            }
            Outcome::ConnectFailure => {
                self.errors.add(now, ERROR_HALF_LIFE, 1.0, Rise::By(0.5));
                self.close(now);
            }
            Outcome::Cancelled => {}
        }
    }

    /// Forgets connect failures.
    pub(super) fn open(&self) {
        // Read first: this is the path of every good answer, and a write would make the line travel between cores.
        if self.shut.load(Ordering::Relaxed) != 0 {
            self.shut.store(0, Ordering::Relaxed);
        }
    }

    fn close(&self, now: Millis) {
        let _ = self.shut.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let failures = match Shut::unpack(word) {
                // Of many requests that fail together only the first counts.
                Some(shut) if !shut.probing && now < shut.until => return None,
                Some(shut) => shut.failures,
                None => 0,
            };
            let time = (FIRST_SHUT << failures.min(8)).min(LONGEST_SHUT);
            Some(Shut { until: now + time, probing: false, failures: failures.saturating_add(1) }.pack())
        });
    }
}

/// How a sample above the average is taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rise {
    /// The average becomes the sample.
    AtOnce,
    /// The average moves this part of the way, as for a lower sample.
    By(f32),
    /// As the time since the last sample says.
    Slowly,
}

/// An exponentially weighted average that also decays towards 0 with time: an `f32` and its time in one word.
#[derive(Debug)]
pub(super) struct Average(AtomicU64);

/// The time kept with an average counts in 16 ms, so that 32 bits last for two years.
const TICK: u32 = 4;

impl Average {
    pub(super) fn new(now: Millis, value: f32) -> Self {
        Self(AtomicU64::new(pack(now, value)))
    }

    /// The average at `now`.
    pub(super) fn at(&self, now: Millis, half_life: f32) -> f32 {
        decayed(self.0.load(Ordering::Relaxed), now, half_life).0
    }

    pub(super) fn add(&self, now: Millis, half_life: f32, sample: f32, rise: Rise) {
        // The usual case of errors: a write would make the line travel between cores.
        if sample == 0.0 && self.0.load(Ordering::Relaxed) >> 32 == 0 {
            return;
        }
        self.update(now, half_life, |value, age, weight| match rise {
            Rise::AtOnce if sample >= value => sample,
            Rise::By(part) => value + (sample - value) * part,
            // Without a sample the average fell already: go on from what it was.
            Rise::AtOnce | Rise::Slowly => age + (sample - age) * weight,
        });
    }

    /// True when a sample was taken within this tick.
    pub(super) fn is_fresh(&self, now: Millis) -> bool {
        self.0.load(Ordering::Relaxed) as u32 == (now >> TICK) as u32
    }

    /// Takes a sample that is only a lower bound.
    fn raise(&self, now: Millis, half_life: f32, bound: f32) {
        self.update(now, half_life, |value, _, _| value.max(bound));
    }

    /// `change(decayed value, value as it was, weight of a new sample)`.
    fn update(&self, now: Millis, half_life: f32, change: impl Fn(f32, f32, f32) -> f32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (value, kept) = decayed(word, now, half_life);
            let was = f32::from_bits((word >> 32) as u32);
            Some(pack(now, change(value, was, (1.0 - kept).max(LEAST_WEIGHT))))
        });
    }
}

fn pack(now: Millis, value: f32) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from((now >> TICK) as u32)
}

/// The value at `now`, and which part of it is left.
fn decayed(word: u64, now: Millis, half_life: f32) -> (f32, f32) {
    let value = f32::from_bits((word >> 32) as u32);
    // Another thread may have read the clock later and written first: never a negative age.
    let ticks = ((now >> TICK) as u32).wrapping_sub(word as u32).cast_signed().max(0);
    if ticks == 0 {
        return (value, 1.0);
    }
    let kept = (-((ticks as f32) * (1 << TICK) as f32) / half_life).exp2();
    (value * kept, kept)
}

#[cfg(test)]
mod tests;
