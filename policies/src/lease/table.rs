//! The buckets of one limit, by key.
//!
//! A limit without keys has one bucket, found without a look-up. Keys are bounded in number. A key is forgotten when nobody
//! could tell its bucket from a new one, never because others came: a flood of keys cannot reset a limit. Keys for which
//! there is no place are limited together ([`Overflow`]).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::bucket::{Bucket, Taken};
use super::key::Key;
use super::limit::Terms;
use super::overflow::Overflow;

const SHARDS: usize = 64;
/// A full shard is searched for what can be forgotten no more often than that.
const SEARCH: u64 = 1_000_000_000;

/// How much a table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Keys, at least 64. Default: 65,536; each takes some 400 bytes.
    pub keys: usize,
    /// Entries of all logs of sliding windows, 16 bytes each, beyond which logs are kept coarser. Default: 2,097,152.
    pub entries: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { keys: 1 << 16, entries: 1 << 21 }
    }
}

/// A bucket that its client should look at soon: for the first time since it was last reported, it has refused something or
/// admitted something without a lease.
#[derive(Debug, Clone)]
pub struct Attention {
    /// `None` for the bucket of a limit without keys.
    pub key: Option<Key>,
    /// The bucket.
    pub bucket: Arc<Bucket>,
}

/// What a table holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Keys it holds.
    pub keys: usize,
    /// Requests of keys for which there was no place.
    pub overflowed: u64,
    /// Keys that were forgotten.
    pub forgotten: u64,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<Key, Arc<Bucket>>,
    searched_at: Option<u64>,
}

/// The buckets of one limit.
#[derive(Debug)]
pub struct Table {
    terms: ArcSwap<Terms>,
    single: Option<Arc<Bucket>>,
    size: Size,
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    overflow: OnceLock<Overflow>,
    attention: Mutex<Vec<Attention>>,
    keys: AtomicUsize,
    overflowed: AtomicU64,
    forgotten: AtomicU64,
}

impl Table {
    /// The table of a limit that everybody shares.
    pub fn unkeyed(now: u64, terms: Terms) -> Self {
        let bucket = Arc::new(Bucket::new(now, &terms, true));
        Self { single: Some(bucket), ..Self::keyed(terms, Size { keys: 0, entries: 0 }) }
    }

    /// The table of a limit that each key has for itself.
    pub fn keyed(terms: Terms, size: Size) -> Self {
        Self {
            terms: ArcSwap::from_pointee(terms),
            single: None,
            size,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            overflow: OnceLock::new(),
            attention: Mutex::new(Vec::new()),
            keys: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// What it keeps to.
    pub fn terms(&self) -> Terms {
        **self.terms.load()
    }

    /// Keeps to other terms from now on. What was used stays used.
    pub fn update(&self, now: u64, terms: Terms) {
        self.terms.store(Arc::new(terms));
        self.each(|_, bucket| bucket.reopen(now, &terms));
    }

    /// Decides about a request that costs so many tokens. `key` is what came in, of any length; a table without keys does
    /// not look at it.
    pub fn take(&self, now: u64, key: &[u8], cost: u64) -> Taken {
        if let Some(bucket) = &self.single {
            let (taken, needs_attention) = bucket.take(now, cost, || self.terms());
            if needs_attention {
                self.attend(None, bucket);
            }
            return taken;
        }
        let form = Key::form(key);
        let hash = self.hasher.hash_one(&*form);
        let Some(shard) = self.shard(hash) else { return self.take_without_place(now, hash, cost) };
        {
            let held = shard.read();
            if let Some((key, bucket)) = held.buckets.get_key_value(&*form) {
                let (taken, needs_attention) = bucket.take(now, cost, || self.terms());
                if needs_attention {
                    self.attend(Some(key), bucket);
                }
                return taken;
            }
        }
        let Some(bucket) = self.insert(now, hash, shard, &form) else {
            return self.take_without_place(now, hash, cost);
        };
        let (taken, needs_attention) = bucket.take(now, cost, || self.terms());
        if needs_attention {
            self.attend(Some(&Key::formed(&form)), &bucket);
        }
        taken
    }

    /// Takes what a request of this key turned out to cost, whatever is left.
    pub fn charge(&self, now: u64, key: &[u8], cost: u64) {
        let terms = self.terms();
        if let Some(bucket) = &self.single {
            return bucket.charge(now, cost, &terms);
        }
        if let Some(bucket) = self.find(&Key::form(key)) {
            bucket.charge(now, cost, &terms);
        }
    }

    /// Puts back what a request of this key took a moment ago and did not use, because somebody else refused it.
    pub fn give_back(&self, now: u64, key: &[u8], cost: u64) {
        if let Some(bucket) = &self.single {
            return bucket.give_back(now, cost, || self.terms());
        }
        let form = Key::form(key);
        match self.find(&form) {
            Some(bucket) => bucket.give_back(now, cost, || self.terms()),
            None => {
                if let Some(overflow) = self.overflow.get() {
                    overflow.give_back(self.hasher.hash_one(&*form), cost, &self.terms());
                }
            }
        }
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<Shard>> {
        self.shards.get(usize::try_from(hash >> 58).unwrap_or(0) % SHARDS)
    }

    fn find(&self, form: &str) -> Option<Arc<Bucket>> {
        self.shard(self.hasher.hash_one(form))?.read().buckets.get(form).cloned()
    }

    fn insert(&self, now: u64, hash: u64, shard: &RwLock<Shard>, form: &str) -> Option<Arc<Bucket>> {
        let mut shard = shard.write();
        // Somebody else may have been faster.
        if let Some(bucket) = shard.buckets.get(form) {
            return Some(Arc::clone(bucket));
        }
        let terms = self.terms();
        let most = (self.size.keys / SHARDS).max(1);
        if shard.buckets.len() >= most {
            if shard.searched_at.is_some_and(|at| now < at.saturating_add(SEARCH)) {
                return None;
            }
            shard.searched_at = Some(now);
            self.forget(now, &mut shard, &terms);
            if shard.buckets.len() >= most {
                return None;
            }
        }
        let is_fresh = self.overflow.get().is_none_or(|overflow| !overflow.is_in_use(now, hash));
        let bucket = Arc::new(Bucket::new(now, &terms, is_fresh));
        shard.buckets.insert(Key::formed(form), Arc::clone(&bucket));
        self.keys.fetch_add(1, Relaxed);
        Some(bucket)
    }

    fn forget(&self, now: u64, shard: &mut Shard, terms: &Terms) {
        let before = shard.buckets.len();
        shard.buckets.retain(|_, bucket| !bucket.is_blank(now, terms));
        let forgotten = before - shard.buckets.len();
        self.keys.fetch_sub(forgotten, Relaxed);
        self.forgotten.fetch_add(forgotten as u64, Relaxed);
    }

    fn take_without_place(&self, now: u64, hash: u64, cost: u64) -> Taken {
        self.overflowed.fetch_add(1, Relaxed);
        self.overflow.get_or_init(Overflow::new).take(now, hash, cost, &self.terms())
    }

    fn attend(&self, key: Option<&Key>, bucket: &Arc<Bucket>) {
        let mut attention = self.attention.lock();
        // Nobody may be there to listen; what is left out is found when all buckets are looked at.
        if attention.len() <= self.size.keys {
            attention.push(Attention { key: key.cloned(), bucket: Arc::clone(bucket) });
        }
    }

    /// The buckets that should be looked at soon, since the last call.
    pub fn attention(&self) -> Vec<Attention> {
        std::mem::take(&mut *self.attention.lock())
    }

    /// Forgets what can be forgotten, and keeps logs within their size. Costs a look at each bucket: once in some seconds.
    pub fn sweep(&self, now: u64) {
        let terms = self.terms();
        let mut entries = 0;
        for shard in &self.shards {
            let mut shard = shard.write();
            self.forget(now, &mut shard, &terms);
            entries += shard.buckets.values().map(|bucket| bucket.trim(None)).sum::<usize>();
        }
        if entries > self.size.entries {
            let most = (self.size.entries / self.keys.load(Relaxed).max(1)).max(8) as u64;
            self.each(|_, bucket| {
                bucket.trim(Some(most));
            });
        }
    }

    /// Looks at each bucket.
    pub fn each(&self, mut look: impl FnMut(Option<&Key>, &Arc<Bucket>)) {
        if let Some(bucket) = &self.single {
            look(None, bucket);
        }
        for shard in &self.shards {
            shard.read().buckets.iter().for_each(|(key, bucket)| look(Some(key), bucket));
        }
    }

    /// What it holds and has done.
    pub fn counts(&self) -> Counts {
        Counts {
            keys: self.keys.load(Relaxed),
            overflowed: self.overflowed.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
        }
    }

    /// Whether it is more than three quarters full, so that what is idle should be given back early.
    pub fn is_crowded(&self) -> bool {
        self.single.is_none() && self.keys.load(Relaxed) > self.size.keys / 4 * 3
    }
}
