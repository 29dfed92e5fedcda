//! The buckets of rate limits, kept as long as anything counts in them: a change of the configuration resets no limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use config::Key;
use config::quota::view::{ProxyLimit, ProxyView};
use config::quota::{QuotaState, Tables, limit_name};
use parking_lot::Mutex;
use policies::lease::Terms;
use policies::rate_limit::{Counters, Leased, nanos};
use rustc_hash::FxHashMap;
use tokio::sync::watch;

/// A policy, and the name of a limit of it.
type Limit = (Key, Box<str>);

/// See the module.
#[derive(Debug)]
pub(crate) struct LimitStore {
    counters: Mutex<FxHashMap<Limit, Weak<Counters>>>,
    /// By the names that quota servers know.
    leased: Mutex<BTreeMap<Arc<str>, Weak<Leased>>>,
    /// Counts limits that are new.
    changed: watch::Sender<u64>,
}

impl Default for LimitStore {
    fn default() -> Self {
        let changed = watch::Sender::new(0);
        Self { counters: Mutex::default(), leased: Mutex::default(), changed }
    }
}

impl LimitStore {
    /// The buckets of a limit, with room for this many keys; a limit that needs another table starts anew. Called by the
    /// compiler only.
    pub(crate) fn counters(&self, policy: &Key, limit: &str, keys: usize) -> Arc<Counters> {
        let mut all = self.counters.lock();
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

    /// The buckets of a limit that all proxies hold together. One that tells clients apart where it did not, or the other way
    /// round, starts anew. Called by the compiler only.
    pub(crate) fn leased(&self, policy: &Key, limit: &str, is_keyed: bool, terms: Terms) -> Arc<Leased> {
        let now = now();
        let mut all = self.leased.lock();
        let at = limit_name(policy, limit);
        if let Some(leased) = all.get(&at).and_then(Weak::upgrade)
            && leased.is_keyed() == is_keyed
        {
            leased.keep_to(now, terms);
            return leased;
        }
        all.retain(|_, leased| leased.strong_count() > 0);
        let leased = Arc::new(Leased::new(now, is_keyed, terms));
        all.insert(at, Arc::downgrade(&leased));
        drop(all);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        leased
    }

    /// The limits that are held together with other proxies.
    pub(crate) fn all_leased(&self) -> Vec<(Arc<str>, Arc<Leased>)> {
        let all = self.leased.lock();
        all.iter().filter_map(|(name, leased)| Some((Arc::clone(name), leased.upgrade()?))).collect()
    }

    /// Their tables.
    pub(crate) fn tables(&self) -> Tables {
        let all = self.all_leased().into_iter();
        all.map(|(name, leased)| (name, Arc::clone(leased.table()))).collect()
    }

    /// Changes when there is another.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// As tables count time.
fn now() -> u64 {
    nanos(policies::monotonic())
}

/// What there is to tell of limits that are held together with other proxies.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) store: Arc<LimitStore>,
    pub(crate) state: watch::Receiver<QuotaState>,
}

impl Shown {
    /// Costs a look at each key.
    pub(crate) fn view(&self, role: &str) -> ProxyView {
        let mut view = ProxyView::of(role, &self.state.borrow());
        let all = self.store.all_leased().into_iter();
        let limits = all.map(|(name, leased)| {
            let (admitted, denied) = (leased.admitted(), leased.denied());
            (name.to_string(), ProxyLimit::of(now(), leased.table(), admitted, denied))
        });
        view.limits = limits.collect();
        view
    }
}

#[cfg(test)]
impl Shown {
    /// With a limit of which one key was used.
    pub(crate) fn found() -> Self {
        let second = std::time::Duration::from_secs(1);
        let terms = Terms {
            limit: policies::lease::Limit::token_bucket(100, second, 100),
            proxies: 4,
            reuse: 0,
            expired: policies::lease::Expired::LocalShare,
            is_lost: false,
        };
        let store = Arc::new(LimitStore::default());
        let policy = Key::new(config::Kind::BackendTrafficPolicy, "shop", "edge");
        let leased = store.leased(&policy, "per-user", true, terms);
        leased.table().take(now(), b"alice", 1);
        // As long as the process runs.
        std::mem::forget(leased);
        let client = config::quota::ClientCounts {
            sent: 9,
            assigned: 3,
            late: 1,
            ..config::quota::ClientCounts::default()
        };
        let state = QuotaState {
            has_server: true,
            is_connected: true,
            streams: 2,
            received: 7,
            client,
            ..QuotaState::default()
        };
        Self { store, state: watch::channel(state).1 }
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
        assert_eq!(store.counters.lock().len(), 1, "what nobody has is forgotten");
    }

    #[test]
    fn shares_outlive_what_is_said_of_a_limit_and_end_with_it() {
        let terms = |requests| Terms {
            limit: policies::lease::Limit::token_bucket(requests, std::time::Duration::from_secs(1), 1),
            proxies: 1,
            reuse: 0,
            expired: policies::lease::Expired::Closed,
            is_lost: false,
        };
        let store = LimitStore::default();
        let mut changed = store.changed();
        let policy = Key::new(Kind::BackendTrafficPolicy, "shop", "a");
        let leased = store.leased(&policy, "limit", false, terms(10));
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        // What the quota server has told stays when the policy says something else.
        leased.table().update(0, Terms { proxies: 8, ..terms(10) });
        let again = store.leased(&policy, "limit", false, terms(20));
        assert!(Arc::ptr_eq(&leased, &again) && !changed.has_changed().unwrap());
        assert_eq!(leased.table().terms(), Terms { proxies: 8, ..terms(20) });
        assert_eq!(
            store.tables().keys().map(|name| &**name).collect::<Vec<_>>(),
            ["BackendTrafficPolicy/shop/a/limit"]
        );
        assert!(!Arc::ptr_eq(&leased, &store.leased(&policy, "limit", true, terms(20))));
        drop((leased, again));
        assert!(store.tables().is_empty());
    }
}
