//! Status of routes: one entry per parentRef that is ours.

use std::fmt;

use serde::Serialize;

use super::Conditions;

/// Status of a route of any kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// One per parentRef of the spec that names a Gateway of ours or a Service, in its order.
    pub parents: Vec<ParentStatus>,
}

/// What a route is to one of its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// As the route names it.
    pub parent_ref: ParentRef,
    /// [`CONTROLLER_NAME`](crate::CONTROLLER_NAME).
    pub controller_name: &'static str,
    /// `Accepted`, `ResolvedRefs`, `PartiallyInvalid`.
    pub conditions: Conditions,
}

/// A reference to a Gateway, a Service or a part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// API group; absent: `gateway.networking.k8s.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind; absent: `Gateway`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace; absent: the route's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port of the listener or Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

impl fmt::Display for ParentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind.as_deref().unwrap_or("Gateway"))?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)?;
        if let Some(section) = &self.section_name {
            write!(f, "#{section}")?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}
