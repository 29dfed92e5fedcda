//! References to backends: may they be followed, where do they lead, and what is spoken there.

use std::sync::Arc;

use config::{AppProtocol, Backend, BackendTls, Key, Resource};
use k8s_openapi::api::core::v1::ServicePort;
use policies::BackendRef;
use rustc_hash::FxHashMap;

use super::Output;
use super::backend_tls::Policies;
use super::endpoints::{self, Slices};
use super::memory::same_slices;
use super::reference_grant::Grants;
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
    ids: FxHashMap<BackendRef, u32>,
    list: Vec<Entry>,
    /// How many of the list nobody used last time.
    idle: usize,
}

#[derive(Debug)]
struct Entry {
    reference: BackendRef,
    outcome: Result<Ready, Problem>,
    /// By whom it is used in this translation.
    used: Used,
    resource: Option<Arc<Resource>>,
    endpoints: Option<(Vec<Arc<EndpointSlice>>, Arc<Resource>)>,
}

#[derive(Debug)]
struct Ready {
    service: Arc<Service>,
    port_name: String,
    /// `None`: the Service does not say.
    protocol: Option<AppProtocol>,
    tls: Option<BackendTls>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    http: bool,
    grpc: bool,
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
        let id = self.intern(cluster, &backend);
        match self.list.get(id as usize).map(|entry| &entry.outcome) {
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

    /// The id of a backend, resolved now if it is new.
    pub(crate) fn intern(&mut self, cluster: &Cluster<'_>, backend: &BackendRef) -> u32 {
        if let Some(&id) = self.ids.get(backend) {
            return id;
        }
        let id = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(Entry {
            reference: backend.clone(),
            outcome: ready(cluster, backend),
            used: Used::default(),
            resource: None,
            endpoints: None,
        });
        self.ids.insert(backend.clone(), id);
        id
    }

    /// Notes who uses a backend in this translation: only used ones are published.
    pub(crate) fn use_by(&mut self, id: u32, route: ObjectKind) {
        if let Some(entry) = self.list.get_mut(id as usize) {
            if route == ObjectKind::GrpcRoute {
                entry.used.grpc = true;
            } else {
                entry.used.http = true;
            }
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
        let reference = &self.list.get(id as usize)?.reference;
        let service = resources.services.get(&reference.namespace, &reference.name).map(Arc::as_ref);
        let port = service.and_then(|service| find_port(service, reference.port));
        Some((reference, service, port.map(|port| port.name.as_deref().unwrap_or_default())))
    }

    /// Writes what is used, and forgets by whom.
    pub(crate) fn write(&mut self, slices: &Slices<'_>, out: &mut Output) {
        self.idle = 0;
        for entry in &mut self.list {
            let used = std::mem::take(&mut entry.used);
            self.idle += usize::from(used == Used::default());
            let Ok(ready) = &entry.outcome else { continue };
            if used == Used::default() {
                continue;
            }
            // A port that only GRPCRoutes use speaks what they need: Gateway API lets us "infer the protocol
            // from the Route type referring to the backend Service".
            let inferred = if used.grpc && !used.http { AppProtocol::H2c } else { AppProtocol::Http };
            let backend = Resource::Backend(Backend {
                protocol: ready.protocol.unwrap_or(inferred),
                tls: ready.tls.clone(),
                max_connections: None,
            });
            let resource = match entry.resource.take() {
                Some(old) if *old == backend => old,
                _ => Arc::new(backend),
            };
            entry.resource = Some(Arc::clone(&resource));
            out.resources.push((Key::backend(&entry.reference), resource));

            let now = slices.of(&entry.reference.namespace, &entry.reference.name);
            let endpoints = match entry.endpoints.take() {
                Some((then, resource)) if same_slices(&then, now) => resource,
                old => {
                    let endpoints =
                        Resource::Endpoints(endpoints::endpoints(now, &ready.service, &ready.port_name));
                    match old {
                        Some((_, old)) if *old == endpoints => old,
                        _ => Arc::new(endpoints),
                    }
                }
            };
            let now = now.iter().map(|&slice| Arc::clone(slice)).collect();
            entry.endpoints = Some((now, Arc::clone(&endpoints)));
            out.resources.push((Key::endpoints(&entry.reference), endpoints));
        }
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
