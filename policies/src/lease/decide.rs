//! A decision about one request, by what a share holds.

use super::level::Level;
use super::limit::{Limit, MICRO, Share};
use super::window::Window;

/// In nanoseconds.
pub(super) const MILLISECOND: u64 = 1_000_000;

/// A decision, in tokens and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) is_admitted: bool,
    /// Tokens left.
    pub(super) left: u64,
    /// Admitted: until everything has come back. Refused: until this cost fits.
    pub(super) reset_in: u64,
    /// Until then nobody else needs to ask, whatever the cost.
    pub(super) closed_until: u64,
    /// Something is used without a lease, for the first time since the last report.
    pub(super) is_news: bool,
}

impl Decision {
    pub(super) fn admitted(left: u64, reset_in: u64) -> Self {
        Self { is_admitted: true, left, reset_in, closed_until: 0, is_news: false }
    }

    pub(super) fn refused(now: u64, left: u64, reset_in: u64, closed_for: u64) -> Self {
        Self {
            is_admitted: false,
            left,
            reset_in,
            closed_until: now.saturating_add(closed_for),
            is_news: false,
        }
    }
}

pub(super) fn in_a_millisecond(share: Share, per: u64) -> u64 {
    let tokens = u128::from(share.rate) * u128::from(MILLISECOND) / u128::from(per) / u128::from(MICRO);
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// A cost that is greater than the share's burst is admitted when the bucket is full, and owed: shares of a limit that
/// admits it must not make it impossible.
pub(super) fn take_level(level: &mut Level, now: u64, cost: u64, share: Share, limit: &Limit) -> Decision {
    let need = cost.max(1).saturating_mul(MICRO).min(share.burst);
    if need > 0 && cost <= limit.greatest_cost() && level.holds(need) {
        level.spend(cost.saturating_mul(MICRO));
        let reset_in = level.wait(share.burst, share, limit.per());
        return Decision::admitted(level.tokens(), reset_in);
    }
    let is_never = cost > limit.greatest_cost() || need == 0;
    let reset_in = if is_never { u64::MAX } else { level.wait(need, share, limit.per()) };
    let closed_for = if level.tokens() > 0 {
        0
    } else {
        // At high rates tokens are waited for a millisecond's worth at a time, or each would take the lock.
        let lump = in_a_millisecond(share, limit.per()).clamp(1, (share.burst / MICRO / 2).max(1));
        level.wait(lump * MICRO, share, limit.per())
    };
    Decision::refused(now, level.tokens(), reset_in, closed_for)
}

pub(super) fn take_window(window: &mut Window, now: u64, cost: u64, share: Share, limit: &Limit) -> Decision {
    window.expire(now, limit.per());
    let capacity = share.rate / MICRO;
    let fits = window.used().saturating_add(cost.max(1)) <= capacity;
    // As for a level: shares must not make impossible what the limit admits.
    let is_alone = window.used() == 0 && capacity > 0 && cost <= limit.amount();
    if fits || is_alone {
        window.add(now, cost, capacity);
        let left = capacity.saturating_sub(window.used());
        return Decision::admitted(left, limit.per());
    }
    let left = capacity.saturating_sub(window.used());
    let freed = |tokens: u64| {
        let excess = window.used().saturating_add(tokens).saturating_sub(capacity);
        window.wait(now, excess.min(window.used()).max(1), limit.per())
    };
    let reset_in = if cost > limit.amount() || capacity == 0 { u64::MAX } else { freed(cost.max(1)) };
    let closed_for = if left > 0 { 0 } else { freed(1) };
    Decision::refused(now, left, reset_in, closed_for)
}
