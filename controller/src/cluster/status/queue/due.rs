//! What is to be looked at, and when. Routes are many and come last, so that they starve nothing else.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::{ObjectKey, ObjectKind};

/// See the module.
#[derive(Default)]
pub(in crate::cluster::status) struct Due {
    by_key: BTreeMap<ObjectKey, Instant>,
    first: BTreeSet<(Instant, ObjectKey)>,
    routes: BTreeSet<(Instant, ObjectKey)>,
}

impl Due {
    /// Now, or when it is due anyway.
    pub(in crate::cluster::status) fn add(&mut self, key: ObjectKey, now: Instant) {
        if self.by_key.get(&key).is_none_or(|at| *at > now) {
            self.set(key, now);
        }
    }

    /// Then, and not before.
    pub(in crate::cluster::status) fn set(&mut self, key: ObjectKey, at: Instant) {
        self.remove(&key);
        self.by_key.insert(key.clone(), at);
        self.of_kind(key.kind).insert((at, key));
    }

    pub(in crate::cluster::status) fn remove(&mut self, key: &ObjectKey) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.of_kind(key.kind).remove(&(at, key));
        }
    }

    /// When the next is due; without routes, if there is no room for them.
    pub(in crate::cluster::status) fn next(&self, without_routes: bool) -> Option<Instant> {
        let routes = self.routes.first().filter(|_| !without_routes);
        self.first.first().into_iter().chain(routes).map(|(at, _)| *at).min()
    }

    /// Takes out one that is due.
    pub(in crate::cluster::status) fn pop(
        &mut self,
        now: Instant,
        without_routes: bool,
    ) -> Option<ObjectKey> {
        let is_due = |list: &BTreeSet<(Instant, ObjectKey)>| list.first().is_some_and(|(at, _)| *at <= now);
        let list = if is_due(&self.first) {
            &mut self.first
        } else if !without_routes && is_due(&self.routes) {
            &mut self.routes
        } else {
            return None;
        };
        let (_, key) = list.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(in crate::cluster::status) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn of_kind(&mut self, kind: ObjectKind) -> &mut BTreeSet<(Instant, ObjectKey)> {
        if kind.route().is_some() { &mut self.routes } else { &mut self.first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_passes_any_number_of_routes() {
        let (mut due, now) = (Due::default(), Instant::now());
        let key = |kind, name: &str| ObjectKey::new(kind, "n", name);
        (0..100).for_each(|n| due.add(key(ObjectKind::HttpRoute, &n.to_string()), now));
        due.add(key(ObjectKind::Gateway, "g"), now);
        assert_eq!(due.pop(now, true), Some(key(ObjectKind::Gateway, "g")));
        assert_eq!(due.pop(now, true), None);
        assert_eq!((due.next(true), due.next(false)), (None, Some(now)));
        assert!(due.pop(now, false).is_some());
        assert_eq!(due.len(), 99);
    }
}
