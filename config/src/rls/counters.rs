//! How much came in each window.

use std::collections::HashMap;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use super::decide::Hit;

/// Maps with a lock each.
const SHARDS: usize = 16;
/// Counters that keys without a place of their own share.
const CELLS: usize = 1 << 12;

/// Counters, at most so many; what has no place counts in one that it shares with others, so that a flood of keys frees nobody
/// of a limit.
#[derive(Debug)]
pub struct Counters {
    shards: Vec<Mutex<Shard>>,
    /// Of one shard.
    most: usize,
}

#[derive(Debug, Default)]
struct Shard {
    counters: HashMap<u128, Counter>,
    cells: HashMap<u16, Counter>,
    /// Nothing has ended before this.
    ends: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    /// When its window ends.
    ends: u64,
    count: u64,
}

impl Counters {
    /// Room for so many keys, some 64 bytes each.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), most: keys.div_ceil(SHARDS) }
    }

    /// Counts; returns what came in each window, with this. Counted is also what is refused, as `envoyproxy/ratelimit` does.
    pub(super) fn count(&self, hits: &[Hit], now: u64) -> Vec<u64> {
        hits.iter().map(|hit| self.add(hit, now)).collect()
    }

    fn add(&self, Hit { key, ends, cost }: &Hit, now: u64) -> u64 {
        let hash = digest(&SHA256, key.as_bytes());
        let hash = hash.as_ref().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
        let Some(shard) = self.shards.get((hash >> 124) as usize % SHARDS) else { return *cost };
        let mut shard = shard.lock();
        if shard.counters.len() >= self.most && shard.ends <= now {
            shard.counters.retain(|_, counter| counter.ends > now);
            shard.ends = shard.counters.values().map(|counter| counter.ends).min().unwrap_or(u64::MAX);
        }
        let fresh = Counter { ends: *ends, count: 0 };
        let has_place = shard.counters.len() < self.most || shard.counters.contains_key(&hash);
        let counter = if has_place {
            shard.ends = shard.ends.min(*ends);
            shard.counters.entry(hash).or_insert(fresh)
        } else {
            shard.cells.entry((hash as usize % CELLS) as u16).or_insert(fresh)
        };
        if counter.ends <= now {
            *counter = fresh;
        }
        counter.count = counter.count.saturating_add(*cost);
        counter.count
    }

    /// Keys that have a place.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().counters.len()).sum()
    }

    /// No key has a place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
