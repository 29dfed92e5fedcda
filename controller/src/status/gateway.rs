//! Status of GatewayClasses, Gateways with their listeners, and Services behind a waypoint.

use serde::{Deserialize, Serialize};

use super::Conditions;
use crate::ObjectKey;

/// Status of a GatewayClass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// `Accepted`, `SupportedVersion`.
    pub conditions: Conditions,
    /// What we implement, sorted.
    #[serde(skip_serializing_if = "<[Feature]>::is_empty")]
    pub supported_features: &'static [Feature],
}

/// One of Gateway API's feature names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Name.
    pub name: &'static str,
}

/// Status of a Gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Where it can be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// `Accepted`, `Programmed`, `ResolvedRefs`.
    pub conditions: Conditions,
    /// One per listener of the spec, in its order.
    pub listeners: Vec<ListenerStatus>,
    /// How many ListenerSets are attached; left out when none is.
    #[serde(skip_serializing_if = "is_zero")]
    pub attached_listener_sets: i32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_zero(count: &i32) -> bool {
    *count == 0
}

/// Status of a ListenerSet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetStatus {
    /// `Accepted`, `Programmed`.
    pub conditions: Conditions,
    /// One per listener of the spec, in its order; none when the set may not attach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// The Gateway it names; not part of what Kubernetes is told.
    #[serde(skip)]
    pub gateway: ObjectKey,
}

/// An address of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAddress {
    /// `IPAddress` or `Hostname`.
    pub r#type: String,
    /// The address.
    pub value: String,
}

/// Status of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: String,
    /// How many routes are attached.
    pub attached_routes: i32,
    /// Kinds of routes it takes.
    pub supported_kinds: Vec<RouteGroupKind>,
    /// `Accepted`, `Conflicted`, `Programmed`, `ResolvedRefs`.
    pub conditions: Conditions,
    /// It is a waypoint's, which opens other ports than its own; not part of what Kubernetes is told.
    #[serde(skip)]
    pub is_capture: bool,
}

/// A kind of route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
}

/// What we add to the status of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `fairway.dev/WaypointBound`.
    pub conditions: Conditions,
}
