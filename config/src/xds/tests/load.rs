//! What backends are doing, told over the connection of configuration, by the real driver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::BackendRef;
use crate::load::{Counters, Counts, Driver, Way};
use crate::xds::tests::harness::{Controller, FakeProxy, gateway, generation, within};

/// As many requests as it says, all failed.
#[derive(Debug, Default)]
struct Failing(AtomicU64);

impl Counters for Failing {
    fn read(&self, _: &BackendRef) -> Counts {
        Counts { failed: self.0.load(Ordering::Relaxed), ..Counts::default() }
    }
}

fn backend(name: &str) -> BackendRef {
    BackendRef { namespace: "n".into(), name: name.into(), port: 80 }
}

fn want(controller: &Controller, names: &[&str]) {
    controller.loads.want(names.iter().map(|name| backend(name)).collect::<BTreeSet<_>>());
}

/// Requests fail one by one until something of that is heard.
async fn heard(controller: &Controller, counters: &Failing, name: &str) {
    let any = async {
        while controller.loads.counts(&backend(name)).failed == 0 {
            counters.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("what a proxy tells", any).await;
    assert!(controller.loads.counts(&backend(name)).failed <= counters.0.load(Ordering::Relaxed));
}

async fn connected(controller: &Controller, streams: usize) {
    let all = async {
        while controller.loads.told().streams < streams {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("streams", all).await;
}

async fn controller() -> Controller {
    let controller = Controller::start().await;
    let mut all = gateway("a", &["x"]);
    all.extend(gateway("b", &["y"]));
    controller.hub.publish(generation(1), all);
    controller
}

#[tokio::test]
async fn proxies_tell_the_leader_of_what_it_asks_and_of_their_own_gateway_only() {
    let controller = controller().await;
    controller.loads.lead(true);
    let (mut a, mut b) = (FakeProxy::start(&controller, "a", "1"), FakeProxy::start(&controller, "b", "1"));
    a.update().await;
    b.update().await;
    let counters = Arc::new(Failing::default());
    for proxy in [&a, &b] {
        tokio::spawn(Driver { way: proxy.way.clone(), counters: counters.clone() }.run());
    }
    connected(&controller, 2).await;
    // Only who they are, while nobody asks.
    counters.0.store(5, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(controller.loads.told().reports <= 2);
    want(&controller, &["x"]);
    heard(&controller, &counters, "x").await;
    // `b` sees nothing of it, and `a` nothing of the next.
    assert!(controller.loads.counts(&backend("y")).is_empty());
    want(&controller, &["y"]);
    heard(&controller, &counters, "y").await;
    assert!(controller.loads.counts(&backend("x")).is_empty());
}

#[tokio::test]
async fn who_does_not_lead_asks_nobody_and_the_next_leader_is_found() {
    let controller = controller().await;
    let mut a = FakeProxy::start(&controller, "a", "1");
    a.update().await;
    let line = a.way.clone().open().await;
    // Refused at once, or as the first thing that is said.
    let refused = match line {
        Ok(mut line) => within("a refusal", line.requests.recv()).await.and_then(Result::err),
        Err(refused) => Some(refused),
    };
    let refused = refused.unwrap();
    assert!(refused.contains("does not ask for loads now"), "{refused}");
    let counters = Arc::new(Failing::default());
    tokio::spawn(Driver { way: a.way.clone(), counters: counters.clone() }.run());
    tokio::time::sleep(Duration::from_millis(200)).await;
    controller.loads.lead(true);
    want(&controller, &["x"]);
    connected(&controller, 1).await;
    heard(&controller, &counters, "x").await;
}
