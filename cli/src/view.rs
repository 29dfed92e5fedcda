//! Looks into resources of one kind.

use config::{Action, HttpRoute, Key, Kind, Listener, Parent, Resource, StreamRoute};

/// The HTTP or gRPC route, if it is one.
pub(crate) fn route_of(resource: &Resource) -> Option<&HttpRoute> {
    match resource {
        Resource::HttpRoute(route) | Resource::GrpcRoute(route) => Some(route),
        Resource::TlsRoute(_)
        | Resource::TcpRoute(_)
        | Resource::UdpRoute(_)
        | Resource::Certificate(_)
        | Resource::Secret(_)
        | Resource::ConfigMap(_)
        | Resource::Backend(_)
        | Resource::Endpoints(_)
        | Resource::SecurityPolicy(_)
        | Resource::BackendTrafficPolicy(_)
        | Resource::Workload(_)
        | Resource::Listener(_) => None,
    }
}

/// The route of whole connections or datagrams, if it is one.
pub(crate) fn stream_of(resource: &Resource) -> Option<&StreamRoute> {
    match resource {
        Resource::TlsRoute(route) | Resource::TcpRoute(route) | Resource::UdpRoute(route) => Some(route),
        Resource::HttpRoute(_)
        | Resource::GrpcRoute(_)
        | Resource::Certificate(_)
        | Resource::Secret(_)
        | Resource::ConfigMap(_)
        | Resource::Backend(_)
        | Resource::Endpoints(_)
        | Resource::SecurityPolicy(_)
        | Resource::BackendTrafficPolicy(_)
        | Resource::Workload(_)
        | Resource::Listener(_) => None,
    }
}

/// What a route is attached to; nothing if it is no route.
pub(crate) fn parents_of(resource: &Resource) -> &[Parent] {
    let http = route_of(resource).map(|route| route.parents.as_slice());
    http.or_else(|| stream_of(resource).map(|route| route.parents.as_slice())).unwrap_or_default()
}

/// The action of each rule of a route; none if it is no route.
pub(crate) fn actions_of(resource: &Resource) -> Vec<&Action> {
    let http = route_of(resource).into_iter().flat_map(|route| &route.rules).map(|rule| &rule.action);
    http.chain(stream_of(resource).map(|route| &route.action)).collect()
}

/// The listener, if it is one.
pub(crate) fn listener_of(resource: &Resource) -> Option<&Listener> {
    if let Resource::Listener(listener) = resource { Some(listener) } else { None }
}

/// The key of a backend that a route of a kind refers to.
pub(crate) fn backend_key(route: Kind, backend: &config::BackendRef) -> Key {
    if route == Kind::UdpRoute { Key::udp_backend(backend) } else { Key::backend(backend) }
}

/// The key of the endpoints of a backend.
pub(crate) fn endpoints_key(backend: &Key) -> Key {
    Key { kind: Kind::Endpoints, ..backend.clone() }
}
