//! The waypoint of a namespace, made from a label alone and removed with it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Steerer;
use crate::cluster::control::View;
use crate::cluster::write;
use crate::resources::Named as _;
use crate::translate::{AUTO_NAME, CAPTURE_PROTOCOL, WAYPOINT_CLASS, auto_namespaces};

/// On a Gateway that was made for a label.
const AUTO_PROVISIONED: &str = "fairway.dev/auto-provisioned";
/// How long after a write it is made again if it has not come back.
const AGAIN: Duration = Duration::from_secs(5);

/// What is remembered of what was written.
#[derive(Default)]
pub(super) struct Autos {
    sent: BTreeMap<String, Instant>,
    pub(super) again: Option<Instant>,
}

impl Autos {
    /// Makes the waypoints that labels ask for, and removes those that none asks for and no Service needs any more.
    pub(super) async fn round(&mut self, steerer: &Steerer, view: &View) {
        let now = Instant::now();
        self.sent.retain(|_, until| now < *until);
        let wanted = auto_namespaces(&view.resources);
        for namespace in &wanted {
            if view.resources.gateways.get(namespace, AUTO_NAME).is_none()
                && !self.sent.contains_key(*namespace)
            {
                self.sent.insert((*namespace).to_owned(), now + AGAIN);
                if let Err(error) = write::apply(&steerer.client, &gateway(namespace)).await {
                    tracing::warn!(namespace, error = write::message(&error), "a waypoint cannot be made");
                }
            }
        }
        let is_used = |namespace: &str| {
            view.translation
                .plans
                .values()
                .any(|plan| *plan.waypoint.0 == *namespace && *plan.waypoint.1 == *AUTO_NAME)
        };
        for gateway in &view.resources.gateways {
            let namespace = gateway.namespace();
            let is_ours = gateway.name() == AUTO_NAME && gateway.label(AUTO_PROVISIONED) == Some("true");
            if !is_ours
                || wanted.contains(namespace)
                || is_used(namespace)
                || self.sent.contains_key(namespace)
            {
                continue;
            }
            self.sent.insert(namespace.to_owned(), now + AGAIN);
            let kind = ("gateway.networking.k8s.io/v1", "Gateway");
            if let Err(error) = write::delete(&steerer.client, kind, namespace, AUTO_NAME).await {
                tracing::warn!(namespace, error = write::message(&error), "a waypoint cannot be removed");
            }
        }
        self.again = self.sent.values().min().copied();
    }
}

fn gateway(namespace: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {
            "name": AUTO_NAME,
            "namespace": namespace,
            "labels": { AUTO_PROVISIONED: "true" },
        },
        "spec": {
            "gatewayClassName": WAYPOINT_CLASS,
            "listeners": [{
                "name": "mesh",
                "port": 15008,
                "protocol": CAPTURE_PROTOCOL,
                "allowedRoutes": { "namespaces": { "from": "Same" } },
            }],
        },
    })
}
