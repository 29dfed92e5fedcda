//! One listener of a Gateway: what it asks for and what is wrong with it.

use std::collections::BTreeMap;

use config::Protocol;
use gateway_api::experimental::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersTlsMode,
};

use super::hostname;
use super::listener_kinds::Kinds;
use super::selector::Selector;
use super::service_port::Transport;
use crate::api;
use crate::resources::Named;
use crate::status::{Problem, reason};

/// From which namespaces routes may attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Namespaces {
    All,
    Same,
    Selected(Selector),
    /// The selector cannot be read.
    None,
}

impl Namespaces {
    pub(crate) fn allow(
        &self,
        gateway: &str,
        route: &str,
        labels: Option<&BTreeMap<String, String>>,
    ) -> bool {
        match self {
            Self::All => true,
            Self::Same => gateway == route,
            Self::Selected(selector) => selector.selects(route, labels),
            Self::None => false,
        }
    }
}

/// A listener being judged.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// Whose it is; `None`: the Gateway itself.
    pub(crate) set: Option<&'a api::ListenerSet>,
    pub(crate) spec: &'a GatewayListeners,
    /// `None` when we do not speak it.
    pub(crate) protocol: Option<Protocol>,
    /// TLS is the backends' business.
    pub(crate) is_passthrough: bool,
    pub(crate) hostname: Option<&'a str>,
    pub(crate) kinds: Kinds,
    pub(crate) namespaces: Namespaces,
    /// `namespace/name` of each Secret to show.
    pub(crate) certificates: Vec<String>,
    /// What is asked of clients.
    pub(crate) client_validation: Option<config::ClientValidation>,
    pub(crate) problems: Vec<Problem>,
    /// Reason and message of a conflict with another listener of this Gateway.
    pub(crate) conflict: Option<(&'static str, String)>,
    /// Names of listeners with TLS on this port whose host names overlap.
    pub(crate) overlapping: Vec<&'a str>,
}

impl<'a> Draft<'a> {
    /// Judges what can be judged of a listener alone, save its certificates.
    pub(crate) fn new(spec: &'a GatewayListeners, is_waypoint: bool) -> Self {
        let mut problems = Vec::new();
        let protocol = match spec.protocol.as_str() {
            CAPTURE if is_waypoint => None,
            other if is_waypoint => {
                let message = format!("protocol: {other:?} is not supported for a waypoint: use {CAPTURE}");
                problems.push(Problem::accepted(reason::UNSUPPORTED_PROTOCOL, message));
                None
            }
            "HTTP" => Some(Protocol::Http),
            "HTTPS" => Some(Protocol::Https),
            "TLS" => Some(Protocol::Tls),
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            other => {
                problems.push(Problem::accepted(
                    reason::UNSUPPORTED_PROTOCOL,
                    format!("protocol: {other:?} is not supported: use HTTP, HTTPS, TLS, TCP or UDP"),
                ));
                None
            }
        };
        if !(1..=65535).contains(&spec.port) {
            problems.push(Problem::accepted(
                reason::PORT_UNAVAILABLE,
                format!("port: {} is not between 1 and 65535", spec.port),
            ));
        }
        let mut hostname = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty());
        if let Some(problem) = hostname.and_then(hostname::wildcard_problem) {
            problems.push(Problem::unsupported(format!("hostname: {problem}")));
        }
        if hostname.is_some() && matches!(protocol, Some(Protocol::Tcp | Protocol::Udp)) {
            let message = format!("hostname: protocol {} knows no host names: remove it", spec.protocol);
            problems.push(Problem::unsupported(message));
            hostname = None;
        }
        if let Some(protocol) = protocol {
            tls_problems(spec, protocol, &mut problems);
        }
        let is_passthrough = protocol == Some(Protocol::Tls) && has_mode_passthrough(spec);
        let usable = protocol.map(|protocol| Kinds::of(protocol, is_passthrough));
        let (kinds, namespaces) = match &spec.allowed_routes {
            Some(allowed) => (
                usable.map(|usable| usable.listed(allowed, &mut problems)),
                namespaces(allowed, &mut problems),
            ),
            None => (usable, Namespaces::Same),
        };
        Self {
            set: None,
            spec,
            protocol,
            hostname,
            is_passthrough,
            kinds: kinds.unwrap_or_default(),
            namespaces,
            certificates: Vec::new(),
            client_validation: None,
            problems,
            conflict: None,
            overlapping: Vec::new(),
        }
    }

    /// What proxies know it by, within its Gateway: its name, or `namespace/set/name` for a listener of a ListenerSet.
    /// Names hold no slash, so the two cannot be taken for each other.
    pub(crate) fn section(&self) -> String {
        match self.set {
            Some(set) => format!("{}/{}/{}", set.namespace(), set.name(), self.spec.name),
            None => self.spec.name.clone(),
        }
    }

    /// It is a waypoint's.
    pub(crate) fn is_capture(&self) -> bool {
        self.spec.protocol == CAPTURE
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.conflict.is_none()
            && self
                .problems
                .iter()
                .all(|problem| problem.condition != crate::status::condition_type::ACCEPTED)
    }

    /// Whether proxies can be told to open it.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_accepted() && (!self.terminates_tls() || !self.certificates.is_empty())
    }

    /// Whether it shows certificates.
    pub(crate) fn terminates_tls(&self) -> bool {
        matches!(self.protocol, Some(Protocol::Https | Protocol::Tls)) && !self.is_passthrough
    }

    /// What its port carries.
    pub(crate) fn transport(&self) -> Transport {
        if self.protocol == Some(Protocol::Udp) { Transport::Udp } else { Transport::Tcp }
    }

    /// Certificates are named that are not shown. Gateway API: "The certificateRefs field is ignored in this mode."
    pub(crate) fn ignores_certificates(&self) -> bool {
        let refs = self.spec.tls.as_ref().and_then(|tls| tls.certificate_refs.as_ref());
        self.is_passthrough && refs.is_some_and(|refs| !refs.is_empty())
    }
}

/// Protocol of a waypoint's listener: it stands in front of Services, and each port of these has its own port there.
pub(crate) const CAPTURE: &str = "fairway.dev/CAPTURE";

/// Whether TLS is to be left as it is, whatever the protocol.
pub(crate) fn has_mode_passthrough(spec: &GatewayListeners) -> bool {
    spec.tls.as_ref().and_then(|tls| tls.mode.as_ref()) == Some(&GatewayListenersTlsMode::Passthrough)
}

/// What is wrong with `tls`, save its references.
fn tls_problems(spec: &GatewayListeners, protocol: Protocol, problems: &mut Vec<Problem>) {
    let name = spec.protocol.as_str();
    let tls = match (protocol, &spec.tls) {
        (Protocol::Http | Protocol::Tcp | Protocol::Udp, None) => return,
        (Protocol::Http | Protocol::Tcp | Protocol::Udp, Some(_)) => {
            let message = format!("tls: must not be set for protocol {name}");
            return problems.push(Problem::unsupported(message));
        }
        (Protocol::Https, None) => {
            return without_certificate("tls: protocol HTTPS needs tls.certificateRefs", problems);
        }
        (Protocol::Tls, None) => {
            let message =
                "tls: protocol TLS needs tls.mode: Terminate with tls.certificateRefs, or Passthrough";
            return problems.push(Problem::unsupported(message));
        }
        (Protocol::Https | Protocol::Tls, Some(tls)) => tls,
    };
    match (protocol, &tls.mode) {
        (Protocol::Tls, Some(GatewayListenersTlsMode::Passthrough)) => {}
        (_, Some(GatewayListenersTlsMode::Passthrough)) => {
            problems.push(Problem::unsupported("tls.mode: must be Terminate for protocol HTTPS"));
        }
        (_, Some(GatewayListenersTlsMode::Terminate) | None) => {
            if tls.certificate_refs.as_ref().is_none_or(Vec::is_empty) {
                without_certificate("tls.certificateRefs: mode Terminate needs at least one", problems);
            }
        }
    }
    for option in tls.options.iter().flat_map(BTreeMap::keys) {
        problems.push(Problem::unsupported(format!("tls.options: {option:?} is not supported: remove it")));
    }
}

fn without_certificate(message: &str, problems: &mut Vec<Problem>) {
    problems.push(Problem::unresolved(reason::INVALID_CERTIFICATE_REF, message));
    problems.push(Problem::unsupported(message));
}

fn namespaces(allowed: &GatewayListenersAllowedRoutes, problems: &mut Vec<Problem>) -> Namespaces {
    let Some(namespaces) = &allowed.namespaces else { return Namespaces::Same };
    match (&namespaces.from, &namespaces.selector) {
        (Some(From::All), _) => Namespaces::All,
        (Some(From::Same) | None, _) => Namespaces::Same,
        (Some(From::Selector), Some(selector)) => {
            let expressions = selector.match_expressions.iter().flatten();
            let expressions = expressions.map(|e| (e.key.as_str(), e.operator.as_str(), e.values.as_ref()));
            match Selector::new(selector.match_labels.as_ref(), expressions) {
                Ok(selector) => Namespaces::Selected(selector),
                Err(problem) => {
                    let place = "allowedRoutes.namespaces.selector.";
                    problems.push(Problem::unsupported(problem).at(place));
                    Namespaces::None
                }
            }
        }
        (Some(From::Selector), None) => {
            problems.push(Problem::unsupported("allowedRoutes.namespaces.selector: from Selector needs one"));
            Namespaces::None
        }
    }
}
