//! What changed lately for one place: a proxy that is behind is told what it missed, each key once.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::watch;

use crate::Key;

/// Changes kept for proxies that do not answer, besides as many as there are resources: one change of everything is told
/// as a change. A proxy that is further behind gets a new stream, which begins with what it has.
pub(super) const KEPT: usize = 1024;

/// Changed keys in the order of their last change.
#[derive(Debug)]
pub(super) struct Log {
    end: u64,
    /// Before this, changes are forgotten.
    start: u64,
    by_position: BTreeMap<u64, Key>,
    by_key: HashMap<Key, u64>,
    wake: watch::Sender<()>,
}

impl Log {
    pub(super) fn new() -> Self {
        let (by_position, by_key) = (BTreeMap::new(), HashMap::new());
        Self { end: 0, start: 0, by_position, by_key, wake: watch::Sender::new(()) }
    }

    /// The position after the last change.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn push(&mut self, key: Key) {
        self.end += 1;
        if let Some(before) = self.by_key.insert(key.clone(), self.end) {
            self.by_position.remove(&before);
        }
        self.by_position.insert(self.end, key);
    }

    /// The keys that changed after a position, or `None` when that is forgotten.
    pub(super) fn since(&self, position: u64) -> Option<impl Iterator<Item = &Key>> {
        (position >= self.start).then(|| self.by_position.range(position + 1..).map(|(_, key)| key))
    }

    /// Forgets what every proxy has (`passed`; all, when there is none), and what is more than `KEPT` beside the
    /// number of resources.
    pub(super) fn forget(&mut self, passed: Option<u64>, resources: usize) {
        let most = KEPT + resources;
        let passed = passed.unwrap_or(self.end);
        while let Some(first) = self.by_position.first_entry()
            && (*first.key() <= passed || self.by_key.len() > most)
        {
            self.start = self.start.max(*first.key());
            let key = first.remove();
            self.by_key.remove(&key);
        }
        self.start = self.start.max(passed);
    }

    /// Wakes the streams of the place.
    pub(super) fn wake(&self) {
        self.wake.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.wake.subscribe()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.wake.receiver_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn key(name: &str) -> Key {
        Key::new(Kind::Backend, "n", name)
    }

    #[test]
    fn a_key_is_told_once_at_its_last_change() {
        let mut log = Log::new();
        for name in ["a", "b", "a"] {
            log.push(key(name));
        }
        let names = |position| log.since(position).unwrap().map(|key| key.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(0), ["b", "a"]);
        assert_eq!(names(2), ["a"]);
        assert_eq!(names(3), [""; 0]);
    }

    #[test]
    fn what_all_have_is_forgotten_and_who_is_behind_is_told_so() {
        let mut log = Log::new();
        (0..10).for_each(|n| log.push(key(&n.to_string())));
        log.forget(Some(4), 0);
        assert!(log.since(3).is_none());
        assert_eq!(log.since(4).unwrap().count(), 6);
        log.forget(None, 0);
        assert_eq!(log.since(10).unwrap().count(), 0);
        assert!(log.since(9).is_none());
    }

    #[test]
    fn a_proxy_that_never_answers_costs_a_bounded_log() {
        let mut log = Log::new();
        for n in 0..3 * KEPT {
            log.push(key(&n.to_string()));
            log.forget(Some(0), 10);
        }
        assert_eq!(log.by_key.len(), KEPT + 10);
        assert_eq!(log.by_position.len(), KEPT + 10);
        assert!(log.since(0).is_none());
    }
}
