//! Attached policies (SecurityPolicy, BackendTrafficPolicy): each compiled once, and laid over each other for each rule at
//! each of its parents.
//!
//! What cannot be followed refuses: a policy that is named and not there, one that cannot be read or compiled, one whose
//! Secret is missing. It refuses the requests it is about, and no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Attached, BackendRef, Key, Kind, Listener, Resource, Scope, Severity};
use policies::jwt::{Keys, RemoteJwks};
use policies::lease::Terms;
use policies::rate_limit::{Counters, Leased};
use policies::{Chain, Guards, Layer, Lookup, Material, ObjectRef, Offload, Parts, Upstream};
use rustc_hash::{FxHashMap, FxHashSet};

use super::backend::Backends;
use super::problems::{Problems, Stage};
use super::route::Attachable;
use crate::keys::KeyStore;
use crate::limits::LimitStore;
use crate::snapshot::Clusters;
use crate::store::{Dirty, Store};

/// Compiled policies, and which of them are about whole listeners.
#[derive(Debug, Default)]
pub(super) struct AttachedPolicies {
    policies: FxHashMap<Key, Policy>,
    listeners: BTreeMap<Key, (Attachable, Vec<Key>)>,
    /// By what routes are attached to.
    parents: FxHashMap<Attachable, Vec<Key>>,
}

#[derive(Debug)]
struct Policy {
    /// `None`: it cannot be followed.
    layer: Option<Layer<Guards>>,
    objects: FxHashSet<Key>,
    backends: FxHashSet<BackendRef>,
}

/// What is different from before.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) policies: FxHashSet<Key>,
    /// Whose policies are others, or say something else.
    pub(super) parents: FxHashSet<Attachable>,
}

impl Moved {
    /// Whether one of these says something else.
    pub(super) fn touches(&self, names: &[Key]) -> bool {
        !self.policies.is_empty() && names.iter().any(|name| self.policies.contains(name))
    }
}

impl AttachedPolicies {
    /// Compiles policies that changed or that need something that did.
    pub(super) fn compile(
        &mut self,
        dirty: &Dirty,
        backends: &Backends,
        (store, clusters, kept): (&Store, &Clusters, &Kept),
        problems: &mut Problems,
    ) -> Moved {
        let mut moved = Moved::default();
        let needs = |policy: &Policy| {
            policy.objects.iter().any(|object| dirty.contains_key(object))
                || policy.backends.iter().any(|backend| backends.tcp.contains(backend))
        };
        // O(policies): when a backend or a Secret changes.
        moved
            .policies
            .extend(self.policies.iter().filter(|(_, policy)| needs(policy)).map(|(key, _)| key.clone()));
        let is_policy = |key: &&Key| matches!(key.kind, Kind::SecurityPolicy | Kind::BackendTrafficPolicy);
        moved.policies.extend(dirty.keys().filter(is_policy).cloned());
        for key in &moved.policies {
            let place = Place { key, store, clusters, kept };
            let (policy, problem) = match store.get(key) {
                Some(Resource::SecurityPolicy(spec)) => compile(spec, &place),
                Some(Resource::BackendTrafficPolicy(spec)) => compile(spec, &place),
                _ => {
                    self.policies.remove(key);
                    problems.clear(key, Stage::Resource);
                    continue;
                }
            };
            let problem = problem.map(|e| (Severity::Degraded, e)).into_iter().collect();
            problems.set(key, Stage::Resource, problem);
            self.policies.insert(key.clone(), policy);
        }
        for key in dirty.keys().filter(|key| key.kind == Kind::Listener) {
            let now = match store.get(key) {
                Some(Resource::Listener(listener)) => Some((Attachable::of(key, listener), listener)),
                _ => None,
            };
            let before = match now {
                Some((parent, listener)) => {
                    moved.parents.insert(parent.clone());
                    self.listeners.insert(key.clone(), (parent, listener.attached.clone()))
                }
                None => self.listeners.remove(key),
            };
            moved.parents.extend(before.map(|(parent, _)| parent));
        }
        self.gather(&mut moved);
        moved
    }

    /// Brings what is known by parent up to date. Listeners of one parent say the same; if not, all of it holds.
    fn gather(&mut self, moved: &mut Moved) {
        let touched = std::mem::take(&mut moved.parents);
        for parent in touched {
            let of_parent = self.listeners.values().filter(|(other, _)| *other == parent);
            let mut names: Vec<Key> = Vec::new();
            for name in of_parent.flat_map(|(_, names)| names) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            if self.parents.get(&parent).map(Vec::as_slice).unwrap_or_default() == names {
                continue;
            }
            if names.is_empty() {
                self.parents.remove(&parent);
            } else {
                self.parents.insert(parent.clone(), names);
            }
            moved.parents.insert(parent);
        }
        if !moved.policies.is_empty() {
            let about = self
                .parents
                .iter()
                .filter(|(_, names)| names.iter().any(|name| moved.policies.contains(name)));
            moved.parents.extend(about.map(|(parent, _)| parent.clone()));
        }
    }

    /// The policies about whatever is attached there.
    pub(super) fn of(&self, parent: &Attachable) -> &[Key] {
        self.parents.get(parent).map(Vec::as_slice).unwrap_or_default()
    }

    /// The chain as these policies want it, the more general first; and which are not there.
    pub(super) fn guard<'n>(
        &self,
        chain: &Chain,
        names: impl Iterator<Item = &'n Key>,
    ) -> (Chain, Vec<&'n Key>) {
        let mut levels: Vec<&Key> = Vec::new();
        let (mut layer, mut refuses, mut missing) = (Layer::default(), false, Vec::new());
        for name in names {
            if levels.contains(&name) {
                continue;
            }
            levels.push(name);
            match self.policies.get(name) {
                Some(Policy { layer: Some(specific), .. }) => layer = Layer::refine(layer, specific),
                Some(Policy { layer: None, .. }) => refuses = true,
                None => missing.push(name),
            }
        }
        if levels.is_empty() {
            return (chain.clone(), missing);
        }
        if refuses || !missing.is_empty() {
            return (Chain::refusing(), missing);
        }
        // What a rule says of the same is a default, the most specific one.
        let own = Layer { defaults: chain.guards(), overrides: Guards::default() };
        (chain.guarded(layer.refine(&own).effective()), missing)
    }
}

impl Attachable {
    /// What routes are attached to that a listener serves.
    pub(super) fn of(key: &Key, listener: &Listener) -> Self {
        match &listener.scope {
            Scope::Gateway => Self::Listener(format!("{}/{}", key.namespace, key.name)),
            Scope::Service(captured) => Self::Service(captured.backend.clone()),
        }
    }
}

fn compile<S: Parts>(spec: &Attached<S>, place: &Place<'_>) -> (Policy, Option<String>) {
    let (sets, namespace) = (|| spec.sets(), place.namespace());
    let objects = sets().flat_map(S::objects).map(|object| Key::object(&object.within(namespace)));
    let backends = sets().flat_map(S::backends).map(|backend| backend.within(namespace));
    let layer = match &spec.invalid {
        Some(why) => Err(why.clone()),
        None => spec
            .defaults
            .compile(place)
            .and_then(|defaults| spec.overrides.compile(place).map(|overrides| Layer { defaults, overrides }))
            .map_err(|(part, invalid)| invalid.of(part)),
    };
    let problem = layer.as_ref().err().map(|why| format!("refuses every request it is about: {why}"));
    let policy = Policy { layer: layer.ok(), objects: objects.collect(), backends: backends.collect() };
    (policy, problem)
}

/// What a policy looks up, as one of its namespace means it.
struct Place<'a> {
    key: &'a Key,
    store: &'a Store,
    clusters: &'a Clusters,
    kept: &'a Kept,
}

impl Place<'_> {
    fn namespace(&self) -> &str {
        &self.key.namespace
    }
}

/// What outlives policies that use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) limits: Arc<LimitStore>,
}

impl Lookup for Place<'_> {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        self.clusters.backend(&backend.within(self.namespace()))
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<Material>> {
        let found = self.store.get(&Key::object(&object.within(self.namespace())))?;
        let (Resource::Secret(material) | Resource::ConfigMap(material)) = found else { return None };
        material.decode().ok().map(Arc::new)
    }

    fn offload(&self) -> Arc<dyn Offload> {
        self.clusters.offload()
    }

    fn keys(&self, remote: &RemoteJwks) -> Arc<dyn Keys> {
        let remote = remote.within(self.namespace());
        // Whether they are there was asked before.
        let clusters = remote.backends().filter_map(|backend| self.clusters.get(backend).cloned()).collect();
        self.kept.keys.keys(remote, clusters)
    }

    fn counters(&self, limit: &str, keys: usize) -> Arc<Counters> {
        self.kept.limits.counters(self.key, limit, keys)
    }

    fn leased(&self, limit: &str, is_keyed: bool, terms: Terms) -> Arc<Leased> {
        self.kept.limits.leased(self.key, limit, is_keyed, terms)
    }
}

#[cfg(test)]
mod tests {
    use config::Update;
    use policies::ObjectKind;

    use super::*;

    #[test]
    fn a_policy_finds_objects_of_its_own_namespace_and_of_the_one_it_names() {
        let secret =
            |value: &str| Arc::new(Resource::Secret(config::Material::new([("key", value.as_bytes())])));
        let keys = ["Secret/shop/it", "Secret/other/it"].map(|key| key.parse::<Key>().unwrap());
        let upserts = keys.into_iter().zip([secret("own"), secret("other")]).collect();
        let mut store = Store::default();
        store.apply(Update { version: 1, upserts, removes: Vec::new() });
        let (clusters, kept) = (Clusters::default(), Kept::default());
        let key = Key::new(Kind::SecurityPolicy, "shop", "it");
        let place = Place { key: &key, store: &store, clusters: &clusters, kept: &kept };
        let read = |kind, namespace: &str, name: &str| {
            let object = ObjectRef { kind, namespace: namespace.to_owned(), name: name.to_owned() };
            Some(place.material(&object)?.0.get("key")?.to_vec())
        };
        assert_eq!(read(ObjectKind::Secret, "", "it").as_deref(), Some(&b"own"[..]));
        assert_eq!(read(ObjectKind::Secret, "other", "it").as_deref(), Some(&b"other"[..]));
        assert_eq!(read(ObjectKind::ConfigMap, "", "it"), None);
        assert_eq!(read(ObjectKind::Secret, "", "nothing"), None);
        let backend = BackendRef { namespace: String::new(), name: "it".to_owned(), port: 80 };
        assert!(place.backend(&backend).is_none());
    }
}
