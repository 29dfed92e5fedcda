//! What is limited, and parts of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Parts of a token that levels and rates are kept in.
pub const MICRO: u64 = 1_000_000;
/// The most tokens a limit can have in a unit; more is the same as this.
pub const MAX_AMOUNT: u64 = 1_000_000_000_000;

/// How a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Tokens come back evenly; what has come back and was not used is kept, up to the burst.
    TokenBucket,
    /// A token comes back when its use is a whole unit old.
    SlidingWindow,
}

/// A limit as all proxies together have to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// Tokens in a unit; at most [`MAX_AMOUNT`], 0 admits nothing.
    amount: u64,
    /// The unit, or window, in nanoseconds; never 0.
    per: u64,
    /// Tokens that may be used at once; 0 in a sliding window.
    burst: u64,
    mode: Mode,
}

impl Limit {
    /// `amount` tokens per unit, and up to `burst` of them at once (at least one, when any are to be had).
    pub fn token_bucket(amount: u64, per: Duration, burst: u64) -> Self {
        let amount = amount.min(MAX_AMOUNT);
        let burst = burst.clamp(1, MAX_AMOUNT).min(amount.saturating_mul(MAX_AMOUNT));
        Self { amount, per: nanos(per), burst, mode: Mode::TokenBucket }
    }

    /// `amount` tokens in every window of that length, wherever it begins.
    pub fn sliding_window(amount: u64, window: Duration) -> Self {
        Self { amount: amount.min(MAX_AMOUNT), per: nanos(window), burst: 0, mode: Mode::SlidingWindow }
    }

    /// Tokens in a unit.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The unit, or window, in nanoseconds.
    pub fn per(&self) -> u64 {
        self.per
    }

    /// Tokens that may be used at once; 0 in a sliding window.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How it counts.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The greatest cost that can ever be admitted.
    pub fn greatest_cost(&self) -> u64 {
        match self.mode {
            Mode::TokenBucket => self.burst,
            Mode::SlidingWindow => self.amount,
        }
    }

    /// All of it.
    pub fn whole(&self) -> Share {
        Share { rate: self.amount.saturating_mul(MICRO), burst: self.burst.saturating_mul(MICRO) }
    }

    /// One of so many equal parts. A part of a token bucket can hold one token, however many parts there are.
    pub fn part(&self, parts: u64) -> Share {
        let Share { rate, burst } = self.whole();
        let floor = if burst == 0 { 0 } else { MICRO };
        Share { rate: rate / parts.max(1), burst: (burst / parts.max(1)).max(floor) }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// A part of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Share {
    /// Millionths of tokens per unit of the limit; in a sliding window, that may be used within one.
    pub rate: u64,
    /// Millionths of tokens that may be kept; 0 in a sliding window.
    pub burst: u64,
}

/// A limit, and what a proxy does about it when nobody says what its share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What all proxies together have to keep.
    pub limit: Limit,
    /// How many proxies there are, as far as is known; at least 1.
    pub proxies: u32,
    /// How long, in nanoseconds, a lease that was not renewed is used on. The server counts it as given away that long.
    pub reuse: u64,
    /// What holds after that.
    pub expired: Expired,
    /// Nobody is there who could lease anything: a bucket without an assignment is as one whose lease is over. Not for a
    /// server that has no place, or whoever fills it would open what is [`Open`](Expired::Open).
    pub is_lost: bool,
}

/// What a bucket does whose lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expired {
    /// Admits nothing.
    Closed,
    /// Admits everything.
    Open,
    /// Keeps its last share for as long as it takes; without one, an equal part of the limit.
    LastShare,
    /// Admits an equal part of the limit.
    LocalShare,
}

impl Terms {
    /// An equal part of the limit.
    pub fn local(&self) -> Share {
        self.limit.part(self.proxies.max(1).into())
    }

    /// What is admitted before the first assignment: `L/(4N)`, at first one request.
    pub fn fallback(&self) -> Share {
        let parts = 4 * u64::from(self.proxies.max(1));
        let one = if self.limit.amount == 0 { 0 } else { MICRO };
        Share { rate: self.limit.whole().rate / parts, burst: (self.limit.whole().burst / parts).max(one) }
    }
}
