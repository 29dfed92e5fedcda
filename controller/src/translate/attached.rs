//! Policies that are attached to something (SecurityPolicy, BackendTrafficPolicy): which is about what, and what we say of
//! each.
//!
//! A policy is judged alone (`judge`) and published once. What it is about names it: listeners, routes, rules and the
//! shares of backends say their policies from general to specific, and proxies lay these over each other
//! ([`policies::merge`]). So a policy that changes is one small message whatever it is about, and a proxy that has not got
//! one that is named knows it, and refuses.
//!
//! A policy that cannot be followed is published as one that refuses. Of several of a kind about the same target the oldest
//! stands, then the first by name.

mod judge;
mod policy;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use config::{Key, Kind, Resource};
use policies::BackendRef;
use rustc_hash::{FxHashMap, FxHashSet};

use self::judge::Judged;
pub(crate) use self::judge::objects;
pub(crate) use self::policy::Policy;
pub(crate) use self::status::Reached;
use super::Options;
use super::attach::Surroundings;
use super::backend_ref::{Backends, Cluster};
use super::facts::{Fact, News};
use super::output::{Output, Part, Said};
use super::service_port::Transport;
use crate::ObjectKey;
use crate::resources::{ObjectKind, Resources};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct AttachedPolicies {
    /// Oldest first.
    judged: Vec<Judged>,
    by_key: FxHashMap<Key, usize>,
    /// Which policy of a kind a target has: the oldest, whether it can be followed or not.
    holders: FxHashMap<(Kind, Target), Key>,
    /// Whatever any of them names.
    targets: FxHashSet<ObjectKey>,
    /// One of them was judged in this translation, or is gone.
    is_judged: bool,
    /// Namespace of the controller.
    installation: String,
}

/// What a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    /// A Namespace or GatewayClass is without namespace.
    pub(crate) object: ObjectKey,
    /// A listener of it, or rules of this name; `None`: all.
    pub(crate) section: Option<Box<str>>,
}

/// What has other policies than before.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// GatewayClasses, Gateways or ListenerSets.
    pub(crate) gateways: bool,
    /// Services or Namespaces.
    pub(crate) services: bool,
}

impl AttachedPolicies {
    /// Judges those that changed, or that need something that did; tells what has other policies now.
    pub(crate) fn follow(
        &mut self,
        then: &Resources,
        now: &Resources,
        options: &Options,
        news: &mut News,
    ) -> Moved {
        self.installation.clone_from(&options.controller_namespace);
        let mut moved = Moved::default();
        self.is_judged = false;
        let is_idle = !Policy::differ(then, now)
            && (Policy::all(now).next().is_none()
                || (then.secrets.is_identical(&now.secrets)
                    && then.config_maps.is_identical(&now.config_maps)
                    && then.reference_grants.is_identical(&now.reference_grants)
                    && then.services.is_identical(&now.services)));
        if is_idle {
            return moved;
        }
        let mut old: FxHashMap<Key, Judged> =
            self.judged.drain(..).map(|judged| (judged.key.clone(), judged)).collect();
        let same_grants = then.reference_grants.is_identical(&now.reference_grants);
        for policy in Policy::all(now) {
            let key = policy.key();
            let known = old.remove(&key).filter(|known| same_grants && known.is_current(&policy, now));
            let is_known = known.is_some();
            let judge = || judge::judge(policy, key, now, &options.controller_namespace);
            self.judged.push(known.unwrap_or_else(judge));
            self.is_judged |= !is_known;
        }
        self.is_judged |= !old.is_empty();
        self.by_key = self.judged.iter().enumerate().map(|(at, judged)| (judged.key.clone(), at)).collect();
        let mut holders = FxHashMap::default();
        for judged in &self.judged {
            for target in &judged.targets {
                let at = (judged.key.kind, target.clone());
                holders.entry(at).or_insert_with(|| judged.key.clone());
            }
        }
        let changed = |at: &&(Kind, Target)| holders.get(*at) != self.holders.get(*at);
        for (_, Target { object, .. }) in holders.keys().chain(self.holders.keys()).filter(changed) {
            moved.gateways |= matches!(
                object.kind,
                ObjectKind::GatewayClass | ObjectKind::Gateway | ObjectKind::ListenerSet
            );
            moved.services |= matches!(object.kind, ObjectKind::Service | ObjectKind::Namespace);
            news.tell(Fact::Attached(object.clone()));
        }
        self.holders = holders;
        let targets = self.judged.iter().flat_map(|judged| &judged.targets);
        self.targets = targets.map(|target| target.object.clone()).collect();
        moved
    }

    /// The policies that one target has, one of each kind at most.
    fn holders(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
        section: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        let target = (!self.holders.is_empty()).then(|| Target {
            object: ObjectKey::new(kind, namespace, name),
            section: section.map(Into::into),
        });
        let of = |target: Target| Policy::KINDS.map(|kind| self.holders.get(&(kind, target.clone())));
        target.into_iter().flat_map(of).flatten()
    }

    /// Whether one of these is what a policy is about, or would be.
    pub(crate) fn are_about(&self, mut objects: impl Iterator<Item = ObjectKey>) -> bool {
        !self.targets.is_empty() && objects.any(|object| self.targets.contains(&object))
    }

    /// The policies of a listener, the more general first; `class`: of its Gateway; `set`: of which ListenerSet it is.
    pub(crate) fn of_listener(
        &self,
        class: &str,
        gateway: (&str, &str),
        listener: &str,
        set: Option<(&str, &str)>,
    ) -> Vec<Key> {
        let (kind, owner) = match set {
            Some(set) => (ObjectKind::ListenerSet, set),
            None => (ObjectKind::Gateway, gateway),
        };
        let of_set = set
            .into_iter()
            .flat_map(|(namespace, name)| self.holders(ObjectKind::ListenerSet, namespace, name, None));
        let general = self.holders(ObjectKind::GatewayClass, "", class, None);
        let general = general.chain(self.holders(ObjectKind::Gateway, gateway.0, gateway.1, None));
        distinct(general.chain(of_set).chain(self.holders(kind, owner.0, owner.1, Some(listener))))
    }

    /// Those of a route.
    pub(crate) fn of_route(&self, kind: ObjectKind, namespace: &str, name: &str) -> Vec<Key> {
        distinct(self.of_namespace(namespace).chain(self.holders(kind, namespace, name, None)))
    }

    /// Those of its rules of one name alone.
    pub(crate) fn of_rule(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
        rule: Option<&str>,
    ) -> Vec<Key> {
        distinct(rule.into_iter().flat_map(|rule| self.holders(kind, namespace, name, Some(rule))))
    }

    /// Those of a Service.
    pub(crate) fn of_service(&self, namespace: &str, name: &str) -> Vec<Key> {
        distinct(self.of_namespace(namespace).chain(self.own_of_service(namespace, name)))
    }

    fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Key> {
        self.holders(ObjectKind::Namespace, "", namespace, None)
    }

    /// The policies that are about a Service itself.
    pub(crate) fn own_of_service(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Key> {
        self.holders(ObjectKind::Service, namespace, name, None)
    }

    /// What proxies are told, and the backends in it.
    fn resources(&self, cluster: &Cluster<'_>) -> (Output, FxHashSet<BackendRef>) {
        let held: FxHashSet<&Key> = self.holders.values().collect();
        let mut out = Output::default();
        let (mut objects, mut backends) = (BTreeSet::new(), FxHashSet::default());
        for judged in self.judged.iter().filter(|judged| held.contains(&judged.key)) {
            out.resources.push((judged.key.clone(), Arc::clone(&judged.resource)));
            objects.extend(&judged.objects);
            backends.extend(judged.backends.iter().cloned());
        }
        for object in objects {
            let material = judge::material(object, cluster.resources).map(|material| match object.kind {
                policies::ObjectKind::Secret => Resource::Secret(material),
                policies::ObjectKind::ConfigMap => Resource::ConfigMap(material),
            });
            out.resources.extend(material.map(|material| (Key::object(object), Arc::new(material))));
        }
        (out, backends)
    }

    fn find(&self, key: &Key) -> Option<&Judged> {
        self.judged.get(*self.by_key.get(key)?)
    }
}

/// What was said of policies last.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Numbers of the backends that policies send requests to.
    backends: FxHashMap<BackendRef, usize>,
    resources: Part,
    statuses: Part,
}

impl Told {
    /// Writes the policies that are about something, and what they need, if any was judged; and statuses, if anything they
    /// tell of may be different.
    pub(crate) fn write<'a>(
        &mut self,
        reached: (impl Iterator<Item = &'a Reached>, bool),
        surroundings: &'a Surroundings<'_>,
        backends: &mut Backends,
        said: &mut Said,
    ) {
        let attached = surroundings.cluster.attached;
        if attached.is_judged {
            let (out, wanted) = attached.resources(surroundings.cluster);
            self.resources.replace(out, said);
            self.use_backends(&wanted, surroundings.cluster, backends);
        }
        if attached.is_judged || (reached.1 && !attached.judged.is_empty()) {
            self.statuses.replace(attached.statuses(reached.0, surroundings), said);
        }
    }

    fn use_backends(
        &mut self,
        wanted: &FxHashSet<BackendRef>,
        cluster: &Cluster<'_>,
        backends: &mut Backends,
    ) {
        for backend in wanted {
            self.backends.entry(backend.clone()).or_insert_with(|| {
                let id = backends.intern(cluster, backend, Transport::Tcp);
                backends.used(id, ObjectKind::SecurityPolicy, 1);
                id
            });
        }
        self.backends.retain(|backend, id| {
            let is_wanted = wanted.contains(backend);
            if !is_wanted {
                backends.used(*id, ObjectKind::SecurityPolicy, -1);
            }
            is_wanted
        });
    }
}

/// Each once.
pub(super) fn distinct<'a>(levels: impl Iterator<Item = &'a Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for key in levels {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// As messages name a policy.
pub(super) fn written(key: &Key) -> String {
    let Key { kind, namespace, name } = key;
    format!("{} {namespace}/{name}", kind.as_str())
}
