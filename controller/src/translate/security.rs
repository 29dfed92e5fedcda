//! SecurityPolicies: which is about what, and what we say of each.
//!
//! A policy is judged alone (`judge`) and published once. What it is about names it: listeners, routes, rules and the
//! shares of backends say their policies from general to specific, and proxies lay these over each other
//! ([`policies::merge`]). So a policy that changes is one small message whatever it is about, and a proxy that has not got
//! one that is named knows it, and refuses.
//!
//! A policy that cannot be followed is published as one that refuses. Of several about the same target the oldest stands,
//! then the first by name.

mod judge;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use config::{Key, Resource};
use policies::BackendRef;
use rustc_hash::{FxHashMap, FxHashSet};

use self::judge::Judged;
pub(crate) use self::judge::objects;
pub(crate) use self::status::Reached;
use super::attach::Surroundings;
use super::backend_ref::{Backends, Cluster};
use super::facts::{Fact, News};
use super::output::{Output, Part, Said};
use super::service_port::Transport;
use crate::ObjectKey;
use crate::resources::{Named, ObjectKind, Resources};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Security {
    /// Oldest first.
    judged: Vec<Judged>,
    by_name: FxHashMap<String, usize>,
    /// Which policy a target has: the oldest, whether it can be followed or not.
    holders: FxHashMap<Target, String>,
    /// One of them was judged in this translation, or is gone.
    is_judged: bool,
}

/// What a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    /// A Namespace is without namespace.
    pub(crate) object: ObjectKey,
    /// A listener of it, or rules of this name; `None`: all.
    pub(crate) section: Option<Box<str>>,
}

/// What has other policies than before.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Gateways or ListenerSets.
    pub(crate) gateways: bool,
    /// Services or Namespaces.
    pub(crate) services: bool,
}

impl Security {
    /// Judges those that changed, or that need something that did; tells what has other policies now.
    pub(crate) fn follow(&mut self, then: &Resources, now: &Resources, news: &mut News) -> Moved {
        let mut moved = Moved::default();
        self.is_judged = false;
        let (before, after) = (&then.security_policies, &now.security_policies);
        let is_idle = before.changes(after).next().is_none()
            && (after.is_empty()
                || (then.secrets.is_identical(&now.secrets)
                    && then.config_maps.is_identical(&now.config_maps)
                    && then.reference_grants.is_identical(&now.reference_grants)
                    && then.services.is_identical(&now.services)));
        if is_idle {
            return moved;
        }
        let mut old: FxHashMap<String, Judged> =
            self.judged.drain(..).map(|judged| (judged.name.clone(), judged)).collect();
        let same_grants = then.reference_grants.is_identical(&now.reference_grants);
        for policy in after {
            let name = format!("{}/{}", policy.namespace(), policy.name());
            let known = old.remove(&name).filter(|known| same_grants && known.is_current(policy, now));
            let is_known = known.is_some();
            self.judged.push(known.unwrap_or_else(|| judge::judge(policy, name, now)));
            self.is_judged |= !is_known;
        }
        self.is_judged |= !old.is_empty();
        self.by_name = self.judged.iter().enumerate().map(|(at, judged)| (judged.name.clone(), at)).collect();
        let mut holders = FxHashMap::default();
        for judged in &self.judged {
            for target in &judged.targets {
                holders.entry(target.clone()).or_insert_with(|| judged.name.clone());
            }
        }
        let changed = |target: &&Target| holders.get(*target) != self.holders.get(*target);
        for Target { object, .. } in holders.keys().chain(self.holders.keys()).filter(changed) {
            moved.gateways |= matches!(object.kind, ObjectKind::Gateway | ObjectKind::ListenerSet);
            moved.services |= matches!(object.kind, ObjectKind::Service | ObjectKind::Namespace);
            news.tell(Fact::Security(object.clone()));
        }
        self.holders = holders;
        moved
    }

    /// The policy that one target has.
    fn holder(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
        section: Option<&str>,
    ) -> Option<&String> {
        if self.holders.is_empty() {
            return None;
        }
        let object = ObjectKey::new(kind, namespace, name);
        self.holders.get(&Target { object, section: section.map(Into::into) })
    }

    /// The policies of a listener, the more general first; `set`: of which ListenerSet it is.
    pub(crate) fn of_listener(
        &self,
        gateway: (&str, &str),
        listener: &str,
        set: Option<(&str, &str)>,
    ) -> Vec<String> {
        let (kind, owner) = match set {
            Some(set) => (ObjectKind::ListenerSet, set),
            None => (ObjectKind::Gateway, gateway),
        };
        let levels = [
            self.holder(ObjectKind::Gateway, gateway.0, gateway.1, None),
            set.and_then(|(namespace, name)| self.holder(ObjectKind::ListenerSet, namespace, name, None)),
            self.holder(kind, owner.0, owner.1, Some(listener)),
        ];
        distinct(levels)
    }

    /// Those of a route.
    pub(crate) fn of_route(&self, kind: ObjectKind, namespace: &str, name: &str) -> Vec<String> {
        distinct([self.of_namespace(namespace), self.holder(kind, namespace, name, None)])
    }

    /// Those of its rules of one name alone.
    pub(crate) fn of_rule(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
        rule: Option<&str>,
    ) -> Vec<String> {
        distinct([rule.and_then(|rule| self.holder(kind, namespace, name, Some(rule)))])
    }

    /// Those of a Service.
    pub(crate) fn of_service(&self, namespace: &str, name: &str) -> Vec<String> {
        distinct([self.of_namespace(namespace), self.holder(ObjectKind::Service, namespace, name, None)])
    }

    fn of_namespace(&self, namespace: &str) -> Option<&String> {
        self.holder(ObjectKind::Namespace, "", namespace, None)
    }

    /// The policy that is about a Service itself.
    pub(crate) fn own_of_service(&self, namespace: &str, name: &str) -> Option<&String> {
        self.holder(ObjectKind::Service, namespace, name, None)
    }

    /// What proxies are told, and the backends in it.
    fn resources(&self, cluster: &Cluster<'_>) -> (Output, FxHashSet<BackendRef>) {
        let held: FxHashSet<&String> = self.holders.values().collect();
        let mut out = Output::default();
        let (mut objects, mut backends) = (BTreeSet::new(), FxHashSet::default());
        for judged in self.judged.iter().filter(|judged| held.contains(&judged.name)) {
            out.resources.push((Key::security_policy(&judged.name), Arc::clone(&judged.resource)));
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

    fn find(&self, name: &str) -> Option<&Judged> {
        self.judged.get(*self.by_name.get(name)?)
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
        surroundings: &Surroundings<'_>,
        backends: &mut Backends,
        said: &mut Said,
    ) {
        let security = surroundings.cluster.security;
        if security.is_judged {
            let (out, wanted) = security.resources(surroundings.cluster);
            self.resources.replace(out, said);
            self.use_backends(&wanted, surroundings.cluster, backends);
        }
        if security.is_judged || (reached.1 && !security.judged.is_empty()) {
            self.statuses.replace(security.statuses(reached.0, surroundings), said);
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

/// Those there are, each once.
pub(super) fn distinct<'a>(levels: impl IntoIterator<Item = Option<&'a String>>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in levels.into_iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The object itself.
fn key(judged: &Judged) -> ObjectKey {
    ObjectKey::new(ObjectKind::SecurityPolicy, judged.policy.namespace(), judged.policy.name())
}
