//! Leaves `spec.replicas` of a Deployment to an autoscaler without a moment of one replica.
//!
//! A field that its last owner no longer applies goes back to its default, which is 1 here. So another owner takes the
//! field, with the value it has, before we leave it out ("Transferring ownership" of server-side apply); the autoscaler
//! takes it from there with its first change.

use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cluster::write;

/// Owner of the number of replicas until the autoscaler changes it.
const MANAGER: &str = "fairway.dev/autoscaling";
/// How long the second of two writes waits when the first is not seen yet.
const AGAIN: Duration = Duration::from_millis(100);

/// What has to happen before a Deployment is applied without `replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handover {
    /// Nothing: the number is not ours.
    None,
    /// It is made with as many, and handed over then.
    Begin(i64),
    /// The other owner takes it with this value.
    Take(i64),
}

/// Applies a Deployment that does not say how many replicas it has; a new one begins with `fewest`.
pub(super) async fn apply(client: &Client, deployment: &Value, fewest: i64) -> Result<DynamicObject, Error> {
    let text = |pointer| deployment.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let api = write::api(client, &write::resource("apps/v1", "Deployment"), namespace);
    // A patch of nothing answers with what there is: we may patch, and need no right to read.
    let live = match api.patch(name, &PatchParams::default(), &Patch::Merge(json!({}))).await {
        Ok(live) => Some(live),
        Err(Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(error),
    };
    match handover(live.as_ref(), fewest) {
        Handover::None => {}
        Handover::Begin(replicas) => {
            write::apply(client, &with_replicas(deployment, replicas)).await?;
            take(&api, name, replicas).await?;
        }
        Handover::Take(replicas) => take(&api, name, replicas).await?,
    }
    write::apply(client, deployment).await
}

fn handover(live: Option<&DynamicObject>, fewest: i64) -> Handover {
    let Some(live) = live else { return Handover::Begin(fewest) };
    let is_ours = live.metadata.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(write::FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    });
    let replicas = live.data.pointer("/spec/replicas").and_then(Value::as_i64);
    match replicas.filter(|_| is_ours) {
        Some(replicas) => Handover::Take(replicas),
        None => Handover::None,
    }
}

async fn take(api: &kube::Api<DynamicObject>, name: &str, replicas: i64) -> Result<(), Error> {
    let part = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": { "replicas": replicas },
    });
    // Forced: an autoscaler may own it already, and a conflict would keep ours for ever.
    let params = PatchParams::apply(MANAGER).force();
    match api.patch(name, &params, &Patch::Apply(&part)).await {
        // Just made, and this server has not heard of it: without the rest of the object it makes none.
        Err(Error::Api(status)) if matches!(status.code, 404 | 422) => {
            sleep(AGAIN).await;
            api.patch(name, &params, &Patch::Apply(&part)).await.map(drop)
        }
        done => done.map(drop),
    }
}

fn with_replicas(deployment: &Value, replicas: i64) -> Value {
    let mut deployment = deployment.clone();
    if let Some(spec) = deployment.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".into(), replicas.into());
    }
    deployment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(owners: &[(&str, &str)]) -> DynamicObject {
        let fields = json!({ "f:spec": { "f:replicas": {}, "f:template": {} } });
        let entry = |(manager, operation): &(&str, &str)| {
            json!({ "manager": manager, "operation": operation, "apiVersion": "apps/v1", "time": null,
                "fieldsType": "FieldsV1", "fieldsV1": fields })
        };
        let owners: Vec<Value> = owners.iter().map(entry).collect();
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "edge", "managedFields": owners },
            "spec": { "replicas": 5 },
        }))
        .unwrap()
    }

    #[test]
    fn a_new_one_begins_with_the_fewest() {
        assert_eq!(handover(None, 3), Handover::Begin(3));
    }

    #[test]
    fn a_number_of_ours_is_handed_over_as_it_is() {
        let live = live(&[(write::FIELD_MANAGER, "Apply")]);
        assert_eq!(handover(Some(&live), 3), Handover::Take(5));
    }

    #[test]
    fn a_number_of_others_stays_theirs() {
        assert_eq!(handover(Some(&live(&[("kube-controller-manager", "Update")])), 3), Handover::None);
        assert_eq!(handover(Some(&live(&[(MANAGER, "Apply")])), 3), Handover::None);
        // An update under our name is no claim that leaving the field out would give up.
        assert_eq!(handover(Some(&live(&[(write::FIELD_MANAGER, "Update")])), 3), Handover::None);
    }
}
