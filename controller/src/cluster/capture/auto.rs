//! The waypoint of a namespace, made from a label alone and removed with it.

use serde_json::{Value, json};

use super::sent::Sent;
use super::{Steerer, is_used};
use crate::cluster::control::View;
use crate::cluster::write;
use crate::resources::Named as _;
use crate::translate::{AUTO_NAME, CAPTURE_PROTOCOL, WAYPOINT_CLASS, auto_namespaces};

/// On a Gateway that was made for a label.
const AUTO_PROVISIONED: &str = "fairway.dev/auto-provisioned";

/// What is remembered of them, by namespace.
#[derive(Default)]
pub(super) struct Autos {
    pub(super) sent: Sent<String>,
}

impl Autos {
    /// Makes the waypoints that labels ask for, and removes those that none asks for and no Service needs any more.
    pub(super) async fn round(&mut self, steerer: &Steerer, view: &View) {
        self.sent.forget();
        let wanted = auto_namespaces(&view.resources);
        for namespace in &wanted {
            if view.resources.gateways.get(namespace, AUTO_NAME).is_none()
                && self.sent.claim((*namespace).to_owned())
                && let Err(error) = write::apply(&steerer.client, &gateway(namespace)).await
            {
                tracing::warn!(namespace, error = write::message(&error), "a waypoint cannot be made");
            }
        }
        for gateway in &view.resources.gateways {
            let namespace = gateway.namespace();
            let is_ours = gateway.name() == AUTO_NAME && gateway.label(AUTO_PROVISIONED) == Some("true");
            if !is_ours
                || wanted.contains(namespace)
                || is_used(view, namespace, AUTO_NAME)
                || !self.sent.claim(namespace.to_owned())
            {
                continue;
            }
            let kind = ("gateway.networking.k8s.io/v1", "Gateway");
            if let Err(error) = write::delete(&steerer.client, kind, namespace, AUTO_NAME).await {
                tracing::warn!(namespace, error = write::message(&error), "a waypoint cannot be removed");
            }
        }
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
