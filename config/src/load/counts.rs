//! What came to a backend, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::BackendRef;

/// Buckets of one backend. Ours are 15; somebody may make up others, with each report.
pub(super) const MAX_BUCKETS: usize = 64;

/// Attempts that ended, by how they ended, and how long answers took. Counters grow; a difference of two readings is what
/// happened in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered, with anything but 5xx.
    pub succeeded: u64,
    /// Answered with 5xx, broken off by the backend, or not connected.
    pub failed: u64,
    /// Given up by clients, which says nothing of the backend.
    pub cancelled: u64,
    /// Answers by how long their heads took: the upper bound of each bucket in nanoseconds, and how many are in it and in no
    /// smaller one. All buckets are there, empty ones too; [`Counts::SLOWER`] is for what is slower than all bounds.
    pub latency: BTreeMap<u64, u64>,
}

impl Counts {
    /// The bucket of what is slower than all bounds.
    pub const SLOWER: u64 = u64::MAX;

    /// Attempts that say something of the backend.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    /// What of them succeeded, in percent; `None` without any.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    pub fn success_rate(&self) -> Option<f64> {
        let requests = self.requests();
        (requests > 0).then(|| self.succeeded as f64 * 100.0 / requests as f64)
    }

    /// The latency that a share of answers (0 to 1) do not exceed; `None` without answers. It is exact at the bounds of
    /// buckets and interpolated between them; what is slower than all bounds is a millisecond more than the last.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a quantile of a histogram is an estimate"
    )]
    pub fn latency_of(&self, share: f64) -> Option<Duration> {
        let total = self.latency.values().fold(0u64, |sum, count| sum.saturating_add(*count));
        let rank = total as f64 * share;
        let (mut below, mut lower) = (0u64, 0u64);
        for (bound, count) in &self.latency {
            let reached = below.saturating_add(*count);
            if *count > 0 && reached as f64 >= rank {
                if *bound == Self::SLOWER {
                    return Some(Duration::from_nanos(lower) + Duration::from_millis(1));
                }
                let part = ((rank - below as f64) / *count as f64).clamp(0.0, 1.0);
                return Some(Duration::from_nanos(lower + ((*bound - lower) as f64 * part) as u64));
            }
            (below, lower) = (reached, *bound);
        }
        None
    }

    /// What happened since an earlier reading. Counters that began anew in between count from their beginning at most.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: &u64| earlier.latency.get(bound).copied().unwrap_or_default();
        let latency = self.latency.iter().map(|(bound, count)| (*bound, count.saturating_sub(before(bound))));
        Self {
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            failed: self.failed.saturating_sub(earlier.failed),
            cancelled: self.cancelled.saturating_sub(earlier.cancelled),
            latency: latency.collect(),
        }
    }

    /// Adds what somebody else counted. Buckets that nobody can have are left out.
    pub fn add(&mut self, more: &Self) {
        self.succeeded = self.succeeded.saturating_add(more.succeeded);
        self.failed = self.failed.saturating_add(more.failed);
        self.cancelled = self.cancelled.saturating_add(more.cancelled);
        for (bound, count) in &more.latency {
            if self.latency.len() >= MAX_BUCKETS && !self.latency.contains_key(bound) {
                continue;
            }
            let sum = self.latency.entry(*bound).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Whether anything was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests() == 0 && self.cancelled == 0 && self.latency.values().all(|count| *count == 0)
    }
}

/// Where a proxy's counters are.
pub trait Counters: Send + Sync + fmt::Debug + 'static {
    /// What came to a backend since it is counted; nothing of one that is not known.
    fn read(&self, backend: &BackendRef) -> Counts;
}
