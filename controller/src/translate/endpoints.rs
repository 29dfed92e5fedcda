//! Addresses of a Service port, from its EndpointSlices.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::{Endpoint, Endpoints};
use k8s_openapi::api::discovery::v1::EndpointConditions;
use rustc_hash::{FxHashMap, FxHashSet};

use super::service_port::Transport;
use crate::ObjectKey;
use crate::api::{EndpointSlice, Service};
use crate::resources::{Named, ObjectKind, Objects};

/// Every EndpointSlice, by its Service.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    by_service: FxHashMap<ObjectKey, Vec<Arc<EndpointSlice>>>,
}

impl Slices {
    /// Takes over what changed; returns the Services it concerns.
    pub(crate) fn follow(
        &mut self,
        then: &Objects<EndpointSlice>,
        now: &Objects<EndpointSlice>,
    ) -> FxHashSet<ObjectKey> {
        let mut concerned = FxHashSet::default();
        for (old, new) in then.changes(now) {
            if let Some((old, service)) = old.and_then(|old| Some((old, service(old)?))) {
                if let Some(slices) = self.by_service.get_mut(&service) {
                    slices.retain(|slice| !Arc::ptr_eq(slice, old));
                    if slices.is_empty() {
                        self.by_service.remove(&service);
                    }
                }
                concerned.insert(service);
            }
            if let Some((new, service)) = new.and_then(|new| Some((new, service(new)?))) {
                self.by_service.entry(service.clone()).or_default().push(Arc::clone(new));
                concerned.insert(service);
            }
        }
        concerned
    }

    pub(crate) fn of(&self, service: &ObjectKey) -> &[Arc<EndpointSlice>] {
        self.by_service.get(service).map(Vec::as_slice).unwrap_or_default()
    }
}

fn service(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.label("kubernetes.io/service-name")?;
    Some(ObjectKey::new(ObjectKind::Service, slice.namespace(), name))
}

/// The addresses that may get new requests for a port, by the port's name and transport.
///
/// Those that are ready; if none is, those that still serve while they terminate (KEP-1669), so that a
/// rollout that replaces the last pod loses nothing.
pub(crate) fn endpoints(
    slices: &[Arc<EndpointSlice>],
    service: &Service,
    (port_name, transport): (&str, Transport),
) -> Endpoints {
    let (mut ready, mut terminating) = (Vec::new(), Vec::new());
    for slice in slices {
        let ports = slice.ports.iter().flatten().filter(|port| {
            port.name.as_deref().unwrap_or_default() == port_name && transport.is(port.protocol.as_deref())
        });
        for port in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten() {
                let list = match usability(endpoint.conditions.as_ref()) {
                    Usability::Ready => &mut ready,
                    Usability::Terminating => &mut terminating,
                    Usability::None => continue,
                };
                // Kubernetes: "The contents of this field are interpreted according to the corresponding
                // EndpointSlice addressType field"; names (FQDN) do not parse. All addresses of one endpoint
                // are the same pod.
                let address = endpoint.addresses.iter().find_map(|address| address.parse::<IpAddr>().ok());
                list.extend(
                    address.map(|ip| Endpoint {
                        address: SocketAddr::new(ip, port),
                        zone: endpoint.zone.clone(),
                    }),
                );
            }
        }
    }
    let mut endpoints = one_family(if ready.is_empty() { terminating } else { ready }, service);
    endpoints.sort_unstable();
    endpoints.dedup_by(|a, b| a.address == b.address);
    Endpoints { endpoints }
}

enum Usability {
    Ready,
    Terminating,
    None,
}

fn usability(conditions: Option<&EndpointConditions>) -> Usability {
    // Kubernetes: "A nil value should be interpreted as true" for ready, as ready for serving, "as false" for
    // terminating.
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    if ready {
        Usability::Ready
    } else if serving && terminating {
        Usability::Terminating
    } else {
        Usability::None
    }
}

/// A pod of a dual-stack Service is in a slice of each family: only the family the Service prefers is used,
/// as long as it has an address, so that a pod is counted once.
fn one_family(endpoints: Vec<Endpoint>, service: &Service) -> Vec<Endpoint> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    let Some(first) = families.first() else { return endpoints };
    let (preferred, other): (Vec<_>, Vec<_>) =
        endpoints.into_iter().partition(|endpoint| endpoint.address.is_ipv6() == (first == "IPv6"));
    if preferred.is_empty() { other } else { preferred }
}
