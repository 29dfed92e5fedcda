//! Whether a policy decides or only says what it would have decided.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What follows from a refusal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// The request is refused.
    #[default]
    Enforce,
    /// The refusal is counted and logged as `would_deny`, and the request goes on.
    Shadow,
}
