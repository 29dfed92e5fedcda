//! What was written and has not come back by the watch yet.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long after a write it is made again if it has not come back.
const AGAIN: Duration = Duration::from_secs(5);

/// By what was written: until when it is waited for.
pub(super) struct Sent<K>(BTreeMap<K, Instant>);

impl<K> Default for Sent<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Sent<K> {
    /// Forgets what was waited for long enough.
    pub(super) fn forget(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, until| now < *until);
    }

    /// Whether it may be written now: then it is waited for from here on.
    pub(super) fn claim(&mut self, key: K) -> bool {
        if self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, Instant::now() + AGAIN);
        true
    }

    /// When to look again.
    pub(super) fn again(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}
