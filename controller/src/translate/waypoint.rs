//! Services behind a waypoint: each port gets a listen port of its own, because that port is what tells a waypoint which
//! Service a client dialled.

mod claims;
mod course;
mod lock;
mod plan;
mod ports;
mod preflight;
mod wish;

use std::net::IpAddr;
use std::sync::Arc;

use config::{Key, Kind, Listener, Protocol, Resource, Scope};
use policies::BackendRef;
use rustc_hash::FxHashSet;

use self::claims::{Claim, Claims};
use self::course::{Course, attached_at, course};
pub(crate) use self::plan::{FailureMode, Plan, Plans};
pub(crate) use self::ports::Port;
use self::ports::{Allocator, Asked};
pub(crate) use self::wish::{
    AUTO_NAME, CAPTURE, CAPTURED, FAILURE_MODE, LOCK_OF, SHADOW_OF, TOUCHED, USE_WAYPOINT, auto_namespaces,
    opts_in,
};
use self::wish::{Extent, wish};
use super::Options;
use super::attach::At;
use super::attached::{AttachedPolicies, Moved};
use super::endpoints::Slices;
use super::facts::{Fact, News};
use super::gateway_status::WAITING;
use super::gateways::Gateways;
use super::output::{Output, Part, Said};
use super::slots::Slots;
use crate::ObjectKey;
use crate::api::{Namespace, Service};
use crate::resources::{Named, ObjectKind, Objects, Resources};
use crate::status::{Condition, ConditionStatus, ServiceStatus, Status, condition_type, reason};

/// Every Service that has a waypoint, or is to be let go by one. Judged together, and only when one of them changes: which
/// port each gets depends on who came first.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    /// Those that something of them, or of their namespace, asks for.
    wanting: Objects<Service>,
    claims: Claims,
    taken: FxHashSet<u16>,
    services: Slots<ObjectKey, Captured>,
    /// Places that came, changed or went in this translation.
    pub(crate) moved: Vec<At>,
    /// Judged in this translation and not written yet.
    is_judged: bool,
    part: Part,
    /// What is to be done in the cluster.
    pub(crate) plans: Arc<Plans>,
}

/// A Service that wants a waypoint, or is let go by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    generation: Option<i64>,
    /// Namespace and name of its waypoint's Gateway.
    waypoint: (Box<str>, Box<str>),
    /// Reason and message why it is not to be captured. If it still is, it is let go.
    pub(crate) refusal: Option<(&'static str, String)>,
    /// Reason and message why it has none, or its ports.
    pub(crate) ports: Result<Vec<Port>, (&'static str, String)>,
    /// What is said of ports left out.
    skipped: Vec<String>,
    /// The policies about it.
    pub(crate) attached: Vec<Key>,
    failure_mode: FailureMode,
    /// Only those may reach its pods who enforce what is attached to it.
    is_locked: bool,
}

/// What Services are judged against.
pub(crate) struct Around<'a> {
    pub(crate) now: &'a Resources,
    pub(crate) options: &'a Options,
    pub(crate) gateways: &'a Gateways,
    pub(crate) attached: &'a AttachedPolicies,
    pub(crate) slices: &'a Slices,
}

impl Captured {
    fn places(&self, slot: usize) -> impl Iterator<Item = At> {
        (0..self.ports.as_ref().map_or(0, Vec::len)).map(move |port| At::Port(slot, port))
    }

    pub(crate) fn backend(&self, port: &Port) -> BackendRef {
        BackendRef { namespace: self.namespace.to_string(), name: self.name.to_string(), port: port.port }
    }

    /// As proxies know a port of it.
    pub(crate) fn captured(&self, port: &Port) -> config::Captured {
        let (namespace, name) = &self.waypoint;
        config::Captured { backend: self.backend(port), waypoint: format!("{namespace}/{name}") }
    }

    /// What is to be done in the cluster; `None`: nothing.
    fn plan(&self) -> Option<Plan> {
        let ports = self.ports.as_ref().ok()?.clone();
        let (waypoint, is_wanted) = (self.waypoint.clone(), self.refusal.is_none());
        let Self { failure_mode, is_locked, .. } = *self;
        Some(Plan { waypoint, is_wanted, ports, failure_mode, is_locked })
    }
}

impl Capture {
    /// Judges all again if one of them changed. `moved`: what has other policies, and whose EndpointSlices changed.
    pub(crate) fn follow(
        &mut self,
        then: &Resources,
        (moved, slices): (&Moved, &FxHashSet<ObjectKey>),
        around: &Around<'_>,
        news: &mut News,
    ) {
        let now = around.now;
        let claimed = self.claims.follow(then, now);
        for (old, new) in then.services.changes(&now.services) {
            if (old.is_none() || new.is_none())
                && let Some(service) = old.or(new)
            {
                news.tell(Fact::object(ObjectKind::Service, service.namespace(), service.name()));
            }
            self.look(old, new, around);
        }
        for (old, new) in then.namespaces.changes(&now.namespaces) {
            let labels = |namespace: Option<&Arc<Namespace>>| namespace?.metadata.labels.clone();
            if labels(old) == labels(new) {
                continue;
            }
            let Some(namespace) = old.or(new) else { continue };
            news.tell(Fact::object(ObjectKind::Namespace, "", namespace.name()));
            let services = now.services.in_namespace(namespace.name());
            services.for_each(|service| self.look(Some(service), Some(service), around));
            self.is_judged |= !self.wanting.is_empty();
        }
        if around.options.is_cluster {
            self.is_judged |=
                !then.network_policies.is_identical(&now.network_policies) && !self.wanting.is_empty();
            for key in slices {
                let service = now.services.get(&key.namespace, &key.name);
                self.look(service, service, around);
                self.is_judged |= self.wanting.get(&key.namespace, &key.name).is_some();
            }
        }
        let is_wanting = |key: &ObjectKey| self.wanting.get(&key.namespace, &key.name).is_some();
        self.is_judged |= claimed.iter().any(is_wanting);
        let is_moved = moved.services
            || moved.gateways
            || self.taken != *around.gateways.ports()
            || (around.options.is_cluster && around.gateways.is_judged());
        self.is_judged |= is_moved && !self.wanting.is_empty();
        self.taken.clone_from(around.gateways.ports());
        if self.is_judged {
            self.judge(around, news);
        }
    }

    /// Notes whether a Service wants a waypoint now, or is still bound to one.
    fn look(&mut self, old: Option<&Arc<Service>>, new: Option<&Arc<Service>>, around: &Around<'_>) {
        let Some(name) = old.or(new).map(|service| (service.namespace(), service.name())) else { return };
        let new = new.filter(|service| wish(service, around.now).is_some() || is_bound(service, around));
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
    fn judge(&mut self, around: &Around<'_>, news: &mut News) {
        let mut taken = self.taken.clone();
        taken.extend(around.slices.all_own_ports().filter(|_| around.options.is_cluster));
        let range = around.options.waypoint_ports.clone();
        let mut allocator = Allocator { range, taken, given: FxHashSet::default() };
        let mut here = FxHashSet::default();
        for service in &self.wanting {
            let Some(captured) = self.captured(service, around, &mut allocator) else { continue };
            let key = ObjectKey::new(ObjectKind::Service, &*captured.namespace, &*captured.name);
            here.insert(key.clone());
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
        let gone = self.services.iter().filter(|(_, key, _)| !here.contains(*key)).map(|(slot, ..)| slot);
        for slot in gone.collect::<Vec<_>>() {
            if let Some(key) = self.services.name(slot) {
                news.tell(Fact::Object(key.clone()));
            }
            if let Some(old) = self.services.remove(slot) {
                self.moved.extend(old.places(slot));
            }
        }
    }

    /// What becomes of a Service; `None`: it is nobody's.
    fn captured(
        &self,
        service: &Arc<Service>,
        around: &Around<'_>,
        allocator: &mut Allocator,
    ) -> Option<Captured> {
        let (namespace, name) = (service.namespace(), service.name());
        let key = ObjectKey::new(ObjectKind::Service, namespace, name);
        let wish = wish(service, around.now);
        let has_policy = around.attached.own_of_service(namespace, name).next().is_some();
        let attached = around.attached.of_service(namespace, name);
        let counts =
            |claim: &&Claim| claim.consumer(&key).is_none_or(|consumer| opts_in(consumer, around.now));
        let is_attached = self.claims.of(&key).any(|claim| counts(&claim))
            || has_policy
            // A policy for the namespace is about requests.
            || (!attached.is_empty() && ports::declares_http(service));
        let wish = wish.filter(|wish| wish.extent != Extent::Attached || is_attached);
        let is_bound = is_bound(service, around);
        if wish.is_none() && !is_bound {
            return None;
        }
        let Course { waypoint, refusal, notes, failure_mode } =
            course(service, wish.as_ref(), &attached, around);
        let (ports, skipped) = match &refusal {
            Some(refusal) if !is_bound => (Err(refusal.clone()), Vec::new()),
            // Until it is let go, those who still come are served.
            _ => {
                let held = around.slices.own_ports(&key).filter(|_| around.options.is_cluster).collect();
                // Routes of consumers say nothing of the Service itself.
                let claims = self.claims.of(&key).filter(|claim| claim.consumer(&key).is_none()).collect();
                match (Asked { service, claims, has_policy, held }).ports(allocator) {
                    Ok((ports, skipped)) => {
                        (Ok(ports), [skipped, notes, lock::notes(service, around)].concat())
                    }
                    Err(problem) => (Err(problem), Vec::new()),
                }
            }
        };
        let attached = attached_at(&waypoint, &attached, around);
        Some(Captured {
            namespace: namespace.into(),
            name: name.into(),
            generation: service.metadata.generation,
            waypoint,
            refusal,
            ports,
            skipped,
            attached,
            failure_mode,
            is_locked: lock::is_on(service, around),
        })
    }

    /// The number of a namespace whose routes stand at Services of others, for its callers.
    pub(crate) fn consumer(&self, namespace: &str) -> Option<usize> {
        self.claims.consumer(namespace)
    }

    /// The namespace of a number.
    pub(crate) fn consumer_name(&self, consumer: usize) -> Option<&str> {
        self.claims.consumer_name(consumer)
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
    pub(crate) fn write(&mut self, options: &Options, said: &mut Said) {
        self.moved.clear();
        if !std::mem::take(&mut self.is_judged) {
            return;
        }
        let output = self.output(options.waypoint_address);
        self.part.replace(output, said);
        if options.is_cluster {
            let plans = self.services.iter().filter_map(|(_, key, captured)| {
                let plan = captured.plan()?;
                let same = self.plans.get(key).filter(|old| ***old == plan).cloned();
                Some((key.clone(), same.unwrap_or_else(|| Arc::new(plan))))
            });
            self.plans = Arc::new(plans.collect());
        }
    }

    /// A listener per port and the status of every Service.
    fn output(&self, address: Option<IpAddr>) -> Output {
        let mut out = Output::default();
        for (_, key, captured) in self.services.iter() {
            for port in captured.ports.as_deref().unwrap_or_default() {
                let name = format!("{}:{}", captured.name, port.port);
                let is_http = port.protocol == Protocol::Http;
                out.resource(
                    Key::new(Kind::Listener, &*captured.namespace, name),
                    Resource::Listener(Listener {
                        address,
                        port: port.listen,
                        protocol: port.protocol,
                        hostname: None,
                        tls: None,
                        backend_certificate: None,
                        traffic: None,
                        // They are about requests.
                        attached: if is_http { captured.attached.clone() } else { Vec::new() },
                        scope: Scope::Service(captured.captured(port)),
                    }),
                );
            }
            let status = ServiceStatus { conditions: vec![condition(captured)] };
            out.statuses.push((key.clone(), Arc::new(Status::Service(status))));
        }
        out
    }
}

/// Whether something of it is still in the cluster: its label, slices that lead to a waypoint, or a shadow.
fn is_bound(service: &Service, around: &Around<'_>) -> bool {
    let key = ObjectKey::new(ObjectKind::Service, service.namespace(), service.name());
    around.options.is_cluster && (service.label(CAPTURED).is_some() || around.slices.is_led(&key))
}

fn condition(captured: &Captured) -> Condition {
    let listening = |ports: &[Port]| {
        let one = |port: &Port| format!("port {} on waypoint port {}", port.port, port.listen);
        ports.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let (status, reason, mut message) = match (&captured.ports, &captured.refusal) {
        (Ok(ports), None) => {
            let message = format!("{WAITING} Listeners: {}.", listening(ports));
            (ConditionStatus::Unknown, reason::PENDING, message)
        }
        (Err((reason, message)), _) | (Ok(_), Some((reason, message))) => {
            (ConditionStatus::False, *reason, message.clone())
        }
    };
    for skipped in &captured.skipped {
        message.push(' ');
        message.push_str(skipped);
    }
    Condition::new(condition_type::WAYPOINT_BOUND, status, reason, message, captured.generation)
}
