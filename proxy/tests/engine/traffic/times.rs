use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::held_to;
use crate::harness::{
    Http2, Mesh, Origin, Peer, backend, forward, raw, read_one, route_on, split, stream_listener,
    stream_route, within,
};
use crate::tls::{identity, secret};

const SOON: Duration = Duration::from_millis(390);

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&held_to("{timeout: {http: {idleTimeout: 400ms}}}", origin.address)).await;
    let mut new = TcpStream::connect(mesh.address()).await.unwrap();
    let mut used = TcpStream::connect(mesh.address()).await.unwrap();
    let mut http2 = Http2::plain(mesh.address()).await;
    let begun = Instant::now();
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_one(&mut used).await.status, 200);
    for tcp in [&mut new, &mut used] {
        assert_eq!(within(tcp.read(&mut [0])).await.unwrap(), 0);
    }
    within(&mut http2.connection).await.unwrap().unwrap();
    assert!(begun.elapsed() >= SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_408() {
    let origin = Origin::named("a").await;
    let mesh =
        Mesh::start(&held_to("{timeout: {http: {requestHeadersReceivedTimeout: 400ms}}}", origin.address))
            .await;
    let begun = Instant::now();
    let answer = raw(mesh.address(), "GET / HTTP/1.1\r\nhost: a\r\n").await;
    assert_eq!((answer.status, &*answer.body), (408, "head_timeout"));
    assert!(begun.elapsed() >= SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_is_closed() {
    let (identity, origin) = (identity("a.test"), Origin::named("a").await);
    for limit in ["tlsHandshakeTimeout", "connectionInspectionTimeout"] {
        let yaml = secret("a", &identity)
            + &stream_listener(
                "https",
                "HTTPS",
                0,
                &format!(
                    ", tls: {{certificates: [default/a]}}, traffic: {{timeout: {{tcp: {{{limit}: 400ms}}}}}}"
                ),
            )
            + &backend("a", "http", &[origin.address])
            + &route_on("r", "https", "*", &format!("  - action: {}", forward("a")));
        let mesh = Mesh::start(&yaml).await;
        let begun = Instant::now();
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        tcp.write_all(b"\x16\x03\x01").await.unwrap();
        assert_eq!(within(tcp.read(&mut [0])).await.unwrap_or(0), 0, "{limit}");
        assert!((SOON..Duration::from_secs(8)).contains(&begun.elapsed()), "{limit}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_tcp_connection_on_which_nothing_moves_is_closed() {
    let peer = Peer::echo("e").await;
    let yaml = stream_listener("tcp", "TCP", 0, ", traffic: {timeout: {tcp: {idleTimeout: 400ms}}}")
        + &backend("a", "http", &[peer.address])
        + &stream_route("TcpRoute", "r", "tcp", "*", &split(&[("a", 1)]));
    let mesh = Mesh::start(&yaml).await;
    let begun = Instant::now();
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap(), 1);
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap_or(0), 0);
    assert!(begun.elapsed() >= SOON, "{:?}", begun.elapsed());
}
