//! Leased limits: what a request touches. Every decision is made here, from what a quota server has leased to this proxy,
//! without a remote call and without waiting; `fairway-config`'s `quota` renews the leases.
//!
//! Nothing here reads a clock: `now` is nanoseconds since any fixed moment of a monotonic clock, the same for all calls.
//! Amounts called *tokens* are what requests cost; levels and rates are kept in millionths of one ([`MICRO`]).
//!
//! ```text
//! Table (one limit) ── key ──► Bucket ── purse (atomics) ──► Core (under a lock) ──► Level | Window
//!                └─ beyond the cap ──► Overflow cells
//! ```
//!
//! # What holds
//!
//! *Token bucket.* A bucket gains tokens at its share's rate and from grants only, never by a share that grows, so all that
//! can be admitted anywhere in a window `w` is `L·w + B` when the shares that are out sum up to `L` and `B`.
//!
//! *Sliding window.* A bucket admits while what it admitted in the last window, and the request, fit its share. A share may
//! shrink below what was admitted: the server counts the greater of both, so no window anywhere sees more than `L`.
//!
//! *Without an assignment* a bucket admits a quarter of an equal share (`L/(4N)`, and at once `B/(4N)` or one request), and
//! without one that holds what [`Terms::expired`] says. It says so in [`Usage::unleased`]; the server takes it off what it has
//! not given away yet.
//!
//! # What it costs
//!
//! Some 400 bytes for a key, and 16 for each use in the last window that a sliding window keeps apart, at most 512 of them
//! for a key (8 KiB) and [`Size::entries`] in a table. Keys that came once are forgotten as soon as nothing is lost by it; keys
//! that came back are kept for ten minutes, so that a flood of new ones does not take their places. Beyond [`Size::keys`] a key
//! without a place shares two of 65,536 cells with others, at an equal part of the limit: under a flood of a slow limit (ten an
//! hour, say) it may be refused although it used nothing. That is the choice: to admit it would let anybody reset a limit.

mod bucket;
mod core;
mod decide;
mod key;
mod level;
mod limit;
mod overflow;
mod report;
mod table;
mod window;

pub use bucket::{Bucket, Taken};
pub(crate) use key::{HASHED, hashed};
pub use key::{Key, MAX_KEY};
pub use limit::{Expired, Limit, MAX_AMOUNT, MICRO, Mode, Share, Terms};
pub use report::{Grant, Held, SPILL, Stance, Usage};
pub use table::{Attention, Counts, Size, Table};

#[cfg(test)]
mod tests;
