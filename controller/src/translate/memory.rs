//! What is remembered from one translation to the next, and what makes it worthless.
//!
//! A route is judged against Gateways, Services and grants. As long as none of them changed in what routes
//! can see, a route that did not change keeps its outcome. Writing a status changes an object but nothing
//! routes can see.

use std::sync::Arc;

use super::backend_ref::Backends;
use super::gateway::Gateway;
use super::route;
use super::tls::Certificates;
use super::waypoint::{Capture, Captured};
use crate::api::{GrpcRoute, HttpRoute, TcpRoute, TlsRoute, UdpRoute};
use crate::resources::{Named, Objects, Resources};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) certificates: Certificates,
    pub(crate) backends: Backends,
    pub(crate) http_routes: route::Memory<HttpRoute>,
    pub(crate) grpc_routes: route::Memory<GrpcRoute>,
    pub(crate) tls_routes: route::Memory<TlsRoute>,
    pub(crate) tcp_routes: route::Memory<TcpRoute>,
    pub(crate) udp_routes: route::Memory<UdpRoute>,
    last: Last,
}

/// What routes were judged against.
#[derive(Debug, Default)]
struct Last {
    resources: Resources,
    gateways: Vec<Gateway>,
    captured: Vec<Captured>,
}

impl Memory {
    /// Forgets backends whose surroundings changed. True when routes must be judged anew.
    pub(crate) fn forget_outdated(
        &mut self,
        now: &Resources,
        gateways: &[Gateway],
        capture: &Capture,
    ) -> bool {
        self.certificates.forget_unused();
        let then = &self.last.resources;
        let backends_hold = same(&then.services, &now.services, |a, b| a.spec == b.spec)
            && same(&then.reference_grants, &now.reference_grants, |a, b| a.spec == b.spec)
            && same(&then.backend_tls_policies, &now.backend_tls_policies, |a, b| a.spec == b.spec)
            && same(&then.config_maps, &now.config_maps, |a, b| {
                a.data == b.data && a.binary_data == b.binary_data
            });
        let backends_hold = backends_hold && !self.backends.is_bloated();
        if !backends_hold {
            self.backends = Backends::default();
        }
        let parents_hold = self.last.gateways == gateways
            && self.last.captured == capture.services
            && same(&then.namespaces, &now.namespaces, |a, b| a.metadata.labels == b.metadata.labels);
        !(backends_hold && parents_hold)
    }

    /// Keeps what the next translation is compared with.
    pub(crate) fn remember(&mut self, resources: &Resources, gateways: Vec<Gateway>, capture: Capture) {
        self.last = Last { resources: resources.clone(), gateways, captured: capture.services };
    }
}

/// Whether two lists of objects are the same, in the same order, as far as `essence` looks.
fn same<T: Named>(then: &Objects<T>, now: &Objects<T>, essence: impl Fn(&T, &T) -> bool) -> bool {
    then.len() == now.len()
        && then.iter().zip(now).all(|(a, b)| {
            Arc::ptr_eq(a, b)
                || (a.name() == b.name() && a.namespace() == b.namespace() && essence(a.as_ref(), b.as_ref()))
        })
}

/// Whether remembered EndpointSlices are those of now.
pub(crate) fn same_slices<T>(then: &[Arc<T>], now: &[&Arc<T>]) -> bool {
    then.len() == now.len() && then.iter().zip(now).all(|(a, b)| Arc::ptr_eq(a, b))
}
