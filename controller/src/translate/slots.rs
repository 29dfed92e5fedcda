//! Values with a name and a number: the number stays as long as the value is there, whatever comes and goes beside it.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots<K, V> {
    by_name: FxHashMap<K, usize>,
    list: Vec<Option<(K, V)>>,
    free: Vec<usize>,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self { by_name: FxHashMap::default(), list: Vec::new(), free: Vec::new() }
    }
}

impl<K: Hash + Eq + Clone, V> Slots<K, V> {
    /// The number of a name.
    pub(crate) fn find(&self, name: &K) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&V> {
        self.list.get(slot)?.as_ref().map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut V> {
        self.list.get_mut(slot)?.as_mut().map(|(_, value)| value)
    }

    pub(crate) fn name(&self, slot: usize) -> Option<&K> {
        self.list.get(slot)?.as_ref().map(|(name, _)| name)
    }

    /// Gives a name a value; one that has a number keeps it.
    pub(crate) fn insert(&mut self, name: K, value: V) -> usize {
        let slot = self.find(&name).or_else(|| self.free.pop()).unwrap_or(self.list.len());
        self.by_name.insert(name.clone(), slot);
        let entry = Some((name, value));
        match self.list.get_mut(slot) {
            Some(place) => *place = entry,
            None => self.list.push(entry),
        }
        slot
    }

    /// The number is free for another name.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<V> {
        let (name, value) = self.list.get_mut(slot)?.take()?;
        self.by_name.remove(&name);
        self.free.push(slot);
        Some(value)
    }

    /// In no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &K, &V)> {
        let list = self.list.iter().enumerate();
        list.filter_map(|(slot, entry)| entry.as_ref().map(|(name, value)| (slot, name, value)))
    }
}
