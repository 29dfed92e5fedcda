//! What moves the next translation, and what does not.

use serde_json::{Value, json};

use super::*;
use crate::api::{EndpointSlice, HttpRoute, Pod, Rollout, Service};

fn watched<T: Watchable>(value: Value) -> Watched<T> {
    serde_json::from_value(value).unwrap()
}

fn route(version: u64, generation: i64, accepted: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "r", "namespace": "n", "uid": "u", "generation": generation, "resourceVersion": version.to_string(),
            "managedFields": [{ "manager": "kubectl" }],
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes" },
        },
        "spec": { "parentRefs": [{ "name": "edge" }] },
        "status": { "parents": [{ "controllerName": "example.com/other", "unknown": accepted }] },
    })
}

fn listed(state: &State) {
    state.begin(ObjectKind::HttpRoute);
    state.apply::<HttpRoute>(watched(route(5, 1, "a")));
    state.complete(ObjectKind::HttpRoute);
}

fn key() -> ObjectKey {
    ObjectKey::new(ObjectKind::HttpRoute, "n", "r")
}

#[test]
fn a_written_status_moves_no_translation() {
    let state = State::default();
    listed(&state);
    let (first, revision) = state.take().unwrap();
    assert_eq!((first.http_routes.len(), revision), (1, 5));
    state.take_observed();
    state.apply::<HttpRoute>(watched(route(6, 1, "b")));
    assert!(state.take().is_none(), "only the status changed");
    assert_eq!(state.take_observed().into_iter().collect::<Vec<_>>(), [key()]);
    assert!(state.observed(&key()).unwrap().status.unwrap().contains("\"unknown\":\"b\""));
    assert_eq!(state.clean_revision(), Some(6));
    state.apply::<HttpRoute>(watched(route(7, 2, "b")));
    assert_eq!(state.clean_revision(), None, "a change waits");
    assert!(state.take().is_some());
}

fn pod(version: u64, phase: &str, ready: &str) -> Watched<Pod> {
    watched(json!({
        "metadata": {
            "name": "p", "namespace": "n", "uid": "u", "resourceVersion": version.to_string(), "generation": version,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": { "ready": ready }, "annotations": { "ready": ready },
            "ownerReferences": [{ "name": "rs" }],
        },
        "spec": { "serviceAccountName": "a", "hostNetwork": false, "nodeName": ready, "containers": [{ "name": ready }] },
        "status": {
            "phase": phase, "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }], "hostIP": "192.0.2.1",
            "conditions": [{ "type": "Ready", "status": ready }],
        },
    }))
}

#[test]
fn of_a_pod_only_who_it_runs_as_and_where_it_is_moves_a_translation_and_is_kept() {
    let state = State::default();
    state.begin(ObjectKind::Pod);
    state.apply(pod(5, "Running", "False"));
    state.complete(ObjectKind::Pod);
    let (first, _) = state.take().unwrap();
    let kept = serde_json::to_value(&**first.pods.get("n", "p").unwrap()).unwrap();
    let want = json!({
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "serviceAccountName": "a", "hostNetwork": false },
        "status": { "phase": "Running", "podIPs": [{ "ip": "10.0.0.1" }] },
    });
    assert_eq!(kept, want);
    state.apply(pod(6, "Running", "True"));
    assert!(state.take().is_none(), "nobody reads what changed");
    assert_eq!(state.clean_revision(), Some(6));
    state.apply(pod(7, "Succeeded", "True"));
    assert!(state.take().is_some());
    assert_eq!(state.take_observed().len(), 0, "its status is nobody's here to write");
}

#[test]
fn of_a_rollouts_status_only_what_weights_follow_from_moves_a_translation() {
    let rollout = |version: u64, weight: i64, requests: i64| {
        watched::<Rollout>(json!({
            "metadata": { "name": "r", "namespace": "n", "uid": "u", "generation": 1, "resourceVersion": version.to_string() },
            "spec": {
                "targetRef": { "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r" },
                "stable": { "name": "a", "port": 80 }, "canary": { "name": "b", "port": 80 }, "steps": [{ "weight": 5 }],
            },
            "status": {
                "phase": "Progressing", "weight": weight,
                "analysis": { "at": "2026-01-01T00:00:00.000000Z", "requests": requests, "successRate": 100 },
            },
        }))
    };
    let state = State::default();
    state.begin(ObjectKind::Rollout);
    state.apply::<Rollout>(rollout(1, 5, 20));
    state.complete(ObjectKind::Rollout);
    assert!(state.take().is_some());
    state.apply::<Rollout>(rollout(2, 5, 40));
    assert!(state.take().is_none(), "a check moves nothing");
    let key = ObjectKey::new(ObjectKind::Rollout, "n", "r");
    assert!(state.observed(&key).unwrap().status.unwrap().contains("\"requests\":40"), "and is not lost");
    state.apply::<Rollout>(rollout(3, 25, 40));
    let (resources, _) = state.take().unwrap();
    let status = resources.rollouts.get("n", "r").unwrap().status.clone().unwrap();
    assert_eq!((status.weight, status.analysis), (25, None));
}

#[test]
fn what_nobody_reads_is_not_kept() {
    let state = State::default();
    listed(&state);
    let (resources, _) = state.take().unwrap();
    let meta = &resources.http_routes.get("n", "r").unwrap().metadata;
    assert!(meta.managed_fields.is_none() && meta.resource_version.is_none());
    assert_eq!(meta.annotations.as_ref().unwrap().keys().collect::<Vec<_>>(), ["kept"]);
    let slice: Watched<EndpointSlice> = watched(json!({
        "metadata": { "name": "s", "namespace": "n", "labels": { "kubernetes.io/service-name": "web", "x": "y",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["192.0.2.1"], "nodeName": "node", "zone": "z", "targetRef": { "kind": "Pod" } }],
    }));
    let slice = slice.object.unwrap();
    let endpoint = &slice.endpoints.unwrap()[0];
    assert_eq!(
        (endpoint.zone.as_deref(), &endpoint.node_name, &endpoint.target_ref),
        (Some("z"), &None, &None)
    );
    assert_eq!(slice.metadata.labels.unwrap().len(), 1);
}

#[test]
fn only_our_own_services_keep_their_addresses() {
    let service = |labels: Value| -> Watched<Service> {
        watched(json!({
            "metadata": { "name": "s", "namespace": "n", "labels": labels },
            "spec": {},
            "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
        }))
    };
    assert!(
        service(json!({ "gateway.networking.k8s.io/gateway-name": "edge" })).object.unwrap().status.is_some()
    );
    assert!(service(json!({})).object.unwrap().status.is_none());
}

#[test]
fn a_list_that_does_not_name_an_object_removes_it() {
    let state = State::default();
    listed(&state);
    state.take();
    state.begin(ObjectKind::HttpRoute);
    assert!(state.take().is_none(), "an unfinished list says nothing");
    state.complete(ObjectKind::HttpRoute);
    assert!(state.take().unwrap().0.http_routes.is_empty());
    assert!(state.observed(&key()).is_none());
}

#[test]
fn an_object_that_cannot_be_read_keeps_what_it_said_and_stops_nobody() {
    let state = State::default();
    listed(&state);
    state.take();
    let mut broken = route(8, 2, "a");
    broken["spec"]["parentRefs"] = json!("nonsense");
    let (named, why) = state.apply::<HttpRoute>(watched(broken.clone())).unwrap();
    assert_eq!(named, key());
    assert!(why.contains("sequence"), "{why}");
    assert!(state.apply::<HttpRoute>(watched(broken)).is_none(), "it is told once");
    assert!(state.take().is_none());
    state.apply::<HttpRoute>(watched(route(9, 3, "a")));
    assert!(state.take().is_some());
}
