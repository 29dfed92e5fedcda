//! SecurityPolicies: each compiled once, and laid over each other for each rule at each of its parents.
//!
//! What cannot be followed refuses: a policy that is named and not there, one that cannot be read or compiled, one whose
//! Secret is missing. It refuses the requests it is about, and no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{BackendRef, Key, Kind, Listener, Resource, Scope, SecurityPolicy, Severity};
use policies::{Chain, Guards, Layer, Lookup, Material, ObjectRef, Upstream};
use rustc_hash::{FxHashMap, FxHashSet};

use super::backend::Backends;
use super::problems::{Problems, Stage};
use super::route::Attachable;
use crate::snapshot::Clusters;
use crate::store::{Dirty, Store};

/// Compiled policies, and which of them are about whole listeners.
#[derive(Debug, Default)]
pub(super) struct Security {
    policies: FxHashMap<String, Policy>,
    listeners: BTreeMap<Key, (Attachable, Vec<String>)>,
    /// By what routes are attached to.
    parents: FxHashMap<Attachable, Vec<String>>,
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
    /// By name.
    pub(super) policies: FxHashSet<String>,
    /// Whose policies are others, or say something else.
    pub(super) parents: FxHashSet<Attachable>,
}

impl Moved {
    /// Whether one of these says something else.
    pub(super) fn touches(&self, names: &[String]) -> bool {
        !self.policies.is_empty() && names.iter().any(|name| self.policies.contains(name))
    }
}

impl Security {
    /// Compiles policies that changed or that need something that did.
    pub(super) fn compile(
        &mut self,
        dirty: &Dirty,
        backends: &Backends,
        store: &Store,
        clusters: &Clusters,
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
            .extend(self.policies.iter().filter(|(_, policy)| needs(policy)).map(|(name, _)| name.clone()));
        let named = dirty.keys().filter(|key| key.kind == Kind::SecurityPolicy);
        moved.policies.extend(named.map(|key| format!("{}/{}", key.namespace, key.name)));
        for name in &moved.policies {
            let key = Key::security_policy(name);
            let Some(Resource::SecurityPolicy(spec)) = store.get(&key) else {
                self.policies.remove(name);
                problems.clear(&key, Stage::Resource);
                continue;
            };
            let (policy, problem) =
                compile(&key, spec, &Place { namespace: &key.namespace, store, clusters });
            problems.set(
                &key,
                Stage::Resource,
                problem.map(|e| (Severity::Degraded, e)).into_iter().collect(),
            );
            self.policies.insert(name.clone(), policy);
        }
        for key in dirty.keys().filter(|key| key.kind == Kind::Listener) {
            let now = match store.get(key) {
                Some(Resource::Listener(listener)) => Some((Attachable::of(key, listener), listener)),
                _ => None,
            };
            let before = match now {
                Some((parent, listener)) => {
                    moved.parents.insert(parent.clone());
                    self.listeners.insert(key.clone(), (parent, listener.security.clone()))
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
            let mut names: Vec<String> = Vec::new();
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
    pub(super) fn of(&self, parent: &Attachable) -> &[String] {
        self.parents.get(parent).map(Vec::as_slice).unwrap_or_default()
    }

    /// The chain as these policies want it, the more general first; and which are not there.
    pub(super) fn guard<'n>(
        &self,
        chain: &Chain,
        names: impl Iterator<Item = &'n String>,
    ) -> (Chain, Vec<&'n str>) {
        let mut levels: Vec<&String> = Vec::new();
        let (mut layer, mut refuses, mut missing) = (Layer::default(), false, Vec::new());
        for name in names {
            if levels.contains(&name) {
                continue;
            }
            levels.push(name);
            match self.policies.get(name) {
                Some(Policy { layer: Some(specific), .. }) => layer = Layer::refine(layer, specific),
                Some(Policy { layer: None, .. }) => refuses = true,
                None => missing.push(name.as_str()),
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
            Scope::Service(backend) => Self::Service(backend.clone()),
        }
    }
}

fn compile(key: &Key, spec: &SecurityPolicy, place: &Place<'_>) -> (Policy, Option<String>) {
    let sets = || spec.sets();
    let objects =
        sets().flat_map(|set| set.objects()).map(|object| Key::object(&object.within(&key.namespace)));
    let backends = sets().flat_map(|set| set.backends()).map(|backend| backend.within(&key.namespace));
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
    namespace: &'a str,
    store: &'a Store,
    clusters: &'a Clusters,
}

impl Lookup for Place<'_> {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        self.clusters.backend(&backend.within(self.namespace))
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<Material>> {
        match self.store.get(&Key::object(&object.within(self.namespace)))? {
            Resource::Secret(material) | Resource::ConfigMap(material) => {
                material.decode().ok().map(Arc::new)
            }
            _ => None,
        }
    }
}
