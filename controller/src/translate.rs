//! From the user's objects to the IR and a status for each object: the table of contents.

mod attach;
mod backend_ref;
mod backend_tls;
mod client_validation;
mod conflict;
mod endpoints;
mod filter;
mod gateway;
mod gateway_class;
mod gateway_status;
mod grpc_route;
mod hostname;
mod http_route;
mod listener;
mod listener_kinds;
mod listener_set;
mod matching;
mod memory;
mod output;
pub(crate) mod parameters;
mod program;
mod reference_grant;
mod references;
mod rivalry;
mod route;
mod route_status;
mod rule;
mod selector;
pub(crate) mod service_port;
mod stream_route;
mod tls;
mod usage;
mod waypoint;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::status::GatewayAddress;
use crate::{Resources, Statuses};
use attach::Surroundings;
use backend_ref::Cluster;
use memory::Memory;
use output::Output;
pub use program::program;
pub(crate) use program::program_where;
pub(crate) use references::referenced;

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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            shared_host: false,
            waypoint_ports: 20_000..=29_999,
            waypoint_address: None,
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
}

/// Translates, and remembers parts of the last translation so that the next costs what changed. The result is
/// the same as that of [`translate`]; what did not change is even the same `Arc`.
#[derive(Debug, Default)]
pub struct Translator {
    options: Options,
    memory: Memory,
}

impl Translator {
    /// A translator that remembers nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, memory: Memory::default() }
    }

    /// Translates.
    pub fn translate(&mut self, resources: &Resources) -> Translation {
        let (options, memory) = (&self.options, &mut self.memory);
        let mut out = Output::default();
        let cluster = Cluster::new(resources);

        // Where routes can stand.
        let drafts = gateway::draft(resources, options, &cluster.grants, &mut memory.certificates);
        let gateways: Vec<_> = drafts.iter().map(gateway::context).collect();
        let capture = waypoint::Capture::new(resources, options, gateway::ports(&drafts, options));
        let fresh = memory.forget_outdated(resources, &gateways, &capture);

        // Routes: each alone, then against each other, then what follows.
        let surroundings = Surroundings::new(&cluster, &gateways, &capture);
        memory.http_routes.prepare(&resources.http_routes, fresh, &surroundings, &mut memory.backends);
        memory.grpc_routes.prepare(&resources.grpc_routes, fresh, &surroundings, &mut memory.backends);
        memory.tls_routes.prepare(&resources.tls_routes, fresh, &surroundings, &mut memory.backends);
        memory.tcp_routes.prepare(&resources.tcp_routes, fresh, &surroundings, &mut memory.backends);
        memory.udp_routes.prepare(&resources.udp_routes, fresh, &surroundings, &mut memory.backends);
        rivalry::settle(&mut memory.http_routes, &mut memory.grpc_routes);
        stream_route::rank(&mut memory.tls_routes);
        stream_route::rank(&mut memory.tcp_routes);
        stream_route::rank(&mut memory.udp_routes);
        memory.http_routes.finish(&surroundings, &mut memory.backends, &mut out);
        memory.grpc_routes.finish(&surroundings, &mut memory.backends, &mut out);
        memory.tls_routes.finish(&surroundings, &mut memory.backends, &mut out);
        memory.tcp_routes.finish(&surroundings, &mut memory.backends, &mut out);
        memory.udp_routes.finish(&surroundings, &mut memory.backends, &mut out);
        let usage = usage::count(&surroundings, memory);

        // What routes lead to, and what is said of everything else.
        gateway_class::translate(resources, options, &mut out);
        gateway::resources(&drafts, &memory.certificates, &mut out);
        gateway_status::translate(&drafts, &usage.attached_routes, &mut out);
        capture.write(options.waypoint_address, &mut out);
        cluster.policies.statuses(&usage.ancestors, &mut out);
        memory.backends.write(&endpoints::Slices::new(&resources.endpoint_slices), &mut out);
        memory.remember(resources, gateways, capture);
        out.into_translation()
    }
}

/// Translates once.
#[must_use]
pub fn translate(resources: &Resources, options: &Options) -> Translation {
    Translator::new(options.clone()).translate(resources)
}

/// Not a condition of Kubernetes: marks a problem that leaves everything pending.
const PENDING: &str = "Pending";
