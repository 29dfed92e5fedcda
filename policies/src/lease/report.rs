//! What goes between a bucket and whoever leases it.

use super::limit::Share;

/// What a bucket reports of what did not fit: one part in so many of its burst. What is on its way is in no bucket, so it
/// must be little, and the server keeps place for twice as much.
pub const SPILL: u64 = 12;

/// A lease, as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// What may be used; `None` is no limit at all.
    pub share: Option<Share>,
    /// Millionths of tokens that come with it. `None`, from servers that do not say, fills a bucket that had no lease.
    pub tokens: Option<u64>,
    /// When it ends, on the clock of the bucket; `u64::MAX` is never.
    pub expires: u64,
    /// What the server calls it; 0 when it calls it nothing.
    pub version: u64,
}

/// The lease a bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What may be used; `None` is no limit at all.
    pub share: Option<Share>,
    /// What the server calls it.
    pub version: u64,
    /// Millionths of tokens that are left; in a sliding window, that were used in the last one.
    pub level: u64,
}

/// What happened in a bucket since the last time it was asked, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens admitted.
    pub allowed: u64,
    /// Tokens refused.
    pub denied: u64,
    /// Tokens admitted without a lease, which [`allowed`](Self::allowed) counts too.
    pub unleased: u64,
    /// Millionths of tokens that were left when a share shrank or was given back: they are the server's again.
    pub returned: u64,
    /// Millionths of tokens that came back and did not fit, at most [`SPILL`] of the burst: the server's again, too.
    pub spilled: u64,
    /// The lease, while it holds or is still reserved.
    pub held: Option<Held>,
    /// Millionths of tokens used in the last window of a sliding window, with or without a lease.
    pub in_window: u64,
}

/// By what a bucket decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stance {
    /// Nothing was assigned yet.
    Unassigned,
    /// A lease holds.
    Active,
    /// A lease is over and still reserved.
    Reusing,
    /// A lease is over: as [`Terms::expired`](super::Terms::expired) says.
    Expired,
    /// The server does not know the limit: an equal part.
    Unknown,
}
