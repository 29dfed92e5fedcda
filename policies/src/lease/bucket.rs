//! One bucket: a core behind a lock, and a purse in front of it.
//!
//! Tokens are drawn from the core into the purse, from where requests take them with one atomic operation; and when nothing
//! is to be had, until when is known without the lock too. So threads meet at the lock about a thousand times a second.

use std::sync::atomic::{
    AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use super::decide::Decision;
use super::limit::Terms;
use super::report::{Grant, Stance, Usage};

/// What a bucket said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether the request may pass.
    pub is_admitted: bool,
    /// Tokens left here; `u64::MAX` when nothing is limited.
    pub remaining: u64,
    /// Admitted: until what was used has come back. Refused: until this cost may fit; `Duration::MAX` when no time is known.
    pub reset_in: Duration,
}

/// The bucket of one limit and key.
#[derive(Debug)]
pub struct Bucket {
    purse: AtomicU64,
    /// The purse is used before that only.
    open_until: AtomicU64,
    /// Nothing is to be had before that.
    closed_until: AtomicU64,
    denied: AtomicU64,
    /// What the core held when it was last asked, and when all of it will be back.
    rest: AtomicU64,
    full_at: AtomicU64,
    core: Mutex<Core>,
}

impl Bucket {
    pub(super) fn new(now: u64, terms: &Terms, is_fresh: bool) -> Self {
        Self {
            purse: AtomicU64::new(0),
            open_until: AtomicU64::new(0),
            closed_until: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            rest: AtomicU64::new(0),
            full_at: AtomicU64::new(0),
            core: Mutex::new(Core::new(now, terms, is_fresh)),
        }
    }

    /// Decides about a request; and whether it is the first since the last report that is refused, or uses what was not
    /// leased. A cost of 0 asks whether
    /// one token could be had, and takes none.
    pub(super) fn take(&self, now: u64, cost: u64, terms: impl FnOnce() -> Terms) -> (Taken, bool) {
        let closed_until = self.closed_until.load(Acquire);
        if now < closed_until {
            return self.refuse(cost, 0, closed_until - now);
        }
        if now < self.open_until.load(Acquire)
            && let Ok(before) = self.purse.fetch_update(AcqRel, Acquire, |left| left.checked_sub(cost))
            && before > 0
        {
            let remaining = (before - cost).saturating_add(self.rest.load(Relaxed));
            let reset_in = Duration::from_nanos(self.full_at.load(Relaxed).saturating_sub(now));
            return (Taken { is_admitted: true, remaining, reset_in }, false);
        }
        let Decision { is_admitted, left, reset_in, is_news, .. } = self.ask(now, cost, &terms());
        if is_admitted {
            return (Taken { is_admitted, remaining: left, reset_in: span(reset_in) }, is_news);
        }
        self.refuse(cost, left, reset_in)
    }

    fn refuse(&self, cost: u64, remaining: u64, reset_in: u64) -> (Taken, bool) {
        let is_first = self.denied.fetch_add(cost.max(1), Relaxed) == 0;
        (Taken { is_admitted: false, remaining, reset_in: span(reset_in) }, is_first)
    }

    fn ask(&self, now: u64, cost: u64, terms: &Terms) -> Decision {
        let mut core = self.settled(now, terms);
        let decision = core.take(now, cost, terms);
        if !decision.is_admitted {
            self.closed_until.store(decision.closed_until, Release);
            return decision;
        }
        self.full_at.store(now.saturating_add(decision.reset_in), Relaxed);
        if let Some((tokens, until)) = core.draw(now, terms) {
            self.rest.store(decision.left.saturating_sub(tokens), Relaxed);
            self.open_until.store(until, Release);
            self.purse.store(tokens, Release);
        }
        decision
    }

    /// The core, with everything in it; what was closed is open.
    fn settled(&self, now: u64, terms: &Terms) -> parking_lot::MutexGuard<'_, Core> {
        let mut core = self.core.lock();
        let left = self.purse.swap(0, AcqRel);
        self.closed_until.store(0, Release);
        core.settle(now, left, terms);
        core
    }

    /// Puts back what a request took a moment ago and did not use. While there is a purse it goes there, without the lock: if
    /// that is another one by now, the token counted as used when the first was closed, and not again when it is.
    pub(super) fn give_back(&self, now: u64, cost: u64, terms: impl FnOnce() -> Terms) {
        if now < self.open_until.load(Acquire) {
            self.purse.fetch_add(cost, AcqRel);
            return;
        }
        let terms = terms();
        self.settled(now, &terms).give_back(now, cost, &terms);
    }

    /// Takes what a request turned out to cost, whatever is left.
    pub fn charge(&self, now: u64, cost: u64, terms: &Terms) {
        self.settled(now, terms).charge(now, cost, terms);
    }

    /// By what it decides.
    pub fn stance(&self, now: u64, terms: &Terms) -> Stance {
        self.core.lock().stance(now, terms)
    }

    /// What happened since the last call; counting begins anew.
    pub fn report(&self, now: u64, terms: &Terms) -> Usage {
        let mut core = self.settled(now, terms);
        Usage { denied: self.denied.swap(0, Relaxed), ..core.report(now, terms) }
    }

    /// What happened since the last report.
    pub fn peek(&self, now: u64, terms: &Terms) -> Usage {
        let mut core = self.settled(now, terms);
        Usage { denied: self.denied.load(Relaxed), ..core.peek(now, terms) }
    }

    /// Begins to use a lease. Says whether it differs from the one before in more than its end.
    pub fn assign(&self, now: u64, grant: Grant, terms: &Terms) -> bool {
        self.settled(now, terms).assign(now, grant, terms)
    }

    /// The server does not know the limit.
    pub fn disown(&self, now: u64, terms: &Terms) {
        self.settled(now, terms).disown(now, terms);
        self.denied.store(0, Relaxed);
    }

    /// The server gives the bucket up: the next request begins anew. Only the fallback remembers.
    pub fn abandon(&self, now: u64, terms: &Terms) {
        self.settled(now, terms).abandon(now, terms);
        self.denied.store(0, Relaxed);
    }

    /// Gives the lease back, with what is left of it, and says what happened.
    pub fn release(&self, now: u64, terms: &Terms) -> Usage {
        let mut core = self.settled(now, terms);
        Usage { denied: self.denied.swap(0, Relaxed), ..core.release(now, terms) }
    }

    /// Whether it was used in more than one report, the last ten minutes or so: it should not be given back.
    pub fn is_known(&self, now: u64) -> bool {
        self.core.lock().is_known(now)
    }

    pub(super) fn is_blank(&self, now: u64, terms: &Terms) -> bool {
        (terms.is_lost || self.denied.load(Relaxed) == 0) && self.settled(now, terms).is_blank(now, terms)
    }

    /// The terms may have changed: what was decided by the old ones is asked again.
    pub(super) fn reopen(&self, now: u64, terms: &Terms) {
        self.settled(now, terms).be_alone(now, terms);
    }

    pub(super) fn trim(&self, entries: Option<u64>) -> usize {
        self.core.lock().trim(entries)
    }
}

fn span(nanos: u64) -> Duration {
    if nanos == u64::MAX { Duration::MAX } else { Duration::from_nanos(nanos) }
}
