//! How the listeners of a route treat its clients, and which policy says so.

use config::{Key, Kind, Parent, Resource};
use controller::{ObjectKey, traffic_fields};
use serde::Serialize;
use serde_json::Value;

use crate::input::{Input, local_options};
use crate::view::parents_of;

/// A listener that a route is attached to.
#[derive(Debug, Serialize)]
pub(super) struct ExplainedListener {
    pub(super) listener: String,
    /// Only what a policy says; everything else has its default.
    pub(super) traffic: Vec<TrafficSource>,
}

/// A setting and the policy it came from.
#[derive(Debug, Serialize)]
pub(super) struct TrafficSource {
    field: String,
    value: Value,
    from: ObjectKey,
}

impl std::fmt::Display for TrafficSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}  from {}", self.field, self.value, self.from)
    }
}

/// The listeners of a route.
pub(super) fn of(resource: &Resource, input: &Input) -> Vec<ExplainedListener> {
    let mut fields = traffic_fields(&input.resources, &local_options());
    let listeners = parents_of(resource).iter().filter_map(|parent| match parent {
        Parent::Listener { namespace, gateway, section, .. } => {
            Some(Key::new(Kind::Listener, namespace.as_str(), format!("{gateway}/{section}")))
        }
        Parent::Service(_) | Parent::Consumer { .. } => None,
    });
    let explained = listeners.map(|key| {
        let traffic = fields.remove(&key).unwrap_or_default().into_iter();
        let traffic = traffic.map(|one| TrafficSource { field: one.field, value: one.value, from: one.from });
        ExplainedListener { listener: format!("{}/{}", key.namespace, key.name), traffic: traffic.collect() }
    });
    explained.collect()
}
