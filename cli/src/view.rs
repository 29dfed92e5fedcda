//! Looks into resources of one kind.

use config::{HttpRoute, Listener, Resource};

/// The route, if it is one.
pub(crate) fn route_of(resource: &Resource) -> Option<&HttpRoute> {
    match resource {
        Resource::HttpRoute(route) | Resource::GrpcRoute(route) => Some(route),
        Resource::Certificate(_) | Resource::Backend(_) | Resource::Endpoints(_) | Resource::Listener(_) => {
            None
        }
    }
}

/// The listener, if it is one.
pub(crate) fn listener_of(resource: &Resource) -> Option<&Listener> {
    if let Resource::Listener(listener) = resource { Some(listener) } else { None }
}
