//! Services behind a waypoint: each port that carries HTTP gets a listen port of its own, because that port
//! is what tells a waypoint which Service a client dialled.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Key, Kind, Listener, Protocol, Resource, Scope};
use policies::BackendRef;
use rustc_hash::{FxHashMap, FxHashSet};

use super::gateway_status::WAITING;
use super::service_port::app_protocol;
use super::{Options, Output};
use crate::ObjectKey;
use crate::api::Service;
use crate::resources::{Named, ObjectKind, Resources};
use crate::status::{Condition, ConditionStatus, ServiceStatus, Status, condition_type, reason};

/// On a namespace or a Service: the waypoint to use, or `none`. The Service's label wins.
pub(crate) const USE_WAYPOINT: &str = "fairway.dev/use-waypoint";

/// Every Service that wants a waypoint.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    pub(crate) services: Vec<Captured>,
    by_name: FxHashMap<Box<str>, FxHashMap<Box<str>, usize>>,
}

/// A Service that wants a waypoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    generation: Option<i64>,
    /// Reason and message why it has none, or its ports.
    pub(crate) ports: Result<Vec<Port>, (&'static str, String)>,
    /// What is said of ports left out.
    skipped: Vec<String>,
}

/// A port a waypoint listens for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: Option<Box<str>>,
    pub(crate) port: u16,
    listen: u16,
}

impl Captured {
    pub(crate) fn backend(&self, port: &Port) -> BackendRef {
        BackendRef { namespace: self.namespace.to_string(), name: self.name.to_string(), port: port.port }
    }
}

impl Capture {
    /// Finds Services that want a waypoint and gives each port its listen port, oldest Service first. `taken`
    /// are ports that something else on this host listens on.
    pub(crate) fn new(resources: &Resources, options: &Options, taken: FxHashSet<u16>) -> Self {
        let mut allocator = Allocator { options, taken };
        let mut capture = Self::default();
        for service in resources.services.iter().filter(|service| wants_waypoint(service, resources)) {
            let mut skipped = Vec::new();
            let ports = ports(service, &mut allocator, &mut skipped);
            let captured = Captured {
                namespace: service.namespace().into(),
                name: service.name().into(),
                generation: service.metadata.generation,
                ports,
                skipped,
            };
            let names = capture.by_name.entry(captured.namespace.clone()).or_default();
            names.insert(captured.name.clone(), capture.services.len());
            capture.services.push(captured);
        }
        capture
    }

    /// The Service of a name, and its index.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<(usize, &Captured)> {
        let index = *self.by_name.get(namespace)?.get(name)?;
        Some((index, self.services.get(index)?))
    }

    /// Writes a listener per port and the status of every Service.
    pub(crate) fn write(&self, address: Option<IpAddr>, out: &mut Output) {
        for captured in &self.services {
            for port in captured.ports.as_deref().unwrap_or_default() {
                out.resource(
                    Key::new(
                        Kind::Listener,
                        &*captured.namespace,
                        format!("{}:{}", captured.name, port.port),
                    ),
                    Resource::Listener(Listener {
                        address,
                        port: port.listen,
                        protocol: Protocol::Http,
                        hostname: None,
                        tls: None,
                        backend_certificate: None,
                        scope: Scope::Service(captured.backend(port)),
                    }),
                );
            }
            let key = ObjectKey::new(ObjectKind::Service, &*captured.namespace, &*captured.name);
            let status = ServiceStatus { conditions: vec![condition(captured)] };
            out.statuses.push((key, Arc::new(Status::Service(status))));
        }
    }
}

fn condition(captured: &Captured) -> Condition {
    let (status, reason, message) = match &captured.ports {
        Ok(ports) => {
            let listen: Vec<_> = ports
                .iter()
                .map(|port| format!("port {} on waypoint port {}", port.port, port.listen))
                .collect();
            (
                ConditionStatus::Unknown,
                reason::PENDING,
                format!("{WAITING} Listeners: {}.", listen.join(", ")),
            )
        }
        Err((reason, message)) => (ConditionStatus::False, *reason, message.clone()),
    };
    let mut message = message;
    for skipped in &captured.skipped {
        message.push(' ');
        message.push_str(skipped);
    }
    Condition::new(condition_type::WAYPOINT_BOUND, status, reason, message, captured.generation)
}

fn wants_waypoint(service: &Service, resources: &Resources) -> bool {
    let namespace = || resources.namespaces.get("", service.namespace())?.label(USE_WAYPOINT);
    service.label(USE_WAYPOINT).or_else(namespace).is_some_and(|waypoint| waypoint != "none")
}

fn ports(
    service: &Service,
    allocator: &mut Allocator<'_>,
    skipped: &mut Vec<String>,
) -> Result<Vec<Port>, (&'static str, String)> {
    let spec = service.spec.as_ref();
    // GEP-1294: headless and ExternalName Services have no address of their own that could be captured.
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        let message = "A Service of type ExternalName has no address that a waypoint could take over.";
        return Err((reason::EXTERNAL_NAME, message.to_owned()));
    }
    if spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        let message = "A headless Service has no address that a waypoint could take over.";
        return Err((reason::HEADLESS, message.to_owned()));
    }
    let mut ports = Vec::new();
    for port in spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten() {
        let Ok(number) = u16::try_from(port.port) else { continue };
        if let Some(protocol) = port.protocol.as_deref().filter(|&protocol| protocol != "TCP") {
            skipped.push(format!("Port {number} has protocol {protocol} and stays as it is."));
            continue;
        }
        match port.app_protocol.as_deref().map(|name| (name, app_protocol(name))) {
            None | Some((_, Some((_, false)))) => {}
            Some((name, _)) => {
                skipped.push(format!("Port {number} has appProtocol {name:?} and stays as it is."));
                continue;
            }
        }
        let Some(listen) = allocator.allocate(service, number) else {
            let range = &allocator.options.waypoint_ports;
            let message = format!("Every port from {} to {} is taken.", range.start(), range.end());
            return Err((reason::PORTS_EXHAUSTED, message));
        };
        ports.push(Port { name: port.name.as_deref().map(Into::into), port: number, listen });
    }
    if ports.is_empty() {
        return Err((reason::NO_USABLE_PORT, "The Service has no port that carries HTTP.".to_owned()));
    }
    Ok(ports)
}

struct Allocator<'a> {
    options: &'a Options,
    taken: FxHashSet<u16>,
}

impl Allocator<'_> {
    /// A free port of the range: the one the name hashes to, or the next. So a port keeps its number whatever
    /// else comes and goes, unless two names hash alike; then the older Service keeps it.
    fn allocate(&mut self, service: &Service, port: u16) -> Option<u16> {
        let (first, last) = (*self.options.waypoint_ports.start(), *self.options.waypoint_ports.end());
        let size = u64::from(last.checked_sub(first)?) + 1;
        let hash = fnv1a(&format!("{}/{}:{port}", service.namespace(), service.name()));
        (0..size)
            .filter_map(|step| u16::try_from(u64::from(first) + (hash % size + step) % size).ok())
            .find(|candidate| self.taken.insert(*candidate))
    }
}

/// FNV-1a, 64 bits: fixed for ever, unlike the hashes of hash maps.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
