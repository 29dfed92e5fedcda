//! One bucket, as the server knows it: plain data and pure steps, so that it may live in a store that servers share.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::lease::{Limit, MICRO, Mode, SPILL, Share};
use serde::{Deserialize, Serialize};

use super::holding::{Acknowledged, Holding, Rules, Said};

/// A bucket: its limit, who has how much of it, and what nobody has. Amounts are millionths of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub(super) limit: Limit,
    /// Tokens that are not given away; what is owed below zero.
    pub(super) level: i64,
    carry: u64,
    at: u64,
    /// Until then only what clients had is given away.
    learns_until: u64,
    claimed: Share,
    pub(super) holders: BTreeMap<Arc<str>, Holding>,
    /// Whether somebody may need another share.
    pub(super) is_due: bool,
    /// Tokens admitted and refused, as reported.
    allowed: u64,
    denied: u64,
    /// How long clients go on with a lease that has ended.
    pub(super) reuse: u64,
    /// Clients that may come for a share, where that is known.
    pub(super) proxies: Option<u32>,
}

impl Record {
    /// A bucket that nobody was told of; full, when it is known that nobody has used it.
    pub(super) fn new(now: u64, limit: Limit, learns_until: u64) -> Self {
        let level = if now < learns_until { 0 } else { signed(limit.whole().burst) };
        Self {
            limit,
            level,
            carry: 0,
            at: now,
            learns_until,
            claimed: Share::default(),
            holders: BTreeMap::new(),
            is_due: true,
            allowed: 0,
            denied: 0,
            reuse: 0,
            proxies: None,
        }
    }

    /// As the server after the one that wrote it has it, whose clock differs by this.
    pub(super) fn resume(&mut self, by: i64) {
        [&mut self.at, &mut self.learns_until]
            .into_iter()
            .for_each(|time| *time = time.saturating_add_signed(by));
        self.holders.values_mut().for_each(|holding| holding.resume(by));
        self.is_due = true;
    }

    /// Whether only what clients had is given away.
    pub fn is_learning(&self, now: u64) -> bool {
        now < self.learns_until
    }

    /// What is limited.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Who has how much.
    pub fn holders(&self) -> impl Iterator<Item = (&str, &Holding)> {
        self.holders.iter().map(|(client, holding)| (&**client, holding))
    }

    /// Tokens admitted, as clients reported.
    pub fn allowed(&self) -> u64 {
        self.allowed
    }

    /// Tokens refused, as clients reported.
    pub fn denied(&self) -> u64 {
        self.denied
    }

    /// The most that may be in use.
    pub fn out(&self) -> Share {
        self.holders.values().map(Holding::out).fold(Share::default(), |sum, out| Share {
            rate: sum.rate.saturating_add(out.rate),
            burst: sum.burst.saturating_add(out.burst),
        })
    }

    /// What there is to give away. A quarter of the burst is kept for what comes back.
    pub(super) fn capacity(&self, now: u64) -> Share {
        let whole = self.limit.whole();
        let whole = Share { burst: whole.burst - whole.burst / 4, ..whole };
        if now < self.learns_until {
            Share { rate: whole.rate.min(self.claimed.rate), burst: whole.burst.min(self.claimed.burst) }
        } else {
            whole
        }
    }

    /// The limit was changed. What is out stays out, and is asked back.
    pub(super) fn limit_to(&mut self, now: u64, limit: Limit) {
        if self.limit != limit {
            self.advance(now);
            let is_other = self.limit.mode() != limit.mode() || self.limit.per() != limit.per();
            self.limit = limit;
            if is_other {
                // Shares said something else: they end, and nothing is given away before they have.
                let latest = self.holders.values().map(|holding| holding.expires).max().unwrap_or(0);
                *self =
                    Self { learns_until: latest.max(self.learns_until), ..Self::new(now, limit, u64::MAX) };
            }
            self.is_due = true;
        }
    }

    /// Brings it to `now`: tokens come back, leases end, windows pass.
    pub(super) fn advance(&mut self, now: u64) {
        let (capacity, out) = (self.capacity(now), self.out());
        let elapsed = now.saturating_sub(self.at);
        let was_learning = self.at < self.learns_until;
        self.at = self.at.max(now);
        let free = capacity.rate.saturating_sub(out.rate);
        let gained = u128::from(free) * u128::from(elapsed) + u128::from(self.carry);
        let per = u128::from(self.limit.per());
        self.carry = u64::try_from(gained % per).unwrap_or_default();
        self.level = self.level.saturating_add(i64::try_from(gained / per).unwrap_or(i64::MAX));
        if was_learning && self.at >= self.learns_until && self.claimed == Share::default() {
            // Nobody had anything of it: it is as one that is new now, but for what was admitted without a lease.
            self.level = self.level.saturating_add(signed(self.limit.whole().burst));
        }
        self.cap();
        let limit = self.limit;
        for holding in self.holders.values_mut() {
            if holding.pending.is_some() && holding.settles <= now {
                holding.may_have_used(now, &limit);
                holding.share = holding.pending.take().unwrap_or_default();
                holding.version = holding.pending_version;
                self.is_due = true;
            }
            if holding.expires <= now && holding.is_watching {
                holding.may_have_used(now, &limit);
                (holding.share, holding.pending, holding.is_watching) = (Share::default(), None, false);
                self.is_due = true;
            }
            if holding.in_window > 0 && holding.in_window_until <= now {
                holding.in_window = 0;
                self.is_due = true;
            }
        }
        self.holders.retain(|_, holding| holding.is_watching || holding.out() != Share::default());
    }

    pub(super) fn cap(&mut self) {
        let whole = signed(self.limit.whole().burst);
        // While it learns, what others were given is out too, and nobody has said how much.
        let most = if self.at < self.learns_until { signed(self.claimed.burst) } else { whole };
        // What did not fit may be on its way: from each its part, reported and not reported yet.
        let out = self.out().burst;
        let cap = most.saturating_sub(signed(out.saturating_add(2 * out / SPILL))).max(0);
        if self.level >= cap {
            (self.level, self.carry) = (cap, 0);
        }
        // A debt is no greater than a burst: it was a burst that nobody could prevent.
        self.level = self.level.max(-whole);
    }

    /// Whether forgetting it loses nothing.
    pub(super) fn is_blank(&self, now: u64) -> bool {
        self.holders.is_empty() && now >= self.learns_until && self.level >= signed(self.limit.whole().burst)
    }

    /// Takes in what a client reported.
    pub(super) fn report(&mut self, now: u64, client: &Arc<str>, said: &Said, rules: Rules) {
        self.advance(now);
        self.allowed = self.allowed.saturating_add(said.allowed);
        self.denied = self.denied.saturating_add(said.denied);
        let is_learning = now < self.learns_until;
        let (limit, whole) = (self.limit, self.limit.whole());
        let holding = self.holders.entry(Arc::clone(client)).or_default();
        holding.is_watching = true;
        holding.is_plain = said.lease.is_none();
        holding.expires = holding.expires.max(now.saturating_add(rules.counts_for));
        holding.measure(&limit, said);
        let Some(lease) = said.lease else {
            // It uses a full bucket of the fallback that it was configured with; what it admitted is all that is known.
            if holding.version == 0 {
                self.level = self.level.saturating_sub(tokens(said.allowed));
            }
            self.is_due = true;
            return self.cap();
        };
        let lost = holding.lost(said.after, lease.version);
        let acknowledged = holding.acknowledge(now, &lease, &limit, rules);
        if is_learning && acknowledged == Acknowledged::Adopted {
            self.claimed.rate = self.claimed.rate.saturating_add(holding.share.rate);
            self.claimed.burst = self.claimed.burst.saturating_add(holding.share.burst);
        }
        if limit.mode() == Mode::SlidingWindow {
            let before = if acknowledged == Acknowledged::Lost { holding.in_window } else { 0 };
            holding.in_window = lease.in_window.max(before).min(whole.rate);
            holding.in_window_until = now.saturating_add(limit.per());
        }
        if lease.is_released {
            (holding.share, holding.pending, holding.is_watching) = (Share::default(), None, false);
            (holding.expires, holding.demand) = (now, 0);
        }
        let spilled = holding.spilled(now, lease.spilled);
        let back = signed(lease.returned.saturating_add(lost).saturating_add(spilled).min(whole.burst));
        self.level = self.level.saturating_add(back).saturating_sub(tokens(lease.unleased));
        self.cap();
        self.is_due = true;
    }
}

pub(super) fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

fn tokens(count: u64) -> i64 {
    signed(count.saturating_mul(MICRO))
}
