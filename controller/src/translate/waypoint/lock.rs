//! Whether only those may reach the pods of a Service who enforce what is attached to it.

use super::preflight::may_select;
use super::wish::{FAILURE_MODE, LOCK, LOCK_OF, is_locked};
use super::{Around, FailureMode};
use crate::api::{NetworkPolicy, Service};
use crate::resources::Named as _;

/// What becomes of clients without a usable waypoint, whether pods are locked, and what there is to say of that.
pub(super) fn lock(
    service: &Service,
    failure_mode: FailureMode,
    around: &Around<'_>,
) -> (FailureMode, bool, Vec<String>) {
    let namespace = around.now.namespaces.get("", service.namespace());
    if !is_locked(service, namespace.map(AsRef::as_ref)) {
        return (failure_mode, false, Vec::new());
    }
    if !around.options.is_cluster {
        return (failure_mode, false, vec![format!("{LOCK} needs a cluster: nothing is locked here.")]);
    }
    let mut notes = Vec::new();
    let asked = service.metadata.annotations.as_ref().and_then(|all| all.get(FAILURE_MODE));
    if asked.is_some_and(|mode| mode == "open") {
        notes.push(format!("{FAILURE_MODE}: open has no effect, since {LOCK} keeps clients from the pods."));
    }
    let policies = around.now.network_policies.in_namespace(service.namespace());
    let others: Vec<&str> = policies
        .filter(|policy| policy.label(LOCK_OF).is_none() && lets_in(policy) && may_select(policy, service))
        .map(|policy| policy.name())
        .collect();
    // Kubernetes: "Network policies do not conflict; they are additive".
    if !others.is_empty() {
        let (verb, some) =
            if others.len() == 1 { ("lets", "NetworkPolicy") } else { ("let", "NetworkPolicies") };
        notes.push(format!("{some} {} {verb} others in, too: policies add up.", others.join(", ")));
    }
    // Clients that are led back to pods would not be let in.
    (FailureMode::Closed, true, notes)
}

/// Whether it lets anybody in.
fn lets_in(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| spec.ingress.iter().flatten().next().is_some())
}
