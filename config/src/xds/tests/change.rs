//! Changes on their way to proxies and what comes back.

use crate::xds::tests::harness::{Controller, FakeProxy, gateway, generation, key, route, within};
use crate::{Rejection, Severity};
use std::sync::Arc;

#[tokio::test]
async fn a_proxy_gets_its_gateway_and_its_answer_is_known() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(7), gateway("a", &["x"]));
    let update = proxy.update().await;
    assert_eq!((update.version, update.upserts.len()), (7, 5));
    assert_eq!(*proxy.resources.lock(), gateway("a", &["x"]), "as published");
    let known = controller.has(&proxy.id, 7).await;
    assert!(known.is_connected && known.rejections.is_empty());
    let state = proxy.is("acknowledged", |state| state.acks == 1).await;
    assert!(state.is_connected && state.is_confirmed && state.nacks == 0);
    assert_eq!(state.generation, Some(generation(7)));
}

#[tokio::test]
async fn a_change_of_one_resource_is_a_message_with_one_resource() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    let mut resources = gateway("a", &["x", "y", "z"]);
    controller.hub.publish(generation(1), resources.clone());
    proxy.update().await;
    resources.insert(key("HttpRoute/n/a-x"), Arc::new(route("a", "y")));
    controller.hub.publish(generation(2), resources.clone());
    let update = proxy.update().await;
    assert_eq!(update.upserts.keys().map(ToString::to_string).collect::<Vec<_>>(), ["HttpRoute/n/a-x"]);
    // Nothing leads to x any more.
    assert_eq!(update.removes, [key("Backend/n/x:80"), key("Endpoints/n/x:80")]);
    // What does not concern it is in use at once.
    resources.extend(gateway("b", &["w"]));
    controller.hub.publish(generation(3), resources);
    controller.has(&proxy.id, 3).await;
    assert!(proxy.updates.try_recv().is_err());
}

#[tokio::test]
async fn what_a_proxy_rejects_is_known_and_the_rest_is_in_use() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    let rejection = Rejection {
        key: key("HttpRoute/n/a-x"),
        severity: Severity::Degraded,
        message: "rule 0: the regular expression is none".into(),
    };
    *proxy.rejects.lock() = vec![rejection.clone()];
    let mut resources = gateway("a", &["x", "y"]);
    controller.hub.publish(generation(1), resources.clone());
    let known = controller.has(&proxy.id, 1).await;
    assert_eq!(*known.rejections, [rejection]);
    assert_eq!(proxy.is("rejected", |state| state.nacks == 1).await.acks, 0);
    assert_eq!(proxy.update().await.upserts.len(), 8);
    proxy.rejects.lock().clear();
    resources.insert(key("HttpRoute/n/a-x"), Arc::new(route("a", "y")));
    controller.hub.publish(generation(2), resources);
    assert!(controller.has(&proxy.id, 2).await.rejections.is_empty());
}

#[tokio::test]
async fn what_cannot_be_decoded_is_rejected_alone_and_its_last_good_version_stays() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    let mut resources = gateway("a", &["x", "y"]);
    controller.hub.publish(generation(1), resources.clone());
    proxy.update().await;
    let good = resources[&key("HttpRoute/n/a-x")].clone();
    // As from a newer controller: a body that is not what its name says.
    resources.insert(key("GrpcRoute/n/new"), Arc::new(route("a", "x")));
    resources.insert(key("HttpRoute/n/a-x"), Arc::new(into_grpc(route("a", "x"))));
    resources.insert(key("HttpRoute/n/a-z"), Arc::new(route("a", "x")));
    controller.hub.publish(generation(2), resources.clone());
    let update = proxy.update().await;
    assert_eq!(update.upserts.keys().collect::<Vec<_>>(), [&key("HttpRoute/n/a-z")]);
    let known = controller.has(&proxy.id, 2).await;
    let rejected: Vec<_> =
        known.rejections.iter().map(|rejection| (&rejection.key, rejection.severity)).collect();
    let (route_key, grpc_key) = (key("HttpRoute/n/a-x"), key("GrpcRoute/n/new"));
    assert_eq!(rejected, [(&route_key, Severity::Refused), (&grpc_key, Severity::Refused)]);
    assert_eq!(proxy.resources.lock()[&route_key], good);
    // It stays said while other things change, until it is good again.
    resources.insert(key("HttpRoute/n/a-y"), Arc::new(route("a", "x")));
    controller.hub.publish(generation(3), resources.clone());
    assert_eq!(controller.has(&proxy.id, 3).await.rejections.len(), 2);
    resources.remove(&grpc_key);
    resources.insert(route_key, good);
    controller.hub.publish(generation(4), resources);
    assert!(controller.has(&proxy.id, 4).await.rejections.is_empty());
}

fn into_grpc(resource: crate::Resource) -> crate::Resource {
    let crate::Resource::HttpRoute(route) = resource else { unreachable!() };
    crate::Resource::GrpcRoute(route)
}

#[tokio::test]
async fn a_large_configuration_comes_in_parts_and_is_in_use_at_once() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    let names: Vec<String> = (0..2000).map(|n| format!("service-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let resources = gateway("a", &names);
    let bytes: usize =
        resources.values().map(|resource| serde_json::to_vec(&**resource).unwrap().len()).sum();
    assert!(bytes > 512 << 10, "{bytes}: not in parts");
    controller.hub.publish(generation(1), resources.clone());
    assert_eq!(proxy.update().await.upserts, resources);
    controller.has(&proxy.id, 1).await;
}

#[tokio::test]
async fn all_replicas_are_known_one_by_one() {
    let controller = Controller::start().await;
    let first = FakeProxy::start(&controller, "a", "pod-1");
    let second = FakeProxy::start(&controller, "a", "pod-2");
    let rejection =
        Rejection { key: key("Listener/n/a/l"), severity: Severity::Refused, message: "taken".into() };
    *second.rejects.lock() = vec![rejection];
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    assert!(controller.has(&first.id, 1).await.rejections.is_empty());
    assert_eq!(controller.has(&second.id, 1).await.rejections.len(), 1);
    let gone = second.id.clone();
    second.stop().await;
    controller.knows(&gone, |state| !state.is_connected).await;
    assert!(controller.has(&first.id, 1).await.is_connected);
}

#[tokio::test]
async fn of_answers_that_nobody_took_the_newest_is_told() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    for revision in 1..20 {
        let name = format!("x-{revision}");
        controller.hub.publish(generation(revision), gateway("a", &[&name]));
        controller.has(&proxy.id, revision).await;
    }
    let mut versions = Vec::new();
    while versions.last() != Some(&19) {
        versions.push(within("an answer", proxy.answers.recv()).await.unwrap().version);
    }
    assert!(versions.len() <= 3, "{versions:?}");
}

#[tokio::test]
async fn a_proxy_has_no_say_in_what_it_does_not_see() {
    let controller = Controller::start().await;
    let proxy = FakeProxy::start(&controller, "a", "pod-1");
    let rejection =
        |name| Rejection { key: key(name), severity: Severity::Refused, message: "I say so".into() };
    *proxy.rejects.lock() = vec![rejection("HttpRoute/n/a-x"), rejection("HttpRoute/n/b-x")];
    let mut resources = gateway("a", &["x"]);
    resources.extend(gateway("b", &["x"]));
    controller.hub.publish(generation(1), resources);
    assert_eq!(*controller.has(&proxy.id, 1).await.rejections, [rejection("HttpRoute/n/a-x")]);
}
