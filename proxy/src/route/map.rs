//! A hash map whose clones share almost everything.
//!
//! A snapshot and the compiler's working copy are clones of each other. Cloning copies one pointer per shard; the
//! first change to a shard after that copies the pointers of this shard only. So changing one of many thousand entries
//! costs some hundred pointer copies, and a lookup still is one hash and one probe.

use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Mean number of entries of a shard before the number of shards grows.
const SHARD: usize = 64;

/// Seeded per process: host names and paths come from tenants, who must not be able to choose them so that they
/// collide.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// An entry that knows its key.
pub(crate) trait Keyed {
    type Key: ?Sized + Hash + Eq;

    fn key(&self) -> &Self::Key;
}

/// An entry that is removed when a change leaves nothing in it.
pub(crate) trait Vacant {
    fn is_vacant(&self) -> bool;
}

/// A hash map of shared entries, cheap to clone.
#[derive(Debug)]
pub(crate) struct CowMap<T> {
    /// None, or a power of two.
    shards: Box<[Arc<HashTable<Arc<T>>>]>,
    len: usize,
}

impl<T> Default for CowMap<T> {
    fn default() -> Self {
        Self { shards: Box::default(), len: 0 }
    }
}

impl<T> Clone for CowMap<T> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len }
    }
}

fn hash<K: ?Sized + Hash>(key: &K) -> u64 {
    SEED.hash_one(key)
}

/// `hashbrown` uses the lowest and the seven highest bits of a hash; shards go by those between.
fn place(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize & shards.wrapping_sub(1)
}

impl<T: Keyed> CowMap<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    pub(crate) fn get(&self, key: &T::Key) -> Option<&Arc<T>> {
        if self.len == 0 {
            return None;
        }
        let hash = hash(key);
        let shard = self.shards.get(place(hash, self.shards.len()))?;
        shard.find(hash, |item| item.key() == key)
    }

    /// Puts an entry in, in the place of one with the same key.
    pub(crate) fn insert(&mut self, item: Arc<T>) {
        self.fit(self.len + 1);
        let hash = hash(item.key());
        let Some(shard) = self.shard_mut(hash) else { return };
        match shard.entry(hash, |other| other.key() == item.key(), rehash) {
            Entry::Occupied(mut entry) => *entry.get_mut() = item,
            Entry::Vacant(entry) => {
                entry.insert(item);
                self.len += 1;
            }
        }
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &T::Key) -> Option<Arc<T>> {
        self.get(key)?;
        let hash = hash(key);
        let entry = self.shard_mut(hash)?.find_entry(hash, |item| item.key() == key).ok()?;
        let (item, _) = entry.remove();
        self.len -= 1;
        self.fit(self.len);
        Some(item)
    }

    fn shard_mut(&mut self, hash: u64) -> Option<&mut HashTable<Arc<T>>> {
        let place = place(hash, self.shards.len());
        self.shards.get_mut(place).map(Arc::make_mut)
    }

    /// Spreads the entries over as many shards as `len` of them want, with slack so that this is rare.
    fn fit(&mut self, len: usize) {
        let shards = self.shards.len();
        if len == 0 {
            *self = Self::default();
        } else if shards == 0 || len > shards * SHARD || (shards > 1 && len * 8 < shards * SHARD) {
            // O(entries): once per doubling.
            let wanted = (len * 2).div_ceil(SHARD).next_power_of_two();
            let wanted = if len <= SHARD { 1 } else { wanted };
            let mut tables: Vec<HashTable<Arc<T>>> = (0..wanted).map(|_| HashTable::new()).collect();
            for item in self.iter() {
                let hash = hash(item.key());
                if let Some(table) = tables.get_mut(place(hash, wanted)) {
                    table.insert_unique(hash, item.clone(), rehash);
                }
            }
            self.shards = tables.into_iter().map(Arc::new).collect();
        }
    }
}

impl<T: Keyed + Vacant + Clone> CowMap<T> {
    /// Changes the entry of `key`, made by `vacant` if there is none, and drops it when nothing is left in it.
    pub(crate) fn edit(&mut self, key: &T::Key, vacant: impl FnOnce() -> T, change: impl FnOnce(&mut T)) {
        self.fit(self.len + 1);
        let hash = hash(key);
        let Some(shard) = self.shard_mut(hash) else { return };
        match shard.entry(hash, |item| item.key() == key, rehash) {
            Entry::Occupied(mut entry) => {
                let item = Arc::make_mut(entry.get_mut());
                change(item);
                if item.is_vacant() {
                    entry.remove();
                    self.len -= 1;
                }
            }
            Entry::Vacant(entry) => {
                let mut item = vacant();
                change(&mut item);
                if !item.is_vacant() {
                    entry.insert(Arc::new(item));
                    self.len += 1;
                }
            }
        }
        self.fit(self.len);
    }
}

fn rehash<T: Keyed>(item: &Arc<T>) -> u64 {
    hash(item.key())
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
