//! Status of policies: one entry per Gateway (or Service) through which the policy acts (GEP-713).

use serde::Serialize;

use super::{Conditions, route::ParentRef};

/// Status of a policy of any kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// At most 16 (Gateway API).
    pub ancestors: Vec<AncestorStatus>,
}

/// What a policy is to one of its ancestors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// Gateway or Service.
    pub ancestor_ref: ParentRef,
    /// [`CONTROLLER_NAME`](crate::CONTROLLER_NAME).
    pub controller_name: &'static str,
    /// `Accepted`, and what else there is to say.
    pub conditions: Conditions,
}
