//! Services behind a waypoint: each port that carries HTTP gets a listen port of its own, because that port
//! is what tells a waypoint which Service a client dialled.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Key, Kind, Listener, Protocol, Resource, Scope};
use policies::BackendRef;
use rustc_hash::FxHashSet;

use super::Options;
use super::attach::At;
use super::attached::{AttachedPolicies, Moved};
use super::facts::{Fact, News};
use super::gateway_status::WAITING;
use super::output::{Output, Part, Said};
use super::service_port::app_protocol;
use super::slots::Slots;
use crate::ObjectKey;
use crate::api::{Namespace, Service};
use crate::resources::{Named, ObjectKind, Objects, Resources};
use crate::status::{Condition, ConditionStatus, ServiceStatus, Status, condition_type, reason};

/// On a namespace or a Service: the waypoint to use, or `none`. The Service's label wins.
pub(crate) const USE_WAYPOINT: &str = "fairway.dev/use-waypoint";

/// Every Service that wants a waypoint. Judged together, and only when one of them changes: which port each gets
/// depends on who came first.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    wanting: Objects<Service>,
    taken: FxHashSet<u16>,
    services: Slots<ObjectKey, Captured>,
    /// Places that came, changed or went in this translation.
    pub(crate) moved: Vec<At>,
    /// Judged in this translation and not written yet.
    is_judged: bool,
    part: Part,
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
    /// The SecurityPolicies about it.
    pub(crate) attached: Vec<Key>,
}

/// A port a waypoint listens for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: Option<Box<str>>,
    pub(crate) port: u16,
    listen: u16,
}

impl Captured {
    fn places(&self, slot: usize) -> impl Iterator<Item = At> {
        (0..self.ports.as_ref().map_or(0, Vec::len)).map(move |port| At::Port(slot, port))
    }

    pub(crate) fn backend(&self, port: &Port) -> BackendRef {
        BackendRef { namespace: self.namespace.to_string(), name: self.name.to_string(), port: port.port }
    }
}

impl Capture {
    /// Judges all again if one of them changed. `taken` are ports that something else on this host listens on.
    pub(crate) fn follow(
        &mut self,
        then: &Resources,
        now: &Resources,
        (options, taken): (&Options, &FxHashSet<u16>),
        (attached, moved): (&AttachedPolicies, &Moved),
        news: &mut News,
    ) {
        self.is_judged |= moved.services && !self.wanting.is_empty();
        for (old, new) in then.services.changes(&now.services) {
            if (old.is_none() || new.is_none())
                && let Some(service) = old.or(new)
            {
                news.tell(Fact::object(ObjectKind::Service, service.namespace(), service.name()));
            }
            self.look(old, new, now);
        }
        for (old, new) in then.namespaces.changes(&now.namespaces) {
            let labels = |namespace: Option<&Arc<Namespace>>| namespace?.metadata.labels.clone();
            if labels(old) == labels(new) {
                continue;
            }
            let Some(namespace) = old.or(new) else { continue };
            news.tell(Fact::object(ObjectKind::Namespace, "", namespace.name()));
            now.services
                .in_namespace(namespace.name())
                .for_each(|service| self.look(Some(service), Some(service), now));
        }
        if self.taken != *taken {
            self.taken.clone_from(taken);
            self.is_judged |= !self.wanting.is_empty();
        }
        if self.is_judged {
            self.judge(options, attached, news);
        }
    }

    /// Notes whether a Service wants a waypoint now.
    fn look(&mut self, old: Option<&Arc<Service>>, new: Option<&Arc<Service>>, now: &Resources) {
        let Some(name) = old.or(new).map(|service| (service.namespace(), service.name())) else { return };
        let new = new.filter(|service| wants_waypoint(service, now));
        let old = self.wanting.get(name.0, name.1);
        match new {
            Some(new) if old.is_some_and(|old| Arc::ptr_eq(old, new)) => {}
            Some(new) => {
                self.is_judged = true;
                self.wanting.insert(Arc::clone(new));
            }
            None if old.is_none() => {}
            None => {
                self.is_judged = true;
                self.wanting.remove(name.0, name.1);
            }
        }
    }

    /// Gives each port its listen port, oldest Service first, and tells what changed.
    fn judge(&mut self, options: &Options, attached: &AttachedPolicies, news: &mut News) {
        let mut allocator = Allocator { options, taken: self.taken.clone() };
        for service in &self.wanting {
            let mut skipped = Vec::new();
            let captured = Captured {
                namespace: service.namespace().into(),
                name: service.name().into(),
                generation: service.metadata.generation,
                ports: ports(service, &mut allocator, &mut skipped),
                skipped,
                attached: attached.of_service(service.namespace(), service.name()),
            };
            let key = ObjectKey::new(ObjectKind::Service, &*captured.namespace, &*captured.name);
            let old = self.services.find(&key).and_then(|slot| Some((slot, self.services.get(slot)?)));
            if old.is_some_and(|(_, old)| *old == captured) {
                continue;
            }
            if let Some((slot, old)) = old {
                self.moved.extend(old.places(slot));
            }
            let slot = self.services.insert(key.clone(), captured);
            self.moved.extend(self.services.get(slot).into_iter().flat_map(|captured| captured.places(slot)));
            news.tell(Fact::Object(key));
        }
        let is_gone = |key: &ObjectKey| self.wanting.get(&key.namespace, &key.name).is_none();
        let gone = self.services.iter().filter(|(_, key, _)| is_gone(key)).map(|(slot, ..)| slot);
        for slot in gone.collect::<Vec<_>>() {
            if let Some(key) = self.services.name(slot) {
                news.tell(Fact::Object(key.clone()));
            }
            if let Some(old) = self.services.remove(slot) {
                self.moved.extend(old.places(slot));
            }
        }
    }

    /// The Service of a name, and its number.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<(usize, &Captured)> {
        let slot = self.services.find(&ObjectKey::new(ObjectKind::Service, namespace, name))?;
        Some((slot, self.services.get(slot)?))
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Captured> {
        self.services.get(slot)
    }

    /// All of them, each with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Captured)> {
        self.services.iter().map(|(slot, _, captured)| (slot, captured))
    }

    /// Whether a waypoint serves any.
    pub(crate) fn is_any(&self) -> bool {
        self.services.iter().any(|(.., captured)| captured.ports.is_ok())
    }

    /// Whether they were judged in this translation.
    pub(crate) const fn is_judged(&self) -> bool {
        self.is_judged
    }

    /// Writes what was judged.
    pub(crate) fn write(&mut self, address: Option<IpAddr>, said: &mut Said) {
        self.moved.clear();
        if std::mem::take(&mut self.is_judged) {
            let output = self.output(address);
            self.part.replace(output, said);
        }
    }

    /// A listener per port and the status of every Service.
    fn output(&self, address: Option<IpAddr>) -> Output {
        let mut out = Output::default();
        for (_, _, captured) in self.services.iter() {
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
                        traffic: None,
                        attached: captured.attached.clone(),
                        scope: Scope::Service(captured.backend(port)),
                    }),
                );
            }
            let key = ObjectKey::new(ObjectKind::Service, &*captured.namespace, &*captured.name);
            let status = ServiceStatus { conditions: vec![condition(captured)] };
            out.statuses.push((key, Arc::new(Status::Service(status))));
        }
        out
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
