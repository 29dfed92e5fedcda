//! Global limits, leased: the quota server and its client, as state machines without sockets and clocks.
//!
//! They speak `envoy.service.rate_limit_quota.v3` (RLQS) with fields of our own ([`proto`]). `now` is nanoseconds of a
//! monotonic clock, each side's own: nothing compares clocks of two machines.
//!
//! # How a lease moves
//!
//! | # | who | what |
//! |---|---|---|
//! | 1 | client | a bucket's first request: reports it at once, with what it admitted without a lease |
//! | 2 | server | divides the limit by demand, max-min fair; what is not given away goes out now |
//! | 3 | server | who has too much is asked first: a smaller share, one message in flight for each bucket and client |
//! | 4 | client | takes the share, and acknowledges at once: the version in use, what was left over, what it used in the window |
//! | 5 | server | only now gives that away, with the tokens that came back |
//!
//! A lease is counted from when its client *sent* the report it answers, by the client, and from when that report *came*, by
//! the server. So the client's end comes first, however long a message takes, and nothing is given away twice.
//!
//! # What holds
//!
//! Shares that may be in use sum up to at most the limit: what is in use, what is on its way, what ended less than
//! [`Terms::reuse`](policies::lease::Terms::reuse) ago and, in a sliding window, what was used in it. With
//! [`policies::lease`] that is `L·w + B` in any window `w`, and what was admitted without a lease: for each proxy that
//! begins, `L/(4N)` for as long as the first answer takes. When there are more proxies than tokens in a burst, the burst is
//! one token for each proxy. After a start the server first learns, unless it is the first that ever was: until the longest
//! lease has ended it gives away no more than what clients said they have.
//!
//! What it has learned by then is what clients hold; what was used up of buckets that nobody holds any more is forgotten by a
//! restart. Where there is no place for another bucket its clients keep to their fallback.
//!
//! Clients that send none of our fields are taken at their word in nothing: a smaller share counts when the greater one
//! has ended, and each new share is taken for a full bucket.

mod allot;
mod book;
mod client;
mod divide;
mod drive;
mod holding;
mod id;
mod keep;
mod memory;
pub mod proto;
mod record;
mod serve;
mod server;
mod strategy;
pub mod view;

pub use book::{Book, Entry, Everybody, Rights, limit_name};
pub use client::{Client, ClientCounts, ClientOptions};
pub use drive::{Driver, Here, Line, QuotaState, Tables, Way};
pub use holding::Holding;
pub use id::{BadBucket, Id};
pub use memory::{Memory, Name, Records};
pub use record::Record;
pub use serve::{QuotaCounts, Quotas, Refused, Session};
pub use server::{BadReport, Left, Limited, Limits, News, Server, ServerCounts, ServerOptions};

/// The domain of all our buckets.
pub const DOMAIN: &str = "fairway";
/// Messages in a second that either side sends the other: at once when it was quiet, never more than this.
const PER_SECOND: u64 = 5;
/// Buckets in a message.
const PER_MESSAGE: usize = 4096;

/// Lets out few messages: [`PER_SECOND`], and the same number again after a pause.
#[derive(Debug, Clone, Copy)]
struct Pace {
    ready_at: u64,
}

impl Pace {
    const APART: u64 = 1_000_000_000 / PER_SECOND;

    fn new() -> Self {
        Self { ready_at: 0 }
    }

    /// When a message may go out.
    fn next(&self) -> u64 {
        self.ready_at.saturating_sub(Self::APART * (PER_SECOND - 1))
    }

    fn is_ready(&self, now: u64) -> bool {
        now >= self.next()
    }

    fn sent(&mut self, now: u64) {
        self.ready_at = self.ready_at.max(now).saturating_add(Self::APART);
    }
}

#[cfg(test)]
mod tests;
