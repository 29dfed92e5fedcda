//! When which status is looked at, and how often one is written.
//!
//! The spacing is what bounds the writes of a Gateway whose routes come one by one: the first change is written at
//! once, and everything within the spacing after it in one more write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::state::Observed;
use crate::{ObjectKey, ObjectKind};

/// Shortest time between two writes of one object.
pub(super) const SPACING: Duration = Duration::from_millis(100);
/// The same for Gateways and ListenerSets, whose counts change with every route: a few writes at this pace, then at the slower one, as
/// long as it goes on.
const GATEWAY_SPACING: Duration = Duration::from_millis(250);
const GATEWAY_SLOWER: Duration = Duration::from_millis(750);
/// After so many writes in a row the pace is the slower one.
const ROW: u32 = 8;
/// A row ends when nothing was written for this long.
const ROW_ENDS: Duration = Duration::from_secs(2);
/// How long a write's own echo is waited for before the object is compared again.
const ECHO: Duration = Duration::from_secs(2);

/// What is known of writes.
#[derive(Default)]
pub(super) struct Queue {
    /// When to compare next, by object.
    pub(super) due: BTreeMap<ObjectKey, Instant>,
    /// Being written.
    pub(super) busy: BTreeSet<ObjectKey>,
    /// The last write of an object.
    written: BTreeMap<ObjectKey, Written>,
    /// Digests of the last write of an object and of what the API server made of it: that the two differ must not be
    /// written for ever.
    settled: BTreeMap<ObjectKey, (u64, u64)>,
}

/// A write.
struct Written {
    at: Instant,
    /// What the object became by it.
    version: u64,
    /// Which one it is in a row.
    row: u32,
}

impl Queue {
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = ObjectKey>, now: Instant) {
        for key in keys.into_iter().filter(|key| key.kind != ObjectKind::Service) {
            self.due.entry(key).or_insert(now);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// How long an object has to wait: for its turn, or for its own echo, without which it would be compared with what
    /// it was before.
    pub(super) fn wait(&self, key: &ObjectKey, observed: &Observed, now: Instant) -> Option<Instant> {
        let Written { at, version, row } = *self.written.get(key)?;
        let has_echoed = observed.resource_version.parse::<u64>().is_ok_and(|seen| seen >= version);
        if !has_echoed && now < at + ECHO {
            return Some(now + Duration::from_millis(10));
        }
        let counts_routes = matches!(key.kind, ObjectKind::Gateway | ObjectKind::ListenerSet);
        let spacing = match (counts_routes, row >= ROW) {
            (true, true) => GATEWAY_SLOWER,
            (true, false) => GATEWAY_SPACING,
            (false, _) => SPACING,
        };
        (now < at + spacing).then(|| at + spacing)
    }

    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.due.remove(key);
        self.written.remove(key);
        self.settled.remove(key);
    }

    /// Whether this was written already, and this is what became of it.
    pub(super) fn is_settled(&self, key: &ObjectKey, meant: &Value, made: &Value) -> bool {
        self.settled.get(key) == Some(&(digest(meant), digest(made)))
    }

    /// A write was accepted, and the object is this now.
    pub(super) fn wrote(&mut self, key: ObjectKey, body: &Value, object: &DynamicObject, now: Instant) {
        let version = object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
        let last = self.written.get(&key).filter(|last| now < last.at + ROW_ENDS);
        let row = last.map_or(0, |last| last.row + 1);
        self.written.insert(key.clone(), Written { at: now, version: version.unwrap_or_default(), row });
        let made = object.data.get("status").cloned().unwrap_or_default();
        self.settled.insert(key.clone(), (digest(body), digest(&made)));
        // What changed meanwhile.
        self.due.entry(key).or_insert(now);
    }
}

fn digest(value: &Value) -> u64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault};
    BuildHasherDefault::<rustc_hash::FxHasher>::default().hash_one(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_of_changes_is_written_less_and_less_often() {
        let key = ObjectKey::new(ObjectKind::Gateway, "n", "g");
        let (mut queue, mut writes, began) = (Queue::default(), 0, Instant::now());
        let observed = |version: u64| Observed {
            uid: "u".into(),
            resource_version: version.to_string().into(),
            status: None,
        };
        // A change every 10 ms for 10 s.
        for tick in 0..1_000_u64 {
            let now = began + Duration::from_millis(10 * tick);
            queue.add([key.clone()], now);
            if queue.due.get(&key).is_none_or(|due| *due > now) {
                continue;
            }
            if let Some(wait) = queue.wait(&key, &observed(writes), now) {
                queue.due.insert(key.clone(), wait);
                continue;
            }
            queue.due.remove(&key);
            writes += 1;
            let mut object: DynamicObject =
                serde_json::from_value(serde_json::json!({ "metadata": {} })).unwrap();
            object.metadata.resource_version = Some(writes.to_string());
            queue.wrote(key.clone(), &Value::Null, &object, now);
        }
        assert!((10..=30).contains(&writes), "{writes} writes");
    }

    #[test]
    fn an_object_is_not_compared_with_what_it_was_before_its_own_write() {
        let key = ObjectKey::new(ObjectKind::HttpRoute, "n", "r");
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut object: DynamicObject =
            serde_json::from_value(serde_json::json!({ "metadata": {} })).unwrap();
        object.metadata.resource_version = Some("7".into());
        queue.wrote(key.clone(), &Value::Null, &object, now);
        let observed =
            |version: &str| Observed { uid: "u".into(), resource_version: version.into(), status: None };
        let later = now + SPACING * 2;
        assert!(queue.wait(&key, &observed("6"), later).is_some());
        assert!(queue.wait(&key, &observed("7"), later).is_none());
        assert!(
            queue.wait(&key, &observed("6"), now + ECHO).is_none(),
            "an echo that never comes is not waited for"
        );
    }
}
