//! Limits that a rate limit service counts: `fairway rls`, over real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::rls::{Counters, File, Limits, Service, Store};
use http::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Mesh, Origin, Raw, backend, forward, full, listener, raw, route};

/// A service that knows the domain `edge`, and nothing of its limits but one.
struct Rls {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Rls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const KNOWN: &str = "
domain: edge
descriptors:
- key: other
";

impl Rls {
    async fn start() -> Self {
        let limits = Limits::of(&[File::read("edge.yaml", KNOWN).unwrap()], false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        let service = Service { limits, store: Arc::new(Store::Memory(Counters::new(1000))) };
        Self { address, task: tokio::spawn(service.serve(listener)) }
    }
}

fn config(exact: &str, origin: &Origin, rls: SocketAddr) -> String {
    let route = route("r", &format!("  - action: {}", forward("a")))
        .replace("kind: HttpRoute\n", "kind: HttpRoute\n  attached: [BackendTrafficPolicy/default/p]\n");
    let exact = format!("backendRefs: [{{name: rls, port: 80}}], domain: edge, {exact}");
    let policy = format!(
        "---\nkey: BackendTrafficPolicy/default/p\nresource: {{kind: BackendTrafficPolicy, defaults: {{rateLimit: {{exact: \
         {{{exact}}}}}}}}}\n"
    );
    listener(0) + &backend("a", "http", &[origin.address]) + &backend("rls", "h2c", &[rls]) + &route + &policy
}

async fn origin() -> Origin {
    Origin::start(|_| async { Response::new(full("ok")) }).await
}

async fn get(mesh: &Mesh, user: &str) -> Raw {
    raw(
        mesh.address(),
        &format!("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\nx-user: {user}\r\n\r\n"),
    )
    .await
}

const PER_USER: &str = "rules: [{name: user, limit: {requests: 3, unit: Year}, clientSelectors: [{headers: [{type: \
                        Distinct, name: x-user}]}]}]";

#[tokio::test]
async fn two_proxies_hold_one_limit_to_the_request() {
    let (origin, rls) = (origin().await, Rls::start().await);
    let config = config(&format!("timeout: 5s, {PER_USER}"), &origin, rls.address);
    let meshes = [Mesh::start(&config).await, Mesh::start(&config).await];
    let mut statuses = Vec::new();
    for at in 0..5 {
        statuses.push(get(&meshes[at % 2], "ann").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let answer = get(&meshes[0], "bea").await;
    assert_eq!((answer.status, answer.field("ratelimit-policy")), (200, Some(r#""user";q=3;w=31536000"#)));
    assert!(answer.field("ratelimit").unwrap().starts_with(r#""user";r=2;t="#));
    let refused = get(&meshes[1], "ann").await;
    assert!(refused.field("retry-after").is_some_and(|wait| wait.parse::<u64>().unwrap() > 1));
    assert_eq!(origin.requests(), 4);
}

#[tokio::test]
async fn a_service_that_is_gone_refuses_or_admits_as_the_policy_says_and_is_found_again() {
    let (origin, rls) = (origin().await, Rls::start().await);
    let address = rls.address;
    let closed = config(&format!("timeout: 500ms, failClosed: true, {PER_USER}"), &origin, address);
    let (open, closed) = (
        Mesh::start(&config(&format!("timeout: 500ms, {PER_USER}"), &origin, address)).await,
        Mesh::start(&closed).await,
    );
    assert_eq!(get(&open, "ann").await.status, 200);
    drop(rls);
    for _ in 0..20 {
        assert_eq!(get(&open, "ann").await.status, 200);
        let refused = get(&closed, "ann").await;
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")), "{refused:?}");
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let limits = Limits::of(&[File::read("edge.yaml", KNOWN).unwrap()], false).unwrap();
    let service = Service {
        limits: Arc::new(ArcSwap::from_pointee(limits)),
        store: Arc::new(Store::Memory(Counters::new(1000))),
    };
    let task = tokio::spawn(service.serve(listener));
    let since = Instant::now();
    while get(&closed, "bea").await.status != 200 {
        assert!(since.elapsed() < Duration::from_secs(10), "it answers again and is not asked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    task.abort();
}

#[tokio::test]
async fn a_service_that_is_slow_costs_its_time_and_then_nothing() {
    let origin = origin().await;
    let slow = Origin::start(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Response::new(full(""))
    })
    .await;
    let mesh = Mesh::start(&config(&format!("timeout: 50ms, {PER_USER}"), &origin, slow.address)).await;
    let since = Instant::now();
    for _ in 0..100 {
        assert_eq!(get(&mesh, "ann").await.status, 200);
    }
    // Ten, and one in each second to find out whether it answers again.
    let most = 11 + usize::try_from(since.elapsed().as_secs()).unwrap();
    assert!((10..=most).contains(&slow.requests()), "{} of {most}", slow.requests());
}
