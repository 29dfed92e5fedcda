//! A waypoint that is deleted lets its Services go first: its pods run until clients no longer come.

use config::identity::Role;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::sent::Sent;
use super::{MANAGER, Steerer, is_used};
use crate::ObjectKey;
use crate::api::Gateway;
use crate::cluster::control::View;
use crate::cluster::write;
use crate::resources::{Named as _, ObjectKind};
use crate::translate::parameters;

/// On a Gateway that Services are captured for.
pub(crate) const FINALIZER: &str = "fairway.dev/release-services";

/// What is remembered of them.
#[derive(Default)]
pub(super) struct Finalizers {
    pub(super) sent: Sent<ObjectKey>,
}

impl Finalizers {
    /// Holds Gateways that Services are captured for, and lets go those that none is any more.
    pub(super) async fn round(&mut self, steerer: &Steerer, view: &View) {
        self.sent.forget();
        let waypoints = view.resources.gateways.iter();
        for gateway in waypoints.filter(|gateway| parameters::role(gateway) == Role::Waypoint) {
            let key = ObjectKey::new(ObjectKind::Gateway, gateway.namespace(), gateway.name());
            let is_used = is_used(view, gateway.namespace(), gateway.name());
            let Some(holds) = change(gateway, is_used).filter(|_| self.sent.claim(key.clone())) else {
                continue;
            };
            if let Err(error) = hold(steerer, gateway, holds).await {
                tracing::warn!(gateway = %key, error = write::message(&error), "a waypoint cannot be held, or let go");
            }
        }
    }
}

/// Whether it has to be held or let go; `None`: it is as it shall be.
fn change(gateway: &Gateway, is_used: bool) -> Option<bool> {
    let has = gateway.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    // None can be added to what is being deleted.
    let is_going = gateway.metadata.deletion_timestamp.is_some();
    match (has, is_used) {
        (false, true) => (!is_going).then_some(true),
        (true, false) => Some(false),
        _ => None,
    }
}

/// Server-side apply: finalizers are a set, and others' stay.
async fn hold(steerer: &Steerer, gateway: &Gateway, holds: bool) -> Result<(), kube::Error> {
    const VERSION: &str = "gateway.networking.k8s.io/v1";
    let finalizers: &[&str] = if holds { &[FINALIZER] } else { &[] };
    let body: Value = json!({
        "apiVersion": VERSION,
        "kind": "Gateway",
        "metadata": { "name": gateway.name(), "namespace": gateway.namespace(), "finalizers": finalizers },
    });
    let api = write::api(&steerer.client, &write::resource(VERSION, "Gateway"), gateway.namespace());
    api.patch(gateway.name(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(body)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_held_while_it_is_used_and_none_is_held_that_goes() {
        let gateway = |finalizers: &[&str], deleted: Option<&str>| -> Gateway {
            serde_json::from_value(json!({
                "metadata": { "name": "w", "finalizers": finalizers, "deletionTimestamp": deleted },
                "spec": { "gatewayClassName": "fairway-waypoint", "listeners": [] },
            }))
            .unwrap()
        };
        let going = Some("2026-01-01T00:00:00Z");
        assert_eq!(change(&gateway(&[], None), true), Some(true));
        assert_eq!(change(&gateway(&[], going), true), None);
        assert_eq!(change(&gateway(&["other", FINALIZER], going), true), None);
        assert_eq!(change(&gateway(&["other", FINALIZER], going), false), Some(false));
        assert_eq!(change(&gateway(&["other"], None), false), None);
    }
}
