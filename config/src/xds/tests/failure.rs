//! Controllers that go, come back, lag behind; proxies that are slow.

use std::sync::Arc;

use crate::Generation;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::xds::tests::harness::{Controller, FakeProxy, Files, gateway, generation, key, proxy, route};

#[tokio::test]
async fn after_a_restart_of_the_controller_only_differences_are_sent() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(1), gateway("a", &["x", "y", "z"]));
    assert_eq!(proxy.update().await.upserts.len(), 11);
    let remains = controller.kill().await;
    proxy.is("disconnected", |state| !state.is_connected && state.problem.is_some()).await;
    assert_eq!(proxy.keys().len(), 11, "the last configuration is served on");
    let controller = Controller::restart(remains).await;
    let mut resources = gateway("a", &["x", "y"]);
    resources.insert(key("HttpRoute/n/a-x"), Arc::new(route("a", "y")));
    resources.insert(key("HttpRoute/n/a-w"), Arc::new(route("a", "x")));
    controller.hub.publish(generation(2), resources.clone());
    let update = proxy.update().await;
    let sent: Vec<String> = update.upserts.keys().map(ToString::to_string).collect();
    assert_eq!(sent, ["HttpRoute/n/a-w", "HttpRoute/n/a-x"]);
    assert_eq!(update.removes.len(), 3, "z, its backend and its endpoints");
    assert_eq!(*proxy.resources.lock(), resources);
    controller.has(&proxy.id, 2).await;
}

#[tokio::test]
async fn without_differences_a_proxy_says_that_it_is_up_to_date_and_the_engine_is_left_alone() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    let rejection = crate::Rejection {
        key: key("HttpRoute/n/a-x"),
        severity: crate::Severity::Degraded,
        message: "no".into(),
    };
    *proxy.rejects.lock() = vec![rejection.clone()];
    controller.hub.publish(generation(5), gateway("a", &["x"]));
    controller.has(&proxy.id, 5).await;
    let controller = Controller::restart(controller.kill().await).await;
    controller.hub.publish(generation(5), gateway("a", &["x"]));
    let known = controller.has(&proxy.id, 5).await;
    assert_eq!(*known.rejections, [rejection], "a restarted controller learns what is rejected");
    proxy.update().await;
    assert!(proxy.updates.try_recv().is_err());
}

#[tokio::test]
async fn configuration_older_than_what_is_in_use_is_not_taken() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(10), gateway("a", &["x"]));
    proxy.update().await;
    let controller = Controller::restart(controller.kill().await).await;
    // A replica whose caches lag behind.
    controller.hub.publish(generation(9), gateway("a", &[]));
    controller.knows(&proxy.id, |state| state.is_connected && state.generation.is_none()).await;
    assert_eq!(proxy.keys().len(), 5);
    // It catches up, on the same stream.
    controller.hub.publish(generation(10), gateway("a", &["x", "y"]));
    assert_eq!(proxy.update().await.upserts.len(), 3);
    // A restored cluster begins again, once its operator says so.
    let controller = Controller::restart(controller.kill().await).await;
    controller.hub.publish(Generation::new(1, 1), gateway("a", &["x"]));
    assert_eq!(proxy.update().await.removes.len(), 3);
}

#[tokio::test]
async fn a_proxy_that_hangs_holds_nobody_up() {
    let controller = Controller::start().await;
    let mut good = FakeProxy::start(&controller, "a", "good");
    let mut stuck = FakeProxy::start(&controller, "a", "stuck");
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    controller.has(&stuck.id, 1).await;
    good.update().await;
    stuck.update().await;
    stuck.hangs.send_replace(true);
    for revision in 2..40 {
        let name = format!("x-{revision}");
        controller.hub.publish(generation(revision), gateway("a", &[&name]));
        good.update().await;
    }
    controller.has(&good.id, 39).await;
    stuck.hangs.send_replace(false);
    // It is told where things stand, not how they came there.
    controller.has(&stuck.id, 39).await;
    assert_eq!(stuck.keys(), good.keys());
    let mut updates = 0;
    while stuck.updates.try_recv().is_ok() {
        updates += 1;
    }
    assert!(updates <= 3, "{updates} updates for one state");
}

#[tokio::test]
async fn a_proxy_that_hangs_is_sent_away_too() {
    let controller = Controller::start().await;
    let stuck = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    controller.has(&stuck.id, 1).await;
    stuck.hangs.send_replace(true);
    controller.hub.publish(generation(2), gateway("a", &["y"]));
    controller.hub.set_open(false);
    controller.knows(&stuck.id, |state| !state.is_connected).await;
}

#[tokio::test]
async fn a_change_of_everything_is_told_on_the_same_stream() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    controller.has(&proxy.id, 1).await;
    let names: Vec<String> = (0..1500).map(|n| format!("service-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    controller.hub.publish(generation(2), gateway("a", &names));
    controller.has(&proxy.id, 2).await;
    assert_eq!(proxy.is("connected", |state| state.is_connected).await.streams, 1);
    assert_eq!(proxy.keys().len(), 2 + 3 * 1500);
}

#[tokio::test]
async fn a_controller_that_does_not_lead_sends_proxies_away_and_takes_them_again() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    controller.has(&proxy.id, 1).await;
    controller.hub.set_open(false);
    let state = proxy.is("sent away", |state| !state.is_connected).await;
    assert!(state.problem.unwrap().contains("another one does"));
    controller.hub.set_open(true);
    proxy.is("taken again", |state| state.is_connected).await;
    assert_eq!(proxy.state.borrow().streams, 2);
}

#[tokio::test]
async fn a_proxy_that_is_sent_away_again_and_again_does_not_wait_longer_and_longer() {
    let controller = Controller::start().await;
    controller.hub.set_open(false);
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    // With waits that double this takes two minutes, and `is` gives up.
    proxy.is("sent away many times", |state| state.streams >= 16).await;
    controller.hub.set_open(true);
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    controller.has(&proxy.id, 1).await;
}

/// Passes bytes on until it is told to lose them, as a network that is cut does: nobody gets a reset.
async fn relay(to: std::net::SocketAddr) -> (std::net::SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, is_cut) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut is_cut = is_cut.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                let cut = async { drop(is_cut.wait_for(|cut| *cut).await) };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    // Both sockets stay open.
                    () = cut => std::future::pending().await,
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_noticed_on_both_sides() {
    let controller = Controller::start().await;
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    files.write("token", "token of a");
    let (address, cut) = relay(controller.address).await;
    let mut cut_off = FakeProxy::with(address, &files, proxy("a", "pod-1"), false);
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    controller.has(&cut_off.id, 1).await;
    cut.send_replace(true);
    controller.knows(&cut_off.id, |state| !state.is_connected).await;
    cut_off.is("cut off", |state| !state.is_connected).await;
}
