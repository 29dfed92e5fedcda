//! One listener of a Gateway: what it asks for and what is wrong with it.

use std::collections::BTreeMap;

use config::Protocol;
use gateway_api::experimental::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersTlsMode,
};

use super::hostname;
use super::reference_grant::GATEWAY_GROUP;
use super::selector::Selector;
use crate::api;
use crate::resources::{Named, ObjectKind};
use crate::status::{Problem, RouteGroupKind, reason};

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

/// Which kinds of routes may attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    http: bool,
    grpc: bool,
}

impl Kinds {
    const ALL: Self = Self { http: true, grpc: true };

    pub(crate) fn allow(self, kind: ObjectKind) -> bool {
        (self.http && kind == ObjectKind::HttpRoute) || (self.grpc && kind == ObjectKind::GrpcRoute)
    }

    pub(crate) fn list(self) -> Vec<RouteGroupKind> {
        [(self.http, ObjectKind::HttpRoute), (self.grpc, ObjectKind::GrpcRoute)]
            .into_iter()
            .filter(|(allowed, _)| *allowed)
            .map(|(_, kind)| RouteGroupKind { group: GATEWAY_GROUP, kind: kind.as_str() })
            .collect()
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
    /// Names of HTTPS listeners on this port whose host names overlap.
    pub(crate) overlapping: Vec<&'a str>,
}

impl<'a> Draft<'a> {
    /// Judges what can be judged of a listener alone, save its certificates.
    pub(crate) fn new(spec: &'a GatewayListeners) -> Self {
        let mut problems = Vec::new();
        let protocol = match spec.protocol.as_str() {
            "HTTP" => Some(Protocol::Http),
            "HTTPS" => Some(Protocol::Https),
            other => {
                problems.push(Problem::accepted(
                    reason::UNSUPPORTED_PROTOCOL,
                    format!("protocol: {other:?} is not supported: use HTTP or HTTPS"),
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
        let hostname = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty());
        if let Some(problem) = hostname.and_then(hostname::wildcard_problem) {
            problems.push(Problem::unsupported(format!("hostname: {problem}")));
        }
        if let Some(protocol) = protocol {
            tls_problems(spec, protocol, &mut problems);
        }
        let (kinds, namespaces) = match &spec.allowed_routes {
            Some(allowed) => (kinds(allowed, &mut problems), namespaces(allowed, &mut problems)),
            None => (Kinds::ALL, Namespaces::Same),
        };
        Self {
            set: None,
            spec,
            protocol,
            hostname,
            kinds: if protocol.is_some() { kinds } else { Kinds::default() },
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

    pub(crate) fn is_accepted(&self) -> bool {
        self.conflict.is_none()
            && self
                .problems
                .iter()
                .all(|problem| problem.condition != crate::status::condition_type::ACCEPTED)
    }

    /// Whether proxies can be told to open it.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_accepted() && (self.protocol != Some(Protocol::Https) || !self.certificates.is_empty())
    }
}

/// What is wrong with `tls`, save its references.
fn tls_problems(spec: &GatewayListeners, protocol: Protocol, problems: &mut Vec<Problem>) {
    let tls = match (protocol, &spec.tls) {
        (Protocol::Http, None) => return,
        (Protocol::Http, Some(_)) => {
            return problems.push(Problem::unsupported("tls: must not be set for protocol HTTP"));
        }
        (Protocol::Https, None) => {
            let message = "tls: protocol HTTPS needs tls.certificateRefs";
            problems.push(Problem::unresolved(reason::INVALID_CERTIFICATE_REF, message));
            return problems.push(Problem::unsupported(message));
        }
        (Protocol::Https, Some(tls)) => tls,
    };
    if tls.mode == Some(GatewayListenersTlsMode::Passthrough) {
        problems.push(Problem::unsupported("tls.mode: must be Terminate for protocol HTTPS"));
    } else if tls.certificate_refs.as_ref().is_none_or(Vec::is_empty) {
        let message = "tls.certificateRefs: mode Terminate needs at least one";
        problems.push(Problem::unresolved(reason::INVALID_CERTIFICATE_REF, message));
        problems.push(Problem::unsupported(message));
    }
    for option in tls.options.iter().flat_map(BTreeMap::keys) {
        problems.push(Problem::unsupported(format!("tls.options: {option:?} is not supported: remove it")));
    }
}

fn kinds(allowed: &GatewayListenersAllowedRoutes, problems: &mut Vec<Problem>) -> Kinds {
    let Some(listed) = allowed.kinds.as_ref().filter(|kinds| !kinds.is_empty()) else {
        return Kinds::ALL;
    };
    let mut kinds = Kinds::default();
    for (index, listed) in listed.iter().enumerate() {
        match (listed.group.as_deref().unwrap_or(GATEWAY_GROUP), listed.kind.as_str()) {
            (GATEWAY_GROUP, "HTTPRoute") => kinds.http = true,
            (GATEWAY_GROUP, "GRPCRoute") => kinds.grpc = true,
            (group, kind) => problems.push(Problem::unresolved(
                reason::INVALID_ROUTE_KINDS,
                format!(
                    "allowedRoutes.kinds[{index}]: kind {kind} of group {group:?} is not supported here: use HTTPRoute \
                     or GRPCRoute"
                ),
            )),
        }
    }
    kinds
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
