//! The buckets of one limit, by key: a table of fixed size without locks, filled as keys come.
//!
//! Keys come from clients, so there may be more of them than the table holds. A new key then takes the place of the fullest
//! bucket of eight, the one whose key has the least to gain from being forgotten: to have an empty bucket forgotten, somebody
//! has to empty seven others first, whose places only this process knows, which is more than they gain.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::rate::{Rate, Taken};

/// Buckets that a key can be in.
const WAYS: usize = 8;
/// Sets that memory is taken for at once: 8 KiB.
const CHUNK: usize = 64;
/// Keys of a limit that tells clients apart: 4 MiB once they all came.
pub(super) const MANY: usize = 1 << 18;
/// Keys of a limit that does not: one for each route.
pub(super) const FEW: usize = 1 << 13;

/// See the module.
pub struct Counters {
    hashes: RandomState,
    chunks: Box<[OnceLock<Box<[Set]>>]>,
    forgotten: AtomicU64,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Set([Bucket; WAYS]);

#[derive(Debug, Default)]
struct Bucket {
    /// 0: it is free.
    key: AtomicU64,
    full_at: AtomicU64,
}

/// A key as the table knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed(u64);

impl Counters {
    /// Room for this many keys, rounded up.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        let chunks = keys.div_ceil(WAYS * CHUNK).next_power_of_two();
        let chunks = std::iter::repeat_with(OnceLock::new).take(chunks).collect();
        Self { hashes: RandomState::new(), chunks, forgotten: AtomicU64::new(0) }
    }

    /// Keys there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK * WAYS
    }

    /// Buckets that were not full and had to make room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// A key as it is looked up. Nobody outside can tell which keys meet (SipHash under a key of this process).
    pub(super) fn hashed(&self, key: &[u8]) -> Hashed {
        Hashed(self.hashes.hash_one(key).max(1))
    }

    /// Takes tokens out of a bucket, if there are as many.
    pub(super) fn take(&self, key: Hashed, rate: Rate, now: Duration, cost: u64) -> Taken {
        let Some(bucket) = self.bucket(key, now) else {
            return rate.take(Rate::full(), now, cost).1;
        };
        let mut full_at = bucket.full_at.load(Ordering::Relaxed);
        loop {
            let (next, taken) = rate.take(full_at, now, cost);
            let Some(next) = next else { return taken };
            match bucket.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(other) => full_at = other,
            }
        }
    }

    /// Takes tokens that were used up already.
    pub(super) fn charge(&self, key: Hashed, rate: Rate, now: Duration, cost: u64) {
        if let Some(bucket) = self.bucket(key, now) {
            update(&bucket.full_at, |full_at| rate.charge(full_at, now, cost));
        }
    }

    /// Gives back what was taken a moment ago.
    pub(super) fn give_back(&self, key: Hashed, rate: Rate, now: Duration, cost: u64) {
        if let Some(bucket) = self.bucket(key, now) {
            update(&bucket.full_at, |full_at| rate.give_back(full_at, cost));
        }
    }

    /// The bucket of a key; a full one where there was none. `None` never happens.
    fn bucket(&self, key: Hashed, now: Duration) -> Option<&Bucket> {
        let at = usize::try_from(key.0 >> 16).unwrap_or(0) & (self.chunks.len() * CHUNK - 1);
        let chunk = self.chunks.get(at / CHUNK)?;
        let sets = chunk.get_or_init(|| std::iter::repeat_with(Set::default).take(CHUNK).collect());
        let Set(buckets) = sets.get(at % CHUNK)?;
        // Whoever loses the race for a bucket looks again; after as many races it takes what it finds.
        for _ in 0..WAYS {
            let mut fullest: Option<(&Bucket, u64, u64)> = None;
            for bucket in buckets {
                let other = bucket.key.load(Ordering::Relaxed);
                if other == key.0 {
                    return Some(bucket);
                }
                // A free one is as good as full, and better than one that is.
                let missing = match other {
                    0 => 0,
                    _ => Rate::missing(bucket.full_at.load(Ordering::Relaxed), now).saturating_add(1),
                };
                if fullest.is_none_or(|(_, _, least)| missing < least) {
                    fullest = Some((bucket, other, missing));
                }
            }
            let (bucket, other, missing) = fullest?;
            if bucket.key.compare_exchange(other, key.0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                // Between these two lines somebody may still take a token for the other key: it is lost.
                bucket.full_at.store(Rate::full(), Ordering::Relaxed);
                if missing > 1 {
                    self.forgotten.fetch_add(1, Ordering::Relaxed);
                }
                return Some(bucket);
            }
        }
        buckets.first()
    }
}

fn update(full_at: &AtomicU64, change: impl Fn(u64) -> u64) {
    // It cannot fail: the change is always there.
    let _ = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(change(old)));
}

#[cfg(test)]
mod tests;
