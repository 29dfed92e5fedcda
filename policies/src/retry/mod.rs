//! When a failed attempt is repeated (HTTPRouteRetry, GEP-1731).

use std::sync::Arc;
use std::time;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sample::mix;
use crate::{Context, Duration, Filter, Invalid, Lookup, Policy, Request, Verdict};

/// Retries of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Response codes that are retried, 400 to 599; connection errors and timeouts of an attempt always are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// Retries beside the first attempt, 1 to 100. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Least wait before a retry, doubled with each further one up to ten times this, with jitter. Default 25ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// More retries than this of one request is an outage made worse, not a recovery.
const MOST_ATTEMPTS: u32 = 100;
const DEFAULT_BACKOFF: time::Duration = time::Duration::from_millis(25);
/// The wait stops doubling at this many times the first one.
const BACKOFF_CAP: u32 = 10;

/// What the engine does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sorted response codes that are retried.
    pub codes: Box<[u16]>,
    /// Retries beside the first attempt.
    pub attempts: u32,
    /// Least wait before the first retry.
    pub backoff: time::Duration,
}

impl Plan {
    /// Whether a response with this status is retried.
    #[must_use]
    pub fn retries(&self, status: StatusCode) -> bool {
        self.codes.binary_search(&status.as_u16()).is_ok()
    }

    /// The wait before retry `nth`, counted from 0: `backoff` doubled `nth` times but at most ten-fold, plus up to half
    /// of that so that clients that failed together do not return together. Never less than `backoff` (Gateway API).
    #[must_use]
    pub fn wait(&self, nth: u32, entropy: u64) -> time::Duration {
        let factor = 1u32.checked_shl(nth).map_or(BACKOFF_CAP, |doubled| doubled.min(BACKOFF_CAP));
        let least = self.backoff.saturating_mul(factor);
        // 16 bits of jitter are finer than any timer.
        let share = u32::from(mix(entropy, u64::from(nth)) as u16);
        least.saturating_add(least / (1 << 17) * share)
    }
}

impl Policy for Retry {
    type Filter = RetryFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<RetryFilter, Invalid> {
        for (index, code) in self.codes.iter().enumerate() {
            if !(400..=599).contains(code) {
                return Err(Invalid::field(
                    format!("codes[{index}]"),
                    format!("{code} is not an error status: use 400 to 599"),
                ));
            }
        }
        let attempts = self.attempts.unwrap_or(1);
        if !(1..=MOST_ATTEMPTS).contains(&attempts) {
            return Err(Invalid::field(
                "attempts",
                format!("{attempts} is out of range: use 1 to {MOST_ATTEMPTS}, or leave `retry` out"),
            ));
        }
        let mut codes = self.codes.clone();
        codes.sort_unstable();
        codes.dedup();
        let backoff = self.backoff.map_or(DEFAULT_BACKOFF, |Duration(backoff)| backoff);
        Ok(RetryFilter(Arc::new(Plan { codes: codes.into(), attempts, backoff })))
    }
}

/// A compiled [`Retry`].
#[derive(Debug)]
pub struct RetryFilter(Arc<Plan>);

impl Filter for RetryFilter {
    type State = ();

    fn request<'a>(&'a self, _: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        ctx.retry = Some(Arc::clone(&self.0));
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_never_below_the_backoff_and_never_above_fifteen_times_it(
            millis in 0u64..4_000_000_000, nth: u32, entropy: u64,
        ) {
            let backoff = time::Duration::from_millis(millis);
            let wait = Plan { backoff, ..Plan::default() }.wait(nth, entropy);
            prop_assert!(wait >= backoff && wait <= backoff * 15, "{wait:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = time::Duration::from_secs(1);
        let plan = Plan { backoff, ..Plan::default() };
        for (nth, factor) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (31, 10), (32, 10), (u32::MAX, 10)] {
            let wait = plan.wait(nth, 7);
            assert!(wait >= backoff * factor && wait < backoff * factor * 3 / 2, "{nth}: {wait:?}");
        }
    }
}
