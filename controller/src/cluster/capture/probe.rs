//! Whether the cluster makes EndpointSlices of captured Services step aside, asked without changing anything.

use std::time::Duration;

use kube::Client;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::write;
use crate::translate::{CAPTURED, KUBERNETES, MANAGED_BY};

/// How often it is asked.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// How often while it does not.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// A policy takes up to a second to act once it is there, and may be removed by anybody: so the API server is asked what it
/// would make of a slice like those of a captured Service (a dry run).
pub(super) async fn is_acting(client: &Client, namespace: &str) -> bool {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "fairway-capture-probe",
            "namespace": namespace,
            "labels": { MANAGED_BY: KUBERNETES, CAPTURED: "probe" },
        },
        "addressType": "IPv4",
        "ports": [],
        // RFC 5737: for documentation.
        "endpoints": [{ "addresses": ["192.0.2.1"], "conditions": { "ready": true } }],
    });
    let api = write::api(client, &write::resource("discovery.k8s.io/v1", "EndpointSlice"), namespace);
    let params = PostParams { dry_run: true, field_manager: Some(write::FIELD_MANAGER.to_owned()) };
    let Ok(object) = serde_json::from_value(slice) else { return false };
    match api.create(&params, &object).await {
        Ok(answer) => {
            answer.data.pointer("/endpoints/0/conditions/ready").and_then(Value::as_bool) == Some(false)
        }
        Err(error) => {
            tracing::warn!(
                error = write::message(&error),
                "the API server does not say whether EndpointSlices step aside"
            );
            false
        }
    }
}
