//! What clients are told of limits.
//!
//! `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-11 has them, and on request the older
//! `X-RateLimit-*` of draft-polli-ratelimit-headers-03. A backend's own are its own limits, and stay.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::rate::{Rate, Taken};
use super::spec::Unit;
use crate::Response;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const OLDER_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const OLDER_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const OLDER_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What is said of one limit in every response.
#[derive(Debug)]
pub(super) struct Names {
    /// `"name";q=100;w=60`
    policy: Box<str>,
    /// `"name"`
    name: Box<str>,
}

impl Names {
    /// The quota is what a full bucket holds, and the window what that takes to come back.
    pub(super) fn new(name: &str, rate: Rate, requests: u32, unit: Unit) -> Self {
        let window = match (u64::from(requests), rate.burst()) {
            (0, _) => unit.duration().as_secs(),
            (requests, burst) => {
                let seconds = u128::from(unit.duration().as_secs()) * u128::from(burst);
                u64::try_from(seconds.div_ceil(requests.into())).unwrap_or(u64::MAX)
            }
        };
        let quota = if requests == 0 { 0 } else { rate.burst() };
        Self {
            policy: format!(r#""{name}";q={quota};w={window}"#).into(),
            name: format!(r#""{name}""#).into(),
        }
    }

    /// Adds both fields; nothing where there is no limit.
    pub(super) fn write<'n>(rsp: &mut Response, all: impl Iterator<Item = (&'n Self, &'n Taken)>) {
        let (mut policies, mut limits) = (String::new(), String::new());
        for (names, taken) in all {
            if !policies.is_empty() {
                policies.push_str(", ");
                limits.push_str(", ");
            }
            policies.push_str(&names.policy);
            // "t: the number of seconds until additional quota [...] is made available". Writing text cannot fail.
            let _ = write!(limits, "{};r={}", names.name, taken.remaining);
            if taken.wait > Duration::ZERO {
                let _ = write!(limits, ";t={}", seconds(taken.wait));
            }
        }
        add(rsp, POLICY, &policies);
        add(rsp, LIMIT, &limits);
    }
}

/// The limit that is nearest.
pub(super) fn older<'n>(rsp: &mut Response, all: impl Iterator<Item = (Rate, &'n Taken)>) {
    let Some((rate, taken)) = all.min_by_key(|(_, taken)| (taken.is_admitted, taken.remaining)) else {
        return;
    };
    add(rsp, OLDER_LIMIT, &rate.burst().to_string());
    add(rsp, OLDER_REMAINING, &taken.remaining.to_string());
    add(rsp, OLDER_RESET, &seconds(taken.wait).to_string());
}

fn add(rsp: &mut Response, name: HeaderName, value: &str) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_str(value)
    {
        // It fails when there are too many fields.
        let _ = rsp.append_header(name, value);
    }
}

/// Whole seconds (`delay-seconds`), rounded up: whoever waits as long does not come too early.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
