//! HTTPRoutes and GRPCRoutes that want the same host, or the same Service port.

use rustc_hash::FxHashMap;

use super::attach::At;
use super::conflict::HostSet;
use super::route::{Entry, Memory, Route};
use crate::api::{GrpcRoute, HttpRoute};
use crate::resources::{Named, ObjectKind};

/// Decides who stands where both kinds want to, and notes it in `lost` of those who do not.
///
/// On a listener, Gateway API: "the implementation MUST accept exactly one of these two routes … The oldest
/// Route based on creation timestamp. The Route appearing first in alphabetical order by
/// `{namespace}/{name}`." On a Service port, GEP-1294: the more specific kind, GRPCRoute before HTTPRoute.
pub(crate) fn settle(http: &mut Memory<HttpRoute>, grpc_routes: &mut Memory<GrpcRoute>) {
    if http.entries.is_empty() || grpc_routes.entries.is_empty() {
        return;
    }
    let mut listeners: FxHashMap<(usize, usize), Hosts> = FxHashMap::default();
    let mut ports = Ports::default();
    for entry in &grpc_routes.entries {
        for candidate in &entry.attached.candidates {
            match candidate.at {
                At::Listener(gateway, listener) => drop(listeners.entry((gateway, listener)).or_default()),
                At::Port(..) if entry.is_invalid => {}
                At::Port(service, port) => {
                    take_port(&mut ports, (service, port), entry, ObjectKind::GrpcRoute)
                }
            }
        }
    }
    let mut http_ports = Ports::default();
    let mut grpc = grpc_routes.entries.iter_mut().filter(|entry| !entry.is_invalid).peekable();
    for http in http.entries.iter_mut().filter(|entry| !entry.is_invalid) {
        while let Some(older) = grpc.next_if(|grpc| age(&*grpc.object) < age(&*http.object)) {
            settle_one(older, ObjectKind::GrpcRoute, &mut listeners);
        }
        lose_ports(http, &ports);
        for candidate in &http.attached.candidates {
            if let At::Port(service, port) = candidate.at {
                take_port(&mut http_ports, (service, port), http, ObjectKind::HttpRoute);
            }
        }
        settle_one(http, ObjectKind::HttpRoute, &mut listeners);
    }
    for younger in grpc {
        settle_one(younger, ObjectKind::GrpcRoute, &mut listeners);
    }
    // Routes that are invalid anyway take no place; where the other kind stands, they do not answer 500
    // either.
    for invalid in grpc_routes.entries.iter_mut().filter(|entry| entry.is_invalid) {
        lose_ports(invalid, &http_ports);
        settle_one(invalid, ObjectKind::GrpcRoute, &mut listeners);
    }
    for invalid in http.entries.iter_mut().filter(|entry| entry.is_invalid) {
        lose_ports(invalid, &ports);
        settle_one(invalid, ObjectKind::HttpRoute, &mut listeners);
    }
}

/// Host names taken on one listener, by kind of route.
#[derive(Default)]
struct Hosts {
    http: HostSet,
    grpc: HostSet,
}

/// Who stands at a Service port.
type Ports = FxHashMap<(usize, usize), String>;

fn take_port<T: Route>(ports: &mut Ports, at: (usize, usize), entry: &Entry<T>, kind: ObjectKind) {
    ports.entry(at).or_insert_with(|| name(&*entry.object, kind));
}

fn lose_ports<T: Route>(entry: &mut Entry<T>, ports: &Ports) {
    for (index, candidate) in entry.attached.candidates.iter().enumerate() {
        if let At::Port(service, port) = candidate.at
            && let Some(owner) = ports.get(&(service, port))
        {
            entry.lost.push((index, owner.clone()));
        }
    }
}

fn settle_one<T: Route>(
    entry: &mut Entry<T>,
    kind: ObjectKind,
    listeners: &mut FxHashMap<(usize, usize), Hosts>,
) {
    for (index, candidate) in entry.attached.candidates.iter().enumerate() {
        let At::Listener(gateway, listener) = candidate.at else { continue };
        // Only listeners that some GRPCRoute wants are in the map.
        let Some(hosts) = listeners.get_mut(&(gateway, listener)) else { continue };
        let (own, rivals) = if kind == ObjectKind::GrpcRoute {
            (&mut hosts.grpc, &hosts.http)
        } else {
            (&mut hosts.http, &hosts.grpc)
        };
        let owner = candidate.hostnames.iter().find_map(|hostname| rivals.owner(hostname));
        if let Some(owner) = owner.filter(|_| !rivals.is_empty()) {
            entry.lost.push((index, owner.to_owned()));
            continue;
        }
        if entry.is_invalid {
            continue;
        }
        let owner = name(&*entry.object, kind);
        for hostname in &candidate.hostnames {
            own.insert(hostname, &owner);
        }
    }
}

fn age<T: Named>(route: &T) -> (i64, &str, &str) {
    (route.created(), route.namespace(), route.name())
}

fn name<T: Named>(route: &T, kind: ObjectKind) -> String {
    format!("{} {}/{}", kind.as_str(), route.namespace(), route.name())
}
