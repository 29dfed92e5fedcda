//! What routes add up to: how many are attached where, which backends they use, and through whom a BackendTLSPolicy
//! acts. Kept as counts, so that a route that changes takes back its own share and adds its new one.

use std::collections::BTreeSet;

use config::Protocol;
use rustc_hash::{FxHashMap, FxHashSet};

use super::attach::{At, Surroundings};
use super::attached::Reached;
use super::backend_ref::{Backends, Through};
use super::backend_tls::{Ancestor, Ancestors};
use super::output::Said;
use super::service_port::{Transport, find_port};
use crate::ObjectKey;
use crate::resources::ObjectKind;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// How many routes are attached to each place.
    pub(crate) attached: FxHashMap<At, i32>,
    /// Places whose count moved in this translation.
    pub(crate) moved: FxHashSet<At>,
    /// The backend of each captured port that no route takes: the Service itself; and for what.
    defaults: FxHashMap<At, (usize, ObjectKind)>,
    /// Services whose policies have something else to say.
    concerned: FxHashSet<ObjectKey>,
    /// What routes run through, each with how many do.
    pub(crate) reached: FxHashMap<Reached, usize>,
    /// One of them is the first or was the last.
    pub(crate) is_reached_anew: bool,
}

/// The share of one route.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Places it is accepted at.
    pub(crate) places: Vec<At>,
    /// Through whom policies act on it.
    pub(crate) through: Vec<Through>,
    /// Numbers of the backends it refers to.
    pub(crate) uses: Vec<usize>,
    /// Proxies are told of it, and so of its backends.
    pub(crate) is_published: bool,
    /// SecurityPolicies that its requests run through, each combination once.
    pub(crate) reached: Vec<Reached>,
}

impl Usage {
    /// Adds a route's share (`by` is 1), or takes it back (-1).
    pub(crate) fn count(&mut self, kind: ObjectKind, share: &Share, backends: &mut Backends, by: i8) {
        for at in &share.places {
            let count = self.attached.entry(*at).or_default();
            *count += i32::from(by);
            if *count == 0 {
                self.attached.remove(at);
            }
            self.moved.insert(*at);
        }
        for reached in &share.reached {
            let count = self.reached.entry(reached.clone()).or_default();
            let before = *count;
            *count = count.saturating_add_signed(by.into());
            self.is_reached_anew |= (before == 0) != (*count == 0);
            if *count == 0 {
                self.reached.remove(reached);
            }
        }
        for id in &share.uses {
            for through in &share.through {
                self.concerned.extend(backends.reached(*id, *through, by.into()));
            }
            backends.used(*id, kind, if share.is_published { by.into() } else { 0 });
        }
    }

    /// Gives every captured port that no route takes its default, and takes it from those that have a route now.
    pub(crate) fn defaults(&mut self, surroundings: &Surroundings<'_>, backends: &mut Backends) {
        let moved: FxHashSet<At> = self.moved.iter().chain(&surroundings.capture.moved).copied().collect();
        for at in moved {
            let At::Port(service, port) = at else { continue };
            let captured = surroundings.capture.get(service).filter(|_| !self.attached.contains_key(&at));
            let wanted = captured.and_then(|captured| {
                let port = captured.ports.as_ref().ok()?.get(port)?;
                // Whole connections can go where requests cannot.
                let kind = match port.protocol {
                    Protocol::Http | Protocol::Https => ObjectKind::Service,
                    Protocol::Tls | Protocol::Tcp | Protocol::Udp => ObjectKind::TcpRoute,
                };
                Some((backends.intern(surroundings.cluster, &captured.backend(port), Transport::Tcp), kind))
            });
            let before = self.defaults.get(&at).copied();
            if wanted == before {
                continue;
            }
            for ((id, kind), by) in
                before.map(|used| (used, -1)).into_iter().chain(wanted.map(|used| (used, 1)))
            {
                backends.used(id, kind, by);
                self.concerned.extend(backends.reached(id, through(&at), by));
            }
            match wanted {
                Some(used) => drop(self.defaults.insert(at, used)),
                None => drop(self.defaults.remove(&at)),
            }
        }
    }

    /// Writes the status of policies that are about these Services or about ones that are reached differently now; of
    /// `all` if they were judged again.
    pub(crate) fn policies(
        &mut self,
        surroundings: &Surroundings<'_>,
        (changed, all): (&FxHashSet<ObjectKey>, bool),
        backends: &Backends,
        said: &mut Said,
    ) {
        let policies = surroundings.cluster.policies;
        let concerned = std::mem::take(&mut self.concerned);
        let wanted: BTreeSet<usize> = if all {
            policies.all().collect()
        } else {
            concerned.iter().chain(changed).flat_map(|service| policies.of(service)).collect()
        };
        let services: FxHashSet<ObjectKey> =
            wanted.iter().flat_map(|policy| policies.services(*policy)).collect();
        let mut ancestors = Ancestors::default();
        for key in &services {
            let service = surroundings.cluster.resources.services.get(&key.namespace, &key.name);
            let service = service.map(AsRef::as_ref);
            for ((backend, transport), through) in backends.reachable(key) {
                let port = service.and_then(|service| find_port(service, backend.port, *transport));
                let port = port.map(|port| port.name.as_deref().unwrap_or_default());
                for ancestor in through.filter_map(|through| ancestor(surroundings, through)) {
                    let name = (&*key.namespace, &*key.name);
                    policies.reached(&ancestor, name, service, port, &mut ancestors);
                }
            }
        }
        policies.write(&wanted, &ancestors, said);
    }
}

pub(crate) const fn through(at: &At) -> Through {
    match *at {
        At::Listener(gateway, _) => Through::Gateway(gateway),
        At::Port(service, _) | At::Consumer(service, ..) => Through::Service(service),
    }
}

/// The object a policy is said to act through: Gateway API recommends the Gateway; in a mesh it is the Service.
pub(crate) fn ancestor(surroundings: &Surroundings<'_>, through: Through) -> Option<Ancestor> {
    match through {
        Through::Gateway(gateway) => {
            let gateway = surroundings.gateways.get(gateway)?;
            Some((ObjectKind::Gateway, gateway.namespace.clone(), gateway.name.clone()))
        }
        Through::Service(service) => {
            let captured = surroundings.capture.get(service)?;
            Some((ObjectKind::Service, captured.namespace.clone(), captured.name.clone()))
        }
    }
}
