//! Conditions, as Kubernetes writes them, and the problems they are made of.

use std::borrow::Cow;

use serde::Serialize;

/// Conditions of one object or of one part of it, at most one per type.
pub type Conditions = Vec<Condition>;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, such as `Accepted`.
    pub r#type: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Reason, one CamelCase word.
    pub reason: &'static str,
    /// For people: what is wrong and what would be right.
    pub message: Cow<'static, str>,
    /// `metadata.generation` of the object this was said about; absent when the object has none, as in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

/// Condition types. Gateway API's, and ours with a prefix.
pub mod condition_type {
    #![allow(missing_docs, reason = "each constant is its own documentation in Gateway API")]
    pub const ACCEPTED: &str = "Accepted";
    pub const CONFLICTED: &str = "Conflicted";
    pub const ENFORCED: &str = "Enforced";
    pub const INSECURE_FRONTEND_VALIDATION_MODE: &str = "InsecureFrontendValidationMode";
    pub const OVERRIDDEN: &str = "Overridden";
    pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";
    pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
    pub const PROGRAMMED: &str = "Programmed";
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    pub const SUPPORTED_VERSION: &str = "SupportedVersion";
    /// On a policy: what of it is in effect.
    pub const EFFECTIVE: &str = "fairway.dev/Effective";
    /// On a Service: a waypoint listens for it.
    pub const WAYPOINT_BOUND: &str = "fairway.dev/WaypointBound";
    /// Gateway of a waypoint, ours: every Service that is to be captured for it is.
    pub const SERVICES_CAPTURED: &str = "fairway.dev/ServicesCaptured";
}

/// Reasons. Gateway API's where it has one; the last group is ours.
pub mod reason {
    #![allow(missing_docs, reason = "each constant is its own documentation in Gateway API")]
    pub const ACCEPTED: &str = "Accepted";
    pub const ADDRESS_NOT_ASSIGNED: &str = "AddressNotAssigned";
    pub const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";
    pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    pub const CONFLICTED: &str = "Conflicted";
    pub const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";
    pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    pub const INCOMPATIBLE_FILTERS: &str = "IncompatibleFilters";
    pub const INVALID: &str = "Invalid";
    pub const INVALID_CA_CERTIFICATE_REF: &str = "InvalidCACertificateRef";
    pub const INVALID_CA_CERTIFICATE_KIND: &str = "InvalidCACertificateKind";
    pub const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    pub const INVALID_CLIENT_CERTIFICATE_REF: &str = "InvalidClientCertificateRef";
    pub const INVALID_KIND: &str = "InvalidKind";
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    pub const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
    pub const LISTENERS_NOT_RESOLVED: &str = "ListenersNotResolved";
    pub const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
    pub const NOT_ALLOWED: &str = "NotAllowed";
    pub const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
    pub const NO_CONFLICTS: &str = "NoConflicts";
    pub const NO_RESOURCES: &str = "NoResources";
    pub const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
    pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    pub const NO_VALID_CA_CERTIFICATE: &str = "NoValidCACertificate";
    pub const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
    pub const PARENT_NOT_ACCEPTED: &str = "ParentNotAccepted";
    pub const PARENT_NOT_PROGRAMMED: &str = "ParentNotProgrammed";
    pub const PENDING: &str = "Pending";
    pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
    pub const PROGRAMMED: &str = "Programmed";
    pub const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    pub const SUPPORTED_VERSION: &str = "SupportedVersion";
    pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
    pub const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
    pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    pub const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
    pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";

    /// The proxies enforce the policy.
    pub const ENFORCED: &str = "Enforced";
    /// Something of the policy is in effect.
    pub const EFFECTIVE: &str = "Effective";
    /// No listener that the policy is about has a use for it.
    pub const NO_EFFECT: &str = "NoEffect";
    /// More specific policies say all of it.
    pub const OVERRIDDEN: &str = "Overridden";
    /// The proxies refuse a backend of the route.
    pub const INVALID_BACKEND: &str = "InvalidBackend";
    /// A BackendTLSPolicy targets the backend and cannot be followed.
    pub const INVALID_BACKEND_TLS_POLICY: &str = "InvalidBackendTLSPolicy";
    /// A waypoint listens for every port of the Service that carries HTTP.
    pub const BOUND: &str = "Bound";
    /// The Service has not opted in to a waypoint.
    pub const NOT_CAPTURED: &str = "NotCaptured";
    /// The Service has no port that a waypoint can listen for.
    pub const NO_USABLE_PORT: &str = "NoUsablePort";
    pub const EXTERNAL_NAME: &str = "ExternalName";
    pub const HEADLESS: &str = "Headless";
    /// Clients reach the Service through its waypoint.
    pub const CAPTURED: &str = "Captured";
    /// The Service has ports on nodes or a load balancer.
    pub const NODE_PORT_OR_LOAD_BALANCER: &str = "NodePortOrLB";
    /// The endpoints of the Service are not Kubernetes' own.
    pub const FOREIGN_SLICES: &str = "SelectorlessForeignSlices";
    /// A NetworkPolicy says who may reach the pods of the Service.
    pub const NETWORK_POLICY_CONFLICT: &str = "NetworkPolicyConflict";
    /// Clients of the Service are to stay on their node.
    pub const INTERNAL_TRAFFIC_POLICY: &str = "InternalTrafficPolicy";
    /// The Service would be captured.
    pub const OBSERVED: &str = "Observed";
    /// The waypoint that the Service asks for is not there.
    pub const NO_WAYPOINT: &str = "NoWaypoint";
    /// The waypoint has no address of a family that the Service has.
    pub const NO_WAYPOINT_FAMILY: &str = "NoWaypointFamily";
    /// Clients are being led back to the pods.
    pub const RELEASING: &str = "Releasing";
    /// The cluster does not let EndpointSlices be steered.
    pub const STEERING_UNAVAILABLE: &str = "SteeringUnavailable";
    /// Every port of the waypoint's range is taken.
    pub const PORTS_EXHAUSTED: &str = "PortsExhausted";
}

/// Why something is not as the user wants it: one part of a condition's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) condition: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, reason, message: message.into() }
    }

    /// A problem that keeps the object, or a part of it, from being `Accepted`.
    pub(crate) fn accepted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(condition_type::ACCEPTED, reason, message)
    }

    /// A field holds what we cannot do.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::accepted(reason::UNSUPPORTED_VALUE, message)
    }

    /// A reference leads nowhere.
    pub(crate) fn unresolved(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(condition_type::RESOLVED_REFS, reason, message)
    }

    /// The same problem, with the place of the field before its message.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}{}", self.message);
        self
    }
}

impl Condition {
    pub(crate) fn new(
        r#type: &'static str,
        status: ConditionStatus,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
        observed_generation: Option<i64>,
    ) -> Self {
        Self { r#type, status, reason, message: message.into(), observed_generation }
    }

    /// False with every problem of this type, the first giving the reason; or true with `reason` and
    /// `message`.
    pub(crate) fn judge<'a>(
        r#type: &'static str,
        problems: impl IntoIterator<Item = &'a Problem>,
        reason: &'static str,
        message: &'static str,
        generation: Option<i64>,
    ) -> Self {
        let of_type = |problem: &&Problem| problem.condition == r#type;
        let problems: Vec<&Problem> = problems.into_iter().filter(of_type).collect();
        let Some(first) = problems.first() else {
            return Self::new(r#type, ConditionStatus::True, reason, message, generation);
        };
        let text = join(problems.iter().map(|problem| problem.message.as_str()));
        Self::new(r#type, ConditionStatus::False, first.reason, text, generation)
    }
}

/// The messages of several problems in one. Kubernetes takes 32,768 bytes at most, and nobody reads as many.
pub(crate) fn join<'a>(messages: impl Iterator<Item = &'a str>) -> String {
    join_within(messages, MAX_MESSAGE)
}

/// The same in about so many bytes; the first is always there.
pub(crate) fn join_within<'a>(messages: impl Iterator<Item = &'a str>, max: usize) -> String {
    let (mut text, mut left) = (String::new(), 0);
    for message in messages {
        if text.len() + message.len() > max && !text.is_empty() {
            left += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(message);
    }
    if left > 0 {
        text.push_str(&format!("; and {left} more"));
    }
    text
}

/// Where [`join`] stops.
const MAX_MESSAGE: usize = 4_000;

/// The condition of a type.
pub(crate) fn find<'a>(conditions: &'a mut Conditions, r#type: &str) -> Option<&'a mut Condition> {
    conditions.iter_mut().find(|condition| condition.r#type == r#type)
}

/// Adds a condition, or replaces the one of its type.
pub(crate) fn set(conditions: &mut Conditions, condition: Condition) {
    match find(conditions, condition.r#type) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}
