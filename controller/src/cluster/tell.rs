//! Events: what happened to an object, once.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};

use super::write;
use crate::ObjectKey;

/// Tells one, without waiting for it: an Event that is lost is no loss.
pub(crate) fn tell(
    recorder: &Recorder,
    (key, uid): (&ObjectKey, &str),
    is_warning: bool,
    reason: String,
    message: &str,
) {
    let recorder = recorder.clone();
    let resource = write::resource(key.kind.api_version(), key.kind.as_str());
    let reference = ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(key.kind.as_str().to_owned()),
        namespace: (!key.namespace.is_empty()).then(|| key.namespace.to_string()),
        name: Some(key.name.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: if is_warning { EventType::Warning } else { EventType::Normal },
        reason,
        // At most 1 kB.
        note: Some(message.chars().take(500).collect()),
        action: "Reconcile".into(),
        secondary: None,
    };
    tokio::spawn(async move {
        if let Err(error) = recorder.publish(&event, &reference).await {
            tracing::debug!(error = write::message(&error), "an Event cannot be written");
        }
    });
}
