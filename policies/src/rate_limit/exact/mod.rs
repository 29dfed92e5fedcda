//! Limits that a rate limit service counts: it is asked about each request, which waits for it.
//!
//! What a reader would get wrong: all limits of a request are asked for at once, after those that cost no call have admitted
//! it; and what is over by a rule in shadow mode is over in what the service says of all.

mod ask;
mod breaker;
mod entries;
#[cfg(test)]
mod tests;

use std::time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::ask::{Exact, Rule, Told};
use self::breaker::Breaker;
use super::spec::{Algorithm, Limit, LimitRule};
use crate::grpc::authority;
use crate::schema::{Bounds, rule, within};
use crate::{BackendRef, Duration, Invalid, Lookup};

/// Time for an answer.
const TIMEOUT: Bounds = Bounds::new(time::Duration::from_millis(1), time::Duration::from_secs(10));
/// Bytes of a domain.
const LONGEST_DOMAIN: usize = 256;

const PLAIN: &str = "self.rules.all(rule, !has(rule.limit.burst) && (!has(rule.limit.algorithm) || rule.limit.algorithm == 'TokenBucket') \
                     && (!has(rule.cost) || !has(rule.cost.response)))";
const NOT_PLAIN: &str = "rules of `exact` have no burst, no algorithm and no cost.response, since the service counts: leave them \
                         out, or move the rule to `global`";

/// Limits that a service of Envoy's contract counts (`envoy.service.ratelimit.v3.RateLimitService`), which is asked about each
/// request that a rule is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(PLAIN, NOT_PLAIN))]
pub struct ExactLimits {
    /// Where it is; exactly one. It is balanced and connected to like any backend, by HTTP/2 and its BackendTLSPolicy.
    #[schemars(length(min = 1, max = 1))]
    pub backend_refs: Vec<BackendRef>,
    /// Whose limits these are there; 1 to 256 characters. Default: fairway.
    #[serde(default = "default_domain")]
    #[schemars(length(min = 1, max = LONGEST_DOMAIN))]
    pub domain: String,
    /// Time for an answer, connecting included; 1ms to 10s. Default 20ms.
    #[serde(default = "default_timeout")]
    #[schemars(transform = within(TIMEOUT))]
    pub timeout: Duration,
    /// Whether requests are refused (503) while it does not answer. Default false: they go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_closed: bool,
    /// A request has to pass all that match it; 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<LimitRule>,
}

fn default_domain() -> String {
    "fairway".to_owned()
}

const fn default_timeout() -> Duration {
    Duration(time::Duration::from_millis(20))
}

impl ExactLimits {
    /// Whoever is asked for these rules.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) fn compile(&self, rules: Vec<Rule>, lookup: &dyn Lookup) -> Result<Exact, Invalid> {
        let [backend] = &self.backend_refs[..] else {
            let message = format!("names {} Services; name one", self.backend_refs.len());
            return Err(Invalid::field("exact.backendRefs", message));
        };
        let upstream = lookup.backend(backend).ok_or_else(|| Invalid::BackendNotFound(backend.clone()))?;
        if !(1..=LONGEST_DOMAIN).contains(&self.domain.len()) {
            let message = format!("is empty or longer than {LONGEST_DOMAIN} bytes; write a short name");
            return Err(Invalid::field("exact.domain", message));
        }
        Ok(Exact {
            authority: authority(upstream.name())
                .ok_or_else(|| Invalid::field("exact.backendRefs", "is no name of a Service"))?,
            upstream,
            domain: self.domain.clone(),
            timeout: TIMEOUT.check("exact.timeout", self.timeout)?,
            fail_closed: self.fail_closed,
            breaker: Breaker::default(),
            clock: lookup.clock(),
            rules: rules.into(),
        })
    }
}

/// What of a rule cannot be asked for.
///
/// # Errors
/// By its field.
pub(super) fn check(field: &str, rule: &LimitRule) -> Result<(), Invalid> {
    let Limit { burst, algorithm, .. } = rule.limit;
    let has_response = rule.cost.as_ref().is_some_and(|cost| cost.response.is_some());
    let wrong = match (burst, algorithm, has_response) {
        (Some(_), ..) => "limit.burst",
        (None, Algorithm::SlidingWindow, _) => "limit.algorithm",
        (None, Algorithm::TokenBucket, true) => "cost.response",
        (None, Algorithm::TokenBucket, false) => return Ok(()),
    };
    Err(Invalid::field(
        format!("{field}.{wrong}"),
        "is not for rules of `exact`, since the service counts: leave it out, or move the rule to `global`",
    ))
}
