//! Status of a Rollout, as far as the translator decides it. How far it is stands beside it, and is written by whoever runs it
//! ([`crate::rollout`]).

use serde::Serialize;

use super::Conditions;

/// Status of a Rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// `Accepted`.
    pub conditions: Conditions,
}
