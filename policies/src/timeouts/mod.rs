//! Total time for a request and for each attempt (HTTPRouteTimeouts, GEP-1742).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

use crate::Duration;

/// Time limits; zero or absent means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// From the end of the request head to the end of the response, all attempts included. 504 when over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// For one attempt, from connecting to the end of the response. At most `request`. 504 when over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// What the engine enforces; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Total.
    pub request: Option<std::time::Duration>,
    /// Per attempt.
    pub attempt: Option<std::time::Duration>,
}

impl Policy for Timeouts {
    type Filter = TimeoutsFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<TimeoutsFilter, Invalid> {
        Ok(TimeoutsFilter {})
    }
}

/// A compiled [`Timeouts`].
#[derive(Debug)]
pub struct TimeoutsFilter {}

impl Filter for TimeoutsFilter {
    type State = ();
}
