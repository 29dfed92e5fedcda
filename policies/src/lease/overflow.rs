//! What limits keys for which there is no place: a fixed number of cells, each the state of a token bucket.
//!
//! A key has two cells and is charged in both; it passes while the less used one admits it. Others may be charged there,
//! so a key may get less than an equal part of the limit, never more, and nothing that is in use is ever forgotten.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::bucket::Taken;
use super::limit::{MICRO, Mode, Terms};

const CELLS: usize = 1 << 16;

/// Cells hold when, in nanoseconds, they will be full again.
#[derive(Debug)]
pub(super) struct Overflow {
    cells: Box<[AtomicU64]>,
}

/// What keys beyond the table get: nanoseconds that a token takes to come back, and tokens at once.
fn pace(terms: &Terms) -> Option<(u64, u64)> {
    let share = terms.local();
    // A bucket that is full admits its burst and then its rate: together they must fit a window.
    let (rate, burst) = match terms.limit.mode() {
        Mode::TokenBucket => (share.rate, share.burst),
        Mode::SlidingWindow => (share.rate / 2, (share.rate / 2).max(MICRO)),
    };
    let nanos = (u128::from(terms.limit.per()) * u128::from(MICRO)).checked_div(rate.into())?;
    Some((u64::try_from(nanos).unwrap_or(u64::MAX).max(1), (burst / MICRO).max(1)))
}

impl Overflow {
    pub(super) fn new() -> Self {
        Self { cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect() }
    }

    fn cells(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let place = move |shift: u32| usize::try_from((hash >> shift) & (CELLS as u64 - 1)).unwrap_or(0);
        [self.cells.get(place(0)), self.cells.get(place(32))].into_iter().flatten()
    }

    pub(super) fn take(&self, now: u64, hash: u64, cost: u64, terms: &Terms) -> Taken {
        let Some((pace, burst)) = pace(terms) else {
            return Taken { is_admitted: false, remaining: 0, reset_in: Duration::MAX };
        };
        let cost = cost.max(1).saturating_mul(pace);
        let depth = burst.saturating_mul(pace);
        let after = |cell: &AtomicU64| cell.load(Relaxed).max(now).saturating_add(cost);
        let least = self.cells(hash).map(after).min().unwrap_or(u64::MAX);
        let latest = now.saturating_add(depth);
        if least > latest {
            return Taken {
                is_admitted: false,
                remaining: 0,
                reset_in: Duration::from_nanos(least - latest),
            };
        }
        for cell in self.cells(hash) {
            let _ =
                cell.fetch_update(Relaxed, Relaxed, |full_at| Some(full_at.max(now).saturating_add(cost)));
        }
        let reset_in = Duration::from_nanos(least - now);
        Taken { is_admitted: true, remaining: (latest - least) / pace, reset_in }
    }

    pub(super) fn give_back(&self, hash: u64, cost: u64, terms: &Terms) {
        let Some((pace, _)) = pace(terms) else { return };
        let cost = cost.max(1).saturating_mul(pace);
        for cell in self.cells(hash) {
            let _ = cell.fetch_update(Relaxed, Relaxed, |full_at| Some(full_at.saturating_sub(cost)));
        }
    }

    /// Whether a key may have used something here that has not come back.
    pub(super) fn is_in_use(&self, now: u64, hash: u64) -> bool {
        self.cells(hash).all(|cell| cell.load(Relaxed) > now)
    }
}
