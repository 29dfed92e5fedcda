//! Tokens that come back evenly.

use super::limit::{MICRO, Share};

/// How full a token bucket is. Below zero it owes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// In millionths.
    level: i64,
    /// What has come back of the next millionth, in parts of the unit's length.
    carry: u64,
    at: u64,
}

impl Level {
    pub(super) fn new(now: u64, level: u64) -> Self {
        Self { level: signed(level), carry: 0, at: now }
    }

    /// Lets come back what has since the last look, and says how much of it did not fit. `out` is what is kept elsewhere of
    /// this bucket.
    pub(super) fn fill(&mut self, now: u64, share: Share, per: u64, out: u64) -> u64 {
        let elapsed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let gained = u128::from(share.rate) * u128::from(elapsed) + u128::from(self.carry);
        let per = u128::from(per.max(1));
        let whole = i64::try_from(gained / per).unwrap_or(i64::MAX);
        self.carry = u64::try_from(gained % per).unwrap_or_default();
        self.level = self.level.saturating_add(whole);
        let cap = signed(share.burst.saturating_sub(out));
        if self.level < cap {
            return 0;
        }
        let over = self.level.saturating_sub(cap).unsigned_abs();
        (self.level, self.carry) = (cap, 0);
        over
    }

    /// Nothing comes back for the time until then.
    pub(super) fn skip_to(&mut self, now: u64) {
        self.at = self.at.max(now);
    }

    /// Whole tokens there are.
    pub(super) fn tokens(&self) -> u64 {
        u64::try_from(self.level).unwrap_or(0) / MICRO
    }

    /// What there is, in millionths; 0 when it owes.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.level).unwrap_or(0)
    }

    /// What there is or, below zero, what is owed, in millionths.
    pub(super) fn signed_micros(&self) -> i64 {
        self.level
    }

    pub(super) fn holds(&self, micros: u64) -> bool {
        self.level >= signed(micros)
    }

    pub(super) fn spend(&mut self, micros: u64) {
        self.level = self.level.saturating_sub(signed(micros));
    }

    pub(super) fn give(&mut self, micros: u64) {
        self.level = self.level.saturating_add(signed(micros));
    }

    /// Nanoseconds until it holds so many millionths; `u64::MAX` when never.
    pub(super) fn wait(&self, micros: u64, share: Share, per: u64) -> u64 {
        let missing = i128::from(signed(micros)) - i128::from(self.level);
        let Ok(missing) = u128::try_from(missing) else { return 0 };
        if share.rate == 0 {
            return u64::MAX;
        }
        let parts = (missing * u128::from(per)).saturating_sub(u128::from(self.carry));
        u64::try_from(parts.div_ceil(u128::from(share.rate))).unwrap_or(u64::MAX)
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}
