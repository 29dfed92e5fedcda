//! WebSocket on HTTP/1: a tunnel after 101, without the limits of its beginning.

use std::time::Duration;

use http::Response;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    Mesh, Origin, backend, forward, full, parse, route, stream_listener, with_policies, within,
};

/// Upgrades and sends everything back.
async fn echo() -> Origin {
    Origin::start(|mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .body(full(""))
            .unwrap()
    })
    .await
}

async fn shake(tcp: &mut TcpStream) {
    tcp.write_all(
        b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
          sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(tcp.read_u8()).await.unwrap());
    }
    assert_eq!(parse(&head).status, 101);
}

#[tokio::test]
async fn bytes_go_both_ways_after_the_handshake() {
    let origin = echo().await;
    let mesh = Mesh::start(&with_policies("{}", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    shake(&mut tcp).await;
    // One byte too: that is how Pingora asks whether a client left.
    for size in [1, 1, 2, 1000, 100_000, 1] {
        let sent: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[0]).collect();
        let mut back = vec![0; sent.len()];
        let (mut read, mut write) = tcp.split();
        let (wrote, read) =
            within(async { tokio::join!(write.write_all(&sent), read.read_exact(&mut back)) }).await;
        wrote.unwrap();
        read.unwrap();
        assert_eq!(back, sent);
    }
    tcp.shutdown().await.unwrap();
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn limits_end_with_the_handshake() {
    let origin = echo().await;
    let policies = "{timeouts: {request: 300ms, backendRequest: 300ms}}";
    let mesh = Mesh::start(&with_policies(policies, &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    shake(&mut tcp).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    tcp.write_all(b"still there").await.unwrap();
    let mut back = [0; 11];
    within(tcp.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"still there");
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_is_504() {
    let origin = Origin::start(|_| std::future::pending::<Response<crate::harness::Body>>()).await;
    let mesh = Mesh::start(&with_policies("{timeouts: {request: 300ms}}", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    within(tcp.read_to_end(&mut bytes)).await.unwrap();
    let response = parse(&bytes);
    assert_eq!((response.status, &*response.body), (504, "request_timeout"));
}

#[tokio::test]
async fn one_on_which_nothing_moves_is_closed_and_one_that_is_used_is_not() {
    let origin = echo().await;
    let traffic = ", traffic: {timeout: {http: {streamIdleTimeout: 1s, requestReceivedTimeout: 1s}}}";
    let yaml = stream_listener("http", "HTTP", 0, traffic)
        + &backend("a", "http", &[origin.address])
        + &route("r", &format!("  - action: {}", forward("a")));
    let mesh = Mesh::start(&yaml).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    shake(&mut tcp).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tcp.write_all(b"!").await.unwrap();
        assert_eq!(within(tcp.read_u8()).await.unwrap(), b'!');
    }
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap_or(0), 0);
}
