//! References to backends: may they be followed, and where do they lead.

use std::sync::Arc;

use config::{AppProtocol, Backend, Key, Kind, Resource};
use policies::BackendRef;
use rustc_hash::FxHashMap;

use super::Output;
use super::backend_tls::Policies;
use super::endpoints::{self, Slices};
use super::memory::same_slices;
use super::reference_grant::Grants;
use super::service_port::{Ready, Transport, find_port, ready};
use crate::api::{EndpointSlice, Service};
use crate::resources::{ObjectKind, Resources};
use crate::status::{Problem, reason};

/// What references are resolved against.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) grants: Grants<'a>,
    pub(crate) policies: Policies<'a>,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(resources: &'a Resources) -> Self {
        Self {
            resources,
            grants: Grants::new(&resources.reference_grants),
            policies: Policies::new(&resources.backend_tls_policies, &resources.config_maps),
        }
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

/// Every backend any reference led to. Kept between translations as long as what they were resolved against
/// is the same.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    tcp: FxHashMap<BackendRef, u32>,
    udp: FxHashMap<BackendRef, u32>,
    /// By id.
    list: Vec<Entry>,
    /// How many of the list nobody used last time.
    idle: usize,
}

#[derive(Debug)]
struct Entry {
    reference: BackendRef,
    transport: Transport,
    outcome: Result<Ready, Problem>,
    /// By whom it is used in this translation.
    used: Used,
    resource: Option<Arc<Resource>>,
    endpoints: Option<(Vec<Arc<EndpointSlice>>, Arc<Resource>)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    http: bool,
    grpc: bool,
    /// Routes of whole connections or datagrams.
    stream: bool,
}

impl Used {
    fn by(route: ObjectKind) -> Self {
        let grpc = route == ObjectKind::GrpcRoute;
        let stream = matches!(route, ObjectKind::TlsRoute | ObjectKind::TcpRoute | ObjectKind::UdpRoute);
        Self { http: !grpc && !stream, grpc, stream }
    }
}

impl Backends {
    /// Follows a reference of a route. The error becomes a condition of the route, the id is for
    /// [`use_by`](Self::use_by).
    pub(crate) fn resolve(
        &mut self,
        cluster: &Cluster<'_>,
        (route, namespace): (ObjectKind, &str),
        reference: Reference<'_>,
    ) -> Result<(u32, BackendRef), (Problem, Option<u32>)> {
        let lost = |problem| (problem, None);
        let (group, kind) = (reference.group.unwrap_or_default(), reference.kind.unwrap_or("Service"));
        if !group.is_empty() || kind != "Service" {
            let message =
                format!("kind {kind} of group {group:?} is not supported: refer to a Service (group \"\")");
            return Err(lost(Problem::unresolved(reason::INVALID_KIND, message)));
        }
        let target = reference.namespace.unwrap_or(namespace);
        let to = (ObjectKind::Service, target, reference.name);
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
        let id = self.intern(cluster, &backend, Transport::of(route));
        let ready = match self.list.get(id as usize).map(|entry| &entry.outcome) {
            Some(Ok(ready)) => ready,
            Some(Err(problem)) => return Err((problem.clone(), Some(id))),
            None => {
                let message = format!("Service {backend}");
                return Err(lost(Problem::unresolved(reason::BACKEND_NOT_FOUND, message)));
            }
        };
        match (&ready.http, Used::by(route)) {
            (_, Used { stream: true, .. }) => Ok((id, backend)),
            (Err(problem), _) => Err((problem.clone(), Some(id))),
            (Ok(Some(AppProtocol::Ws)), Used { grpc: true, .. }) => {
                let message =
                    format!("port {port} of Service {target}/{} carries WebSocket, not gRPC", reference.name);
                Err((Problem::unresolved(reason::UNSUPPORTED_PROTOCOL, message), Some(id)))
            }
            (Ok(_), _) => Ok((id, backend)),
        }
    }

    /// The id of a backend, resolved now if it is new.
    pub(crate) fn intern(
        &mut self,
        cluster: &Cluster<'_>,
        backend: &BackendRef,
        transport: Transport,
    ) -> u32 {
        let ids = match transport {
            Transport::Tcp => &mut self.tcp,
            Transport::Udp => &mut self.udp,
        };
        if let Some(&id) = ids.get(backend) {
            return id;
        }
        let id = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(Entry {
            reference: backend.clone(),
            transport,
            outcome: ready(cluster, backend, transport),
            used: Used::default(),
            resource: None,
            endpoints: None,
        });
        ids.insert(backend.clone(), id);
        id
    }

    /// Notes who uses a backend in this translation: only used ones are published.
    pub(crate) fn use_by(&mut self, id: u32, route: ObjectKind) {
        if let Some(entry) = self.list.get_mut(id as usize) {
            let Used { http, grpc, stream } = Used::by(route);
            entry.used.http |= http;
            entry.used.grpc |= grpc;
            entry.used.stream |= stream;
        }
    }

    /// Whether most of what is kept serves nobody: routes that come and go with ever new references must not fill memory.
    pub(crate) fn is_bloated(&self) -> bool {
        self.idle > 1_000 && self.idle > self.list.len() / 2
    }

    /// The Service port of a backend, for BackendTLSPolicies: reference, Service and port name if they exist.
    pub(crate) fn target<'s>(
        &'s self,
        id: u32,
        resources: &'s Resources,
    ) -> Option<(&'s BackendRef, Option<&'s Service>, Option<&'s str>)> {
        let Entry { reference, transport, .. } = self.list.get(id as usize)?;
        let service = resources.services.get(&reference.namespace, &reference.name).map(Arc::as_ref);
        let port = service.and_then(|service| find_port(service, reference.port, *transport));
        Some((reference, service, port.map(|port| port.name.as_deref().unwrap_or_default())))
    }

    /// Writes what is used, and forgets by whom.
    pub(crate) fn write(&mut self, slices: &Slices<'_>, out: &mut Output) {
        self.idle = 0;
        for entry in &mut self.list {
            let used = std::mem::take(&mut entry.used);
            self.idle += usize::from(used == Used::default());
            let Ok(ready) = &entry.outcome else { continue };
            // Whoever cannot speak what is spoken there answers itself.
            if !used.stream && (used == Used::default() || ready.http.is_err()) {
                continue;
            }
            // A port that only GRPCRoutes use speaks what they need: Gateway API lets us "infer the protocol
            // from the Route type referring to the backend Service".
            let inferred = if used.grpc && !used.http { AppProtocol::H2c } else { AppProtocol::Http };
            let backend = Resource::Backend(Backend {
                protocol: ready.http.as_ref().ok().copied().flatten().unwrap_or(inferred),
                tls: ready.tls.clone(),
                max_connections: None,
            });
            let resource = match entry.resource.take() {
                Some(old) if *old == backend => old,
                _ => Arc::new(backend),
            };
            entry.resource = Some(Arc::clone(&resource));
            let key = entry.transport.key(&entry.reference);
            let endpoints_key = Key { kind: Kind::Endpoints, ..key.clone() };
            out.resources.push((key, resource));

            let now = slices.of(&entry.reference.namespace, &entry.reference.name);
            let endpoints = match entry.endpoints.take() {
                Some((then, resource)) if same_slices(&then, now) => resource,
                old => {
                    let port = (ready.port_name.as_str(), entry.transport);
                    let endpoints = Resource::Endpoints(endpoints::endpoints(now, &ready.service, port));
                    match old {
                        Some((_, old)) if *old == endpoints => old,
                        _ => Arc::new(endpoints),
                    }
                }
            };
            let now = now.iter().map(|&slice| Arc::clone(slice)).collect();
            entry.endpoints = Some((now, Arc::clone(&endpoints)));
            out.resources.push((endpoints_key, endpoints));
        }
    }
}
