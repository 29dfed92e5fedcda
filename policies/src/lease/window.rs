//! Tokens that come back when their use is one window old: a log of uses.
//!
//! The log is exact while a share is at most [`EXACT`] tokens. Beyond that neighbours are kept as one entry with the later
//! one's time, so it may admit a little late and never too much.

use std::collections::VecDeque;

/// Entries of a log that are kept apart.
pub(super) const EXACT: u64 = 512;

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    cost: u64,
}

/// What was used in the last window.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    log: VecDeque<Entry>,
    used: u64,
}

impl Window {
    /// Forgets what is a window old.
    pub(super) fn expire(&mut self, now: u64, per: u64) {
        while let Some(first) = self.log.front().filter(|first| first.at.saturating_add(per) <= now) {
            self.used = self.used.saturating_sub(first.cost);
            self.log.pop_front();
        }
    }

    /// Tokens used in the window.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Notes a use at `now`, of a share of `capacity` tokens.
    pub(super) fn add(&mut self, now: u64, cost: u64, capacity: u64) {
        if cost == 0 {
            return;
        }
        let grain = capacity.div_ceil(EXACT).max(1);
        self.used = self.used.saturating_add(cost);
        match self.log.back_mut() {
            Some(last) if last.at >= now => last.cost = last.cost.saturating_add(cost),
            Some(last) if last.cost.saturating_add(cost) <= grain => {
                *last = Entry { at: now, cost: last.cost + cost };
            }
            _ => self.log.push_back(Entry { at: now, cost }),
        }
        if self.log.len() as u64 > 4 * EXACT {
            // Only when a share shrinks and grows: entries of a small share count in a great one.
            self.coarsen(2 * EXACT);
        }
    }

    /// Forgets so much of what was used last.
    pub(super) fn give_back(&mut self, cost: u64) {
        let mut left = cost;
        while left > 0
            && let Some(last) = self.log.back_mut()
        {
            let part = last.cost.min(left);
            last.cost -= part;
            left -= part;
            self.used = self.used.saturating_sub(part);
            if last.cost == 0 {
                self.log.pop_back();
            }
        }
    }

    /// Nanoseconds until `tokens` of what was used are free again; `u64::MAX` when less was used.
    pub(super) fn wait(&self, now: u64, tokens: u64, per: u64) -> u64 {
        let mut freed = 0u64;
        for entry in &self.log {
            freed = freed.saturating_add(entry.cost);
            if freed >= tokens {
                return entry.at.saturating_add(per).saturating_sub(now);
            }
        }
        u64::MAX
    }

    pub(super) fn entries(&self) -> usize {
        self.log.len()
    }

    /// Keeps at most about so many entries.
    pub(super) fn coarsen(&mut self, entries: u64) {
        let grain = self.used.div_ceil(entries.max(1)).max(1);
        let mut log = VecDeque::<Entry>::new();
        for entry in self.log.drain(..) {
            match log.back_mut() {
                Some(last) if last.cost < grain => {
                    *last = Entry { at: entry.at, cost: last.cost.saturating_add(entry.cost) };
                }
                _ => log.push_back(entry),
            }
        }
        self.log = log;
    }
}
