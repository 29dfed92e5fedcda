//! Total time for a request and for each attempt (HTTPRouteTimeouts, GEP-1742).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, Duration, Filter, Invalid, Lookup, Policy, Request, Verdict};

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
        // Gateway API: "Setting a timeout to the zero duration SHOULD disable the timeout completely."
        let limit = |timeout: Option<Duration>| timeout.map(|Duration(t)| t).filter(|t| !t.is_zero());
        let limits = Limits { request: limit(self.request), attempt: limit(self.backend_request) };
        if let (Some(request), Some(attempt)) = (limits.request, limits.attempt)
            && attempt > request
        {
            return Err(Invalid::field(
                "backendRequest",
                format!(
                    "{} is longer than request ({}); make it at most that",
                    Duration(attempt),
                    Duration(request)
                ),
            ));
        }
        Ok(TimeoutsFilter(limits))
    }
}

/// A compiled [`Timeouts`].
#[derive(Debug)]
pub struct TimeoutsFilter(Limits);

impl crate::Chain {
    /// What it will decide, for whatever takes time before it does.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let filters = self.0.as_deref();
        filters.and_then(|filters| filters.timeouts.as_deref()).map(|filter| filter.0).unwrap_or_default()
    }
}

impl Filter for TimeoutsFilter {
    type State = ();

    fn request<'a>(&'a self, _: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        ctx.timeouts = self.0;
        Verdict::Continue
    }
}
