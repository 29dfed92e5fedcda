//! Whether only those may reach the pods of a Service who enforce what is attached to it.

use super::Around;
use super::preflight::policies;
use super::wish::{FAILURE_MODE, LOCK, asked_failure_mode, is_locked};
use crate::api::{NetworkPolicy, Service};
use crate::resources::Named;

/// Whether they are locked. Only a cluster can do that.
pub(super) fn is_on(service: &Service, around: &Around<'_>) -> bool {
    around.options.is_cluster && is_asked(service, around)
}

fn is_asked(service: &Service, around: &Around<'_>) -> bool {
    is_locked(service, around.now.namespaces.get("", service.namespace()).map(AsRef::as_ref))
}

/// What there is to say of it.
pub(super) fn notes(service: &Service, around: &Around<'_>) -> Vec<String> {
    if !is_asked(service, around) {
        return Vec::new();
    }
    if !is_on(service, around) {
        return vec![format!("{LOCK} needs a cluster: nothing is locked here.")];
    }
    let mut notes = Vec::new();
    if asked_failure_mode(service) == Some("open") {
        notes.push(format!("{FAILURE_MODE}: open has no effect, since {LOCK} keeps clients from the pods."));
    }
    let others: Vec<&str> =
        policies(service, around.now).filter(|policy| lets_in(policy)).map(Named::name).collect();
    // Kubernetes: "Network policies do not conflict; they are additive".
    if !others.is_empty() {
        let (verb, some) =
            if others.len() == 1 { ("lets", "NetworkPolicy") } else { ("let", "NetworkPolicies") };
        notes.push(format!("{some} {} {verb} others in, too: policies add up.", others.join(", ")));
    }
    notes
}

/// Whether it lets anybody in.
fn lets_in(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| spec.ingress.iter().flatten().next().is_some())
}
