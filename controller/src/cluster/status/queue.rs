//! When which status is looked at, and how often one is written.
//!
//! A Gateway counts its routes, so every route that comes would be a write of it. The first is written at once; while
//! they keep coming less and less often, up to every ten seconds; and what is left as soon as they pause. A change that
//! is more than a count never waits for that.

mod due;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

pub(super) use self::due::Due;
use self::pace::Pace;
use crate::cluster::state::Observed;
use crate::{ObjectKey, ObjectKind};

/// Shortest time between two writes of one object.
pub(super) const SPACING: Duration = Duration::from_millis(100);
/// How long a write's own echo is waited for before the object is compared again.
const ECHO: Duration = Duration::from_secs(2);

/// What is known of writes.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) due: Due,
    /// Being written.
    pub(super) busy: BTreeSet<ObjectKey>,
    /// The last write of an object: when, and what the object became by it.
    written: BTreeMap<ObjectKey, (Instant, u64)>,
    /// Of objects that count routes.
    paces: BTreeMap<ObjectKey, Pace>,
    /// Digests of the last write of an object and of what the API server made of it: that the two differ must not be
    /// written for ever.
    settled: BTreeMap<ObjectKey, (u64, u64)>,
}

impl Queue {
    /// Something else is to be said of these.
    pub(super) fn change(&mut self, keys: impl IntoIterator<Item = ObjectKey>, now: Instant) {
        for key in keys {
            if counts_routes(&key) {
                self.paces.entry(key.clone()).or_insert_with(|| Pace::new(now)).change(now);
            }
            self.look([key], now);
        }
    }

    /// These are to be compared.
    pub(super) fn look(&mut self, keys: impl IntoIterator<Item = ObjectKey>, now: Instant) {
        for key in keys {
            self.due.add(key, now);
        }
    }

    /// How long an object has to wait: for its turn, or for its own echo, without which it would be compared with what
    /// it was before.
    pub(super) fn wait(&self, key: &ObjectKey, observed: &Observed, now: Instant) -> Option<Instant> {
        let (at, version) = *self.written.get(key)?;
        let has_echoed = observed.resource_version.parse::<u64>().is_ok_and(|seen| seen >= version);
        if !has_echoed && now < at + ECHO {
            return Some(now + Duration::from_millis(10));
        }
        (now < at + SPACING).then(|| at + SPACING)
    }

    /// How long an object has to wait of which only counts are to be written.
    pub(super) fn hold(&self, key: &ObjectKey, now: Instant) -> Option<Instant> {
        let (at, _) = self.written.get(key)?;
        self.paces.get(key)?.hold(*at, now)
    }

    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.due.remove(key);
        self.written.remove(key);
        self.paces.remove(key);
        self.settled.remove(key);
    }

    /// Whether this was written already, and this is what became of it.
    pub(super) fn is_settled(&self, key: &ObjectKey, meant: &Value, made: &Value) -> bool {
        self.settled.get(key) == Some(&(digest(meant), digest(made)))
    }

    /// A write was accepted, and the object is this now.
    pub(super) fn wrote(&mut self, key: ObjectKey, body: &Value, object: &DynamicObject, now: Instant) {
        let version = object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
        self.written.insert(key.clone(), (now, version.unwrap_or_default()));
        if let Some(pace) = self.paces.get_mut(&key) {
            pace.wrote();
        }
        let made = object.data.get("status").cloned().unwrap_or_default();
        self.settled.insert(key.clone(), (digest(body), digest(&made)));
        // What changed meanwhile.
        self.due.add(key, now);
    }
}

fn counts_routes(key: &ObjectKey) -> bool {
    matches!(key.kind, ObjectKind::Gateway | ObjectKind::ListenerSet)
}

fn digest(value: &Value) -> u64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault};
    BuildHasherDefault::<rustc_hash::FxHasher>::default().hash_one(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: u64) -> DynamicObject {
        let mut object: DynamicObject =
            serde_json::from_value(serde_json::json!({ "metadata": {} })).unwrap();
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    /// Writes of a Gateway to which `routes` are attached in equal pauses within `all`: when each was, and which count it
    /// wrote. `pause` is given as a random function of the number to make them unequal.
    fn writes(routes: usize, pause: impl Fn(usize) -> Duration) -> (Vec<(Duration, usize)>, Duration) {
        let key = ObjectKey::new(ObjectKind::Gateway, "n", "g");
        let (mut queue, began, mut written) = (Queue::default(), Instant::now(), Vec::new());
        let (mut count, mut next, mut last) = (0, began, began);
        let mut now = began;
        // In steps of 5 ms, until ten seconds after the last.
        while now < last + Duration::from_secs(10) {
            while count < routes && now >= next {
                count += 1;
                (last, next) = (now, next + pause(count));
                queue.change([key.clone()], now);
            }
            while let Some(key) = queue.due.pop(now, false) {
                let version = written.len() as u64;
                let observed =
                    Observed { uid: "u".into(), resource_version: version.to_string().into(), status: None };
                if written.last().is_some_and(|(_, told)| *told == count) {
                    continue;
                }
                match queue.wait(&key, &observed, now).or_else(|| queue.hold(&key, now)) {
                    Some(at) => queue.due.set(key, at),
                    None => {
                        written.push((now - began, count));
                        queue.wrote(key, &Value::Null, &object(version + 1), now);
                    }
                }
            }
            now += Duration::from_millis(5);
        }
        (written, last - began)
    }

    fn judge(pause: impl Fn(usize) -> Duration) {
        let (writes, last) = writes(1_000, pause);
        let (first, end) = (writes.first().unwrap(), writes.last().unwrap());
        assert!(first.0 < Duration::from_millis(10), "the first is written at once: {first:?}");
        assert_eq!(end.1, 1_000, "the last value is written");
        assert!(end.0 < last + Duration::from_millis(800), "… as soon as they pause: {end:?} after {last:?}");
        assert!(writes.len() <= 50, "{} writes in {last:?}", writes.len());
    }

    #[test]
    fn a_thousand_routes_are_few_writes_of_their_gateway_whatever_their_pace() {
        judge(|_| Duration::from_millis(1));
        judge(|_| Duration::from_millis(10));
        judge(|_| Duration::from_millis(180));
        // Unequal, as on a busy machine: mostly 60 ms, now and then half a second.
        judge(|count| Duration::from_millis(if count % 17 == 0 { 500 } else { 60 }));
    }

    #[test]
    fn a_change_after_a_pause_is_written_at_once() {
        let pause = |count| Duration::from_secs(if count == 100 { 30 } else { 0 });
        let (writes, last) = writes(101, pause);
        let end = writes.last().unwrap();
        assert!(end.0 < last + Duration::from_millis(10), "{end:?} after {last:?}");
    }

    #[test]
    fn an_object_is_not_compared_with_what_it_was_before_its_own_write() {
        let key = ObjectKey::new(ObjectKind::HttpRoute, "n", "r");
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.wrote(key.clone(), &Value::Null, &object(7), now);
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
