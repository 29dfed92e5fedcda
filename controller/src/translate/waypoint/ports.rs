//! The ports of a captured Service: what each carries, and where the waypoint listens for it.

use std::ops::RangeInclusive;

use config::Protocol;
use k8s_openapi::api::core::v1::ServicePort;
use rustc_hash::{FxHashMap, FxHashSet};

use super::claims::Claim;
use crate::api::Service;
use crate::resources::{Named as _, ObjectKind};
use crate::status::reason;
use crate::translate::service_port::app_protocol;

/// A port a waypoint listens for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: Option<Box<str>>,
    /// Of the Service.
    pub(crate) port: u16,
    /// Of the waypoint.
    pub(crate) listen: u16,
    pub(crate) protocol: Protocol,
}

/// Ports, and what is said of those left out.
pub(crate) type Found = (Vec<Port>, Vec<String>);

/// What decides about the ports of a Service.
pub(crate) struct Asked<'a> {
    pub(crate) service: &'a Service,
    pub(crate) claims: Vec<&'a Claim>,
    /// A policy is about this very Service: what says nothing of itself carries requests, or the policy could not hold.
    pub(crate) has_policy: bool,
    /// Where a waypoint listens already, by name of the port.
    pub(crate) held: FxHashMap<&'a str, u16>,
}

impl Asked<'_> {
    /// The ports, and what is said of those left out; or reason and message why there are none.
    pub(crate) fn ports(&self, allocator: &mut Allocator) -> Result<Found, (&'static str, String)> {
        let (mut ports, mut skipped) = (Vec::new(), Vec::new());
        let all = self.service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let is_declared = declares_http(self.service);
        for port in all {
            let Ok(number) = u16::try_from(port.port) else { continue };
            if let Some(protocol) = port.protocol.as_deref().filter(|&protocol| protocol != "TCP") {
                skipped.push(format!("Port {number} has protocol {protocol} and stays as it is."));
                continue;
            }
            let held = self.held.get(port.name.as_deref().unwrap_or_default());
            let Some(listen) = allocator.allocate(self.service, number, held.copied()) else {
                let range = &allocator.range;
                let message = format!("Every port from {} to {} is taken.", range.start(), range.end());
                return Err((reason::PORTS_EXHAUSTED, message));
            };
            let protocol = self.protocol(port, number, is_declared);
            ports.push(Port { name: port.name.as_deref().map(Into::into), port: number, listen, protocol });
        }
        if ports.is_empty() {
            return Err((reason::NO_USABLE_PORT, "The Service has no TCP port.".to_owned()));
        }
        Ok((ports, skipped))
    }

    /// What a port carries: what a route needs that names it, of several kinds the more specific (GEP-1294: GRPCRoute, then
    /// HTTPRoute, TLSRoute, TCPRoute); else what the port says of itself. A port that says nothing is not looked into: the
    /// server may speak first.
    fn protocol(&self, port: &ServicePort, number: u16, is_declared: bool) -> Protocol {
        let declared = declared(port);
        let wants = |protocol: Protocol, kinds: &[ObjectKind]| {
            self.claims.iter().filter(|claim| kinds.contains(&claim.kind())).any(|claim| {
                let named = claim.names(number, port.name.as_deref());
                // A route that names no port means those that carry what it is about; where no port says so, those that
                // say nothing.
                let meant = match declared {
                    Some(declared) => declared == protocol,
                    None => protocol != Protocol::Http || !is_declared,
                };
                named.unwrap_or(meant)
            })
        };
        if wants(Protocol::Http, &[ObjectKind::GrpcRoute, ObjectKind::HttpRoute]) {
            Protocol::Http
        } else if wants(Protocol::Tls, &[ObjectKind::TlsRoute]) {
            Protocol::Tls
        } else if declared.is_none() && self.has_policy {
            Protocol::Http
        } else if wants(Protocol::Tcp, &[ObjectKind::TcpRoute]) && !self.has_policy {
            Protocol::Tcp
        } else {
            declared.unwrap_or(Protocol::Tcp)
        }
    }
}

/// Whether a port of a Service says that it carries HTTP.
pub(crate) fn declares_http(service: &Service) -> bool {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports.iter().any(|port| declared(port) == Some(Protocol::Http))
}

/// What a port says that it carries.
fn declared(port: &ServicePort) -> Option<Protocol> {
    let name = port.app_protocol.as_deref()?;
    Some(match app_protocol(name) {
        Some((_, false)) => Protocol::Http,
        Some((_, true)) => Protocol::Tls,
        None if name.eq_ignore_ascii_case("tls") => Protocol::Tls,
        None => Protocol::Tcp,
    })
}

/// Hands out listen ports.
pub(crate) struct Allocator {
    pub(crate) range: RangeInclusive<u16>,
    /// Numbers that something else has, or that a Service has already.
    pub(crate) taken: FxHashSet<u16>,
    /// Those of them that were handed out.
    pub(crate) given: FxHashSet<u16>,
}

impl Allocator {
    /// The number a port has (`held`), or a free one of the range: the one the name hashes to, or the next. So a port keeps
    /// its number whatever else comes and goes; of two names that hash alike whoever came first keeps it.
    fn allocate(&mut self, service: &Service, port: u16, held: Option<u16>) -> Option<u16> {
        // Of two Services that claim one number the older has it.
        if let Some(held) = held.filter(|held| self.range.contains(held) && self.given.insert(*held)) {
            return Some(held);
        }
        let (first, last) = (*self.range.start(), *self.range.end());
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
