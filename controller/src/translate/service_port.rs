//! Ports of Services: which one a number means, what is spoken there, and whether it can be used.

use std::sync::Arc;

use config::{AppProtocol, BackendTls, Key};
use k8s_openapi::api::core::v1::ServicePort;
use policies::BackendRef;

use super::backend_ref::Cluster;
use crate::api::Service;
use crate::resources::ObjectKind;
use crate::status::{Problem, reason};

/// What a port carries. A Service may have one number for both, as DNS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// What a kind of route sends to its backends.
    pub(crate) fn of(route: ObjectKind) -> Self {
        if route == ObjectKind::UdpRoute { Self::Udp } else { Self::Tcp }
    }

    /// As Services and listeners' Services write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// Whether a port of this `protocol` carries it; TCP is the default.
    pub(crate) fn is(self, protocol: Option<&str>) -> bool {
        protocol.unwrap_or("TCP") == self.as_str()
    }

    /// What proxies know a backend by.
    pub(crate) fn key(self, backend: &BackendRef) -> Key {
        match self {
            Self::Tcp => Key::backend(backend),
            Self::Udp => Key::udp_backend(backend),
        }
    }
}

/// A port that can be used.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) service: Arc<Service>,
    pub(crate) port_name: String,
    /// What HTTP routes speak there (`None`: the Service does not say), or why they cannot. Whoever carries whole
    /// connections need not know.
    pub(crate) http: Result<Option<AppProtocol>, Problem>,
    pub(crate) tls: Option<BackendTls>,
}

/// The port of a Service; of two with one number the one of this transport.
pub(crate) fn find_port(service: &Service, port: u16, transport: Transport) -> Option<&ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    let mut alike = ports.iter().filter(|p| p.port == i32::from(port));
    let first = alike.clone().next();
    alike.find(|port| transport.is(port.protocol.as_deref())).or(first)
}

/// Judges a port of a Service.
pub(crate) fn ready(
    cluster: &Cluster<'_>,
    backend: &BackendRef,
    transport: Transport,
) -> Result<Ready, Problem> {
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
    let Some(service_port) = find_port(service, *port, transport) else {
        return Err(not_found(format!("Service {namespace}/{name} has no port {port}")));
    };
    let unsupported = |what: String| {
        let message = format!("port {port} of Service {namespace}/{name} {what}");
        Problem::unresolved(reason::UNSUPPORTED_PROTOCOL, message)
    };
    if !transport.is(service_port.protocol.as_deref()) {
        let protocol = service_port.protocol.as_deref().unwrap_or("TCP");
        return Err(unsupported(format!("has protocol {protocol}, not {}", transport.as_str())));
    }
    let port_name = service_port.name.clone().unwrap_or_default();
    let tls = cluster.policies.tls(service, &port_name)?;
    if transport == Transport::Udp && tls.is_some() {
        let message = format!(
            "port {port} of Service {namespace}/{name} has a BackendTLSPolicy, and datagrams cannot be sent over TLS: \
             name another port in its sectionName"
        );
        return Err(Problem::unresolved(reason::INVALID_BACKEND_TLS_POLICY, message));
    }
    let http = match service_port.app_protocol.as_deref().map(|name| (name, app_protocol(name))) {
        None => Ok(None),
        Some((name, Some((_, true)))) if tls.is_none() => Err(unsupported(format!(
            "has appProtocol {name:?}: a BackendTLSPolicy must say how its certificate is verified"
        ))),
        Some((_, Some((protocol, _)))) => Ok(Some(protocol)),
        Some((name, None)) => {
            Err(unsupported(format!("has appProtocol {name:?}, which a route cannot speak")))
        }
    };
    Ok(Ready { service: Arc::clone(service), port_name, http, tls })
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
