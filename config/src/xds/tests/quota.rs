//! Shares of limits over the connection of configuration: who gets a stream, and by whose right.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::quota::proto::{Action, BucketUsage, LeaseUsage, Reports, Span};
use crate::quota::{DOMAIN, Id, Line, Way};
use crate::xds::ControllerWay;
use crate::xds::client::dial::Dialer;
use crate::xds::tests::harness::{
    Controller, FakeProxy, Files, gateway, generation, key, options, proxy, within,
};
use crate::{Resource, Resources};

const LIMIT: &str = "BackendTrafficPolicy/n/p/all";

/// Gateways `a` and `b`; the listener of `a` has a limit.
fn resources() -> Resources {
    let mut all = gateway("a", &["x"]);
    all.extend(gateway("b", &["x"]));
    let limit =
        serde_json::json!({ "name": "all", "shared": true, "limit": { "requests": 100, "unit": "Second" } });
    let policy = serde_json::json!({
        "kind": "BackendTrafficPolicy", "defaults": { "rateLimit": { "global": { "rules": [limit] } } }
    });
    let policy: Resource = serde_json::from_value(policy).unwrap();
    all.insert(key("BackendTrafficPolicy/n/p"), Arc::new(policy));
    let listener = key("Listener/n/a/l");
    let Some(Resource::Listener(mut limited)) = all.get(&listener).map(|one| (**one).clone()) else {
        panic!()
    };
    limited.attached = vec![key("BackendTrafficPolicy/n/p")];
    all.insert(listener, Arc::new(Resource::Listener(limited)));
    all
}

async fn controller() -> Controller {
    let controller = Controller::start().await;
    controller.hub.publish(generation(1), resources());
    tokio::spawn(controller.quotas.clone().run());
    controller
}

fn report() -> Reports {
    let usage = BucketUsage {
        bucket_id: Some(Id::new(LIMIT, None).encode()),
        time_elapsed: Some(Span::of(1_000_000_000)),
        allowed: 1,
        denied: 500,
        lease: Some(LeaseUsage::default()),
    };
    Reports { domain: DOMAIN.into(), usages: vec![usage], sequence: 1, seen: 0 }
}

/// What becomes of a report on a new stream.
async fn answer(way: &ControllerWay) -> Result<Action, String> {
    let Line { reports, mut responses } = within("a stream", way.open()).await?;
    // Who refuses may have done so already.
    _ = reports.send(report()).await;
    loop {
        let response = within("an answer", responses.recv()).await.ok_or("the stream ended")??;
        if let Some(action) = response.actions.into_iter().find_map(|action| action.action) {
            return Ok(action);
        }
    }
}

#[tokio::test]
async fn a_proxy_leases_what_its_gateway_is_limited_to_and_not_what_anothers_is() {
    let controller = controller().await;
    controller.quotas.lead(true);
    let mut a = FakeProxy::start(&controller, "a", "pod-1");
    let mut b = FakeProxy::start(&controller, "b", "pod-1");
    a.update().await;
    b.update().await;
    let own = answer(&a.way).await.unwrap();
    assert!(
        matches!(&own, Action::Assign(assign) if assign.lease.as_ref().is_some_and(|lease| lease.rate > 0))
    );
    let others = answer(&b.way).await.unwrap();
    assert!(matches!(&others, Action::Abandon(abandon) if abandon.is_unknown), "{others:?}");
    // What the Gateway is not held to any more is nobody's business either.
    controller.hub.publish(generation(2), gateway("a", &["x"]));
    let gone = answer(&a.way).await.unwrap();
    assert!(matches!(&gone, Action::Abandon(abandon) if abandon.is_unknown), "{gone:?}");
}

#[tokio::test]
async fn who_does_not_lead_leases_nothing_and_who_ends_to_lead_ends_its_streams() {
    let controller = controller().await;
    let mut a = FakeProxy::start(&controller, "a", "pod-1");
    a.update().await;
    let refused = answer(&a.way).await.unwrap_err();
    assert!(refused.contains("does not lease quotas now"), "{refused}");
    controller.quotas.lead(true);
    let Line { reports, mut responses } = a.way.open().await.unwrap();
    reports.send(report()).await.unwrap();
    within("an answer", responses.recv()).await.unwrap().unwrap();
    controller.quotas.lead(false);
    let why = loop {
        match within("the end", responses.recv()).await {
            Some(Ok(_)) => {}
            Some(Err(why)) => break why,
            None => panic!("it ends without a word"),
        }
    };
    assert!(why.contains("does not lease quotas now"), "{why}");
    // Configuration is served on.
    assert!(a.state.borrow().is_connected);
}

#[tokio::test]
async fn a_proxy_cannot_lease_as_another() {
    let controller = controller().await;
    controller.quotas.lead(true);
    let mut b = FakeProxy::start(&controller, "b", "pod-1");
    b.update().await;
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    let way = |claims: &str| {
        let options = options(controller.address, &files, proxy(claims, "pod-1"), false);
        let connection = b.way.connection.clone();
        ControllerWay { dialer: Arc::new(Dialer::new(&options).unwrap()), connection }
    };
    // The token is its own, and the Gateway that it names is not.
    files.write("token", "token of b");
    let refused = answer(&way("a")).await.unwrap_err();
    assert!(refused.contains("the token is that of gateway/n/b, not of gateway/n/a"), "{refused}");
    // The token was stolen, and the certificate is its own.
    files.write("token", "token of a");
    let refused = answer(&way("a")).await.unwrap_err();
    assert!(refused.contains("the certificate is not that of spiffe://cluster.local/ns/n/sa/a"), "{refused}");
    files.write("token", "forged");
    assert!(answer(&way("a")).await.unwrap_err().contains("the token is not valid"));
    // Without a certificate.
    files.write("token", "token of a");
    let options = options(controller.address, &files, proxy("a", "pod-1"), false);
    let dialer = Arc::new(Dialer::new(&options).unwrap());
    let channel = dialer.connect(None).await.unwrap();
    let (_kept, connection) = watch::channel(Some(channel));
    let refused = answer(&ControllerWay { dialer, connection }).await.unwrap_err();
    assert!(refused.contains("callers without a certificate"), "{refused}");
    assert_eq!(controller.quotas.counts().streams, 0);
}

#[tokio::test]
async fn whoever_sends_more_than_a_proxy_does_waits() {
    let controller = controller().await;
    controller.quotas.lead(true);
    let mut a = FakeProxy::start(&controller, "a", "pod-1");
    a.update().await;
    let Line { reports, responses: _responses } = a.way.open().await.unwrap();
    let flood = async {
        loop {
            reports.send(report()).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), flood).await.is_err(), "it never ends");
    let received = controller.quotas.counts().server.received;
    // Ten at once, and ten in a second.
    assert!((10..=40).contains(&received), "{received}");
}
