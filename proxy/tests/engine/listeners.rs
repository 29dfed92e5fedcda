//! Ports that come and go while requests are under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::{
    Http2, Mesh, Origin, backend, forward, full, get, listener, one_backend, read_one, route, text,
    try_read_one, within,
};

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn on(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn with_port(port: u16, origin: SocketAddr) -> String {
    listener(port) + &backend("a", "http", &[origin]) + &route("r", &format!("  - action: {}", forward("a")))
}

/// An origin that answers `/slow` only when told.
async fn held() -> (Origin, Arc<Notify>) {
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let origin = Origin::start(move |request| {
        let held = held.clone();
        async move {
            if request.uri().path() == "/slow" {
                held.notified().await;
            }
            Response::new(full("done"))
        }
    })
    .await;
    (origin, release)
}

#[tokio::test]
async fn a_removed_port_refuses_newcomers_and_finishes_what_it_has() {
    let (origin, release) = held().await;
    let port = free_port().await;
    let mut mesh = Mesh::start(&with_port(port, origin.address)).await;
    let mut busy = TcpStream::connect(on(port)).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut h2 = Http2::plain(on(port)).await;
    let slow = tokio::spawn(async move {
        let response = h2.get("http://a/slow").await.unwrap();
        (response.status(), text(response).await, within(h2.connection).await)
    });
    while origin.requests() < 2 {
        tokio::task::yield_now().await;
    }
    let other = free_port().await;
    mesh.serve(&with_port(other, origin.address)).await;
    assert_eq!(get(on(other), "/").await.status, 200);
    within(async {
        while TcpStream::connect(on(port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    release.notify_waiters();
    let response = read_one(&mut busy).await;
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    assert_eq!(within(busy.read(&mut [0])).await.unwrap(), 0);
    let (status, body, ended) = slow.await.unwrap();
    assert_eq!((status.as_u16(), &*body), (200, "done"));
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_rejected_and_opens_when_it_is_free() {
    let origin = Origin::named("a").await;
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut mesh = Mesh::start("").await;
    let answer = mesh.serve(&with_port(port, origin.address)).await;
    assert_eq!(answer.rejections.len(), 1);
    assert_eq!(answer.rejections[0].key.to_string(), "Listener/default/gw/http");
    assert!(answer.rejections[0].message.contains(&format!("port {port}")), "{answer:?}");
    drop(taken);
    let answer = mesh.serve(&(with_port(port, origin.address) + &backend("b", "http", &[]))).await;
    assert_eq!(answer.rejections, []);
    assert_eq!(get(on(port), "/").await.status, 200);
}

#[tokio::test]
async fn a_drain_closes_idle_connections_and_waits_for_busy_ones() {
    let (origin, release) = held().await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let address = mesh.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_one(&mut idle).await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    while origin.requests() < 2 {
        tokio::task::yield_now().await;
    }
    let draining = tokio::spawn(mesh.proxy.drain());
    assert_eq!(within(idle.read(&mut [0])).await.unwrap(), 0, "idle: closed");
    assert!(!draining.is_finished());
    release.notify_waiters();
    assert_eq!(read_one(&mut busy).await.status, 200);
    within(draining).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_quiet_when_the_drain_began_may_send_one_more_request() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let address = mesh.address();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_ne!(read_one(&mut tcp).await.field("connection"), Some("close"));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let draining = tokio::spawn(mesh.proxy.drain());
    // It has begun: the port is closed.
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let last = read_one(&mut tcp).await;
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    within(draining).await.unwrap();
}

#[tokio::test]
async fn a_drain_cuts_what_does_not_end_in_time() {
    let (origin, _never) = held().await;
    let options = fairway_proxy::Options {
        drain: Duration::from_millis(300),
        ..fairway_proxy::Options::new("gateway")
    };
    let mesh = Mesh::with(options, &one_backend("http", &[origin.address])).await;
    let mut busy = TcpStream::connect(mesh.address()).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    while origin.requests() < 1 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    within(mesh.proxy.drain()).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(within(busy.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_heed_connection_close_lose_nothing_to_a_drain() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let address = mesh.address();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        clients.spawn(async move {
            let mut served = 0;
            // A new connection may be refused, that is what closing means; a request sent over an open one is answered.
            while let Ok(mut tcp) = TcpStream::connect(address).await {
                for nth in 0.. {
                    let sent = tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
                    let answer = match sent {
                        Ok(()) => try_read_one(&mut tcp).await,
                        Err(error) => Err(error),
                    };
                    // Refused too: the kernel had taken the connection, nobody had accepted it when the port closed.
                    if answer.is_err() && nth == 0 {
                        break;
                    }
                    let response = answer.unwrap();
                    assert_eq!(response.status, 200);
                    served += 1;
                    if response.field("connection") == Some("close") {
                        break;
                    }
                }
            }
            served
        });
    }
    while origin.requests() < 500 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    within(mesh.proxy.drain()).await;
    let served: usize = within(clients.join_all()).await.into_iter().sum();
    assert_eq!(served, origin.requests());
}
