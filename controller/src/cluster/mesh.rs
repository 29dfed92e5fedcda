//! What the mesh can do, in the place where Gateway API has it (GEP-3949, XMesh): leader only. Where the kind is not
//! installed there is nobody to tell.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::leader::Leads;
use super::write;
use crate::CONTROLLER_NAME;
use crate::features::MESH_FEATURES;

/// Name of the mesh: there is one.
const NAME: &str = "fairway";
const VERSION: &str = "gateway.networking.x-k8s.io/v1alpha1";
/// How often it is said again: somebody may have removed it.
const AGAIN: Duration = Duration::from_secs(60);

/// Works until the future is dropped. `crds`: changes whenever a CRD does.
pub(crate) async fn run(client: Client, mut leads: watch::Receiver<Leads>, mut crds: watch::Receiver<u64>) {
    let mut since = String::new();
    loop {
        if leads.borrow_and_update().now() {
            if since.is_empty() {
                since = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            }
            if let Err(error) = say(&client, &since).await {
                let is_missing = matches!(&error, kube::Error::Api(status) if status.code == 404);
                if !is_missing {
                    tracing::warn!(error = write::message(&error), "what the mesh can do cannot be told");
                }
            }
        }
        tokio::select! {
            Ok(()) = leads.changed() => {}
            Ok(()) = crds.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn say(client: &Client, since: &str) -> Result<(), kube::Error> {
    let mesh = mesh();
    let made = write::apply(client, &mesh).await?;
    let generation = made.metadata.generation;
    let mut told = mesh;
    let accepted = made.data.pointer("/status/conditions/0").filter(|accepted| {
        accepted.get("status") == Some(&"True".into())
            && accepted.get("observedGeneration") == Some(&json!(generation))
    });
    // When it became so stays as it was said.
    let since = accepted.and_then(|accepted| accepted.get("lastTransitionTime")?.as_str()).unwrap_or(since);
    if let Some(fields) = told.as_object_mut() {
        fields.remove("spec");
        fields.insert(
            "status".into(),
            json!({
                "conditions": [{
                    "type": "Accepted",
                    "status": "True",
                    "reason": "Accepted",
                    "message": "Namespaces opt in by label fairway.dev/use-waypoint.",
                    "observedGeneration": generation,
                    "lastTransitionTime": since,
                }],
                "supportedFeatures": MESH_FEATURES,
            }),
        );
    }
    let api = write::api(client, &write::resource(VERSION, "XMesh"), "");
    let params = PatchParams::apply(write::FIELD_MANAGER).force();
    api.patch_status(NAME, &params, &Patch::Apply(told)).await.map(drop)
}

fn mesh() -> Value {
    json!({
        "apiVersion": VERSION,
        "kind": "XMesh",
        "metadata": { "name": NAME },
        "spec": { "controllerName": CONTROLLER_NAME, "description": "Fairway's waypoints" },
    })
}
