//! Change under load: weights are exact, and no request fails or sees two configurations.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Http2, Mesh, Origin, backend, listener, read_one, route};

fn weighted(shares: &[(&str, u32)]) -> String {
    let mut forward = String::new();
    for (name, weight) in shares {
        write!(
            forward,
            "{{target: {{backend: {{namespace: default, name: {name}, port: 80}}}}, weight: {weight}}}, "
        )
        .unwrap();
    }
    format!("{{forward: [{forward}]}}")
}

#[tokio::test]
async fn weights_are_exact_over_a_thousand_requests() {
    let (a, b, c) = (Origin::named("a").await, Origin::named("b").await, Origin::named("c").await);
    let rule = format!("  - action: {}", weighted(&[("a", 7), ("b", 2), ("c", 1), ("d", 0)]));
    let config = listener(0)
        + &backend("a", "http", &[a.address])
        + &backend("b", "http", &[b.address])
        + &backend("c", "http", &[c.address])
        + &backend("d", "http", &[])
        + &route("r", &rule);
    let mesh = Mesh::start(&config).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for _ in 0..1000 {
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_one(&mut tcp).await.status, 200);
    }
    assert_eq!((a.requests(), b.requests(), c.requests()), (700, 200, 100));
}

/// Request filter, response filter and backend all say the version; a request sees the same in all three.
fn version(version: usize, origins: [SocketAddr; 2]) -> String {
    let name = ["even", "odd"][version % 2];
    let rule = format!(
        "  - action: {}\n    policies: {{requestHeaders: {{set: [{{name: x-want, value: \"{version}-{name}\"}}]}}, \
         responseHeaders: {{set: [{{name: x-got, value: \"{version}-{name}\"}}]}}}}",
        weighted(&[(name, 1)])
    );
    listener(0)
        + &backend("even", "http", &[origins[0]])
        + &backend("odd", "http", &[origins[1]])
        + &route("r", &rule)
}

fn check(want: &str, got: &str, origin: &str) {
    assert_eq!(want, got, "request and response filters of different versions");
    assert_eq!(got.split('-').nth(1), Some(origin), "filters and backend of different versions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_under_load_fail_no_request_and_split_none() {
    const CHANGES: usize = 200;
    let (even, odd) = (Origin::named("even").await, Origin::named("odd").await);
    let origins = [even.address, odd.address];
    let mut mesh = Mesh::start(&version(0, origins)).await;
    let address = mesh.address();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (stop, served) = (stop.clone(), served.clone());
        clients.spawn(async move {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let response = read_one(&mut tcp).await;
                assert_eq!(response.status, 200, "{response:?}");
                let field = |name| response.field(name).unwrap_or_default();
                check(field("seen-x-want"), field("x-got"), field("origin"));
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..2 {
        let (stop, served) = (stop.clone(), served.clone());
        clients.spawn(async move {
            let mut client = Http2::plain(address).await;
            while !stop.load(Ordering::Relaxed) {
                let response = client.get("http://a/").await.unwrap();
                assert_eq!(response.status(), 200);
                let field = |name: &str| response.headers()[name].to_str().unwrap();
                check(field("seen-x-want"), field("x-got"), field("origin"));
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for change in 1..=CHANGES {
        let before = served.load(Ordering::Relaxed);
        assert_eq!(mesh.serve(&version(change, origins)).await.rejections, []);
        while served.load(Ordering::Relaxed) < before + 5 && !clients.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) >= 5 * CHANGES);
}
