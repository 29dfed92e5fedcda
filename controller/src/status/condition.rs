//! Conditions, as Kubernetes writes them.

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
    pub message: String,
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
