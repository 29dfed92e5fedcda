//! Starting without the controller.

use crate::xds::tests::harness::{Controller, FakeProxy, Files, gateway, generation, key, proxy, route};
use std::sync::Arc;

#[tokio::test]
async fn a_proxy_starts_from_its_snapshot_and_then_gets_only_differences() {
    let controller = Controller::start().await;
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    files.write("token", "token of a");
    let mut first = FakeProxy::with(controller.address, &files, proxy("a", "pod-1"), true);
    controller.hub.publish(generation(3), gateway("a", &["x", "y"]));
    first.update().await;
    first.is("written", |state| state.snapshot_written.is_some()).await;
    first.stop().await;
    let remains = controller.kill().await;

    let mut second = FakeProxy::with(remains.0, &files, proxy("a", "pod-2"), true);
    let update = second.update().await;
    assert_eq!((update.version, update.upserts.clone()), (3, gateway("a", &["x", "y"])));
    let state =
        second.is("serving alone", |state| state.generation.is_some() && state.problem.is_some()).await;
    assert!(!state.is_confirmed && !state.is_connected);
    assert_eq!(state.generation, Some(generation(3)));

    let controller = Controller::restart(remains).await;
    let mut resources = gateway("a", &["x", "y"]);
    resources.insert(key("HttpRoute/n/a-x"), Arc::new(route("a", "y")));
    controller.hub.publish(generation(4), resources);
    let update = second.update().await;
    assert_eq!((update.upserts.len(), update.removes.len()), (1, 2));
    second.is("confirmed", |state| state.is_confirmed).await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_and_said_and_the_controller_serves() {
    let controller = Controller::start().await;
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    files.write("token", "token of a");
    files.write("snapshot", "FAIRWAY-SNAPSHOT 1\n{}\nand then nothing");
    let mut proxy = FakeProxy::with(controller.address, &files, proxy("a", "pod-1"), true);
    let state = proxy.is("refused", |state| state.snapshot_problem.is_some()).await;
    assert!(state.snapshot_problem.unwrap().contains("damaged"));
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    assert_eq!(proxy.update().await.upserts.len(), 5);
    let state = proxy.is("written anew", |state| state.snapshot_written.is_some()).await;
    assert_eq!(state.snapshot_problem, None);
}
