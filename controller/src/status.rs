//! What we tell the user about each object.
//!
//! The types have the shape of the objects' `status` in Kubernetes, without `lastTransitionTime`: the
//! translator has no clock. Whoever writes them adds it, and only when a condition's status changed.

pub(crate) mod condition;
mod gateway;
mod policy;
mod rollout;
mod route;

use std::sync::Arc;

use config::sorted;
use serde::Serialize;

pub(crate) use condition::Problem;
pub use condition::{Condition, ConditionStatus, Conditions, condition_type, reason};
pub use gateway::{
    Feature, GatewayAddress, GatewayClassStatus, GatewayStatus, ListenerSetStatus, ListenerStatus,
    RouteGroupKind, ServiceStatus,
};
pub use policy::{AncestorStatus, PolicyStatus};
pub use rollout::RolloutStatus;
pub use route::{ParentRef, ParentStatus, RouteStatus};

use crate::{ObjectKey, ObjectKind};

/// A status for every object that has one. Shared: an unchanged one is the same `Arc` as before.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Statuses(pub sorted::Map<ObjectKey, Arc<Status>>);

impl Statuses {
    /// Those of one kind, by name.
    pub(crate) fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = (&ObjectKey, &Arc<Status>)> {
        let pairs = self.0.range(ObjectKey::new(kind, "", "")..);
        pairs.take_while(move |(key, _)| key.kind == kind)
    }
}

/// The status of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// Of a GatewayClass.
    GatewayClass(GatewayClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a ListenerSet.
    ListenerSet(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    /// Of a policy.
    Policy(PolicyStatus),
    /// Of a Service in front of which a waypoint stands.
    Service(ServiceStatus),
    /// Of a Rollout, beside how far it is.
    Rollout(RolloutStatus),
}

impl Status {
    /// Every list of conditions in it, each with where it belongs: empty for the object itself, else the
    /// listener (`listener http`), the parent (`parent Gateway/default/edge`) or the ancestor.
    #[must_use]
    pub fn conditions(&self) -> Vec<(String, &Conditions)> {
        match self {
            Self::GatewayClass(status) => vec![(String::new(), &status.conditions)],
            Self::Gateway(status) => std::iter::once((String::new(), &status.conditions))
                .chain(status.listeners.iter().map(|l| (format!("listener {}", l.name), &l.conditions)))
                .collect(),
            Self::ListenerSet(status) => std::iter::once((String::new(), &status.conditions))
                .chain(status.listeners.iter().map(|l| (format!("listener {}", l.name), &l.conditions)))
                .collect(),
            Self::Route(status) => {
                status.parents.iter().map(|p| (format!("parent {}", p.parent_ref), &p.conditions)).collect()
            }
            Self::Policy(status) => status
                .ancestors
                .iter()
                .map(|a| (format!("ancestor {}", a.ancestor_ref), &a.conditions))
                .collect(),
            Self::Service(status) => vec![(String::new(), &status.conditions)],
            Self::Rollout(status) => vec![(String::new(), &status.conditions)],
        }
    }

    /// Whether the object, or a part of it, is `Accepted`.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.conditions().iter().flat_map(|(_, conditions)| *conditions).any(|condition| {
            condition.r#type == condition_type::ACCEPTED && condition.status == ConditionStatus::True
        })
    }
}
