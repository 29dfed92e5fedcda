//! Attempts beyond the first: what is repeated, and that everything of the request is there again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Mesh, Origin, full, get, nobody, one_backend, parse, raw, with_policies, within};

#[tokio::test]
async fn a_post_moves_on_from_an_endpoint_that_does_not_accept() {
    let alive = Origin::named("alive").await;
    let mesh = Mesh::start(&one_backend("http", &[nobody().await, alive.address, nobody().await])).await;
    for turn in 0..20 {
        let body = format!("turn {turn}");
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = raw(mesh.address(), &request).await;
        assert_eq!((response.status, response.body), (200, body));
    }
    assert_eq!(alive.requests(), 20);
}

#[tokio::test]
async fn nobody_accepting_is_503() {
    let mesh = Mesh::start(&one_backend("http", &[nobody().await, nobody().await])).await;
    let response = get(mesh.address(), "/").await;
    assert_eq!((response.status, &*response.body), (503, "connect_failure"));
}

/// Fails the first `failures` requests with 503 and says the body back from then on.
async fn flaky(failures: usize) -> (Origin, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let origin = Origin::start(move |request| {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let status = if turn < failures { 503 } else { 200 };
            Response::builder().status(status).body(full(body)).unwrap()
        }
    })
    .await;
    (origin, seen)
}

#[tokio::test]
async fn a_listed_code_is_retried_with_the_body() {
    let (origin, seen) = flaky(2).await;
    let policies = "{retry: {codes: [503], attempts: 2, backoff: 1ms}}";
    let mesh = Mesh::start(&with_policies(policies, &[origin.address])).await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
    let response = raw(mesh.address(), request).await;
    assert_eq!((response.status, &*response.body), (200, "body"));
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_last_answer_is_the_clients_when_retries_are_used_up() {
    let (origin, seen) = flaky(9).await;
    let policies = "{retry: {codes: [503], attempts: 2, backoff: 1ms}}";
    let mesh = Mesh::start(&with_policies(policies, &[origin.address])).await;
    assert_eq!(get(mesh.address(), "/").await.status, 503);
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_code_that_is_not_listed_is_not_retried() {
    let (origin, seen) = flaky(1).await;
    let policies = "{retry: {codes: [500], attempts: 2, backoff: 1ms}}";
    let mesh = Mesh::start(&with_policies(policies, &[origin.address])).await;
    assert_eq!(get(mesh.address(), "/").await.status, 503);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_retried() {
    let (origin, seen) = flaky(1).await;
    let policies = "{retry: {codes: [503], attempts: 2, backoff: 1ms}}";
    let mesh = Mesh::start(&with_policies(policies, &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 200000\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.write_all(&vec![b'x'; 200_000]).await.unwrap();
    let mut bytes = Vec::new();
    within(tcp.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(parse(&bytes).status, 503);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// Answers one request per connection and closes it without a word.
async fn forgetful() -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = socket.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = tcp.read(&mut head).await;
                let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                // The next request is read and not answered.
                let _ = tcp.read(&mut head).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_kept_alive_connection_that_dies_costs_an_idempotent_request_nothing() {
    let mesh = Mesh::start(&one_backend("http", &[forgetful().await])).await;
    for _ in 0..20 {
        assert_eq!(get(mesh.address(), "/").await.status, 200);
    }
}

#[tokio::test]
async fn a_backend_that_breaks_off_before_its_answer_is_502() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = socket.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 4096]).await;
        }
    });
    let mesh = Mesh::start(&one_backend("http", &[address])).await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let response = raw(mesh.address(), request).await;
    assert_eq!((response.status, &*response.body), (502, "upstream_reset"));
}
