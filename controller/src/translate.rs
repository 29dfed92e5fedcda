//! From the user's objects to the IR and a status for each object: the table of contents.

mod attach;
mod attached;
mod backend_ref;
mod backend_tls;
mod client_traffic;
mod client_validation;
mod conflict;
mod endpoints;
mod facts;
mod filter;
mod gateway;
mod gateway_class;
mod gateway_status;
mod gateways;
mod grpc_route;
mod guarded;
mod hostname;
mod http_route;
mod listener;
mod listener_kinds;
mod listener_set;
mod matching;
mod output;
pub(crate) mod parameters;
mod program;
mod queue;
mod reference_grant;
mod references;
mod rivalry;
mod rollouts;
mod route;
mod route_status;
mod rule;
mod selector;
pub(crate) mod service_port;
mod session;
mod slots;
mod stream_route;
mod tls;
mod usage;
mod waypoint;
mod workloads;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Deserialize;

use crate::api::{GrpcRoute, HttpRoute, TcpRoute, TlsRoute, UdpRoute};
use crate::resources::{Named, ObjectKind, Objects};
use crate::status::GatewayAddress;
use crate::{NAMESPACE, ObjectKey, Resources, Statuses};
use attach::Surroundings;
use attached::AttachedPolicies;
use backend_ref::Cluster;
use backend_tls::Policies;
pub use client_traffic::{TrafficField, traffic_fields};
pub(crate) use endpoints::{
    DIRECT, KUBERNETES, MANAGED_BY, OWN_MANAGER, OfService, SERVICE_NAME, Slices, WAYPOINT,
};
use facts::{Fact, News};
use gateways::Gateways;
pub(crate) use listener::CAPTURE as CAPTURE_PROTOCOL;
use output::Output;
pub(crate) use parameters::WAYPOINT_CLASS;
pub(crate) use program::Programmer;
pub use program::program;
pub(crate) use references::{differs, referenced};
use rollouts::Rollouts;
pub use rollouts::{Move, moves};
#[cfg(test)]
pub(crate) use waypoint::Port;
pub(crate) use waypoint::{
    AUTO_NAME, CAPTURE, CAPTURED, FAILURE_MODE, FailureMode, LOCK_OF, Plan, Plans, SHADOW_OF, TOUCHED,
    USE_WAYPOINT, auto_namespaces,
};
use waypoint::{Around, Capture};
use workloads::Workloads;

/// What the environment decides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Options {
    /// Where Gateways can be reached: standalone says 127.0.0.1. Default: nothing is assigned yet, and every
    /// Gateway says so.
    pub addresses: Vec<GatewayAddress>,
    /// All Gateways are served by one process on this host, as in standalone: their ports must not collide,
    /// and a Gateway may name the IP address it binds. Default false: each Gateway has its own proxies and
    /// gets its addresses from the environment.
    pub shared_host: bool,
    /// Ports for waypoint listeners, one per (Service, port). Default 20000 to 29999: under
    /// `ip_local_port_range`.
    pub waypoint_ports: RangeInclusive<u16>,
    /// Address that waypoint listeners bind. Default: all.
    pub waypoint_address: Option<IpAddr>,
    /// Namespace of the controller. Only there can a SecurityPolicy be about a GatewayClass, which is everybody's: who may
    /// write there runs the installation. Default `fairway-system`.
    pub controller_namespace: String,
    /// Each waypoint is a Gateway of class `fairway-waypoint`, and clients of a Service are led to it by EndpointSlices.
    /// Default false: one waypoint stands in front of all Services that ask for one, as in standalone.
    pub is_cluster: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            shared_host: false,
            waypoint_ports: 20_000..=29_999,
            waypoint_address: None,
            controller_namespace: NAMESPACE.to_owned(),
            is_cluster: false,
        }
    }
}

/// What the objects mean.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    /// What the proxies should do.
    pub resources: config::Resources,
    /// What the user is told. `Programmed` is `Unknown` until [`program`] knows better.
    pub statuses: Statuses,
    /// What is to be done about captured Services in the cluster.
    pub(crate) plans: Arc<Plans>,
}

/// Translates, and remembers the last translation so that the next costs what changed. The result is the same as that of
/// [`translate`]; what did not change is even the same `Arc`.
///
/// What changed is found by comparing the objects with those of last time. Gateways, waypoints and policies are few and
/// depend on each other: each of these parts is done again as a whole if one of its own changed. Routes, backends and
/// endpoints are many: each is done again if it changed or if something it was told did (`facts`).
#[derive(Debug, Default)]
pub struct Translator {
    options: Options,
    then: Resources,
    gateways: Gateways,
    attached: AttachedPolicies,
    told: attached::Told,
    capture: Capture,
    policies: Policies,
    rollouts: Rollouts,
    slices: Slices,
    workloads: Workloads,
    http_routes: route::Memory<HttpRoute>,
    grpc_routes: route::Memory<GrpcRoute>,
    tls_routes: route::Memory<TlsRoute>,
    tcp_routes: route::Memory<TcpRoute>,
    udp_routes: route::Memory<UdpRoute>,
    common: route::Common,
}

impl Translator {
    /// A translator that remembers nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Translates.
    pub fn translate(&mut self, resources: &Resources) -> Translation {
        let Self { options, then, attached, told, gateways, capture, policies, slices, common, .. } = self;
        let rollouts = &mut self.rollouts;
        let (http_routes, grpc_routes) = (&mut self.http_routes, &mut self.grpc_routes);
        let (tls_routes, tcp_routes, udp_routes) =
            (&mut self.tls_routes, &mut self.tcp_routes, &mut self.udp_routes);
        let mut news = News::default();

        // Where routes can stand.
        let moved = attached.follow(then, resources, options, &mut news);
        gateways.follow(then, resources, options, (attached, &moved), &mut news);
        let moved_slices = slices.follow(&then.endpoint_slices, &resources.endpoint_slices);
        let around = Around { now: resources, options, gateways, attached, slices };
        capture.follow(then, (&moved, &moved_slices), &around, &mut news);

        self.workloads.follow(&then.pods, &resources.pods, capture.is_any(), &mut common.said);

        // What they lead to.
        let judged = policies.follow(then, resources, &mut common.said);
        let tells_all = judged.is_some() || gateways.is_judged() || capture.is_judged();
        let mut services = judged.unwrap_or_default();
        services.extend(keys(ObjectKind::Service, &then.services, &resources.services));
        for grant in keys(ObjectKind::ReferenceGrant, &then.reference_grants, &resources.reference_grants) {
            news.tell(Fact::Grants(grant.namespace));
        }
        rollouts.follow(then, resources, &mut news, &mut common.said);
        let cluster = Cluster::new(resources, policies, attached, rollouts);
        common.backends.follow(services.iter(), &cluster, &mut news);
        common.backends.moved(moved_slices.iter());

        // Routes: each alone, then against each other, then what follows.
        let surroundings = Surroundings { cluster: &cluster, gateways, capture };
        http_routes.prepare((&then.http_routes, &resources.http_routes), &news, &surroundings, common);
        grpc_routes.prepare((&then.grpc_routes, &resources.grpc_routes), &news, &surroundings, common);
        tls_routes.prepare((&then.tls_routes, &resources.tls_routes), &news, &surroundings, common);
        tcp_routes.prepare((&then.tcp_routes, &resources.tcp_routes), &news, &surroundings, common);
        udp_routes.prepare((&then.udp_routes, &resources.udp_routes), &news, &surroundings, common);
        common.rivalry.settle(http_routes, grpc_routes);
        tls_routes.rank();
        tcp_routes.rank();
        udp_routes.rank();
        http_routes.finish(&surroundings, common);
        grpc_routes.finish(&surroundings, common);
        tls_routes.finish(&surroundings, common);
        tcp_routes.finish(&surroundings, common);
        udp_routes.finish(&surroundings, common);

        // What is said of everything else.
        let route::Common { backends, readers, usage, said, .. } = common;
        usage.defaults(&surroundings, backends);
        usage.policies(&surroundings, (&services, tells_all), backends, said);
        let is_moved =
            std::mem::take(&mut usage.is_reached_anew) || gateways.is_judged() || capture.is_judged();
        let targets = keys(ObjectKind::HttpRoute, &then.http_routes, &resources.http_routes)
            .chain(keys(ObjectKind::GrpcRoute, &then.grpc_routes, &resources.grpc_routes))
            .chain(keys(ObjectKind::Service, &then.services, &resources.services));
        let is_moved = attached.are_about(targets) || is_moved;
        told.write((usage.reached.keys(), is_moved), &surroundings, backends, said);
        backends.write(slices, readers, said);
        gateways.write(&usage.attached, usage.moved.drain(), said);
        capture.write(options, said);
        *then = resources.clone();
        Translation { plans: Arc::clone(&capture.plans), ..said.translation() }
    }
}

/// The objects of a kind that came, changed or went.
fn keys<'a, T: Named>(
    kind: ObjectKind,
    then: &'a Objects<T>,
    now: &'a Objects<T>,
) -> impl Iterator<Item = ObjectKey> + use<'a, T> {
    let changed = then.changes(now).filter_map(|(old, new)| old.or(new));
    changed.map(move |object| ObjectKey::new(kind, object.namespace(), object.name()))
}

/// Translates once.
#[must_use]
pub fn translate(resources: &Resources, options: &Options) -> Translation {
    Translator::new(options.clone()).translate(resources)
}

/// Not a condition of Kubernetes: marks a problem that leaves everything pending.
const PENDING: &str = "Pending";
