//! Whether a failed attempt is repeated: pure decisions, no clock, no I/O.
//!
//! | failed by | repeated at once, policy or not | repeated by policy, after its backoff |
//! |---|---|---|
//! | no connection | on up to two further endpoints, any method | any method |
//! | connection lost, request certainly not processed | up to twice, any method | any method |
//! | connection lost, kept-alive one | up to twice, idempotent methods | idempotent methods |
//! | connection lost, new one | once, idempotent methods | idempotent methods |
//! | attempt timed out | no | idempotent methods |
//! | response code | no | its codes, any method: the user listed them |
//! | not HTTP | no | no |
//!
//! Nothing is repeated whose body cannot be sent again, or after a byte of the response went to the client.
//! Retries by policy are budgeted per cluster; the others cannot storm, because they need a connection that fails.
//! RFC 9110 section 9.2.2: a proxy must not repeat a non-idempotent request unless it knows it was not applied.

use std::time::Duration;

use pingora_error::{Error, ErrorType, RetryType};
use policies::retry::Plan;

use crate::egress::is_bad;

/// Endpoints after the first that a request moves on to because connections fail.
const MOST_MOVES: u8 = 2;
/// Backoff grows to this many times the configured one.
const MOST_BACKOFF: u32 = 32;

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, TLS handshake included.
    Connect,
    /// The connection or stream ended before a response head.
    Closed {
        /// The connection had served another request before, so the upstream may have closed it before it saw this one.
        reused: bool,
    },
    /// The attempt's time is over.
    Timeout,
    /// The upstream answered with this code.
    Response(u16),
    /// The upstream's answer is not HTTP.
    Malformed,
}

/// What the upstream can have made of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It never had a whole request head, or said itself that it processed nothing (GOAWAY, REFUSED_STREAM).
    Nothing,
    /// It may have processed the request.
    Maybe,
}

/// How far an attempt was when Pingora's error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `fail_to_connect`.
    Connecting,
    /// `error_while_proxy`, before a response head.
    Connected {
        /// Its `client_reused`.
        reused: bool,
    },
}

impl Failure {
    /// Reads an upstream error of Pingora. An error of the client's side is no failure of an attempt.
    #[must_use]
    pub fn of(error: &Error, stage: Stage) -> (Self, Sent) {
        let reused = match stage {
            // A kept-alive HTTP/2 connection on which no new stream can be opened: nothing wrong with the endpoint.
            Stage::Connecting if error.etype == ErrorType::H2Error => {
                return (Self::Closed { reused: true }, Sent::Nothing);
            }
            Stage::Connecting => return (Self::Connect, Sent::Nothing),
            Stage::Connected { reused } => reused,
        };
        if matches!(error.etype, ErrorType::ReadTimedout | ErrorType::WriteTimedout) {
            return (Self::Timeout, Sent::Maybe);
        }
        if matches!(error.etype, ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2) || is_bad(error) {
            return (Self::Malformed, Sent::Maybe);
        }
        // Pingora decides `true` itself for GOAWAY without error, REFUSED_STREAM and HTTP_1_1_REQUIRED.
        let refused = matches!(error.etype, ErrorType::H2Error | ErrorType::H2Downgrade)
            && matches!(error.retry, RetryType::Decided(true));
        let unwritten = error.etype == ErrorType::WriteError
            && error.context.as_ref().is_some_and(|context| context.as_str().contains("request header"));
        let sent = if refused || unwritten { Sent::Nothing } else { Sent::Maybe };
        (Self::Closed { reused }, sent)
    }
}

/// The facts of one failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How it failed.
    pub failure: Failure,
    /// What the upstream can have made of it.
    pub sent: Sent,
    /// The method is idempotent (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// Every body byte consumed so far can be sent again.
    pub replayable: bool,
    /// An endpoint is left that this request has not tried:
    /// [`Cluster::has_untried`](crate::upstream::Cluster::has_untried).
    pub untried: bool,
    /// Time left for the request; `None`: no limit.
    pub left: Option<Duration>,
    /// Fresh random bits, for jitter.
    pub entropy: u64,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after `delay`. `budgeted`: only with a [`RetryPermit`](crate::upstream::RetryPermit), held until that
    /// attempt ends; without one, answer the client.
    Again {
        /// Zero unless by policy.
        delay: Duration,
        /// It is a retry by policy.
        budgeted: bool,
    },
    /// Answer the client.
    Done,
}

/// What one request has tried so far; lives in the request context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Repeated at once.
    moved: u8,
    /// Repeated by policy.
    retried: u32,
}

impl Attempts {
    /// Decides after a failed attempt, and counts what it allows.
    pub fn next(&mut self, plan: Option<&Plan>, facts: &Facts) -> Next {
        if !facts.replayable || facts.left.is_some_and(|left| left.is_zero()) {
            return Next::Done;
        }
        if self.may_move(facts) {
            self.moved += 1;
            return Next::Again { delay: Duration::ZERO, budgeted: false };
        }
        let Some(plan) = plan.filter(|plan| self.retried < plan.attempts && is_covered(plan, facts)) else {
            return Next::Done;
        };
        let delay = backoff(plan.backoff, self.retried + 1, facts.entropy);
        if facts.left.is_some_and(|left| delay >= left) {
            return Next::Done;
        }
        self.retried += 1;
        Next::Again { delay, budgeted: true }
    }

    /// Attempts beyond the first.
    #[must_use]
    pub fn repeated(&self) -> u32 {
        u32::from(self.moved).saturating_add(self.retried)
    }

    fn may_move(&self, facts: &Facts) -> bool {
        let most = match (facts.failure, facts.sent) {
            // The same endpoint would refuse again.
            (Failure::Connect, _) if !facts.untried => 0,
            (Failure::Connect, _) | (Failure::Closed { .. }, Sent::Nothing) => MOST_MOVES,
            (Failure::Closed { reused: true }, Sent::Maybe) if facts.idempotent => MOST_MOVES,
            // Once: it may be this request that kills the process.
            (Failure::Closed { reused: false }, Sent::Maybe) if facts.idempotent => 1,
            (Failure::Closed { .. } | Failure::Timeout | Failure::Response(_) | Failure::Malformed, _) => 0,
        };
        self.moved < most
    }
}

fn is_covered(plan: &Plan, facts: &Facts) -> bool {
    match facts.failure {
        Failure::Connect => true,
        Failure::Closed { .. } | Failure::Timeout => facts.idempotent || facts.sent == Sent::Nothing,
        Failure::Response(code) => plan.codes.binary_search(&code).is_ok(),
        Failure::Malformed => false,
    }
}

/// The wait before the `retry`th retry: at least `least` (Gateway API: "not retried before the configured minimum
/// duration"), at most that doubled with each retry, and anything in between.
fn backoff(least: Duration, retry: u32, entropy: u64) -> Duration {
    let factor = 1u32.checked_shl(retry).unwrap_or(MOST_BACKOFF).clamp(2, MOST_BACKOFF);
    let most = least.saturating_mul(factor);
    // 53 bits: as many as an f64 holds.
    let part = (entropy >> 11) as f64 / (1u64 << 53) as f64;
    least.saturating_add(most.saturating_sub(least).mul_f64(part))
}

#[cfg(test)]
mod tests;
