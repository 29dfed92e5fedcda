//! Splits one configuration over the two proxies: captured Services to the waypoint, the rest to the gateway.
//!
//! It splits changes, not configurations: a backend's users are counted, so that the cost is that of the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Action, Attached, Key, Kind, Parent, Resource, Resources, Scope, Target, Update};
use policies::Parts;
use rustc_hash::FxHashMap;

use crate::view::{actions_of, backend_key, endpoints_key, parents_of, route_of};

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    Waypoint,
}

impl Role {
    /// Both, in the order of [`Splitter::split`].
    pub(crate) const ALL: [Self; 2] = [Self::Gateway, Self::Waypoint];

    /// Whether this proxy serves a listener or route. Backends follow whoever names them. Policies and what they need are
    /// told to both: they are few, and it is one process.
    fn serves(self, resource: &Resource) -> bool {
        match resource {
            Resource::Listener(listener) => match listener.scope {
                Scope::Gateway => self == Self::Gateway,
                Scope::Service(_) => self == Self::Waypoint,
            },
            Resource::HttpRoute(_)
            | Resource::GrpcRoute(_)
            | Resource::TlsRoute(_)
            | Resource::TcpRoute(_)
            | Resource::UdpRoute(_) => parents_of(resource).iter().any(|parent| match parent {
                Parent::Listener { .. } => self == Self::Gateway,
                Parent::Service(_) | Parent::Consumer { .. } => self == Self::Waypoint,
            }),
            // The waypoint shows no certificates yet.
            Resource::Certificate(_) => self == Self::Gateway,
            Resource::SecurityPolicy(_)
            | Resource::BackendTrafficPolicy(_)
            | Resource::Secret(_)
            | Resource::ConfigMap(_) => true,
            Resource::Workload(_) => self == Self::Waypoint,
            Resource::Backend(_) | Resource::Endpoints(_) => false,
        }
    }
}

/// What one proxy has.
#[derive(Debug, Default)]
struct Share {
    /// Listeners, routes and certificates.
    held: BTreeMap<Key, Arc<Resource>>,
    /// How many of them name each backend.
    users: FxHashMap<Key, usize>,
}

/// Remembers what each proxy was told.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    shares: [Share; 2],
}

impl Splitter {
    /// The part of each proxy of a change that leads to `all`.
    pub(crate) fn split(&mut self, update: &Update, all: &Resources) -> [Update; 2] {
        let mut parts = [Update { version: update.version, ..Update::default() }, Update::default()];
        for ((role, share), part) in Role::ALL.into_iter().zip(&mut self.shares).zip(&mut parts) {
            part.version = update.version;
            share.take(role, update, all, part);
        }
        parts
    }
}

impl Share {
    fn take(&mut self, role: Role, update: &Update, all: &Resources, part: &mut Update) {
        let mut touched: BTreeSet<Key> = BTreeSet::new();
        let mut before: FxHashMap<Key, usize> = FxHashMap::default();
        for (key, resource) in &update.upserts {
            if role.serves(resource) {
                self.count(key, resource, 1, &mut before, &mut touched);
                if let Some(old) = self.held.insert(key.clone(), resource.clone()) {
                    self.count(key, &old, -1, &mut before, &mut touched);
                }
                part.upserts.insert(key.clone(), resource.clone());
            } else {
                self.drop_held(key, part, &mut before, &mut touched);
            }
        }
        for key in &update.removes {
            self.drop_held(key, part, &mut before, &mut touched);
        }
        // Backends whose first user came or last user went, then those that changed themselves.
        for backend in touched {
            let had = before.get(&backend).copied().unwrap_or_default() > 0;
            let has = self.users.contains_key(&backend);
            for key in [endpoints_key(&backend), backend] {
                match (had, has, all.get(&key)) {
                    (false, true, Some(resource)) => drop(part.upserts.insert(key, resource.clone())),
                    (true, false, _) => part.removes.push(key),
                    _ => {}
                }
            }
        }
        for (key, resource) in &update.upserts {
            if self.uses(key) {
                part.upserts.insert(key.clone(), resource.clone());
            }
        }
        part.removes.extend(update.removes.iter().filter(|key| self.uses(key)).cloned());
        part.removes.sort();
        part.removes.dedup();
    }

    fn drop_held(
        &mut self,
        key: &Key,
        part: &mut Update,
        before: &mut FxHashMap<Key, usize>,
        touched: &mut BTreeSet<Key>,
    ) {
        if let Some(old) = self.held.remove(key) {
            self.count(key, &old, -1, before, touched);
            part.removes.push(key.clone());
        }
    }

    /// Counts the backends a resource names in (1) or out (-1); `before` keeps the counts of those it touches.
    fn count(
        &mut self,
        key: &Key,
        resource: &Resource,
        change: isize,
        before: &mut FxHashMap<Key, usize>,
        touched: &mut BTreeSet<Key>,
    ) {
        for backend in named(key, resource) {
            let count = self.users.get(&backend).copied().unwrap_or_default();
            before.entry(backend.clone()).or_insert(count);
            match count.saturating_add_signed(change) {
                0 => drop(self.users.remove(&backend)),
                count => drop(self.users.insert(backend.clone(), count)),
            }
            touched.insert(backend);
        }
    }

    /// Whether a key is that of a backend, or its endpoints, that this proxy uses.
    fn uses(&self, key: &Key) -> bool {
        matches!(key.kind, Kind::Backend | Kind::Endpoints)
            && self.users.contains_key(&Key { kind: Kind::Backend, ..key.clone() })
    }
}

fn of_policy<S: Parts>(key: &Key, policy: &Attached<S>) -> Vec<Key> {
    let backends = policy.sets().flat_map(S::backends);
    backends.map(|backend| Key::backend(&backend.within(&key.namespace))).collect()
}

/// The key of every backend a listener, route or policy names.
fn named(key: &Key, resource: &Resource) -> Vec<Key> {
    if let Resource::SecurityPolicy(policy) = resource {
        return of_policy(key, policy);
    }
    if let Resource::BackendTrafficPolicy(policy) = resource {
        return of_policy(key, policy);
    }
    if let Resource::Listener(listener) = resource {
        return match &listener.scope {
            Scope::Service(captured) => vec![Key::backend(&captured.backend)],
            Scope::Gateway => Vec::new(),
        };
    }
    let mut all = Vec::new();
    for rule in route_of(resource).into_iter().flat_map(|route| &route.rules) {
        all.extend(rule.policies.backends().into_iter().map(Key::backend));
    }
    for action in actions_of(resource) {
        let Action::Forward(backends) = action else { continue };
        for backend in backends {
            all.extend(backend.policies.backends().into_iter().map(Key::backend));
            if let Target::Backend(reference) = &backend.target {
                all.push(backend_key(resource.kind(), reference));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{
        Backend, BackendRef, Captured, Endpoints, HttpRoute, HttpRule, Listener, PolicySet, Protocol,
        StreamRoute, WeightedBackend,
    };

    fn backend(name: &str) -> BackendRef {
        BackendRef { namespace: "n".into(), name: name.into(), port: 80 }
    }

    fn captured(name: &str) -> Captured {
        Captured { backend: backend(name), waypoint: "n/waypoint".into() }
    }

    fn route(parent: Parent, backends: &[&str]) -> Resource {
        let forward = backends.iter().map(|name| WeightedBackend {
            target: Target::Backend(backend(name)),
            weight: 1,
            policies: PolicySet::default(),
            attached: Vec::new(),
        });
        Resource::HttpRoute(HttpRoute {
            created: 0,
            parents: vec![parent],
            attached: Vec::new(),
            rules: vec![HttpRule {
                name: None,
                matches: Vec::new(),
                policies: PolicySet::default(),
                attached: Vec::new(),
                action: Action::Forward(forward.collect()),
            }],
        })
    }

    fn udp_route(backends: &[&str]) -> Resource {
        let Resource::HttpRoute(mut route) = route(edge(), backends) else { unreachable!() };
        let action = route.rules.remove(0).action;
        Resource::UdpRoute(StreamRoute { created: 0, parents: route.parents, rule: None, action })
    }

    fn listener(scope: Scope) -> Resource {
        Resource::Listener(Listener {
            address: None,
            port: 80,
            protocol: Protocol::Http,
            hostname: None,
            tls: None,
            backend_certificate: None,
            traffic: None,
            attached: Vec::new(),
            scope,
        })
    }

    fn edge() -> Parent {
        Parent::Listener {
            namespace: "n".into(),
            gateway: "g".into(),
            section: "l".into(),
            hostnames: vec!["*".into()],
        }
    }

    /// What each proxy has, computed from scratch.
    fn naive(all: &Resources, role: Role) -> Vec<Key> {
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        for (key, resource) in all.iter().filter(|(_, resource)| role.serves(resource)) {
            keys.insert(key.clone());
            for backend in named(key, resource) {
                keys.extend([endpoints_key(&backend), backend].into_iter().filter(|k| all.contains_key(k)));
            }
        }
        keys.into_iter().collect()
    }

    #[test]
    fn splitting_changes_is_splitting_the_whole() {
        let candidates: Vec<(Key, Vec<Resource>)> = vec![
            (Key::new(Kind::Listener, "n", "g/l"), vec![listener(Scope::Gateway)]),
            (Key::new(Kind::Listener, "n", "a:80"), vec![listener(Scope::Service(captured("a")))]),
            (
                Key::new(Kind::HttpRoute, "n", "r"),
                vec![
                    route(edge(), &["a", "b"]),
                    route(edge(), &["b"]),
                    route(Parent::Service(captured("a")), &["c"]),
                ],
            ),
            (
                Key::new(Kind::HttpRoute, "n", "s"),
                vec![route(Parent::Service(captured("a")), &["a", "a", "b"])],
            ),
            (Key::new(Kind::UdpRoute, "n", "u"), vec![udp_route(&["a", "c"]), udp_route(&["b"])]),
        ];
        let backends = ["a", "b", "c"].map(backend);
        let backends: Vec<Key> =
            backends.iter().flat_map(|of| [Key::backend(of), Key::udp_backend(of)]).collect();
        let mut seed = 7_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let (mut splitter, mut old) = (Splitter::default(), Resources::new());
        let mut told: [BTreeMap<Key, Arc<Resource>>; 2] = Default::default();
        for version in 1..400 {
            let mut new = Resources::new();
            for (key, variants) in &candidates {
                let pick = random(variants.len() + 1);
                if let Some(resource) = variants.get(pick) {
                    new.insert(key.clone(), Arc::new(resource.clone()));
                }
            }
            for backend in &backends {
                if random(4) > 0 {
                    let spec = Backend {
                        max_connections: Some(u32::try_from(random(2)).unwrap()),
                        ..Backend::default()
                    };
                    new.insert(backend.clone(), Arc::new(Resource::Backend(spec)));
                    new.insert(endpoints_key(backend), Arc::new(Resource::Endpoints(Endpoints::default())));
                }
            }
            let update = Update::between(version, &old, &new);
            for (part, told) in splitter.split(&update, &new).into_iter().zip(&mut told) {
                assert_eq!(part.version, version);
                assert!(part.removes.iter().all(|key| !part.upserts.contains_key(key)));
                told.extend(part.upserts);
                part.removes.iter().for_each(|key| drop(told.remove(key)));
            }
            for (role, told) in Role::ALL.into_iter().zip(&told) {
                assert_eq!(
                    told.keys().cloned().collect::<Vec<_>>(),
                    naive(&new, role),
                    "{role:?} at {version}"
                );
                assert!(told.iter().all(|(key, resource)| new[key] == *resource));
            }
            old = new;
        }
    }
}
