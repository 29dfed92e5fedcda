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
pub(crate) enum CowMap<T> {
    Empty,
    /// Most tables below a host name: nothing to hash, and nothing between the map and its entry.
    One(Arc<T>),
    Many(Box<Shards<T>>),
}

/// Two or more entries.
#[derive(Debug)]
pub(crate) struct Shards<T> {
    /// None, or a power of two.
    tables: Box<[Arc<HashTable<Arc<T>>>]>,
    len: usize,
}

impl<T> Default for CowMap<T> {
    fn default() -> Self {
        Self::Empty
    }
}

impl<T> Clone for CowMap<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::One(item) => Self::One(item.clone()),
            Self::Many(shards) => Self::Many(shards.clone()),
        }
    }
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self { tables: Box::default(), len: 0 }
    }
}

impl<T> Clone for Shards<T> {
    fn clone(&self) -> Self {
        Self { tables: self.tables.clone(), len: self.len }
    }
}

fn hash<K: ?Sized + Hash>(key: &K) -> u64 {
    SEED.hash_one(key)
}

/// `hashbrown` uses the lowest and the seven highest bits of a hash; shards go by those between.
fn place(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize & shards.wrapping_sub(1)
}

impl<T> CowMap<T> {
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Many(shards) => shards.len,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(item) => (Some(item), None),
            Self::Many(shards) => (None, Some(shards.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<T: Keyed> CowMap<T> {
    pub(crate) fn get(&self, key: &T::Key) -> Option<&Arc<T>> {
        match self {
            Self::Empty => None,
            Self::One(item) => (item.key() == key).then_some(item),
            Self::Many(shards) => shards.get(key),
        }
    }

    /// Puts an entry in, in the place of one with the same key.
    pub(crate) fn insert(&mut self, item: Arc<T>) {
        match self {
            Self::Empty => *self = Self::One(item),
            Self::One(one) if one.key() == item.key() => *one = item,
            Self::One(_) | Self::Many(_) => self.with_shards(|shards| shards.insert(item)),
        }
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &T::Key) -> Option<Arc<T>> {
        self.get(key)?;
        self.with_shards(|shards| shards.remove(key))
    }

    fn with_shards<R>(&mut self, change: impl FnOnce(&mut Shards<T>) -> R) -> R {
        let mut shards = match std::mem::take(self) {
            Self::Empty => Box::default(),
            Self::One(item) => {
                let mut shards: Box<Shards<T>> = Box::default();
                shards.insert(item);
                shards
            }
            Self::Many(shards) => shards,
        };
        let changed = change(&mut shards);
        let first = shards.iter().next().cloned();
        *self = match first {
            None => Self::Empty,
            Some(item) if shards.len == 1 => Self::One(item),
            Some(_) => Self::Many(shards),
        };
        changed
    }
}

impl<T: Keyed + Vacant + Clone> CowMap<T> {
    /// Changes the entry of `key`, made by `vacant` if there is none, and drops it when nothing is left in it.
    pub(crate) fn edit(&mut self, key: &T::Key, vacant: impl FnOnce() -> T, change: impl FnOnce(&mut T)) {
        match self {
            Self::Empty => {
                let mut item = vacant();
                change(&mut item);
                if !item.is_vacant() {
                    *self = Self::One(Arc::new(item));
                }
            }
            Self::One(one) if one.key() == key => {
                let item = Arc::make_mut(one);
                change(item);
                if item.is_vacant() {
                    *self = Self::Empty;
                }
            }
            Self::One(_) | Self::Many(_) => self.with_shards(|shards| shards.edit(key, vacant, change)),
        }
    }
}

impl<T> Shards<T> {
    fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.tables.iter().flat_map(|table| table.iter())
    }
}

impl<T: Keyed> Shards<T> {
    fn get(&self, key: &T::Key) -> Option<&Arc<T>> {
        let hash = hash(key);
        let table = self.tables.get(place(hash, self.tables.len()))?;
        table.find(hash, |item| item.key() == key)
    }

    fn insert(&mut self, item: Arc<T>) {
        self.fit(self.len + 1);
        let hash = hash(item.key());
        let Some(table) = self.table_mut(hash) else { return };
        match table.entry(hash, |other| other.key() == item.key(), rehash) {
            Entry::Occupied(mut entry) => *entry.get_mut() = item,
            Entry::Vacant(entry) => {
                entry.insert(item);
                self.len += 1;
            }
        }
    }

    fn remove(&mut self, key: &T::Key) -> Option<Arc<T>> {
        let hash = hash(key);
        let entry = self.table_mut(hash)?.find_entry(hash, |item| item.key() == key).ok()?;
        let (item, _) = entry.remove();
        self.len -= 1;
        self.fit(self.len);
        Some(item)
    }

    fn table_mut(&mut self, hash: u64) -> Option<&mut HashTable<Arc<T>>> {
        let place = place(hash, self.tables.len());
        self.tables.get_mut(place).map(Arc::make_mut)
    }

    /// Spreads the entries over as many tables as `len` of them want, with slack so that this is rare.
    fn fit(&mut self, len: usize) {
        let shards = self.tables.len();
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
            self.tables = tables.into_iter().map(Arc::new).collect();
        }
    }
}

impl<T: Keyed + Vacant + Clone> Shards<T> {
    fn edit(&mut self, key: &T::Key, vacant: impl FnOnce() -> T, change: impl FnOnce(&mut T)) {
        self.fit(self.len + 1);
        let hash = hash(key);
        let Some(table) = self.table_mut(hash) else { return };
        match table.entry(hash, |item| item.key() == key, rehash) {
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
