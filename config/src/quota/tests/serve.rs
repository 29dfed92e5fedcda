//! A running server: who may have what, and proxies that share a limit over streams.

use std::cell::OnceCell;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::*;
use crate::identity::{GatewayRef, ProxyId, Role};
use crate::xds::Hub;
use crate::{Generation, Key, Listener, Protocol, Resource, Resources, Scope, Update};

const LIMIT: &str = "BackendTrafficPolicy/n/p/all";

thread_local! {
    static START: OnceCell<Instant> = const { OnceCell::new() };
}

/// Time as the runtime tells it, which does not pass by itself.
fn clock() -> Duration {
    START.with(|start| start.get_or_init(Instant::now).elapsed())
}

fn policy() -> Resource {
    policy_of(100)
}

fn policy_of(requests: u32) -> Resource {
    let rules = serde_json::json!([
        { "name": "all", "shared": true, "limit": { "requests": requests, "unit": "Second", "burst": 50 } },
        { "name": "user", "shared": true, "limit": { "requests": 5, "unit": "Second" },
          "clientSelectors": [{ "sourceCIDR": { "type": "Distinct" } }] },
    ]);
    let json = serde_json::json!({
        "kind": "BackendTrafficPolicy", "defaults": { "rateLimit": { "global": { "rules": rules } } }
    });
    serde_json::from_value(json).unwrap()
}

/// A Gateway `a` whose listener has the policy, and a Gateway `b` whose has not.
fn resources() -> Resources {
    let listener = |attached: Vec<Key>| Listener {
        address: None,
        port: 80,
        protocol: Protocol::Http,
        hostname: None,
        tls: None,
        backend_certificate: None,
        traffic: None,
        attached,
        scope: Scope::Gateway,
    };
    let key = |text: &str| text.parse::<Key>().unwrap();
    let named = vec![key("BackendTrafficPolicy/n/p")];
    let all = [
        ("BackendTrafficPolicy/n/p", policy()),
        ("Listener/n/a/l", Resource::Listener(listener(named))),
        ("Listener/n/b/l", Resource::Listener(listener(Vec::new()))),
    ];
    all.into_iter().map(|(name, resource)| (key(name), Arc::new(resource))).collect()
}

fn proxy(gateway: &str, pod: &str) -> ProxyId {
    ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", gateway), pod: pod.into() }
}

fn quotas() -> (Hub, Quotas) {
    let hub = Hub::new();
    hub.publish(Generation::new(0, 1), resources());
    let quotas = Quotas::new(hub.clone(), false);
    quotas.lead(true);
    tokio::spawn(quotas.clone().run());
    (hub, quotas)
}

fn bucket(pairs: &[(&str, &str)]) -> BucketId {
    BucketId { bucket: pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect() }
}

fn reports(domain: &str, bucket: BucketId) -> Reports {
    let usage = BucketUsage {
        bucket_id: Some(bucket),
        time_elapsed: Some(Span::of(SECOND)),
        allowed: 1,
        denied: 500,
        lease: Some(LeaseUsage::default()),
    };
    Reports { domain: domain.into(), usages: vec![usage], sequence: 1, seen: 0 }
}

/// What comes of a report: a lease, or the word that there is no such limit.
async fn answer(quotas: &Quotas, proxy: &ProxyId, domain: &str, of: BucketId) -> Action {
    let mut session = quotas.connect(proxy).unwrap();
    session.report(&reports(domain, of)).unwrap();
    loop {
        let response = session.responses.recv().await.unwrap();
        if let Some(action) = response.actions.into_iter().next() {
            return action.action.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_gets_shares_of_what_its_gateway_sees_and_of_nothing_else() {
    let (_, quotas) = quotas();
    let is_leased = |action: &Action| matches!(action, Action::Assign(_));
    let (own, other) = (proxy("a", "1"), proxy("b", "1"));
    assert!(is_leased(&answer(&quotas, &own, DOMAIN, bucket(&[("limit", LIMIT)])).await));
    let user = "BackendTrafficPolicy/n/p/user";
    assert!(is_leased(&answer(&quotas, &own, DOMAIN, bucket(&[("limit", user), ("key", "k")])).await));
    for (proxy, domain, of) in [
        // Another tenant's.
        (&other, DOMAIN, bucket(&[("limit", LIMIT)])),
        // Other buckets of its own limit, which would have the limit once more.
        (&own, "other", bucket(&[("limit", LIMIT)])),
        (&own, DOMAIN, bucket(&[("limit", LIMIT), ("key", "k")])),
        (&own, DOMAIN, bucket(&[("limit", LIMIT), ("more", "k")])),
        (&own, DOMAIN, bucket(&[("limit", user)])),
        (&own, DOMAIN, bucket(&[("limit", user), ("key", "k"), ("more", "k")])),
        (&own, DOMAIN, bucket(&[("limit", "BackendTrafficPolicy/n/p/nothing")])),
        (&own, DOMAIN, bucket(&[("key", "k")])),
    ] {
        let action = answer(&quotas, proxy, domain, of.clone()).await;
        assert_eq!(action, Action::Abandon(Abandon { is_unknown: true }), "{proxy} {domain} {of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn proxies_are_told_how_many_they_are_before_they_ask() {
    let (hub, quotas) = quotas();
    let mut first = quotas.connect(&proxy("a", "1")).unwrap();
    let crowds = |response: Response| -> Vec<(String, u32)> {
        response.crowds.into_iter().map(|crowd| (crowd.limit, crowd.proxies)).collect()
    };
    let both = |count| vec![(LIMIT.to_owned(), count), ("BackendTrafficPolicy/n/p/user".to_owned(), count)];
    assert_eq!(crowds(first.responses.recv().await.unwrap()), both(1));
    let second = quotas.connect(&proxy("a", "2")).unwrap();
    let _other = quotas.connect(&proxy("b", "1")).unwrap();
    assert_eq!(crowds(first.responses.recv().await.unwrap()), both(2));
    // One that is gone counts for a minute: it may come back, and has shares.
    drop(second);
    let began = Instant::now();
    assert_eq!(crowds(first.responses.recv().await.unwrap()), both(1));
    assert!(began.elapsed() >= Duration::from_secs(60));
    // A limit that is new.
    let mut more = resources();
    more.remove(&"BackendTrafficPolicy/n/p".parse().unwrap());
    hub.publish(Generation::new(0, 2), more);
    hub.publish(Generation::new(0, 3), resources());
    assert_eq!(quotas.counts().streams, 2);
}

#[tokio::test(start_paused = true)]
async fn only_who_leads_grants_and_whoever_ends_to_lead_ends_all_streams() {
    let (_, quotas) = quotas();
    let mut session = quotas.connect(&proxy("a", "1")).unwrap();
    let replaced = std::mem::replace(&mut session, quotas.connect(&proxy("a", "1")).unwrap());
    assert_eq!(replaced.report(&reports(DOMAIN, id())), Err(Refused::Replaced));
    drop(replaced);
    assert_eq!(session.report(&reports(DOMAIN, id())), Ok(()), "its end did not end the newer one");
    quotas.lead(false);
    while session.responses.recv().await.is_some() {}
    assert_eq!(session.report(&reports(DOMAIN, id())), Err(Refused::NotLeading));
    assert!(quotas.connect(&proxy("a", "1")).is_err());
    assert!(!quotas.counts().is_leading);
    quotas.lead(true);
    assert!(quotas.connect(&proxy("a", "1")).is_ok());
}

/// A proxy with its driver.
struct Driven {
    table: Arc<Table>,
    state: watch::Receiver<QuotaState>,
    stop: oneshot::Sender<oneshot::Sender<()>>,
    _changed: watch::Sender<u64>,
}

fn drive(quotas: Option<&Quotas>, id: ProxyId) -> Driven {
    let Resource::BackendTrafficPolicy(policy) = policy() else { panic!("it is one") };
    let shared = policy.defaults.rate_limit.unwrap().shared();
    let table = Arc::new(Table::unkeyed(0, shared[0].terms));
    let kept = table.clone();
    let (state, shown) = watch::channel(QuotaState::default());
    let (changed, changes) = watch::channel(0);
    let way = quotas.map(|quotas| Arc::new(Here { quotas: quotas.clone(), proxy: id }) as Arc<dyn Way>);
    let driver = Driver {
        way,
        tables: Box::new(move || [(LIMIT.into(), kept.clone())].into()),
        changed: changes,
        clock,
        state,
    };
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(driver.run(stopped));
    Driven { table, state: shown, stop, _changed: changed }
}

fn now() -> u64 {
    u64::try_from(clock().as_nanos()).unwrap()
}

/// Asks each so often, every ten milliseconds: how much each admitted.
async fn load(proxies: &[&Driven], asks: &[u64], time: Duration) -> Vec<u64> {
    let mut admitted = vec![0; proxies.len()];
    for _ in 0..time.as_millis() / 10 {
        for (at, proxy) in proxies.iter().enumerate() {
            admitted[at] +=
                (0..asks[at]).filter(|_| proxy.table.take(now(), b"", 1).is_admitted).count() as u64;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    admitted
}

#[tokio::test(start_paused = true)]
async fn gateways_and_waypoints_share_one_limit_and_what_one_gives_back_the_other_gets() {
    clock();
    let limits = Arc::new(Everybody::default());
    let upserts = [("BackendTrafficPolicy/n/p".parse().unwrap(), Arc::new(policy()))].into();
    limits.apply(&Update { version: 1, upserts, removes: Vec::new() });
    let quotas = Quotas::new(limits, false);
    quotas.lead(true);
    tokio::spawn(quotas.clone().run());
    let gateway = drive(Some(&quotas), proxy("standalone", "gateway"));
    let waypoint = ProxyId { gateway: GatewayRef::new(Role::Waypoint, "n", "waypoint"), pod: "w".into() };
    let waypoint = drive(Some(&quotas), waypoint);
    // Three times as much as there is: 100 in a second, and 50 at once.
    let admitted = load(&[&gateway, &waypoint], &[2, 1], Duration::from_secs(10)).await;
    let sum: u64 = admitted.iter().sum();
    assert!((980..=1_055).contains(&sum), "{admitted:?}");
    assert!(admitted.iter().all(|one| *one >= 400), "a fair part: {admitted:?}");
    let sent = gateway.state.borrow().client.sent;
    assert!(sent <= 50, "{sent} messages in ten seconds");

    let (gone, ended) = oneshot::channel();
    waypoint.stop.send(gone).unwrap();
    ended.await.unwrap();
    let alone = load(&[&gateway], &[3], Duration::from_secs(3)).await;
    assert!((280..=355).contains(&alone[0]), "the rest is back at once: {alone:?}");
}

#[tokio::test(start_paused = true)]
async fn only_who_leads_after_somebody_has_to_learn_what_was_given_away() {
    clock();
    for (is_first, wanted) in [(true, 300..=355), (false, 20..=130)] {
        let hub = Hub::new();
        hub.publish(Generation::new(0, 1), resources());
        let quotas = Quotas::new(hub, true);
        if is_first {
            quotas.lead_first()
        } else {
            quotas.lead(true)
        }
        tokio::spawn(quotas.clone().run());
        let alone = drive(Some(&quotas), proxy("a", "1"));
        // 100 in a second, and 50 at once; before a share, a quarter of that.
        let admitted = load(&[&alone], &[3], Duration::from_secs(3)).await[0];
        assert!(wanted.contains(&admitted), "first {is_first}: {admitted}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_proxy_goes_on_with_its_share_and_then_with_an_equal_part() {
    clock();
    let (_, quotas) = quotas();
    let (first, second) = (drive(Some(&quotas), proxy("a", "1")), drive(Some(&quotas), proxy("a", "2")));
    load(&[&first, &second], &[2, 2], Duration::from_secs(5)).await;
    quotas.lead(false);
    let share = load(&[&first], &[3], Duration::from_secs(20)).await[0];
    assert!((900..=1_100).contains(&share), "half: {share}");
    assert!(first.state.borrow().is_lost && !first.state.borrow().is_connected);
    // Thirty seconds of lease, thirty of patience.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stance(&first.table, now()), Stance::Expired);
    let local = load(&[&first], &[3], Duration::from_secs(10)).await[0];
    assert!((490..=530).contains(&local), "an equal part of two: {local}");
    quotas.lead(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(first.state.borrow().is_connected && !first.state.borrow().is_lost);
    assert_eq!(first.table.terms().proxies, 2);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_alone_holds_the_whole_limit_by_itself() {
    clock();
    let alone = drive(None, proxy("a", "1"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let admitted = load(&[&alone], &[3], Duration::from_secs(5)).await[0];
    assert!((490..=555).contains(&admitted), "{admitted}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_changes_holds_for_everybody_in_seconds() {
    clock();
    let (hub, quotas) = quotas();
    let (first, second) = (drive(Some(&quotas), proxy("a", "1")), drive(Some(&quotas), proxy("a", "2")));
    load(&[&first, &second], &[2, 2], Duration::from_secs(3)).await;
    for (revision, requests) in [(2, 20), (3, 300)] {
        let mut all = resources();
        all.insert("BackendTrafficPolicy/n/p".parse().unwrap(), Arc::new(policy_of(requests)));
        hub.publish(Generation::new(0, revision), all);
        let Resource::BackendTrafficPolicy(policy) = policy_of(requests) else { panic!("it is one") };
        let terms = policy.defaults.rate_limit.unwrap().shared()[0].terms;
        for proxy in [&first, &second] {
            proxy.table.update(now(), Terms { proxies: 2, ..terms });
        }
        load(&[&first, &second], &[2, 2], Duration::from_secs(5)).await;
        let admitted: u64 = load(&[&first, &second], &[2, 2], Duration::from_secs(10)).await.iter().sum();
        let wanted = u64::from(requests) * 10;
        assert!((wanted * 9 / 10..=wanted + 55).contains(&admitted), "{requests} in a second: {admitted}");
    }
}
