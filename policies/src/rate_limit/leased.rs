//! A limit that all proxies hold together, as one of them has it: a table of leased buckets, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::rate::{Rate, Taken};
use crate::lease::{Size, Table, Terms};

/// See the module. It outlives changes of the configuration; what looks after the table outlives it by a moment, to give back
/// what is left.
#[derive(Debug)]
pub struct Leased {
    table: Arc<Table>,
    is_keyed: bool,
    admitted: AtomicU64,
    denied: AtomicU64,
}

impl Leased {
    /// One that nobody has used. `now` is nanoseconds of [`Lookup::clock`](crate::Lookup::clock).
    #[must_use]
    pub fn new(now: u64, is_keyed: bool, terms: Terms) -> Self {
        let table = if is_keyed { Table::keyed(terms, Size::default()) } else { Table::unkeyed(now, terms) };
        Self { table: Arc::new(table), is_keyed, admitted: AtomicU64::new(0), denied: AtomicU64::new(0) }
    }

    /// Whether buckets are told apart by keys.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.is_keyed
    }

    /// Its buckets.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Keeps to what a new configuration says; what only a quota server knows stays as it is.
    pub fn keep_to(&self, now: u64, terms: Terms) {
        let old = self.table.terms();
        let terms = Terms { proxies: old.proxies, is_lost: old.is_lost, ..terms };
        if terms != old {
            self.table.update(now, terms);
        }
    }

    /// Requests that it admitted, and no other limit of the policy refused.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Relaxed)
    }

    /// Requests that it refused, or would have.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied.load(Relaxed)
    }

    pub(super) fn count(&self, is_admitted: bool) {
        let count = if is_admitted { &self.admitted } else { &self.denied };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn take(&self, key: &[u8], rate: Rate, now: Duration, cost: u64) -> Taken {
        let taken = self.table.take(nanos(now), key, cost);
        Taken {
            is_admitted: taken.is_admitted,
            remaining: taken.remaining.min(rate.burst()),
            // Nobody knows when: once a unit is over something is different at least.
            wait: if taken.reset_in == Duration::MAX { rate.window() } else { taken.reset_in },
        }
    }

    pub(super) fn charge(&self, key: &[u8], now: Duration, cost: u64) {
        self.table.charge(nanos(now), key, cost);
    }

    pub(super) fn give_back(&self, key: &[u8], now: Duration, cost: u64) {
        self.table.give_back(nanos(now), key, cost);
    }
}

/// As tables count time.
#[must_use]
pub fn nanos(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
