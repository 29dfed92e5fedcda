//! Where a route stands: which listeners and Service ports its parentRefs lead to, and why others not.

mod service;

use config::{Key, Parent};

use super::backend_ref::Cluster;
use super::facts::Fact;
use super::gateway::Listener;
use super::gateways::Gateways;
use super::hostname;
use super::reference_grant::GATEWAY_GROUP;
use super::route::Route;
use super::waypoint::Capture;
use crate::ObjectKey;
use crate::resources::ObjectKind;
use crate::status::{ParentRef, Problem, reason};

/// What routes are judged against.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) gateways: &'a Gateways,
    pub(crate) capture: &'a Capture,
}

/// A place a route can stand at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Number of the Gateway, index of the listener.
    Listener(usize, usize),
    /// Number of the captured Service, index of the port.
    Port(usize, usize),
    /// The same, for callers of one namespace: its number.
    Consumer(usize, usize, usize),
}

/// A place the route may stand at as far as it alone is concerned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Index of the parent.
    pub(crate) parent: usize,
    pub(crate) at: At,
    /// What route and listener have in common; `*` alone is every host.
    pub(crate) hostnames: Vec<String>,
}

/// The parents of a route that are ours.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    pub(crate) parents: Vec<(ParentRef, Option<Problem>)>,
    pub(crate) candidates: Vec<Candidate>,
}

impl Surroundings<'_> {
    /// Follows the parentRefs of a route. Those that lead to somebody else's Gateway, or to none, are left
    /// out: Gateway API: "Implementations of this API can only populate Route status for the Gateways/parent
    /// resources they are responsible for".
    pub(crate) fn attach<T: Route>(&self, route: &T) -> Attached {
        let mut attached = Attached::default();
        // What it asks for as a whole cannot be done: it stands nowhere.
        let is_refused = route.wants_default_gateways()
            || route.hostnames().iter().any(|h| hostname::wildcard_problem(h).is_some());
        for parent in route.parents() {
            if attached.parents.iter().any(|(known, _)| *known == parent) {
                continue;
            }
            let index = attached.parents.len();
            let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
            let outcome = match (group, parent.kind.as_deref().unwrap_or("Gateway")) {
                (GATEWAY_GROUP, "Gateway") => self.gateway(route, &parent),
                (GATEWAY_GROUP, "ListenerSet") => self.listener_set(route, &parent),
                ("", "Service") => Some(self.service(route, &parent)),
                _ => None,
            };
            match outcome {
                None => {}
                Some(Err(problem)) => attached.parents.push((parent, Some(problem))),
                Some(Ok(places)) => {
                    attached.parents.push((parent, None));
                    if !is_refused {
                        let places = places.into_iter();
                        attached.candidates.extend(places.map(|(at, hostnames)| Candidate {
                            parent: index,
                            at,
                            hostnames,
                        }));
                    }
                }
            }
        }
        attached
    }

    fn gateway<T: Route>(&self, route: &T, parent: &ParentRef) -> Option<Result<Vec<Place>, Problem>> {
        let namespace = parent.namespace.as_deref().unwrap_or_else(|| route.namespace());
        self.cluster.note(Fact::object(ObjectKind::Gateway, namespace, &parent.name));
        let index = self.gateways.find(namespace, &parent.name)?;
        Some(self.listeners(route, parent, index, None))
    }

    fn listener_set<T: Route>(&self, route: &T, parent: &ParentRef) -> Option<Result<Vec<Place>, Problem>> {
        let namespace = parent.namespace.as_deref().unwrap_or_else(|| route.namespace());
        self.cluster.note(Fact::object(ObjectKind::ListenerSet, namespace, &parent.name));
        let (gateway, set) = self.gateways.find_set(namespace, &parent.name)?;
        Some(self.listeners(route, parent, gateway, Some(set)))
    }

    /// The listeners of a Gateway, or of one of its ListenerSets, that take a route. Each test says its own reason
    /// when it leaves none. Gateway API: "When the Gateway is specified as a parentRef … it does not attach to
    /// ListenerSets".
    fn listeners<T: Route>(
        &self,
        route: &T,
        parent: &ParentRef,
        index: usize,
        set: Option<usize>,
    ) -> Result<Vec<Place>, Problem> {
        let Some(gateway) = self.gateways.get(index) else { return Ok(Vec::new()) };
        let (kind, namespace, name) = match set.and_then(|set| gateway.sets.get(set)) {
            Some(set) if !set.is_allowed => {
                let message = format!(
                    "parentRefs: ListenerSet {}/{} is not attached to its Gateway: see its status",
                    set.namespace, set.name
                );
                return Err(Problem::accepted(reason::NO_MATCHING_PARENT, message));
            }
            Some(set) => (ObjectKind::ListenerSet, &*set.namespace, &*set.name),
            None => (ObjectKind::Gateway, &*gateway.namespace, &*gateway.name),
        };
        let section = parent.section_name.as_deref().filter(|section| !section.is_empty());
        let owner = ObjectKey::new(kind, namespace, name);
        let kind = kind.as_str();
        self.cluster.note(match section {
            Some(section) => Fact::Listener(owner, section.into()),
            None => Fact::Listeners(owner),
        });
        let named: Vec<(usize, &Listener)> = (gateway.listeners.iter().enumerate())
            .filter(|(_, listener)| listener.set == set)
            .filter(|(_, listener)| section.is_none_or(|section| section == listener.name))
            .filter(|(_, listener)| parent.port.is_none_or(|port| port == listener.port))
            .collect();
        if named.is_empty() {
            let what = match (section, parent.port) {
                (Some(section), Some(port)) => format!("listener {section:?} on port {port}"),
                (Some(section), None) => format!("listener {section:?}"),
                (None, Some(port)) => format!("listener on port {port}"),
                (None, None) => "listener".to_owned(),
            };
            let message = format!("parentRefs: {kind} {namespace}/{name} has no {what}");
            return Err(Problem::accepted(reason::NO_MATCHING_PARENT, message));
        }
        let route_namespace = route.namespace();
        self.cluster.note(Fact::object(ObjectKind::Namespace, "", route_namespace));
        let labels = self.cluster.resources.namespaces.get("", route_namespace);
        let labels = labels.and_then(|namespace| namespace.metadata.labels.as_ref());
        let allowing: Vec<(usize, &Listener)> = named
            .iter()
            .filter(|(_, listener)| listener.kinds.allow(T::KIND))
            .filter(|(_, listener)| listener.namespaces.allow(namespace, route_namespace, labels))
            .copied()
            .collect();
        if allowing.is_empty() {
            let message = format!(
                "parentRefs: no listener of {kind} {namespace}/{name} that is named allows {} from \
                 namespace {route_namespace}: see its allowedRoutes",
                T::KIND.as_str()
            );
            return Err(Problem::accepted(reason::NOT_ALLOWED_BY_LISTENERS, message));
        }
        let places: Vec<_> = allowing
            .iter()
            .map(|(at, listener)| {
                let hostnames = route.common_hostnames(listener.hostname.as_deref());
                (At::Listener(index, *at), hostnames)
            })
            .filter(|(_, hostnames)| !hostnames.is_empty())
            .collect();
        if places.is_empty() {
            let offered: Vec<_> = allowing.iter().filter_map(|(_, l)| l.hostname.as_deref()).collect();
            let message = format!(
                "hostnames: none is inside a hostname of {kind} {namespace}/{name}: {}",
                offered.join(", ")
            );
            return Err(Problem::accepted(reason::NO_MATCHING_LISTENER_HOSTNAME, message));
        }
        Ok(places)
    }

    /// The listener of a place.
    pub(crate) fn listener(&self, at: &At) -> Option<&Listener> {
        match *at {
            At::Listener(gateway, listener) => self.gateways.get(gateway)?.listeners.get(listener),
            At::Port(..) | At::Consumer(..) => None,
        }
    }

    /// The SecurityPolicies about all that comes in at a place.
    pub(crate) fn attached(&self, at: &At) -> &[Key] {
        match *at {
            At::Listener(..) => {
                self.listener(at).map(|listener| listener.attached.as_slice()).unwrap_or_default()
            }
            At::Port(service, _) | At::Consumer(service, ..) => {
                self.capture.get(service).map(|captured| captured.attached.as_slice()).unwrap_or_default()
            }
        }
    }

    /// A place as proxies know it; `None` when they are not told of it.
    pub(crate) fn parent(&self, at: &At, hostnames: &[String]) -> Option<Parent> {
        match *at {
            At::Listener(gateway, listener) => {
                let gateway = self.gateways.get(gateway)?;
                let listener = gateway.listeners.get(listener).filter(|listener| listener.is_live)?;
                Some(Parent::Listener {
                    namespace: gateway.namespace.to_string(),
                    gateway: gateway.name.to_string(),
                    section: listener.section.clone(),
                    hostnames: hostnames.to_vec(),
                })
            }
            At::Port(service, port) => {
                let captured = self.capture.get(service)?;
                let port = captured.ports.as_ref().ok()?.get(port)?;
                Some(Parent::Service(captured.captured(port)))
            }
            At::Consumer(service, port, consumer) => {
                let captured = self.capture.get(service)?;
                let port = captured.ports.as_ref().ok()?.get(port)?;
                let namespace = self.capture.consumer_name(consumer)?.to_owned();
                Some(Parent::Consumer { of: captured.captured(port), namespace })
            }
        }
    }
}

type Place = (At, Vec<String>);
