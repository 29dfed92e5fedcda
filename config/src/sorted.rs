//! Sorted lists whose copies share what they have in common.
//!
//! A copy costs one counter, so everybody can keep the version they saw. Changing a copy makes anew one chunk of at
//! most 64 entries and the list of chunks, and leaves the other copies as they are. Two versions are compared chunk by
//! chunk; what they share is passed over without a look inside. So a change costs a fraction of a pass over the
//! entries: with 5,000 of them some hundred pointers.

mod changes;
mod map;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub use self::changes::Changes;
pub use self::map::{Map, Pairs};

/// Most entries of a chunk: the square root of a cluster's worth, because a change copies both a chunk and the list of
/// them.
const CHUNK: usize = 64;

/// An entry of a [`Sorted`] list. Cheap to clone: a pointer.
pub trait Entry: Clone {
    /// Its place among others. Two that are equal here do not stand in one list.
    fn order(&self, other: &Self) -> Ordering;

    /// Whether both are the same pointer.
    fn is_identical(&self, other: &Self) -> bool;
}

type Chunk<E> = Arc<Vec<E>>;

/// See the module.
pub struct Sorted<E> {
    /// None is empty.
    chunks: Arc<Vec<Chunk<E>>>,
    len: usize,
}

impl<E> Default for Sorted<E> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<E> Clone for Sorted<E> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<E: fmt::Debug> fmt::Debug for Sorted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<E> Sorted<E> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, E> {
        Iter { chunks: self.chunks.iter(), front: [].iter(), left: self.len }
    }

    /// The entry that `order` says is equal to what is looked for: it compares an entry with that.
    pub fn get(&self, order: impl Fn(&E) -> Ordering) -> Option<&E> {
        let chunk = self.chunks.get(self.chunk(&order))?;
        chunk.get(chunk.binary_search_by(order).ok()?)
    }

    /// Those not before what is looked for, in order.
    pub fn iter_from(&self, order: impl Fn(&E) -> Ordering) -> Iter<'_, E> {
        let at = self.chunk(&order);
        let mut chunks = self.chunks.get(at..).unwrap_or_default().iter();
        let first = chunks.next().map(|chunk| chunk.as_slice()).unwrap_or_default();
        let front = first.get(first.partition_point(|e| order(e).is_lt())..).unwrap_or_default();
        let left = front.len() + chunks.clone().map(|chunk| chunk.len()).sum::<usize>();
        Iter { chunks, front: front.iter(), left }
    }

    /// The one chunk where it is, or should be; their number when it comes after all.
    fn chunk(&self, order: impl Fn(&E) -> Ordering) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| order(last).is_lt()))
    }

    /// Whether both are the same version: one pointer is compared.
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || (self.is_empty() && other.is_empty())
    }
}

impl<E: Entry> Sorted<E> {
    /// Sorts. Of several equal ones the last is kept.
    #[must_use]
    pub fn collect(mut entries: Vec<E>) -> Self {
        // The sort is stable, so the last of equals is the last of its run, and by turning round the first.
        entries.reverse();
        entries.sort_by(E::order);
        entries.dedup_by(|b, a| a.order(b).is_eq());
        let chunks = entries.chunks(CHUNK * 3 / 4).map(|chunk| Arc::new(chunk.to_vec()));
        Self { chunks: Arc::new(chunks.collect()), len: entries.len() }
    }

    /// Adds an entry; returns the equal one that it replaces.
    pub fn insert(&mut self, entry: E) -> Option<E> {
        let at = self.chunk(|other| other.order(&entry)).min(self.chunks.len().saturating_sub(1));
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(at).map(Arc::make_mut) else {
            chunks.push(Arc::new(vec![entry]));
            self.len = 1;
            return None;
        };
        match chunk.binary_search_by(|other| other.order(&entry)) {
            Ok(place) => chunk.get_mut(place).map(|old| std::mem::replace(old, entry)),
            Err(place) => {
                chunk.insert(place, entry);
                self.len += 1;
                if chunk.len() > CHUNK {
                    let rest = chunk.split_off(CHUNK / 2);
                    chunks.insert(at + 1, Arc::new(rest));
                }
                None
            }
        }
    }

    /// Takes out the entry that `order` says is equal to what is looked for.
    pub fn remove(&mut self, order: impl Fn(&E) -> Ordering) -> Option<E> {
        // Nothing is copied when it is not there.
        self.get(&order)?;
        let at = self.chunk(&order);
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(at)?);
        let removed = chunk.remove(chunk.binary_search_by(order).ok()?);
        self.len -= 1;
        if chunk.len() < CHUNK / 4 {
            join(chunks, at);
        }
        Some(removed)
    }

    /// Changes an entry without changing its place.
    pub fn get_mut(&mut self, order: impl Fn(&E) -> Ordering) -> Option<&mut E> {
        self.get(&order)?;
        let at = self.chunk(&order);
        let chunk = Arc::make_mut(Arc::make_mut(&mut self.chunks).get_mut(at)?);
        let place = chunk.binary_search_by(order).ok()?;
        chunk.get_mut(place)
    }

    /// What is not the same in a newer version, in order: the entry of this version, and the one of the other. Costs
    /// what they do not share.
    #[must_use]
    pub fn changes<'a>(&'a self, newer: &'a Self) -> Changes<'a, E> {
        Changes::new(&self.chunks, &newer.chunks)
    }
}

/// Puts a small chunk together with a neighbour that has room.
fn join<E: Clone>(chunks: &mut Vec<Chunk<E>>, at: usize) {
    let len = |at: usize| chunks.get(at).map_or(CHUNK, |chunk| chunk.len());
    let small = len(at);
    let first = if small == 0 {
        chunks.remove(at);
        return;
    } else if at > 0 && len(at - 1) + small <= CHUNK / 2 {
        at - 1
    } else if len(at + 1) + small <= CHUNK / 2 {
        at
    } else {
        return;
    };
    let second = chunks.remove(first + 1);
    if let Some(first) = chunks.get_mut(first) {
        Arc::make_mut(first).extend(second.iter().cloned());
    }
}

/// Entries in order.
#[derive(Debug)]
pub struct Iter<'a, E> {
    chunks: std::slice::Iter<'a, Chunk<E>>,
    front: std::slice::Iter<'a, E>,
    left: usize,
}

impl<E> Clone for Iter<'_, E> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), front: self.front.clone(), left: self.left }
    }
}

impl<'a, E> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(entry) = self.front.next() {
                self.left -= 1;
                return Some(entry);
            }
            self.front = self.chunks.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<E> ExactSizeIterator for Iter<'_, E> {}

impl<'a, E> IntoIterator for &'a Sorted<E> {
    type Item = &'a E;
    type IntoIter = Iter<'a, E>;

    fn into_iter(self) -> Iter<'a, E> {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
