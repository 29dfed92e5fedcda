//! What labels ask for: which waypoint a Service has, and when it is captured.

use crate::api::{Namespace, Service};
use crate::resources::{Named, Resources};

/// On a namespace or a Service: the Gateway that is its waypoint, `auto` for one that is made for the namespace, or `none`.
/// The Service's label wins, and captures that Service whether or not anything is attached to it.
pub(crate) const USE_WAYPOINT: &str = "fairway.dev/use-waypoint";
/// Beside it: the namespace of that Gateway; default: its own.
const USE_WAYPOINT_NAMESPACE: &str = "fairway.dev/use-waypoint-namespace";
/// On a namespace: `attached` (the default) captures Services that a route or policy is attached to, `all` every Service,
/// `observe` none, and says what would be. On a Service: `observe`.
pub(crate) const CAPTURE: &str = "fairway.dev/capture";
/// On a Service that is reachable from outside through ports of nodes or a load balancer: capture it all the same.
const CAPTURE_EXTERNAL: &str = "fairway.dev/capture-external";
/// On a Service, or its namespace, whose NetworkPolicies take the waypoint into account.
const CAPTURE_ISOLATED: &str = "fairway.dev/capture-isolated";
/// On a Service, or its namespace, whose pods only those may reach who enforce what is attached to it: everything but `false`.
/// The Service's wins.
pub(crate) const LOCK: &str = "fairway.dev/lock";
/// On the NetworkPolicy that does so: the name of the Service.
pub(crate) const LOCK_OF: &str = "fairway.dev/lock-of";
/// On the headless Service that holds the endpoints of a captured one: its name.
pub(crate) const SHADOW_OF: &str = "fairway.dev/shadow-of";
/// On a Service while its traffic goes through a waypoint; the controller writes it, and what manages EndpointSlices copies
/// it onto them.
pub(crate) const CAPTURED: &str = "fairway.dev/captured";
/// What becomes of clients without a usable waypoint, `open` or `closed`: asked for by an annotation of the Service; on the
/// Service and its EndpointSlices, as a label, what holds.
pub(crate) const FAILURE_MODE: &str = "fairway.dev/capture-failure-mode";
/// On a Service: changed to have its EndpointSlices written again.
pub(crate) const TOUCHED: &str = "fairway.dev/capture-touched";

/// The name of the waypoint that is made for a namespace.
pub(crate) const AUTO_NAME: &str = "waypoint";

/// Which waypoint a Service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Of the waypoint's Gateway.
    pub(crate) namespace: Box<str>,
    /// Of the waypoint's Gateway.
    pub(crate) name: Box<str>,
    pub(crate) extent: Extent,
}

/// When a Service is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// When a route or policy is attached to it.
    Attached,
    Always,
    /// Never: it is only said what would be.
    Observe,
}

/// What a Service and its namespace ask for.
pub(crate) fn wish(service: &Service, resources: &Resources) -> Option<Wish> {
    // Its own endpoints are what it is for.
    if service.label(SHADOW_OF).is_some() {
        return None;
    }
    let namespace: Option<&Namespace> = resources.namespaces.get("", service.namespace()).map(AsRef::as_ref);
    let of_service = service.label(USE_WAYPOINT);
    let waypoint = label(service, namespace, USE_WAYPOINT)
        .filter(|waypoint| !waypoint.is_empty() && *waypoint != "none")?;
    let elsewhere = match of_service {
        Some(_) => service.label(USE_WAYPOINT_NAMESPACE),
        None => namespace.and_then(|namespace| namespace.label(USE_WAYPOINT_NAMESPACE)),
    };
    let mode = namespace.and_then(|namespace| namespace.label(CAPTURE));
    let extent = match (service.label(CAPTURE), mode) {
        (Some("observe"), _) | (None, Some("observe")) => Extent::Observe,
        (_, Some("all")) => Extent::Always,
        _ if of_service.is_some() => Extent::Always,
        _ => Extent::Attached,
    };
    // One that is made for a namespace is in that namespace.
    let is_auto = waypoint == "auto";
    let namespace = elsewhere.filter(|_| !is_auto).unwrap_or_else(|| service.namespace());
    Some(Wish {
        namespace: namespace.into(),
        name: if is_auto { AUTO_NAME } else { waypoint }.into(),
        extent,
    })
}

/// Whether a namespace has opted in, so that its routes can stand for its callers at Services of others.
pub(crate) fn opts_in(namespace: &str, resources: &Resources) -> bool {
    let namespace = resources.namespaces.get("", namespace);
    let waypoint = namespace.and_then(|namespace| namespace.label(USE_WAYPOINT));
    waypoint.is_some_and(|waypoint| !waypoint.is_empty() && waypoint != "none")
}

/// Whether capturing a Service is wanted although it is reachable from outside.
pub(crate) fn captures_external(service: &Service) -> bool {
    service.label(CAPTURE_EXTERNAL) == Some("true")
}

/// Whether NetworkPolicies about its pods are no reason against capturing a Service.
pub(crate) fn captures_isolated(service: &Service, namespace: Option<&Namespace>) -> bool {
    label(service, namespace, CAPTURE_ISOLATED) == Some("true")
}

/// Whether only those may reach its pods who enforce what is attached to it.
pub(super) fn is_locked(service: &Service, namespace: Option<&Namespace>) -> bool {
    label(service, namespace, LOCK).is_some_and(|lock| lock != "false")
}

/// What shall become of clients without a usable waypoint, if somebody has a wish.
pub(super) fn asked_failure_mode(service: &Service) -> Option<&str> {
    service.metadata.annotations.as_ref()?.get(FAILURE_MODE).map(String::as_str)
}

/// A label of a Service, or else of its namespace.
fn label<'a>(service: &'a Service, namespace: Option<&'a Namespace>, name: &str) -> Option<&'a str> {
    service.label(name).or_else(|| namespace?.label(name))
}

/// The namespaces in which something asks for a waypoint that is made for them.
pub(crate) fn auto_namespaces(resources: &Resources) -> std::collections::BTreeSet<&str> {
    let of_namespaces =
        resources.namespaces.iter().filter(|namespace| namespace.label(USE_WAYPOINT) == Some("auto"));
    let of_services = resources.services.iter().filter(|service| service.label(USE_WAYPOINT) == Some("auto"));
    of_namespaces
        .map(|namespace| namespace.name())
        .chain(of_services.map(|service| service.namespace()))
        .collect()
}
