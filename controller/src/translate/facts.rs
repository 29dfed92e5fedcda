//! What was looked at to judge a route, so that it is judged again when that changes and never else.
//!
//! Whoever answers a question of a route notes a [`Fact`] ([`Cluster::note`]); whoever finds that an answer changed
//! tells [`News`]. Nothing else decides what is translated again.
//!
//! [`Cluster::note`]: super::backend_ref::Cluster::note

use rustc_hash::FxHashSet;

use super::slots::Slots;
use crate::ObjectKey;
use crate::resources::ObjectKind;

/// Something a route was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// Whether a Gateway is ours, whether a ListenerSet may attach, what a waypoint makes of a Service, the labels of a
    /// Namespace.
    Object(ObjectKey),
    /// All listeners of a Gateway or ListenerSet.
    Listeners(ObjectKey),
    /// Those of one name.
    Listener(ObjectKey, Box<str>),
    /// Who may refer to objects of a namespace.
    Grants(Box<str>),
    /// Which policies are about an object, or a part of it.
    Attached(ObjectKey),
    /// The Rollouts that move rules of a route.
    Rollouts(ObjectKey),
    /// Whether a backend can be used: its number.
    Backend(usize),
}

impl Fact {
    pub(crate) fn object(kind: ObjectKind, namespace: &str, name: &str) -> Self {
        Self::Object(ObjectKey::new(kind, namespace, name))
    }

    pub(crate) fn attached(kind: ObjectKind, namespace: &str, name: &str) -> Self {
        Self::Attached(ObjectKey::new(kind, namespace, name))
    }
}

/// Facts that changed.
#[derive(Debug, Default)]
pub(crate) struct News(FxHashSet<Fact>);

impl News {
    pub(crate) fn tell(&mut self, fact: Fact) {
        self.0.insert(fact);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }
}

/// A route: its kind, and its number among those of the kind.
pub(crate) type Reader = (ObjectKind, usize);

/// Which route was told what.
#[derive(Debug, Default)]
pub(crate) struct Readers(Slots<Fact, FxHashSet<Reader>>);

impl Readers {
    /// Returns what [`forget`](Self::forget) needs.
    pub(crate) fn remember(&mut self, reader: Reader, facts: Vec<Fact>) -> Box<[usize]> {
        let slots = facts.into_iter().map(|fact| {
            let slot = self.0.find(&fact).unwrap_or_else(|| self.0.insert(fact, FxHashSet::default()));
            self.0.get_mut(slot).map(|readers| readers.insert(reader));
            slot
        });
        let mut slots: Vec<usize> = slots.collect();
        slots.sort_unstable();
        slots.dedup();
        slots.into()
    }

    pub(crate) fn forget(&mut self, reader: Reader, slots: &[usize]) {
        for &slot in slots {
            let Some(readers) = self.0.get_mut(slot) else { continue };
            readers.remove(&reader);
            if readers.is_empty() {
                self.0.remove(slot);
            }
        }
    }

    /// Who was told a fact.
    pub(crate) fn of(&self, fact: &Fact) -> impl Iterator<Item = Reader> {
        let readers = self.0.find(fact).and_then(|slot| self.0.get(slot));
        readers.into_iter().flatten().copied()
    }
}
