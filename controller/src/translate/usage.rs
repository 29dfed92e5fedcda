//! What routes add up to: how many are attached where, and through whom a BackendTLSPolicy acts.

use super::attach::{At, Surroundings};
use super::backend_tls::{Ancestor, Ancestors};
use super::memory::Memory;
use super::service_port::Transport;
use crate::resources::ObjectKind;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// By Gateway and listener.
    pub(crate) attached_routes: Vec<Vec<i32>>,
    pub(crate) ancestors: Ancestors,
}

/// Counts, and gives every captured port that no route takes its default: the Service itself.
pub(crate) fn count(surroundings: &Surroundings<'_>, memory: &mut Memory) -> Usage {
    let Surroundings { cluster, gateways, capture, .. } = surroundings;
    let mut usage = Usage {
        attached_routes: gateways.iter().map(|gateway| vec![0; gateway.listeners.len()]).collect(),
        ancestors: Ancestors::default(),
    };
    let mut routed: Vec<Vec<bool>> = capture
        .services
        .iter()
        .map(|captured| vec![false; captured.ports.as_ref().map_or(0, Vec::len)])
        .collect();
    let backends = &mut memory.backends;
    let mut note = |at: &At, uses: &[u32]| {
        match *at {
            At::Listener(gateway, listener) => {
                if let Some(count) = usage.attached_routes.get_mut(gateway).and_then(|g| g.get_mut(listener))
                {
                    *count += 1;
                }
            }
            At::Port(service, port) => {
                if let Some(routed) = routed.get_mut(service).and_then(|s| s.get_mut(port)) {
                    *routed = true;
                }
            }
        }
        if cluster.policies.is_empty() {
            return;
        }
        // What passes through is inside TLS already, the client's: no policy says how.
        if surroundings.listener(at).is_some_and(|listener| listener.is_passthrough) {
            return;
        }
        let Some(ancestor) = ancestor(surroundings, at) else { return };
        for id in uses {
            if let Some((backend, service, port)) = backends.target(*id, cluster.resources) {
                let name = (backend.namespace.as_str(), backend.name.as_str());
                cluster.policies.reached(&ancestor, name, service, port, &mut usage.ancestors);
            }
        }
    };
    memory.http_routes.for_each_accepted(&mut note);
    memory.grpc_routes.for_each_accepted(&mut note);
    memory.tls_routes.for_each_accepted(&mut note);
    memory.tcp_routes.for_each_accepted(&mut note);
    memory.udp_routes.for_each_accepted(&mut note);

    for (index, captured) in capture.services.iter().enumerate() {
        for (port_index, port) in captured.ports.as_deref().unwrap_or_default().iter().enumerate() {
            if routed.get(index).and_then(|s| s.get(port_index)).copied().unwrap_or_default() {
                continue;
            }
            let id = memory.backends.intern(cluster, &captured.backend(port), Transport::Tcp);
            memory.backends.use_by(id, ObjectKind::Service);
            if let Some(ancestor) = ancestor(surroundings, &At::Port(index, port_index))
                && let Some((backend, service, port)) = memory.backends.target(id, cluster.resources)
            {
                let name = (backend.namespace.as_str(), backend.name.as_str());
                cluster.policies.reached(&ancestor, name, service, port, &mut usage.ancestors);
            }
        }
    }
    usage
}

/// The object a policy is said to act through: Gateway API recommends the Gateway; in a mesh it is the
/// Service.
fn ancestor(surroundings: &Surroundings<'_>, at: &At) -> Option<Ancestor> {
    match *at {
        At::Listener(gateway, _) => {
            let gateway = surroundings.gateways.get(gateway)?;
            Some((ObjectKind::Gateway, gateway.namespace.clone(), gateway.name.clone()))
        }
        At::Port(service, _) => {
            let captured = surroundings.capture.services.get(service)?;
            Some((ObjectKind::Service, captured.namespace.clone(), captured.name.clone()))
        }
    }
}
