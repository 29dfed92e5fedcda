//! Whether a canary does well.

use std::time::Duration;

use config::load::Counts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

use super::{Analysis, LastAnalysis};

/// A check that was made.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) last: LastAnalysis,
    /// What does not hold. Empty: the canary does well.
    pub(super) problems: Vec<String>,
}

impl Check {
    /// Looks at what came since the last check; `None` while that is too little to say anything.
    pub(super) fn of(spec: &Analysis, window: &Counts, now: Timestamp) -> Option<Self> {
        let requests = i64::try_from(window.requests()).unwrap_or(i64::MAX);
        let rate = window.success_rate().filter(|_| requests >= spec.min_requests)?;
        let p99 = window.latency_of(0.99);
        let shown = (rate * 100.0).round() / 100.0;
        let mut problems = Vec::new();
        if rate < spec.success_rate {
            problems.push(format!(
                "{shown} % of {requests} requests succeeded, less than {} %",
                spec.success_rate
            ));
        }
        match (spec.p99, p99) {
            (Some(most), Some(p99)) if p99 > most.0 => {
                problems.push(format!("p99 of {requests} requests is {}, more than {most}", whole(p99)));
            }
            (Some(_), None) => problems.push(format!("none of {requests} requests was answered")),
            _ => {}
        }
        let last = LastAnalysis { at: MicroTime(now), requests, success_rate: shown, p99: p99.map(whole) };
        Some(Self { last, problems })
    }

    /// What holds, in words.
    pub(super) fn praise(&self) -> String {
        let LastAnalysis { requests, success_rate, p99, .. } = &self.last;
        let p99 = p99.map(|p99| format!(", p99 is {p99}")).unwrap_or_default();
        format!("{success_rate} % of {requests} requests succeeded{p99}.")
    }
}

/// In whole milliseconds, rounded up.
fn whole(time: Duration) -> policies::Duration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    policies::Duration(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}
