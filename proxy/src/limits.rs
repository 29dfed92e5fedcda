//! The buckets of rate limits, kept as long as anything counts in them: a change of the configuration resets no limit.

use std::sync::{Arc, Weak};

use config::Key;
use parking_lot::Mutex;
use policies::rate_limit::Counters;
use rustc_hash::FxHashMap;

/// A policy, and the name of a limit of it.
type Limit = (Key, Box<str>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LimitStore(Mutex<FxHashMap<Limit, Weak<Counters>>>);

impl LimitStore {
    /// The buckets of a limit, with room for this many keys; a limit that needs another table starts anew. Called by the
    /// compiler only.
    pub(crate) fn counters(&self, policy: &Key, limit: &str, keys: usize) -> Arc<Counters> {
        let mut all = self.0.lock();
        let at: Limit = (policy.clone(), limit.into());
        if let Some(counters) = all.get(&at).and_then(Weak::upgrade)
            && counters.capacity() >= keys
        {
            return counters;
        }
        all.retain(|_, counters| counters.strong_count() > 0);
        let counters = Arc::new(Counters::new(keys));
        all.insert(at, Arc::downgrade(&counters));
        counters
    }
}

#[cfg(test)]
mod tests {
    use config::Kind;

    use super::*;

    #[test]
    fn buckets_are_the_same_as_long_as_somebody_has_them() {
        let store = LimitStore::default();
        let [a, b] = ["a", "b"].map(|name| Key::new(Kind::BackendTrafficPolicy, "shop", name));
        let counters = store.counters(&a, "limit", 100);
        assert!(Arc::ptr_eq(&counters, &store.counters(&a, "limit", 100)));
        assert!(!Arc::ptr_eq(&counters, &store.counters(&b, "limit", 100)));
        assert!(!Arc::ptr_eq(&counters, &store.counters(&a, "other", 100)));
        let larger = store.counters(&a, "limit", 1 << 16);
        assert!(larger.capacity() >= 1 << 16);
        drop((counters, larger));
        let _held = store.counters(&b, "limit", 100);
        assert_eq!(store.0.lock().len(), 1, "what nobody has is forgotten");
    }
}
