//! What one client has of a bucket, and what it says about it.

use std::sync::Arc;

use policies::lease::{Limit, MICRO, Mode, SPILL, Share};
use serde::{Deserialize, Serialize};

use super::allot::{Round, Told};

const SECOND: u64 = 1_000_000_000;
/// Demand is averaged over about so long, as long as it varies no more than by chance.
const MEMORY: u64 = 5 * SECOND;
/// What one report can say is no faster than that, or one request would look like many.
const SHORTEST: u64 = SECOND / 10;

/// What a client has of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holding {
    /// What it uses.
    pub share: Share,
    /// What it was told and has not acknowledged.
    pub pending: Option<Share>,
    /// What it admitted in the last window of a sliding window, and until when that counts.
    pub in_window: u64,
    pub(super) in_window_until: u64,
    /// What it would use, per unit.
    pub demand: u64,
    /// Over how long that was measured.
    settled: u64,
    /// When what it has ends, by our clock and not before it does by its own.
    pub expires: u64,
    pub(super) version: u64,
    pub(super) pending_version: u64,
    pending_tokens: u64,
    /// In which message of which stream it was told.
    told: (u64, u64),
    /// When the pending share counts although nobody acknowledges.
    pub(super) settles: u64,
    pub(super) renewed: u64,
    /// When what it could not hold was taken in last.
    spilled: u64,
    pub(super) is_watching: bool,
    /// Something was refused since it was last told something.
    pub(super) is_refused: bool,
    pub(super) is_plain: bool,
}

/// What a client reported.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    /// On which of all streams, and after which message of the server.
    pub(super) after: (u64, u64),
    pub(super) elapsed: u64,
    pub(super) allowed: u64,
    pub(super) denied: u64,
    /// `None`: it knows nothing of leases.
    pub(super) lease: Option<SaidOfLease>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SaidOfLease {
    pub(super) version: u64,
    pub(super) share: Share,
    pub(super) unleased: u64,
    pub(super) returned: u64,
    pub(super) spilled: u64,
    pub(super) in_window: u64,
    pub(super) is_released: bool,
}

/// How leases are given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// What clients are told, in nanoseconds.
    pub(super) ttl: u64,
    /// How long a share counts from now on.
    pub(super) counts_for: u64,
}

impl Holding {
    /// The most it may be using.
    pub fn out(&self) -> Share {
        let pending = self.pending.unwrap_or_default();
        Share {
            rate: self.share.rate.max(pending.rate).max(self.in_window),
            burst: self.share.burst.max(pending.burst),
        }
    }

    /// What it should have: what it uses, and room for what varies.
    pub(super) fn wants(&self, limit: &Limit, floor: u64) -> u64 {
        let demand = match limit.mode() {
            // Most of what is not used comes back.
            Mode::TokenBucket => self.demand.saturating_add(self.demand / 8),
            // Nothing does: the deviation of chance, twice, would be a tenth of a limit that eight share.
            Mode::SlidingWindow => {
                let deviation = (self.demand / MICRO).isqrt().saturating_mul(MICRO);
                self.demand.saturating_add(deviation).saturating_add(MICRO)
            }
        };
        demand.max(floor)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledged {
    Known,
    /// A share that somebody else gave.
    Adopted,
    /// It has none any more.
    Lost,
}

impl Holding {
    pub(super) fn measure(&mut self, limit: &Limit, said: &Said) {
        let elapsed = said.elapsed.max(SHORTEST);
        self.is_refused |= said.denied > 0;
        let count = said.allowed.saturating_add(said.denied);
        let seen = u128::from(count).saturating_mul(u128::from(MICRO) * u128::from(limit.per()))
            / u128::from(elapsed);
        let seen = u64::try_from(seen).unwrap_or(u64::MAX).min(u64::MAX / 4);
        // Tokens that the old demand makes expect in that time, and what chance makes of them.
        let expected =
            u128::from(self.demand) * u128::from(elapsed) / u128::from(limit.per()) / u128::from(MICRO);
        let expected = u64::try_from(expected).unwrap_or(u64::MAX);
        let is_chance = expected.abs_diff(count) <= 4 * expected.isqrt() + 3;
        if !is_chance {
            // Perhaps it changed in the midst of that time: the next report counts more.
            (self.demand, self.settled) = (seen, 0);
            return;
        }
        let (weight, old) = (u128::from(elapsed), u128::from(self.settled));
        let average = (u128::from(seen) * weight + u128::from(self.demand) * old) / (weight + old);
        let average = u64::try_from(average).unwrap_or(seen);
        self.settled = self.settled.saturating_add(elapsed).min(MEMORY);
        // Who was refused something needs more room than others.
        self.demand = if said.denied > 0 { average.saturating_add(average / 16) } else { average };
    }

    /// What it could not hold, and is ours. Reports that waited for each other bring what is long over, so one in half a
    /// second counts.
    pub(super) fn spilled(&mut self, now: u64, spilled: u64) -> u64 {
        if now.saturating_sub(self.spilled) < SECOND / 2 {
            return 0;
        }
        self.spilled = now;
        spilled.min(self.share.burst / SPILL)
    }

    /// Whatever it may use, it may have used: so much counts for a window.
    pub(super) fn may_have_used(&mut self, now: u64, limit: &Limit) {
        if limit.mode() == Mode::SlidingWindow {
            self.in_window = self.out().rate;
            self.in_window_until = now.saturating_add(limit.per());
        }
    }

    /// What was told before this report and is not in use never will be: the tokens that went with it. What was told on
    /// another stream either arrived or never will.
    pub(super) fn lost(&mut self, after: (u64, u64), version: u64) -> u64 {
        let is_over = self.told.0 != after.0 || self.told.1 <= after.1;
        if self.pending.is_some() && version != self.pending_version && is_over {
            self.pending = None;
            return self.pending_tokens;
        }
        0
    }

    pub(super) fn acknowledge(
        &mut self,
        now: u64,
        lease: &SaidOfLease,
        limit: &Limit,
        rules: Rules,
    ) -> Acknowledged {
        let whole = limit.whole();
        if lease.version == 0 {
            // It has nothing; what is on its way may still arrive.
            if self.version == 0 {
                return Acknowledged::Known;
            }
            self.may_have_used(now, limit);
            (self.share, self.version) = (Share::default(), 0);
            return Acknowledged::Lost;
        }
        if self.pending.is_some() && lease.version == self.pending_version {
            self.share = self.pending.take().unwrap_or_default();
            self.version = lease.version;
            return Acknowledged::Known;
        }
        if lease.version == self.version {
            return Acknowledged::Known;
        }
        self.version = lease.version;
        self.share =
            Share { rate: lease.share.rate.min(whole.rate), burst: lease.share.burst.min(whole.burst) };
        self.expires = self.expires.max(now.saturating_add(rules.counts_for));
        self.renewed = now.saturating_sub(rules.ttl);
        Acknowledged::Adopted
    }

    /// As the server after the one that wrote it has it, whose clock differs by this. Streams are others, and what it has is renewed as
    /// soon as it can be told something.
    pub(super) fn resume(&mut self, by: i64) {
        let times = [&mut self.in_window_until, &mut self.expires, &mut self.settles, &mut self.spilled];
        times.into_iter().for_each(|time| *time = time.saturating_add_signed(by));
        (self.told, self.renewed) = ((0, 0), 0);
    }

    /// Notes that it is told of another share, and in which message.
    pub(super) fn tell(&mut self, client: &Arc<str>, share: Share, tokens: u64, round: &mut Round<'_>) {
        *round.version += 1;
        let ended = self.expires;
        (self.pending, self.pending_version, self.pending_tokens) = (Some(share), *round.version, tokens);
        (self.renewed, self.is_refused) = (round.now, false);
        self.told = (round.hears)(client).unwrap_or_default();
        // Nobody knows when one that counts no messages got it.
        let late = if self.is_plain { round.rules.ttl / 4 } else { 0 };
        self.expires =
            self.expires.max(round.now.saturating_add(round.rules.counts_for).saturating_add(late));
        // One that never acknowledges is believed to use less only when what it had has ended.
        let is_more = share.rate >= self.share.rate && share.burst >= self.share.burst;
        self.settles = match (self.is_plain, is_more) {
            (false, _) => u64::MAX,
            (true, true) => round.now,
            (true, false) => ended,
        };
        round.told.push(Told { client: Arc::clone(client), share, tokens, version: *round.version });
    }
}
