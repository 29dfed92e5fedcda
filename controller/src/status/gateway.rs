//! Status of GatewayClasses, Gateways with their listeners, and Services behind a waypoint.

use serde::{Deserialize, Serialize};

use super::Conditions;

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
    /// `Accepted`, `Programmed`.
    pub conditions: Conditions,
    /// One per listener of the spec, in its order.
    pub listeners: Vec<ListenerStatus>,
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
