//! `Rollout`: takes a route from one version of a service to the next, step by step, while the new one does well.
//!
//! What it decides stands in its status, and the translator makes weights of that ([`crate::translate`]): the route is never
//! written to, and any replica goes on where another stopped. The decisions are pure ([`step`]); [`Engine`] looks when to make
//! which.

mod analysis;
mod decide;
mod engine;

use config::BackendRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
pub use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use policies::Duration;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use self::decide::{Event, Observed, step};
pub use self::engine::{Decision, Engine, Sight};

/// Takes a route from one version of a service to the next.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "Rollout",
    namespaced,
    shortname = "fwro",
    category = "fairway",
    status = "RolloutStatus",
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}"#,
    printcolumn = r#"{"name": "Step", "type": "integer", "jsonPath": ".status.step"}"#,
    printcolumn = r#"{"name": "Weight", "type": "integer", "jsonPath": ".status.weight"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Healthy", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Healthy\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    derive = "PartialEq",
    doc = "Takes a route from one version of a service to the next, step by step, while the new one does well."
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = check)]
pub struct RolloutSpec {
    /// The route, of the rollout's own namespace.
    pub target_ref: RouteRef,
    /// The version that has the requests now: a backend of the route's rules.
    pub stable: ServicePort,
    /// The version that is to have them. What the two have together in a rule is divided among them; other backends of the rule
    /// keep their share.
    pub canary: ServicePort,
    /// The way, 1 to 20 steps. After the pause of the last one the canary has all.
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<Step>,
    /// What doing well is. Default: 99 % of requests succeed.
    #[serde(default)]
    pub analysis: Analysis,
    /// Everything stays as it is. When it goes on, the step begins anew. Default: false.
    #[serde(default)]
    pub paused: bool,
    /// All is decided and said in status and Events, and weights stay as they are written. Leaving it begins anew. Default: false.
    #[serde(default)]
    pub dry_run: bool,
    /// Any text: another one begins anew, as another stable or canary does. For a new version behind the same Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRef {
    /// `gateway.networking.k8s.io`.
    #[schemars(extend("enum" = ["gateway.networking.k8s.io"]))]
    pub group: String,
    /// `HTTPRoute` or `GRPCRoute`.
    #[schemars(extend("enum" = ["HTTPRoute", "GRPCRoute"]))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The rules of this name. Default: every rule that has both backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// A port of a Service of the rollout's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServicePort {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Number of its port, as backendRefs write it.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

impl ServicePort {
    /// As proxies know it; `None` when the port is none.
    #[must_use]
    pub fn backend(&self, namespace: &str) -> Option<BackendRef> {
        let port = u16::try_from(self.port).ok()?;
        Some(BackendRef { namespace: namespace.into(), name: self.name.clone(), port })
    }
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The canary's part of what both have, in percent: more than in the step before.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// How long it lasts at least. It lasts longer while checks fail or too few requests come. Default: 1m.
    #[serde(default = "minute")]
    pub pause: Duration,
}

const fn minute() -> Duration {
    Duration(std::time::Duration::from_mins(1))
}

/// What doing well is, by what proxies count of requests to the canary (of all routes): `fairway_backend_requests_total` and
/// `fairway_backend_request_duration_seconds`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Analysis {
    /// How often it is checked; a check looks at the requests since the last one. Default: 10s.
    pub interval: Duration,
    /// Fewer requests say nothing: the check waits for more. Default: 20.
    #[schemars(range(min = 1))]
    pub min_requests: i64,
    /// Least percentage of requests that are answered with anything but 5xx. Requests that clients give up count as nothing.
    /// Default: 99.
    #[schemars(range(min = 0, max = 100))]
    pub success_rate: f64,
    /// Longest time that 99 % of answers may take to begin, 1ms to 10s. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<Duration>,
    /// So many failing checks in a row roll back; fewer hold the step. 0: nothing rolls back, and the step is held until checks
    /// hold again. Default: 1.
    #[schemars(range(min = 0, max = 100))]
    pub failure_limit: i32,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            interval: Duration(std::time::Duration::from_secs(10)),
            min_requests: 20,
            success_rate: 99.0,
            p99: None,
            failure_limit: 1,
        }
    }
}

/// How far a rollout is. A controller needs nothing else to go on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// `metadata.generation` of what this was decided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    pub phase: Phase,
    /// The step, from 1; 0 before the first and after it was rolled back.
    pub step: i32,
    /// The canary's part in percent.
    pub weight: i32,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// Checks in a row that failed.
    pub failures: i32,
    /// The last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<LastAnalysis>,
    /// What this is about. Something else begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// `Accepted`, `Progressing`, `Healthy`.
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// It has not begun, or cannot go on: `Accepted` says why.
    #[default]
    Pending,
    /// On its way.
    Progressing,
    /// Held by `paused`.
    Paused,
    /// The canary has all.
    Succeeded,
    /// The canary has nothing any more.
    RolledBack,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Progressing, Self::Paused, Self::Succeeded, Self::RolledBack];

    /// As status writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
            Self::Succeeded => "Succeeded",
            Self::RolledBack => "RolledBack",
        }
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastAnalysis {
    /// When it was made.
    pub at: MicroTime,
    /// Requests it looked at.
    pub requests: i64,
    /// Percentage of them that succeeded, to two digits.
    pub success_rate: f64,
    /// What 99 % of answers did not exceed, estimated from buckets; absent without answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<Duration>,
}

/// What a rollout is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The route.
    pub target_ref: RouteRef,
    /// The old version.
    pub stable: ServicePort,
    /// The new one.
    pub canary: ServicePort,
    /// Weights stay as they are written.
    pub dry_run: bool,
    /// As in spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl RolloutSpec {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            target_ref: self.target_ref.clone(),
            stable: self.stable.clone(),
            canary: self.canary.clone(),
            dry_run: self.dry_run,
            revision: self.revision.clone(),
        }
    }

    /// What no rollout can be; the API server refuses it too.
    pub(crate) fn problem(&self) -> Option<String> {
        let mut before = 0;
        for (index, step) in self.steps.iter().enumerate() {
            if !(1..=100).contains(&step.weight) {
                return Some(format!("steps[{index}].weight: {} is not between 1 and 100", step.weight));
            }
            if step.weight <= before {
                return Some(format!(
                    "steps[{index}].weight: {} is not more than {before}, that of the step before",
                    step.weight
                ));
            }
            before = step.weight;
        }
        let Analysis { interval, min_requests, success_rate, p99, failure_limit } = &self.analysis;
        if self.steps.is_empty() || self.steps.len() > 20 {
            Some("steps: write 1 to 20".to_owned())
        } else if self.stable == self.canary {
            Some("canary: it is the same as stable: name the Service of the new version".to_owned())
        } else if interval.0 < SHORTEST {
            Some(format!("analysis.interval: {interval} is less than 1s"))
        } else if *min_requests < 1 {
            Some(format!("analysis.minRequests: {min_requests} is less than 1"))
        } else if !(0.0..=100.0).contains(success_rate) {
            Some(format!("analysis.successRate: {success_rate} is not between 0 and 100"))
        } else if let Some(p99) = p99.filter(|p99| p99.0.is_zero() || p99.0 > SLOWEST) {
            Some(format!("analysis.p99: {p99} is not between 1ms and 10s"))
        } else if *failure_limit < 0 {
            Some(format!("analysis.failureLimit: {failure_limit} is less than 0"))
        } else {
            None
        }
    }
}

/// Proxies tell what they count once in a second.
const SHORTEST: std::time::Duration = std::time::Duration::from_secs(1);
/// Slower answers are not told apart.
const SLOWEST: std::time::Duration = std::time::Duration::from_secs(10);

impl Rollout {
    /// The canary's part in percent that is to hold now; `None` in a dry run.
    pub(crate) fn weight(&self) -> Option<u32> {
        if self.spec.dry_run {
            return None;
        }
        let status = self.status.as_ref();
        let status = status.filter(|status| status.subject.as_ref() == Some(&self.spec.subject()));
        let weight = status.map_or(0, |status| status.weight.clamp(0, 100));
        Some(weight.unsigned_abs())
    }
}

/// Says what goes together.
fn check(schema: &mut Schema) {
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([
            {
                // CEL compares no objects of two types.
                "rule": "self.stable.name != self.canary.name || self.stable.port != self.canary.port",
                "message": "stable and canary are the same: name the Service of the new version as canary",
            },
            {
                "rule": "self.steps.map(step, step.weight).isSorted() \
                         && self.steps.all(step, self.steps.exists_one(other, other.weight == step.weight))",
                "message": "each step's weight must be more than that of the step before",
            },
        ]),
    );
}

#[cfg(test)]
mod tests;
