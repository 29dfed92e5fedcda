//! Secrets and ConfigMaps: read only where a Gateway or policy refers to one, never listed in the whole cluster.
//!
//! Per namespace with a reference there is one watch, and of what it brings only what is referred to is kept. The
//! right to watch comes from a RoleBinding in that namespace, which the leader makes ([`super::grants`]) and removes
//! with the last reference: until it holds, the API server says 403 and the watch tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, core::NamespaceResourceScope};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::watch::{Pause, Watching, answered, status_code};
use super::watched::{Watchable, Watched};
use crate::translate::{differs, referenced};
use crate::{ObjectKey, ObjectKind, Resources, api};

/// The watches of what is referred to.
pub(crate) struct References {
    watching: Watching,
    wanted: Arc<Mutex<Wanted>>,
    running: BTreeMap<(ObjectKind, Box<str>), AbortHandle>,
    /// What was followed last.
    then: Resources,
}

#[derive(Default)]
struct Wanted {
    keys: BTreeSet<ObjectKey>,
    /// Not heard of yet.
    pending: BTreeSet<ObjectKey>,
}

impl References {
    /// Watches nothing yet.
    pub(crate) fn new(watching: Watching) -> Self {
        for kind in [ObjectKind::Secret, ObjectKind::ConfigMap] {
            watching.state.absent(kind);
        }
        Self { watching, wanted: Arc::default(), running: BTreeMap::new(), then: Resources::default() }
    }

    /// Watches what these objects refer to, and nothing else. Returns the namespaces; `None`: as before.
    pub(crate) fn follow(&mut self, resources: &Resources) -> Option<BTreeSet<String>> {
        if !differs(&self.then, resources) {
            return None;
        }
        self.then = resources.clone();
        let keys: BTreeSet<ObjectKey> = referenced(resources);
        let scopes: BTreeSet<(ObjectKind, Box<str>)> =
            keys.iter().map(|key| (key.kind, key.namespace.clone())).collect();
        let (new, gone) = {
            let mut wanted = self.wanted.lock();
            let new: Vec<ObjectKey> = keys.difference(&wanted.keys).cloned().collect();
            let gone: Vec<ObjectKey> = wanted.keys.difference(&keys).cloned().collect();
            wanted.pending.extend(new.iter().cloned());
            wanted.pending.retain(|key| keys.contains(key));
            wanted.keys = keys;
            (new, gone)
        };
        gone.iter().for_each(|key| self.watching.state.delete(key, ""));
        self.running.retain(|scope, task| {
            let keep = scopes.contains(scope);
            if !keep {
                task.abort();
            }
            keep
        });
        let fresh: BTreeSet<_> =
            scopes.iter().filter(|scope| !self.running.contains_key(*scope)).cloned().collect();
        // The running watch of a namespace has let these pass: they are fetched, and it goes on from there.
        for key in new.into_iter().filter(|key| !fresh.contains(&(key.kind, key.namespace.clone()))) {
            self.spawn_one(key);
        }
        let namespaces = scopes.iter().map(|(_, namespace)| namespace.to_string()).collect();
        for scope in fresh {
            let task = self.spawn_namespace(&scope);
            self.running.insert(scope, task);
        }
        Some(namespaces)
    }

    /// Whether something referred to has not been heard of yet.
    pub(crate) fn is_pending(&self) -> bool {
        !self.wanted.lock().pending.is_empty()
    }

    /// Waits no longer for what has not been heard of.
    pub(crate) fn give_up(&self) {
        let pending = std::mem::take(&mut self.wanted.lock().pending);
        for key in pending {
            tracing::warn!(object = %key, "cannot be read yet; what refers to it says that it does not exist");
        }
    }

    fn spawn_namespace(&self, (kind, namespace): &(ObjectKind, Box<str>)) -> AbortHandle {
        let (watching, wanted, namespace) =
            (self.watching.clone(), Arc::clone(&self.wanted), namespace.clone());
        let task = if *kind == ObjectKind::Secret {
            tokio::spawn(watch::<api::Secret>(watching, wanted, namespace))
        } else {
            tokio::spawn(watch::<api::ConfigMap>(watching, wanted, namespace))
        };
        task.abort_handle()
    }

    fn spawn_one(&self, key: ObjectKey) {
        let (watching, wanted) = (self.watching.clone(), Arc::clone(&self.wanted));
        if key.kind == ObjectKind::Secret {
            tokio::spawn(fetch::<api::Secret>(watching, wanted, key));
        } else {
            tokio::spawn(fetch::<api::ConfigMap>(watching, wanted, key));
        }
    }
}

fn key_of<T: Watchable>(object: &Watched<T>) -> ObjectKey {
    let (namespace, name) = (object.meta.namespace.as_deref(), object.meta.name.as_deref());
    ObjectKey::new(T::KIND, namespace.unwrap_or_default(), name.unwrap_or_default())
}

async fn watch<T>(watching: Watching, wanted: Arc<Mutex<Wanted>>, namespace: Box<str>)
where
    T: Watchable + kube::Resource<Scope = NamespaceResourceScope>,
{
    let state = &watching.state;
    let api: Api<Watched<T>> = Api::namespaced(watching.client.clone(), &namespace);
    let mut stream = Box::pin(kube::runtime::watcher(api, watcher::Config::default()));
    let (mut pause, mut seen, mut told) = (Pause::default(), BTreeSet::new(), false);
    let is_wanted = |key: &ObjectKey| wanted.lock().keys.contains(key);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => seen.clear(),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let key = key_of(&object);
                if is_wanted(&key) {
                    apply(&watching, object);
                    wanted.lock().pending.remove(&key);
                }
                seen.insert(key);
            }
            Ok(Event::Delete(object)) => {
                let version = object.meta.resource_version.clone().unwrap_or_default();
                state.delete(&key_of(&object), &version);
            }
            Ok(Event::InitDone) => {
                (pause, told) = (Pause::default(), false);
                let is_here = |key: &ObjectKey| key.kind == T::KIND && key.namespace == namespace;
                let gone = |key: &ObjectKey| is_here(key) && !seen.contains(key);
                state.keys(T::KIND).iter().filter(|key| gone(key)).for_each(|key| state.delete(key, ""));
                wanted.lock().pending.retain(|key| !is_here(key));
                seen.clear();
                state.changed.notify_one();
            }
            Err(error) => {
                watching.metrics.watch_errors.get_or_create(&T::KIND.into()).inc();
                let is_news = match status_code(&error) {
                    // The right to it comes a moment later.
                    Some(403) => pause.is_long() && !told,
                    Some(_) => true,
                    None => !told,
                };
                if is_news {
                    told = true;
                    tracing::warn!(kind = T::KIND.as_str(), %namespace, %error, "a watch failed and is started again");
                }
                tokio::time::sleep(pause.after(status_code(&error))).await;
            }
        }
    }
}

async fn fetch<T>(watching: Watching, wanted: Arc<Mutex<Wanted>>, key: ObjectKey)
where
    T: Watchable + kube::Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<Watched<T>> = Api::namespaced(watching.client.clone(), &key.namespace);
    let mut pause = Pause::default();
    while wanted.lock().keys.contains(&key) {
        match api.get_opt(&key.name).await {
            Ok(object) => {
                object.into_iter().for_each(|object| apply(&watching, object));
                wanted.lock().pending.remove(&key);
                watching.state.changed.notify_one();
                return;
            }
            Err(error) => {
                tracing::debug!(object = %key, %error, "cannot be read yet");
                tokio::time::sleep(pause.after(answered(&error))).await;
            }
        }
    }
}

fn apply<T: Watchable>(watching: &Watching, object: Watched<T>) {
    if let Some((key, why)) = watching.state.apply(object) {
        tracing::error!(object = %key, why = &*why, "an object cannot be read, and what it last said stands");
    }
}
