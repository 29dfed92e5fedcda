//! Objects by name that outlive their holders by a grace, so that what they counted last is still scraped and a name
//! that comes back counts on.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// How long an object stays after its last holder and its last change: five scrapes at the usual minute.
const GRACE: Duration = Duration::from_secs(300);

/// Says whether anything happened to an object.
pub(crate) trait Activity: Default {
    /// Changes whenever something is counted.
    fn activity(&self) -> u64;
}

/// Objects by name.
#[derive(Debug)]
pub(crate) struct Retained<K, V>(RwLock<FxHashMap<K, Entry<V>>>);

#[derive(Debug)]
struct Entry<V> {
    object: Arc<V>,
    /// Since when nobody holds it, and its activity then.
    idle: Option<(Instant, u64)>,
}

impl<K, V> Default for Retained<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Clone + Eq + Hash, V: Activity> Retained<K, V> {
    /// The object of a name; a new one if there is none.
    pub(crate) fn get<Q>(&self, name: &Q) -> Arc<V>
    where
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
        K: Borrow<Q>,
    {
        if let Some(entry) = self.0.read().get(name) {
            return entry.object.clone();
        }
        let mut entries = self.0.write();
        let entry =
            entries.entry(name.to_owned()).or_insert_with(|| Entry { object: Arc::default(), idle: None });
        entry.object.clone()
    }

    /// The object of a name, if there is one.
    pub(crate) fn find<Q>(&self, name: &Q) -> Option<Arc<V>>
    where
        Q: ?Sized + Eq + Hash,
        K: Borrow<Q>,
    {
        self.0.read().get(name).map(|entry| entry.object.clone())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Drops objects that nobody held and nothing happened to for the grace. O(objects): once per scrape.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.0.write().retain(|_, entry| {
            let activity = entry.object.activity();
            match entry.idle {
                _ if Arc::strong_count(&entry.object) > 1 => entry.idle = None,
                Some((since, then)) if then == activity => return now.duration_since(since) < GRACE,
                _ => entry.idle = Some((now, activity)),
            }
            true
        });
    }

    /// All objects, by name in this order.
    pub(crate) fn all(&self, order: impl Fn(&K, &K) -> Ordering) -> Vec<(K, Arc<V>)> {
        let entries = self.0.read();
        let mut all: Vec<_> =
            entries.iter().map(|(name, entry)| (name.clone(), entry.object.clone())).collect();
        drop(entries);
        all.sort_unstable_by(|(a, _), (b, _)| order(a, b));
        all
    }
}
