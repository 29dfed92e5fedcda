//! Addresses of a Service port, from its EndpointSlices.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::{Endpoint, Endpoints};
use k8s_openapi::api::discovery::v1::EndpointConditions;
use rustc_hash::{FxHashMap, FxHashSet};

use super::service_port::Transport;
use super::waypoint::{CAPTURED, SHADOW_OF};
use crate::ObjectKey;
use crate::api::{EndpointSlice, Service};
use crate::resources::{Named, ObjectKind, Objects};

/// Every EndpointSlice, by its Service.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    by_service: FxHashMap<ObjectKey, OfService>,
}

/// The EndpointSlices of one Service.
#[derive(Debug, Default)]
pub(crate) struct OfService {
    /// Of Kubernetes, or of whoever writes them.
    pub(crate) theirs: Vec<Arc<EndpointSlice>>,
    /// Those that a waypoint has to do with; few Services have any.
    led: Option<Box<Led>>,
}

#[derive(Debug, Default)]
struct Led {
    /// Of the Service that has the same endpoints and keeps them while the first leads to a waypoint.
    shadow: Vec<Arc<EndpointSlice>>,
    /// Ours, which lead to a waypoint.
    own: Vec<Arc<EndpointSlice>>,
}

impl OfService {
    #[cfg(test)]
    pub(crate) fn new(
        theirs: Vec<Arc<EndpointSlice>>,
        shadow: Vec<Arc<EndpointSlice>>,
        own: Vec<Arc<EndpointSlice>>,
    ) -> Self {
        Self { theirs, led: Some(Box::new(Led { shadow, own })) }
    }

    /// Of the Service that has the same endpoints and keeps them while the first leads to a waypoint.
    pub(crate) fn shadow(&self) -> &[Arc<EndpointSlice>] {
        self.led.as_ref().map(|led| led.shadow.as_slice()).unwrap_or_default()
    }

    /// Ours, which lead to a waypoint.
    pub(crate) fn own(&self) -> &[Arc<EndpointSlice>] {
        self.led.as_ref().map(|led| led.own.as_slice()).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.theirs.is_empty() && self.shadow().is_empty() && self.own().is_empty()
    }

    fn of(&mut self, slice: &EndpointSlice) -> &mut Vec<Arc<EndpointSlice>> {
        if is_own(slice) {
            &mut self.led.get_or_insert_default().own
        } else if slice.label(SHADOW_OF).is_some() {
            &mut self.led.get_or_insert_default().shadow
        } else {
            &mut self.theirs
        }
    }

    /// Clients are led to a waypoint: what Kubernetes says of the endpoints is not how they are.
    pub(crate) fn is_steered(&self) -> bool {
        self.theirs.iter().any(|slice| slice.label(CAPTURED).is_some())
    }

    /// Those that tell where requests for the Service shall end.
    pub(crate) fn true_ones(&self) -> &[Arc<EndpointSlice>] {
        if self.is_steered() { self.shadow() } else { &self.theirs }
    }
}

/// Who keeps an EndpointSlice. Of a watch those of Kubernetes come without, and those that say nothing with an empty one:
/// the first are many.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Of those that lead to a waypoint.
pub(crate) const OWN_MANAGER: &str = "waypoint.fairway.dev";
/// Of those that Kubernetes writes for Services with a selector.
pub(crate) const KUBERNETES: &str = "endpointslice-controller.k8s.io";
/// The Service of an EndpointSlice.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// On ours: `namespace/name` of the waypoint's Gateway.
pub(crate) const WAYPOINT: &str = "fairway.dev/waypoint";
/// On ours that lead to pods: ports that no waypoint serves.
pub(crate) const DIRECT: &str = "fairway.dev/direct";

fn is_own(slice: &EndpointSlice) -> bool {
    slice.label(MANAGED_BY) == Some(OWN_MANAGER)
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
                    slices.of(old).retain(|slice| !Arc::ptr_eq(slice, old));
                    if slices.is_empty() {
                        self.by_service.remove(&service);
                    }
                }
                concerned.insert(service);
            }
            if let Some((new, service)) = new.and_then(|new| Some((new, service(new)?))) {
                self.by_service.entry(service.clone()).or_default().of(new).push(Arc::clone(new));
                concerned.insert(service);
            }
        }
        concerned
    }

    /// Those that tell where requests for a Service shall end.
    pub(crate) fn of(&self, service: &ObjectKey) -> &[Arc<EndpointSlice>] {
        self.by_service.get(service).map(OfService::true_ones).unwrap_or_default()
    }

    /// All of a Service.
    pub(crate) fn all(&self, service: &ObjectKey) -> Option<&OfService> {
        self.by_service.get(service)
    }

    /// Where a waypoint listens for a Service: name and number of each port.
    pub(crate) fn own_ports(&self, service: &ObjectKey) -> impl Iterator<Item = (&str, u16)> {
        self.by_service.get(service).into_iter().flat_map(|slices| ports_of(slices.own()))
    }

    /// Every number that a waypoint listens on.
    pub(crate) fn all_own_ports(&self) -> impl Iterator<Item = u16> {
        self.by_service.values().flat_map(|slices| ports_of(slices.own())).map(|(_, port)| port)
    }

    /// The Gateway of the waypoint that clients of a Service are led to: namespace and name.
    pub(crate) fn waypoint(&self, service: &ObjectKey) -> Option<(Box<str>, Box<str>)> {
        let own = self.by_service.get(service)?.own().iter().find(|slice| slice.label(DIRECT).is_none())?;
        let name = own.metadata.annotations.as_ref().and_then(|all| all.get(WAYPOINT));
        let (namespace, name) =
            name.and_then(|name| name.split_once('/')).unwrap_or((own.namespace(), "waypoint"));
        Some((namespace.into(), name.into()))
    }

    /// Whether a waypoint has, or had, to do with a Service.
    pub(crate) fn is_led(&self, service: &ObjectKey) -> bool {
        let slices = self.by_service.get(service);
        slices.is_some_and(|slices| !slices.own().is_empty() || !slices.shadow().is_empty())
    }

    /// Whether somebody else than Kubernetes writes EndpointSlices of a Service.
    pub(crate) fn has_foreign(&self, service: &ObjectKey) -> bool {
        let theirs = self.by_service.get(service).map(|slices| slices.theirs.as_slice()).unwrap_or_default();
        theirs.iter().any(|slice| slice.label(MANAGED_BY).is_some_and(|manager| manager != KUBERNETES))
    }
}

fn ports_of(slices: &[Arc<EndpointSlice>]) -> impl Iterator<Item = (&str, u16)> {
    let ports = slices
        .iter()
        .filter(|slice| slice.label(DIRECT).is_none())
        .flat_map(|slice| slice.ports.iter().flatten());
    ports.filter_map(|port| Some((port.name.as_deref().unwrap_or_default(), u16::try_from(port.port?).ok()?)))
}

fn service(slice: &EndpointSlice) -> Option<ObjectKey> {
    // What a shadow has is its Service's.
    let name = slice.label(SHADOW_OF).or_else(|| slice.label(SERVICE_NAME))?;
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
