use std::net::SocketAddr;
use std::sync::Arc;

use fairway_proxy::Options;
use fairway_proxy::telemetry::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{held_to, turned_away};
use crate::harness::{
    Http2, Mesh, Origin, Peer, Raw, backend, forward, parse, route_on, split, stream_listener, stream_route,
    within,
};
use crate::tls::{identity, over, secret};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x29\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x34\x01\xbb\x04\0\x02hi";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Sends pieces apart from each other and reads to the end; nothing: closed without a word.
async fn told(address: SocketAddr, pieces: &[&[u8]]) -> Option<Raw> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for piece in pieces {
        if tcp.write_all(piece).await.is_err() {
            break;
        }
        if pieces.len() > 2 {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    }
    let mut bytes = Vec::new();
    let _ = within(tcp.read_to_end(&mut bytes)).await;
    (!bytes.is_empty()).then(|| parse(&bytes))
}

async fn mesh(traffic: &str) -> (Mesh, Arc<Telemetry>, Origin) {
    let (origin, telemetry) = (Origin::named("a").await, Arc::new(Telemetry::default()));
    let mesh =
        Mesh::told(Options::new("gateway"), telemetry.clone(), &held_to(traffic, origin.address)).await;
    (mesh, telemetry, origin)
}

#[tokio::test]
async fn the_client_is_who_the_header_says() {
    let (mesh, _, _origin) = mesh("{proxyProtocol: {}}").await;
    for (header, client) in
        [(V1, "192.0.2.1"), (V2, "2001:db8::1"), (LOCAL, "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")]
    {
        let answer = told(mesh.address(), &[header, GET]).await.unwrap();
        assert_eq!((answer.status, answer.field("seen-x-forwarded-for")), (200, Some(client)));
        let (first, rest) = header.split_at(5);
        let (second, third) = rest.split_at(rest.len() - 1);
        let answer = told(mesh.address(), &[first, second, third, GET]).await.unwrap();
        assert_eq!(answer.field("seen-x-forwarded-for"), Some(client), "in pieces");
        let answer = told(mesh.address(), &[&[header, GET].concat()]).await.unwrap();
        assert_eq!(answer.field("seen-x-forwarded-for"), Some(client), "at once");
    }
}

#[tokio::test]
async fn http_2_with_prior_knowledge_may_follow() {
    let (mesh, _, _origin) = mesh("{proxyProtocol: {}}").await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(V1).await.unwrap();
    let response = Http2::over(tcp).await.get("http://a/").await.unwrap();
    assert_eq!(response.headers()["seen-x-forwarded-for"], "192.0.2.1");
}

#[tokio::test]
async fn a_header_that_is_missing_or_malformed_closes_the_connection() {
    let (mesh, telemetry, origin) = mesh("{proxyProtocol: {}}").await;
    assert!(told(mesh.address(), &[GET]).await.is_none());
    assert!(told(mesh.address(), &[b"PROXY TCP4 a b c d\r\n", GET]).await.is_none());
    assert!(told(mesh.address(), &[&[b'x'; 200]]).await.is_none());
    assert!(told(mesh.address(), &[format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes()]).await.is_none());
    assert_eq!(origin.requests(), 0);
    assert_eq!(turned_away(&telemetry, "proxy_protocol_missing"), 2);
    assert_eq!(turned_away(&telemetry, "proxy_protocol_malformed"), 2);
}

#[tokio::test]
async fn where_it_is_optional_it_may_be_missing_and_not_malformed() {
    let (mesh, telemetry, _origin) = mesh("{proxyProtocol: {optional: true}}").await;
    let answer = told(mesh.address(), &[V1, GET]).await.unwrap();
    assert_eq!(answer.field("seen-x-forwarded-for"), Some("192.0.2.1"));
    assert_eq!(told(mesh.address(), &[GET]).await.unwrap().field("seen-x-forwarded-for"), Some("127.0.0.1"));
    let post = b"PROPFIND / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for cut in 1..5 {
        let pieces = [&post[..cut], &post[cut..cut + 1], &post[cut + 1..]];
        assert_eq!(told(mesh.address(), &pieces).await.unwrap().status, 200, "cut at {cut}");
    }
    assert!(told(mesh.address(), &[b"PROXY TCP4 a b c d\r\n", GET]).await.is_none());
    assert_eq!(turned_away(&telemetry, "proxy_protocol_malformed"), 1);
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"").await.unwrap();
    assert_eq!(Http2::over(tcp).await.get("http://a/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_header_that_does_not_come_in_time_closes_the_connection() {
    let (mesh, telemetry, _origin) =
        mesh("{proxyProtocol: {}, timeout: {tcp: {connectionInspectionTimeout: 200ms}}}").await;
    assert!(told(mesh.address(), &[b"PROXY TCP4 "]).await.is_none());
    assert_eq!(turned_away(&telemetry, "proxy_protocol_timeout"), 1);
}

#[tokio::test]
async fn without_it_a_header_is_no_request() {
    let (mesh, _, _origin) = mesh("{}").await;
    assert_eq!(told(mesh.address(), &[V1, GET]).await.unwrap().status, 400);
}

#[tokio::test]
async fn it_comes_before_tls_and_before_the_bytes_of_a_tcp_listener() {
    let (identity, origin, peer) = (identity("a.test"), Origin::named("a").await, Peer::echo("e").await);
    let traffic = ", traffic: {proxyProtocol: {}}";
    let https = secret("a", &identity)
        + &stream_listener("https", "HTTPS", 0, &format!(", tls: {{certificates: [default/a]}}{traffic}"))
        + &backend("a", "http", &[origin.address])
        + &route_on("r", "https", "*", &format!("  - action: {}", forward("a")));
    let mesh = Mesh::start(&https).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(V2).await.unwrap();
    let tls = over(tcp, "a.test", &identity, &[b"h2"]).await.unwrap();
    let response = Http2::over(tls).await.get("https://a.test/").await.unwrap();
    assert_eq!(response.headers()["seen-x-forwarded-for"], "2001:db8::1");

    let tcp = stream_listener("tcp", "TCP", 0, traffic)
        + &backend("a", "http", &[peer.address])
        + &stream_route("TcpRoute", "r", "tcp", "*", &split(&[("a", 1)]));
    let mesh = Mesh::start(&tcp).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(&[V1, b"hello"].concat()).await.unwrap();
    let mut heard = [0; 6];
    within(tcp.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"ehello");
}
