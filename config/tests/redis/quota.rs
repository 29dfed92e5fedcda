//! Quota servers that lead one after the other, and proxies that share a limit: 100 in a second, 50 at once.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use fairway_config::identity::{GatewayRef, ProxyId, Role};
use fairway_config::quota::{Driver, Everybody, Here, Line, QuotaState, Quotas, ServerOptions, Way};
use fairway_config::redis::Redis;
use fairway_config::{BackendTrafficPolicy, Resource, Update};
use policies::lease::{Stance, Table};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::server::{Server, until};

const LIMIT: &str = "BackendTrafficPolicy/n/p/all";

fn clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn now() -> u64 {
    u64::try_from(clock().as_nanos()).unwrap()
}

fn policy() -> BackendTrafficPolicy {
    let limit = serde_json::json!({ "requests": 100, "unit": "Second", "burst": 50 });
    let rules = serde_json::json!([{ "name": "all", "shared": true, "limit": limit }]);
    let json = serde_json::json!({ "defaults": { "rateLimit": { "global": { "rules": rules } } } });
    serde_json::from_value(json).unwrap()
}

/// A controller that leads; dropping it is a kill.
struct Leader {
    quotas: Quotas,
    run: JoinHandle<()>,
}

impl Leader {
    /// Nobody led before.
    async fn first(server: &Server) -> Self {
        Self::with(server.connect().await, false).await
    }

    async fn next(server: &Server) -> Self {
        Self::with(server.connect().await, true).await
    }

    async fn with(redis: Redis, learns: bool) -> Self {
        let limits = Everybody::default();
        let policy = Arc::new(Resource::BackendTrafficPolicy(Box::new(policy())));
        let upserts = [("BackendTrafficPolicy/n/p".parse().unwrap(), policy)].into();
        limits.apply(&Update { version: 1, upserts, removes: Vec::new() });
        let options = ServerOptions { ttl: 30_000_000_000, learns, ..ServerOptions::default() };
        let quotas = Quotas::with(limits, options, Some(redis));
        let run = tokio::spawn(quotas.clone().run());
        quotas.lead(true);
        until("a server", || quotas.is_leading()).await;
        Self { quotas, run }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.run.abort();
        self.quotas.lead(false);
    }
}

/// To whoever leads; `None`: nobody can be reached.
#[derive(Debug)]
struct ToLeader {
    leader: Arc<ArcSwapOption<Quotas>>,
    proxy: ProxyId,
}

#[async_trait]
impl Way for ToLeader {
    async fn open(&self) -> Result<Line, String> {
        let quotas = self.leader.load_full().ok_or("nobody leads")?;
        Here { quotas: Quotas::clone(&quotas), proxy: self.proxy.clone() }.open().await
    }
}

struct Proxy {
    table: Arc<Table>,
    leader: Arc<ArcSwapOption<Quotas>>,
    state: watch::Receiver<QuotaState>,
    _alive: (watch::Sender<u64>, oneshot::Sender<oneshot::Sender<()>>),
}

impl Proxy {
    fn start(pod: &str, leader: &Leader) -> Self {
        let shared = policy().defaults.rate_limit.unwrap().shared();
        let table = Arc::new(Table::unkeyed(now(), shared[0].terms));
        let leader = Arc::new(ArcSwapOption::from_pointee(leader.quotas.clone()));
        let proxy = ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", "g"), pod: pod.into() };
        let (way, kept) = (Arc::new(ToLeader { leader: leader.clone(), proxy }), table.clone());
        let ((state, shown), (changed, changes)) = (watch::channel(QuotaState::default()), watch::channel(0));
        let tables = Box::new(move || [(LIMIT.into(), kept.clone())].into());
        let driver = Driver { way: Some(way), tables, changed: changes, clock, state };
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(driver.run(stopped));
        Self { table, leader, state: shown, _alive: (changed, stop) }
    }

    fn follow(&self, leader: &Leader) {
        self.leader.store(Some(Arc::new(leader.quotas.clone())));
    }

    fn is_active(&self) -> bool {
        let mut is_active = false;
        self.table.each(|_, bucket| is_active = bucket.stance(now(), &self.table.terms()) == Stance::Active);
        is_active
    }
}

/// Each asks some hundred times in a second: how much each was given, and how much the limit is in that time.
async fn load(proxies: &[&Proxy], time: Duration) -> (Vec<u64>, u64) {
    let (mut admitted, began) = (vec![0; proxies.len()], Instant::now());
    while began.elapsed() < time {
        for (proxy, admitted) in proxies.iter().zip(&mut admitted) {
            *admitted += u64::from(proxy.table.take(now(), b"", 1).is_admitted);
        }
        sleep(Duration::from_millis(8)).await;
    }
    (admitted, u64::try_from(began.elapsed().as_millis()).unwrap() / 10)
}

/// Somebody leads, and a proxy has all of the limit.
async fn led(server: &Server) -> (Leader, Proxy) {
    let first = Leader::first(server).await;
    let one = Proxy::start("1", &first);
    load(&[&one], seconds(2)).await;
    (first, one)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_goes_on_and_what_is_new_has_its_share_at_once() {
    let server = Server::start(&[]);
    let first = Leader::first(&server).await;
    let (one, two) = (Proxy::start("1", &first), Proxy::start("2", &first));
    load(&[&one, &two], seconds(4)).await;
    drop(first);
    let next = Leader::next(&server).await;
    assert_eq!(next.quotas.counts().buckets, 1, "it knows what there was before anybody says it");
    // One cannot find it, and keeps what it has; another is new.
    one.follow(&next);
    two.leader.store(None);
    let new = Proxy::start("3", &next);
    let (admitted, limit) = load(&[&one, &two, &new], seconds(8)).await;
    let sum: u64 = admitted.iter().sum();
    assert!(sum <= limit + 60 && sum * 10 >= limit * 8, "{admitted:?} of {limit}");
    // Who learns has nothing for it for a minute. With two that share what the third leaves, a quarter is fair.
    assert!(admitted[2] * 6 >= limit, "{admitted:?} of {limit}");
    assert!(admitted[1] * 3 >= limit, "{admitted:?} of {limit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_nothing_is_told_and_proxies_go_on() {
    let mut server = Server::start(&[]);
    let (first, one) = led(&server).await;
    server.kill();
    let new = Proxy::start("2", &first);
    let (admitted, limit) = load(&[&one, &new], seconds(3)).await;
    assert!(!new.is_active() && new.state.borrow().is_connected);
    assert!(
        admitted[0] * 10 >= limit * 8 && admitted.iter().sum::<u64>() <= limit * 5 / 4 + 60,
        "{admitted:?} of {limit}"
    );
    server.again();
    load(&[&one, &new], seconds(4)).await;
    assert!(new.is_active(), "what waited is told when it is kept");
    // Everything is there again, for whoever comes next.
    drop(first);
    assert_eq!(Leader::next(&server).await.quotas.counts().buckets, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_for_long_it_is_as_without_redis() {
    let server = Server::start(&[]);
    let (first, one) = led(&server).await;
    let next = server.connect().await;
    server.signal("STOP");
    let new = Proxy::start("2", &first);
    load(&[&one, &new], seconds(10)).await;
    assert!(!new.is_active());
    load(&[&one, &new], seconds(18)).await;
    assert!(new.is_active());
    // What Redis still has is of before, and holds no more.
    drop(first);
    server.signal("CONT");
    until("a connection", || next.is_connected()).await;
    assert_eq!(Leader::with(next, true).await.quotas.counts().buckets, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_think_they_lead_the_older_tells_nobody_anything() {
    let server = Server::start(&[]);
    let (first, one) = led(&server).await;
    let next = Leader::next(&server).await;
    let (late, new) = (Proxy::start("2", &first), Proxy::start("3", &next));
    load(&[&one, &late, &new], seconds(4)).await;
    assert!(!late.is_active());
    one.follow(&next);
    drop(first);
    let (admitted, limit) = load(&[&one, &new], seconds(4)).await;
    assert!(new.is_active() && admitted.iter().sum::<u64>() <= limit + 60, "{admitted:?} of {limit}");
}
