//! References to backends: may they be followed, where do they lead, and what is spoken there.

use std::cell::RefCell;
use std::sync::Arc;

use config::{AppProtocol, Backend, BackendTls, Key, Resource};
use k8s_openapi::api::core::v1::ServicePort;
use policies::BackendRef;
use rustc_hash::{FxHashMap, FxHashSet};

use super::backend_tls::Policies;
use super::endpoints::{self, Slices};
use super::facts::{Fact, News, Readers};
use super::output::Said;
use super::reference_grant::Grants;
use super::slots::Slots;
use crate::ObjectKey;
use crate::api::Service;
use crate::resources::{ObjectKind, Resources};
use crate::status::{Problem, reason};

/// What references are resolved against.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) grants: Grants<'a>,
    pub(crate) policies: &'a Policies,
    notes: RefCell<Vec<Fact>>,
}

impl<'a> Cluster<'a> {
    pub(crate) const fn new(resources: &'a Resources, policies: &'a Policies) -> Self {
        let grants = Grants::new(&resources.reference_grants);
        Self { resources, grants, policies, notes: RefCell::new(Vec::new()) }
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
    slots: Slots<BackendRef, Entry>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Through {
    Gateway(usize),
    Service(usize),
}

#[derive(Debug)]
struct Ready {
    service: Arc<Service>,
    port_name: String,
    /// `None`: the Service does not say.
    protocol: Option<AppProtocol>,
    tls: Option<BackendTls>,
}

/// How many use it. Only used backends are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    http: usize,
    grpc: usize,
}

impl Entry {
    /// What routes see of it.
    fn face(&self) -> Result<bool, &Problem> {
        self.outcome.as_ref().map(|ready| ready.protocol == Some(AppProtocol::Ws))
    }
}

fn service_of(backend: &BackendRef) -> ObjectKey {
    ObjectKey::new(ObjectKind::Service, &*backend.namespace, &*backend.name)
}

impl Backends {
    /// Follows a reference of a route. The error becomes a condition of the route, the number is for
    /// [`used`](Self::used).
    pub(crate) fn resolve(
        &mut self,
        cluster: &Cluster<'_>,
        (route, namespace): (ObjectKind, &str),
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
        if !cluster.grants.allow((route, namespace), to) {
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
        let id = self.intern(cluster, &backend);
        cluster.note(Fact::Backend(id));
        match self.slots.get(id).map(|entry| &entry.outcome) {
            Some(Ok(ready)) if route == ObjectKind::GrpcRoute && ready.protocol == Some(AppProtocol::Ws) => {
                let message =
                    format!("port {port} of Service {target}/{} carries WebSocket, not gRPC", reference.name);
                Err((Problem::unresolved(reason::UNSUPPORTED_PROTOCOL, message), Some(id)))
            }
            Some(Ok(_)) => Ok((id, backend)),
            Some(Err(problem)) => Err((problem.clone(), Some(id))),
            None => Err(lost(Problem::unresolved(reason::BACKEND_NOT_FOUND, format!("Service {backend}")))),
        }
    }

    /// The number of a backend, resolved now if it is new.
    pub(crate) fn intern(&mut self, cluster: &Cluster<'_>, backend: &BackendRef) -> usize {
        if let Some(id) = self.slots.find(backend) {
            return id;
        }
        let outcome = ready(cluster, backend);
        let entry = Entry { outcome, used: Used::default(), through: FxHashMap::default() };
        let id = self.slots.insert(backend.clone(), entry);
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
            let Some(outcome) = self.slots.name(*id).map(|backend| ready(cluster, backend)) else { continue };
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
            let count =
                if route == ObjectKind::GrpcRoute { &mut entry.used.grpc } else { &mut entry.used.http };
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
        if is_same { None } else { self.slots.name(id).map(service_of) }
    }

    /// The backends of a Service that requests reach, each with where these come from.
    pub(crate) fn reachable(
        &self,
        service: &ObjectKey,
    ) -> impl Iterator<Item = (&BackendRef, impl Iterator<Item = Through>)> {
        let ids = self.by_service.get(service).into_iter().flatten();
        ids.filter_map(|id| Some((self.slots.name(*id)?, self.slots.get(*id)?.through.keys().copied())))
    }

    /// Writes what was touched and forgets what nobody refers to any more.
    pub(crate) fn write(&mut self, slices: &Slices, readers: &Readers, said: &mut Said) {
        for id in std::mem::take(&mut self.touched) {
            let (Some(reference), Some(entry)) = (self.slots.name(id), self.slots.get(id)) else { continue };
            let is_used = entry.used != Used::default();
            let ready = entry.outcome.as_ref().ok().filter(|_| is_used);
            let backend = ready.map(|ready| Arc::new(Resource::Backend(ready.backend(entry.used))));
            said.resource(Key::backend(reference), backend);
            let service = service_of(reference);
            let endpoints = ready.map(|ready| {
                let endpoints = endpoints::endpoints(slices.of(&service), &ready.service, &ready.port_name);
                Arc::new(Resource::Endpoints(endpoints))
            });
            said.resource(Key::endpoints(reference), endpoints);
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

impl Ready {
    fn backend(&self, used: Used) -> Backend {
        // A port that only GRPCRoutes use speaks what they need: Gateway API lets us "infer the protocol from the Route
        // type referring to the backend Service".
        let inferred = if used.grpc > 0 && used.http == 0 { AppProtocol::H2c } else { AppProtocol::Http };
        Backend { protocol: self.protocol.unwrap_or(inferred), tls: self.tls.clone(), max_connections: None }
    }
}

/// The port of a Service; of two with one number, as for DNS, the one that is TCP.
pub(crate) fn find_port(service: &Service, port: u16) -> Option<&ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    let mut alike = ports.iter().filter(|p| p.port == i32::from(port));
    let first = alike.clone().next();
    alike.find(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")).or(first)
}

fn ready(cluster: &Cluster<'_>, backend: &BackendRef) -> Result<Ready, Problem> {
    let BackendRef { namespace, name, port } = backend;
    let not_found = |message| Problem::unresolved(reason::BACKEND_NOT_FOUND, message);
    let Some(service) = cluster.resources.services.get(namespace, name) else {
        return Err(not_found(format!("Service {namespace}/{name} does not exist")));
    };
    if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        // An ExternalName may lead anywhere, also where its author may not go (CVE-2021-25740).
        let message = format!("Service {namespace}/{name} is of type ExternalName, which is not supported");
        return Err(Problem::unresolved(reason::UNSUPPORTED_VALUE, message));
    }
    let Some(service_port) = find_port(service, *port) else {
        return Err(not_found(format!("Service {namespace}/{name} has no port {port}")));
    };
    let unsupported = |what: String| {
        let message = format!("port {port} of Service {namespace}/{name} {what}");
        Problem::unresolved(reason::UNSUPPORTED_PROTOCOL, message)
    };
    if let Some(protocol) = service_port.protocol.as_deref().filter(|&protocol| protocol != "TCP") {
        return Err(unsupported(format!("has protocol {protocol}, not TCP")));
    }
    let port_name = service_port.name.clone().unwrap_or_default();
    let (protocol, needs_tls) = match service_port.app_protocol.as_deref() {
        None => (None, false),
        Some(name) => match app_protocol(name) {
            Some((protocol, needs_tls)) => (Some(protocol), needs_tls),
            None => return Err(unsupported(format!("has appProtocol {name:?}, which a route cannot speak"))),
        },
    };
    let tls = cluster.policies.tls(service, &port_name)?;
    if needs_tls && tls.is_none() {
        let name = service_port.app_protocol.as_deref().unwrap_or_default();
        return Err(unsupported(format!(
            "has appProtocol {name:?}: a BackendTLSPolicy must say how its certificate is verified"
        )));
    }
    Ok(Ready { service: Arc::clone(service), port_name, protocol, tls })
}

/// What an `appProtocol` means for HTTP and gRPC, and whether it is inside TLS: those of KEP-3726 and the
/// common names without prefix. Service names have no case (RFC 6335 section 5.1).
pub(crate) fn app_protocol(name: &str) -> Option<(AppProtocol, bool)> {
    match &*name.to_ascii_lowercase() {
        "http" => Some((AppProtocol::Http, false)),
        "https" => Some((AppProtocol::Http, true)),
        "kubernetes.io/h2c" | "h2c" | "http2" | "grpc" => Some((AppProtocol::H2c, false)),
        "kubernetes.io/ws" | "ws" => Some((AppProtocol::Ws, false)),
        "kubernetes.io/wss" | "wss" => Some((AppProtocol::Ws, true)),
        _ => None,
    }
}
