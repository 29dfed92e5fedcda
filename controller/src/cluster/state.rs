//! What the watches have seen: the one place that watches write to and everything else reads from.
//!
//! A write of a status is no change: it moves neither the stored object nor the next translation. Of a Rollout the weight is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use crate::{Object, ObjectKey, ObjectKind, Resources};

use super::watched::{Watchable, Watched};

/// What the API server says of an object beside its spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) uid: Box<str>,
    pub(crate) resource_version: Box<str>,
    /// JSON.
    pub(crate) status: Option<Box<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct State {
    inner: Mutex<Inner>,
    /// There is something to translate.
    pub(crate) changed: Notify,
    /// There is a status to compare.
    pub(crate) observed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    kinds: FxHashMap<ObjectKind, Store>,
    resources: Resources,
    observed: FxHashMap<ObjectKey, Observed>,
    touched: BTreeSet<ObjectKey>,
    /// Objects that could not be decoded, with why.
    broken: FxHashMap<ObjectKey, Arc<str>>,
    /// The newest revision of the cluster known to be included.
    revision: u64,
}

#[derive(Debug, Default)]
struct Store {
    objects: FxHashMap<ObjectKey, Object>,
    /// What an unfinished list has named so far.
    listed: Option<FxHashSet<ObjectKey>>,
    is_complete: bool,
    /// What changed since it was last taken.
    dirty: FxHashSet<ObjectKey>,
    /// A first list is complete and not taken yet.
    is_new: bool,
}

impl State {
    /// A list begins.
    pub(crate) fn begin(&self, kind: ObjectKind) {
        self.inner.lock().kinds.entry(kind).or_default().listed = Some(FxHashSet::default());
    }

    /// A list is complete: what it did not name is gone.
    pub(crate) fn complete(&self, kind: ObjectKind) {
        let mut inner = self.inner.lock();
        let store = inner.kinds.entry(kind).or_default();
        store.is_new |= !store.is_complete;
        store.is_complete = true;
        let listed = store.listed.take().unwrap_or_default();
        let gone: Vec<ObjectKey> =
            store.objects.keys().filter(|key| !listed.contains(key)).cloned().collect();
        gone.iter().for_each(|key| inner.forget(key));
        drop(inner);
        self.changed.notify_one();
        self.observed.notify_one();
    }

    /// There is no such kind in the cluster, or none of it may be read: none exists.
    pub(crate) fn absent(&self, kind: ObjectKind) {
        self.begin(kind);
        self.complete(kind);
    }

    /// An object is new or changed. Returns what is wrong with it, if it is new that it cannot be decoded.
    pub(crate) fn apply<T: Watchable>(&self, watched: Watched<T>) -> Option<(ObjectKey, Arc<str>)> {
        let namespace = watched.meta.namespace.unwrap_or_default();
        let key = ObjectKey::new(T::KIND, namespace, watched.meta.name.unwrap_or_default());
        let observed = Observed {
            uid: watched.meta.uid.unwrap_or_default().into(),
            resource_version: watched.meta.resource_version.unwrap_or_default().into(),
            status: watched.status,
        };
        let mut inner = self.inner.lock();
        inner.saw(&observed.resource_version);
        let store = inner.kinds.entry(T::KIND).or_default();
        if let Some(listed) = &mut store.listed {
            listed.insert(key.clone());
        }
        let mut problem = None;
        match watched.object.map(Into::into) {
            Ok(object) => {
                let is_same = store.objects.get(&key).is_some_and(|old| same(old, &object));
                if !is_same {
                    store.objects.insert(key.clone(), object);
                    store.dirty.insert(key.clone());
                }
                let is_complete = store.is_complete;
                inner.broken.remove(&key);
                if !is_same && is_complete {
                    self.changed.notify_one();
                }
            }
            // What it last said stands, as with files.
            Err(why) => {
                if inner.broken.insert(key.clone(), Arc::clone(&why)).as_ref() != Some(&why) {
                    problem = Some((key.clone(), why));
                }
            }
        }
        if !T::keeps_status(observed.status.as_deref()) {
            if inner.observed.remove(&key).is_some() {
                inner.touched.insert(key);
                self.observed.notify_one();
            }
        } else if inner.observed.get(&key) != Some(&observed) {
            inner.observed.insert(key.clone(), observed);
            inner.touched.insert(key);
            self.observed.notify_one();
        }
        problem
    }

    /// An object is gone; `version` is that of its deletion.
    pub(crate) fn delete(&self, key: &ObjectKey, version: &str) {
        let mut inner = self.inner.lock();
        inner.saw(version);
        inner.forget(key);
        drop(inner);
        self.changed.notify_one();
        self.observed.notify_one();
    }

    /// Kinds whose first list is not complete.
    pub(crate) fn missing(&self, kinds: impl IntoIterator<Item = ObjectKind>) -> Vec<ObjectKind> {
        let inner = self.inner.lock();
        let is_missing = |kind: &ObjectKind| !inner.kinds.get(kind).is_some_and(|store| store.is_complete);
        kinds.into_iter().filter(is_missing).collect()
    }

    /// Everything up to a revision of the cluster is known to be included.
    pub(crate) fn advance(&self, revision: u64) {
        let mut inner = self.inner.lock();
        inner.revision = inner.revision.max(revision);
    }

    /// The newest revision of the cluster known to be included; `None` while a change waits for its translation.
    pub(crate) fn clean_revision(&self) -> Option<u64> {
        let inner = self.inner.lock();
        let is_clean = inner
            .kinds
            .values()
            .all(|store| store.dirty.is_empty() && !store.is_new && store.listed.is_none());
        is_clean.then_some(inner.revision)
    }

    /// All objects of now and their revision; `None` when nothing changed since the last call.
    pub(crate) fn take(&self) -> Option<(Resources, u64)> {
        let mut inner = self.inner.lock();
        let Inner { kinds, resources, revision, .. } = &mut *inner;
        let mut any = false;
        for (kind, store) in kinds.iter_mut() {
            any |= std::mem::take(&mut store.is_new) || !store.dirty.is_empty();
            if store.dirty.is_empty() {
                continue;
            }
            let (mut gone, mut changed) = (Vec::new(), Vec::new());
            for key in store.dirty.drain() {
                match store.objects.get(&key) {
                    Some(object) => changed.push(object.clone()),
                    None => gone.push(key),
                }
            }
            resources.change(*kind, &gone, changed);
        }
        any.then(|| (resources.clone(), *revision))
    }

    /// Objects whose status or version changed since the last call.
    pub(crate) fn take_observed(&self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.inner.lock().touched)
    }

    /// All objects whose status is ours to write.
    pub(crate) fn all_observed(&self) -> BTreeSet<ObjectKey> {
        self.inner.lock().observed.keys().cloned().collect()
    }

    /// What the API server last said of an object.
    pub(crate) fn observed(&self, key: &ObjectKey) -> Option<Observed> {
        self.inner.lock().observed.get(key).cloned()
    }

    /// How many objects of each kind there are.
    pub(crate) fn counts(&self) -> Vec<(ObjectKind, usize)> {
        let inner = self.inner.lock();
        let mut counts: Vec<_> =
            inner.kinds.iter().map(|(kind, store)| (*kind, store.objects.len())).collect();
        counts.sort_unstable();
        counts
    }

    /// The keys of all stored objects of a kind.
    pub(crate) fn keys(&self, kind: ObjectKind) -> Vec<ObjectKey> {
        let inner = self.inner.lock();
        inner.kinds.get(&kind).map(|store| store.objects.keys().cloned().collect()).unwrap_or_default()
    }
}

impl Inner {
    /// Resource versions are revisions of the cluster and can be compared (KEP-5504).
    fn saw(&mut self, version: &str) {
        self.revision = self.revision.max(version.parse().unwrap_or_default());
    }

    fn forget(&mut self, key: &ObjectKey) {
        if let Some(store) = self.kinds.get_mut(&key.kind)
            && store.objects.remove(key).is_some()
        {
            store.dirty.insert(key.clone());
        }
        self.broken.remove(key);
        if self.observed.remove(key).is_some() {
            self.touched.insert(key.clone());
        }
    }
}

/// Whether two versions of an object say the same.
fn same(a: &Object, b: &Object) -> bool {
    // For kinds with a spec of their own the API server counts changes; the rest is small.
    let (old, new) = (a.meta(), b.meta());
    if old.generation != new.generation || old.uid != new.uid {
        return false;
    }
    old == new && a.same_content(b)
}

#[cfg(test)]
mod tests;
