//! A map as a sorted list of pairs; it reads like one of the standard library.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, Index, RangeBounds};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Entry, Iter, Sorted};

#[derive(Debug)]
pub(super) struct Pair<K, V>(Arc<(K, V)>);

impl<K, V> Clone for Pair<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Ord, V> Entry for Pair<K, V> {
    fn order(&self, other: &Self) -> Ordering {
        self.0.0.cmp(&other.0.0)
    }

    fn is_identical(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A map whose copies share what they have in common; see [`sorted`](super).
pub struct Map<K, V>(pub(super) Sorted<Pair<K, V>>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Sorted::default())
    }
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Map<K, V> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All in order of their keys.
    #[must_use]
    pub fn iter(&self) -> Pairs<'_, K, V> {
        Pairs(self.0.iter())
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether both are the same version: one pointer is compared.
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        self.0.is_identical(&other.0)
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(|pair| pair.0.0.cmp(key)).map(|pair| &pair.0.1)
    }

    /// Whether there is a key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Gives a key a value; returns that of before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V>
    where
        V: Clone,
    {
        self.0.insert(Pair(Arc::new((key, value)))).map(|old| old.0.1.clone())
    }

    /// Takes out a key; returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.0.remove(|pair| pair.0.0.cmp(key)).map(|old| old.0.1.clone())
    }

    /// The value of a key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V>
    where
        K: Clone,
        V: Clone,
    {
        let pair = self.0.get_mut(|pair| pair.0.0.cmp(key))?;
        Some(&mut Arc::make_mut(&mut pair.0).1)
    }

    /// Those of some keys, in order.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        let before = |bound: Bound<&K>, key: &K| match bound {
            Bound::Included(first) => key < first,
            Bound::Excluded(first) => key <= first,
            Bound::Unbounded => false,
        };
        let from = keys.start_bound();
        let order =
            |pair: &Pair<K, V>| if before(from, &pair.0.0) { Ordering::Less } else { Ordering::Greater };
        let pairs = Pairs(self.0.iter_from(order));
        pairs.take_while(move |(key, _)| match keys.end_bound() {
            Bound::Included(last) => *key <= last,
            Bound::Excluded(end) => *key < end,
            Bound::Unbounded => true,
        })
    }

    /// What is not the same in a newer version, by key in order: the value of this version, and that of the other.
    /// Costs what they do not share. A pair that was written again is given even if its value is equal.
    pub fn changes<'a>(
        &'a self,
        newer: &'a Self,
    ) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
        self.0.changes(&newer.0).filter_map(|(old, new)| {
            let key = &old.or(new)?.0.0;
            Some((key, old.map(|pair| &pair.0.1), new.map(|pair| &pair.0.1)))
        })
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.changes(other).all(|(_, old, new)| old == new)
    }
}

impl<K: Ord, V: Eq> Eq for Map<K, V> {}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(Sorted::collect(pairs.into_iter().map(|pair| Pair(Arc::new(pair))).collect()))
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Map<K, V> {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: Ord, V: Clone> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (key, value) in pairs {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> Index<&K> for Map<K, V> {
    type Output = V;

    /// Panics when there is no such key: for tests.
    #[allow(clippy::expect_used, reason = "what indexing is")]
    fn index(&self, key: &K) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

/// Pairs in order of their keys.
#[derive(Debug)]
pub struct Pairs<'a, K, V>(Iter<'a, Pair<K, V>>);

impl<'a, K, V> Iterator for Pairs<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|pair| (&pair.0.0, &pair.0.1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K, V> ExactSizeIterator for Pairs<'_, K, V> {}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Pairs<'a, K, V>;

    fn into_iter(self) -> Pairs<'a, K, V> {
        self.iter()
    }
}

impl<K: Clone, V: Clone> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        let pairs: Vec<_> = self.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        pairs.into_iter()
    }
}
