//! References to backends: may they be followed, and where do they lead.

use std::cell::RefCell;
use std::sync::Arc;

use config::{AppProtocol, Backend, Key, Kind, Resource};
use policies::BackendRef;
use rustc_hash::{FxHashMap, FxHashSet};

use super::attached::AttachedPolicies;
use super::backend_tls::Policies;
use super::endpoints::{self, Slices};
use super::facts::{Fact, News, Readers};
use super::output::Said;
use super::reference_grant::Grants;
use super::rollouts::Rollouts;
use super::service_port::{Ready, Transport, ready};
use super::slots::Slots;
use crate::ObjectKey;
use crate::resources::{ObjectKind, Resources};
use crate::status::{Problem, reason};

/// What references are resolved against.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) grants: Grants<'a>,
    pub(crate) policies: &'a Policies,
    pub(crate) attached: &'a AttachedPolicies,
    pub(crate) rollouts: &'a Rollouts,
    notes: RefCell<Vec<Fact>>,
}

impl<'a> Cluster<'a> {
    pub(crate) const fn new(
        resources: &'a Resources,
        policies: &'a Policies,
        attached: &'a AttachedPolicies,
        rollouts: &'a Rollouts,
    ) -> Self {
        let grants = Grants::new(&resources.reference_grants);
        Self { resources, grants, policies, attached, rollouts, notes: RefCell::new(Vec::new()) }
    }

    /// The route that is judged was told this: it is judged again when the answer changes.
    pub(crate) fn note(&self, fact: Fact) {
        self.notes.borrow_mut().push(fact);
    }

    /// What was noted since the last call.
    pub(crate) fn take_notes(&self) -> Vec<Fact> {
        self.notes.take()
    }
}

/// A reference as the user wrote it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference<'a> {
    pub(crate) group: Option<&'a str>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) port: Option<i32>,
}

/// Every backend that a reference leads to.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    slots: Slots<(BackendRef, Transport), Entry>,
    by_service: FxHashMap<ObjectKey, Vec<usize>>,
    /// To be looked at before the translation ends.
    touched: FxHashSet<usize>,
}

#[derive(Debug)]
struct Entry {
    outcome: Result<Ready, Problem>,
    used: Used,
    /// How often it is used through each.
    through: FxHashMap<Through, usize>,
}

/// Where requests to a backend come from: the number of a Gateway or captured Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Through {
    Gateway(usize),
    Service(usize),
}

/// How many use it. Only used backends are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    http: usize,
    grpc: usize,
    /// Routes of whole connections or datagrams.
    stream: usize,
}

impl Entry {
    /// What routes see of it: whether HTTP routes can speak to it, and whether they find WebSocket.
    fn face(&self) -> Result<Result<bool, &Problem>, &Problem> {
        let ready = self.outcome.as_ref()?;
        Ok(ready.http.as_ref().map(|protocol| *protocol == Some(AppProtocol::Ws)))
    }
}

/// Routes of whole connections or datagrams.
pub(crate) const fn is_stream(route: ObjectKind) -> bool {
    matches!(route, ObjectKind::TlsRoute | ObjectKind::TcpRoute | ObjectKind::UdpRoute)
}

fn service_of(backend: &BackendRef) -> ObjectKey {
    ObjectKey::new(ObjectKind::Service, &*backend.namespace, &*backend.name)
}

impl Backends {
    /// Follows a reference of a route: its kind, its namespace, and the Services it stands in front of. The error becomes a condition of the route, the number is for
    /// [`used`](Self::used).
    pub(crate) fn resolve(
        &mut self,
        cluster: &Cluster<'_>,
        (route, namespace, dialled): (ObjectKind, &str, &[(String, String)]),
        reference: Reference<'_>,
    ) -> Result<(usize, BackendRef), (Problem, Option<usize>)> {
        let lost = |problem| (problem, None);
        let (group, kind) = (reference.group.unwrap_or_default(), reference.kind.unwrap_or("Service"));
        if !group.is_empty() || kind != "Service" {
            let message =
                format!("kind {kind} of group {group:?} is not supported: refer to a Service (group \"\")");
            return Err(lost(Problem::unresolved(reason::INVALID_KIND, message)));
        }
        let target = reference.namespace.unwrap_or(namespace);
        let to = (ObjectKind::Service, target, reference.name);
        if target != namespace {
            cluster.note(Fact::Grants(target.into()));
        }
        let is_dialled = dialled.iter().any(|(of, name)| of == target && name == reference.name);
        if !is_dialled && !cluster.grants.allow((route, namespace), to) {
            let remedy = Grants::remedy((route, namespace), to);
            return Err(lost(Problem::unresolved(reason::REF_NOT_PERMITTED, remedy)));
        }
        let Some(port) = reference.port else {
            let message = "port: a Service needs one";
            return Err(lost(Problem::unresolved(reason::UNSUPPORTED_VALUE, message)));
        };
        let Ok(port) = u16::try_from(port) else {
            let message = format!("port: {port} is not between 1 and 65535");
            return Err(lost(Problem::unresolved(reason::UNSUPPORTED_VALUE, message)));
        };
        let backend = BackendRef { namespace: target.to_owned(), name: reference.name.to_owned(), port };
        let id = self.intern(cluster, &backend, Transport::of(route));
        cluster.note(Fact::Backend(id));
        let ready = match self.slots.get(id).map(|entry| &entry.outcome) {
            Some(Ok(ready)) => ready,
            Some(Err(problem)) => return Err((problem.clone(), Some(id))),
            None => {
                let message = format!("Service {backend}");
                return Err(lost(Problem::unresolved(reason::BACKEND_NOT_FOUND, message)));
            }
        };
        match &ready.http {
            _ if is_stream(route) => Ok((id, backend)),
            Err(problem) => Err((problem.clone(), Some(id))),
            Ok(Some(AppProtocol::Ws)) if route == ObjectKind::GrpcRoute => {
                let message =
                    format!("port {port} of Service {target}/{} carries WebSocket, not gRPC", reference.name);
                Err((Problem::unresolved(reason::UNSUPPORTED_PROTOCOL, message), Some(id)))
            }
            Ok(_) => Ok((id, backend)),
        }
    }

    /// The number of a backend, resolved now if it is new.
    pub(crate) fn intern(
        &mut self,
        cluster: &Cluster<'_>,
        backend: &BackendRef,
        transport: Transport,
    ) -> usize {
        let name = (backend.clone(), transport);
        if let Some(id) = self.slots.find(&name) {
            return id;
        }
        let outcome = ready(cluster, backend, transport);
        let entry = Entry { outcome, used: Used::default(), through: FxHashMap::default() };
        let id = self.slots.insert(name, entry);
        self.by_service.entry(service_of(backend)).or_default().push(id);
        self.touched.insert(id);
        id
    }

    /// Services or their policies changed: resolves their backends again, and tells where routes would see it.
    pub(crate) fn follow<'k>(
        &mut self,
        services: impl Iterator<Item = &'k ObjectKey>,
        cluster: &Cluster<'_>,
        news: &mut News,
    ) {
        for id in services.flat_map(|service| self.by_service.get(service).into_iter().flatten()) {
            let Some(outcome) =
                self.slots.name(*id).map(|(backend, transport)| ready(cluster, backend, *transport))
            else {
                continue;
            };
            let Some(entry) = self.slots.get_mut(*id) else { continue };
            let now = Entry { outcome, used: entry.used, through: std::mem::take(&mut entry.through) };
            if now.face() != entry.face() {
                news.tell(Fact::Backend(*id));
            }
            *entry = now;
            self.touched.insert(*id);
        }
    }

    /// The addresses of Services changed.
    pub(crate) fn moved<'k>(&mut self, services: impl Iterator<Item = &'k ObjectKey>) {
        self.touched.extend(services.flat_map(|service| self.by_service.get(service).into_iter().flatten()));
    }

    /// Routes of a kind use a backend, so many more (or fewer) than before.
    pub(crate) fn used(&mut self, id: usize, route: ObjectKind, by: isize) {
        self.touched.insert(id);
        if let Some(entry) = self.slots.get_mut(id) {
            let count = if route == ObjectKind::GrpcRoute {
                &mut entry.used.grpc
            } else if is_stream(route) {
                &mut entry.used.stream
            } else {
                &mut entry.used.http
            };
            *count = count.saturating_add_signed(by);
        }
    }

    /// Requests reach a backend through this, by so many ways more (or fewer). Returns the Service if this is the first
    /// or was the last of them.
    pub(crate) fn reached(&mut self, id: usize, through: Through, by: isize) -> Option<ObjectKey> {
        self.touched.insert(id);
        let entry = self.slots.get_mut(id)?;
        let count = entry.through.entry(through).or_default();
        let before = *count;
        *count = count.saturating_add_signed(by);
        let is_same = (before == 0) == (*count == 0);
        if *count == 0 {
            entry.through.remove(&through);
        }
        if is_same { None } else { self.slots.name(id).map(|(backend, _)| service_of(backend)) }
    }

    /// The backends of a Service that requests reach, each with where these come from.
    pub(crate) fn reachable(
        &self,
        service: &ObjectKey,
    ) -> impl Iterator<Item = (&(BackendRef, Transport), impl Iterator<Item = Through>)> {
        let ids = self.by_service.get(service).into_iter().flatten();
        ids.filter_map(|id| Some((self.slots.name(*id)?, self.slots.get(*id)?.through.keys().copied())))
    }

    /// Writes what was touched and forgets what nobody refers to any more.
    pub(crate) fn write(&mut self, slices: &Slices, readers: &Readers, said: &mut Said) {
        for id in std::mem::take(&mut self.touched) {
            let (Some((reference, transport)), Some(entry)) = (self.slots.name(id), self.slots.get(id))
            else {
                continue;
            };
            let is_used = entry.used != Used::default();
            // Whoever cannot speak what is spoken there answers itself.
            let is_told = |ready: &&Ready| entry.used.stream > 0 || (is_used && ready.http.is_ok());
            let ready = entry.outcome.as_ref().ok().filter(is_told);
            let (key, service) = (transport.key(reference), service_of(reference));
            let endpoints = ready.map(|ready| {
                let port = (ready.port_name.as_str(), *transport);
                let endpoints = endpoints::endpoints(slices.of(&service), &ready.service, port);
                Arc::new(Resource::Endpoints(endpoints))
            });
            said.resource(Key { kind: Kind::Endpoints, ..key.clone() }, endpoints);
            said.resource(key, ready.map(|ready| Arc::new(Resource::Backend(entry.used.backend(ready)))));
            if !is_used && entry.through.is_empty() && readers.of(&Fact::Backend(id)).next().is_none() {
                self.slots.remove(id);
                if let Some(ids) = self.by_service.get_mut(&service) {
                    ids.retain(|other| *other != id);
                    if ids.is_empty() {
                        self.by_service.remove(&service);
                    }
                }
            }
        }
    }
}

impl Used {
    fn backend(self, ready: &Ready) -> Backend {
        // A port that only GRPCRoutes use speaks what they need: Gateway API lets us "infer the protocol from the Route
        // type referring to the backend Service".
        let inferred = if self.grpc > 0 && self.http == 0 { AppProtocol::H2c } else { AppProtocol::Http };
        Backend {
            protocol: ready.http.as_ref().ok().copied().flatten().unwrap_or(inferred),
            tls: ready.tls.clone(),
            max_connections: None,
        }
    }
}
