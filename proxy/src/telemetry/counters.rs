//! Counters of the request path: relaxed atomics, no locks, bounded in size whatever clients and backends send.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of latency buckets in nanoseconds, 0.5 ms to 10 s; what is slower counts only in the total.
const BOUNDS: [u64; 14] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A latency histogram. Reading is not a snapshot: requests that end meanwhile may show in a bucket and not yet in the
/// sum, which a scrape cannot tell from having come a moment earlier.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Histogram {
    // Beside the buckets of fast requests: with thousands of rules each cache line is a miss.
    nanos: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// `(upper bound in nanoseconds, count)` of each bucket, not cumulative; the last bound is `u64::MAX`.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let bounds = BOUNDS.into_iter().chain([u64::MAX]);
        bounds.zip(self.buckets.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Sum in seconds, count, and `(upper bound in seconds, count)` of each bucket, not cumulative.
    pub(crate) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().map(|nanos| seconds(*nanos)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (seconds(self.nanos.load(Ordering::Relaxed)), count, buckets)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rounding error of 2^-53 in a sum of durations")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Counts by (status code, reason). Codes come from backends, so the table has a hard cap; what does not fit any more
/// is counted as `other`, and the sum stays exact.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Table<const N: usize> {
    slots: [Slot; N],
    other: AtomicU64,
}

/// One row: key and count beside each other, so that counting touches one cache line.
#[derive(Debug)]
struct Slot {
    count: AtomicU64,
    /// 0: free. A claimed slot is never given back.
    key: AtomicU32,
}

/// What a row of a [`Table`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// Status code (0: none was sent) and reason.
    Of(u16, &'static str),
    /// What did not fit.
    Other,
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self {
            slots: [const { Slot { count: AtomicU64::new(0), key: AtomicU32::new(0) } }; N],
            other: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Table<N> {
    /// Counts one.
    pub(crate) fn add(&self, code: u16, reason: &'static str) {
        self.slot(code, reason).unwrap_or(&self.other).fetch_add(1, Ordering::Relaxed);
    }

    fn slot(&self, code: u16, reason: &'static str) -> Option<&AtomicU64> {
        let wanted = key(code, reason)?;
        for Slot { key, count } in &self.slots {
            let mut found = key.load(Ordering::Relaxed);
            if found == 0 {
                // Two threads may race for the slot: the loser sees what the winner put there.
                found = match key.compare_exchange(0, wanted, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => wanted,
                    Err(taken) => taken,
                };
            }
            if found == wanted {
                return Some(count);
            }
        }
        None
    }

    /// Rows that count something.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Row, u64)> {
        let rows = self.slots.iter().filter_map(|Slot { key, count }| {
            let (code, reason) = unkey(key.load(Ordering::Relaxed))?;
            Some((Row::Of(code, reason), count.load(Ordering::Relaxed)))
        });
        rows.chain([(Row::Other, self.other.load(Ordering::Relaxed))]).filter(|(_, count)| *count > 0)
    }

    /// True as long as nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows().next().is_none()
    }

    /// Sum of all rows.
    pub(crate) fn total(&self) -> u64 {
        self.rows().map(|(_, count)| count).sum()
    }
}

/// Every reason seen, in order of first use. They are tokens of this program's text, so there are few; the cap is for
/// the case that somebody makes them up.
static REASONS: [OnceLock<&'static str>; 192] = [const { OnceLock::new() }; 192];

/// A nonzero number for a code and a reason; `None` when there are too many reasons.
fn key(code: u16, reason: &'static str) -> Option<u32> {
    // `ok` comes first in every process that serves anybody; equal pointers, the common case, are tested first by `==`
    // on short strings of equal length.
    let at = REASONS.iter().position(|known| *known.get_or_init(|| reason) == reason)?;
    Some(u32::from(code) << 16 | u32::try_from(at + 1).ok()?)
}

fn unkey(key: u32) -> Option<(u16, &'static str)> {
    let at = usize::try_from(key & 0xffff).ok()?.checked_sub(1)?;
    let reason = REASONS.get(at)?.get()?;
    Some((u16::try_from(key >> 16).ok()?, reason))
}
