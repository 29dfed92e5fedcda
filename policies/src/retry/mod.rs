//! When a failed attempt is repeated (HTTPRouteRetry, GEP-1731).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, Invalid, Lookup, Policy};

use crate::Duration;

/// Retries of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Response codes that are retried, 400 to 599; connection errors and timeouts of an attempt always are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// Retries beside the first attempt. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Least wait before a retry, doubled with each further one, with jitter. Default 25ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// What the engine does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sorted response codes that are retried.
    pub codes: Box<[u16]>,
    /// Retries beside the first attempt.
    pub attempts: u32,
    /// Least wait before the first retry.
    pub backoff: std::time::Duration,
}

impl Policy for Retry {
    type Filter = RetryFilter;

    fn compile(&self, _: &dyn Lookup) -> Result<RetryFilter, Invalid> {
        Ok(RetryFilter {})
    }
}

/// A compiled [`Retry`].
#[derive(Debug)]
pub struct RetryFilter {}

impl Filter for RetryFilter {
    type State = ();
}
