//! What was found out for a digest, kept for a while in a fixed number of places.
//!
//! A look costs one load and no lock. A digest has one place; who comes later takes it, so a full table forgets, and
//! never grows.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;

use crate::digest::Digest;

/// Values by digest.
pub(crate) struct Memo<V> {
    places: Box<[ArcSwapOption<Entry<V>>]>,
}

struct Entry<V> {
    digest: Digest,
    until: Instant,
    value: V,
}

impl<V> fmt::Debug for Memo<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memo").field(&self.places.len()).finish()
    }
}

impl<V> Memo<V> {
    /// A table of so many places, and at least one.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: (0..places.max(1)).map(|_| ArcSwapOption::empty()).collect() }
    }

    fn place(&self, digest: &Digest) -> Option<&ArcSwapOption<Entry<V>>> {
        let (first, _) = digest.split_first_chunk()?;
        // Digests are as good as random, so any of their bytes spread them.
        self.places.get(usize::from_le_bytes(*first) % self.places.len())
    }

    /// What was found out for a digest, if that still holds at `now`.
    pub(crate) fn get(&self, digest: &Digest, now: Instant) -> Option<V>
    where
        V: Clone,
    {
        let entry = self.place(digest)?.load();
        let entry = entry.as_ref()?;
        (entry.digest == *digest && now < entry.until).then(|| entry.value.clone())
    }

    /// Keeps `value` until then.
    pub(crate) fn put(&self, digest: Digest, until: Instant, value: V) {
        if let Some(place) = self.place(&digest) {
            place.store(Some(Arc::new(Entry { digest, until, value })));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::keyed;

    #[test]
    fn what_is_kept_is_found_until_its_time_is_over() {
        let memo = Memo::new(8);
        let (now, digest) = (Instant::now(), keyed(&[b"a"]));
        assert!(memo.get(&digest, now).is_none());
        memo.put(digest, now + Duration::from_secs(1), 7);
        assert_eq!(memo.get(&digest, now), Some(7));
        assert!(memo.get(&digest, now + Duration::from_secs(1)).is_none());
        assert!(memo.get(&keyed(&[b"b"]), now).is_none());
    }

    #[test]
    fn a_table_has_as_many_places_as_it_is_given_and_at_least_one() {
        for (given, has) in [(0, 1), (1, 1), (2, 2)] {
            let memo = Memo::new(given);
            assert_eq!(memo.places.len(), has);
            memo.put(keyed(&[b"a"]), Instant::now() + Duration::from_secs(60), 7);
            assert_eq!(memo.get(&keyed(&[b"a"]), Instant::now()), Some(7));
        }
    }

    #[test]
    fn a_full_table_forgets_and_mistakes_nothing_for_another() {
        let memo = Memo::new(16);
        let now = Instant::now();
        let digest = |n: u32| keyed(&[&n.to_le_bytes()]);
        (0..1_000).for_each(|n| memo.put(digest(n), now + Duration::from_secs(1), n));
        let found: Vec<u32> = (0..1_000).filter(|n| memo.get(&digest(*n), now) == Some(*n)).collect();
        assert_eq!(found.len(), 16);
        assert!((0..1_000).all(|n| memo.get(&digest(n), now).is_none_or(|found| found == n)));
    }
}
