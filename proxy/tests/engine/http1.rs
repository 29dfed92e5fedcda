//! HTTP/1.1 in, HTTP/1.1 out.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use fairway_proxy::Options;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::harness::{Mesh, Origin, full, get, one_backend, parse, raw, read_one, within};

#[tokio::test]
async fn a_request_is_forwarded_with_what_an_edge_adds() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let response = raw(
        mesh.address(),
        "POST /x?y=1 HTTP/1.1\r\nhost: A.test:80\r\nx-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\n\
         content-length: 2\r\nconnection: close\r\n\r\nhi",
    )
    .await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body, "hi");
    assert_eq!(response.field("path"), Some("/x?y=1"));
    assert_eq!(response.field("seen-host"), Some("A.test:80"));
    assert_eq!(response.field("seen-x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(response.field("seen-x-forwarded-proto"), Some("http"));
    assert_eq!(response.field("seen-x-forwarded-host"), Some("a.test:80"));
    assert_eq!(response.field("seen-traceparent").map(str::len), Some(55));
    assert_eq!(response.field("seen-x-request-id").map(str::len), Some(36));
    assert_eq!(response.field("server"), None);
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_so_does_the_upstream() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for turn in 0..20 {
        tcp.write_all(format!("GET /{turn} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let response = read_one(&mut tcp).await;
        assert_eq!(response.field("path"), Some(&*format!("/{turn}")));
        assert_eq!(response.field("connection"), Some("keep-alive"));
    }
    assert_eq!(origin.requests(), 20);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_short_request_of_http_1_0_is_answered_and_closed() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    assert_eq!(raw(mesh.address(), "GET /e HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn nobody_behind_is_503_and_no_route_is_404() {
    let mesh = Mesh::start(&one_backend("http", &[])).await;
    let response = get(mesh.address(), "/").await;
    assert_eq!((response.status, &*response.body), (503, "no_endpoints"));
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for _ in 0..2 {
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_one(&mut tcp).await.status, 503, "the connection is kept");
    }
}

/// Sends its first piece at once and the second when told.
async fn in_two_pieces(length: Option<usize>) -> (Origin, Arc<Notify>) {
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let origin = Origin::start(move |_| {
        let held = held.clone();
        async move {
            let pieces = futures::stream::unfold(0, move |at| {
                let held = held.clone();
                async move {
                    match at {
                        0 => Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"one"))), 1)),
                        1 => {
                            held.notified().await;
                            Some((Ok(Frame::data(Bytes::from_static(b"two"))), 2))
                        }
                        _ => None,
                    }
                }
            });
            let mut response = Response::builder();
            if let Some(length) = length {
                response = response.header("content-length", length);
            }
            response.body(StreamBody::new(pieces).boxed()).unwrap()
        }
    })
    .await;
    (origin, release)
}

#[tokio::test]
async fn a_piece_of_a_response_is_not_held_back_for_the_next() {
    for length in [None, Some(6)] {
        let (origin, release) = in_two_pieces(length).await;
        let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains("one") {
            assert_ne!(within(tcp.read_buf(&mut bytes)).await.unwrap(), 0);
        }
        release.notify_waiters();
        within(tcp.read_to_end(&mut bytes)).await.unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("two"), "{length:?}");
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_answered() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(tcp.read_u8()).await.unwrap());
    }
    assert_eq!(parse(&head).status, 100);
    tcp.write_all(b"hi").await.unwrap();
    assert_eq!(read_one(&mut tcp).await.body, "hi");
}

#[tokio::test]
async fn responses_without_a_body_keep_the_connection() {
    let origin = Origin::start(|request| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        Response::builder().status(status).header("x", "y").body(full("")).unwrap()
    })
    .await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404), ("GET", 200)] {
        tcp.write_all(format!("{method} /{status} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(tcp.read_u8()).await.unwrap());
        }
        let response = parse(&head);
        assert_eq!((response.status, response.field("connection")), (status, Some("keep-alive")));
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_proxy_of_the_mesh_is_believed() {
    let origin = Origin::named("a").await;
    let options = Options { trusts_clients: true, ..Options::new("waypoint") };
    let mesh = Mesh::with(options, &one_backend("http", &[origin.address])).await;
    let request = "GET / HTTP/1.1\r\nhost: a.svc\r\nx-forwarded-proto: https\r\nx-forwarded-host: shop.test\r\n\
                   x-forwarded-for: 9.9.9.9\r\nx-request-id: 7\r\nconnection: close\r\n\r\n";
    let response = raw(mesh.address(), request).await;
    assert_eq!(response.field("seen-x-forwarded-proto"), Some("https"));
    assert_eq!(response.field("seen-x-forwarded-host"), Some("shop.test"));
    assert_eq!(response.field("seen-x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(response.field("seen-x-request-id"), Some("7"));
}

#[tokio::test]
async fn bodies_of_every_size_go_both_ways() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    for size in [0, 1, 1000, 4096, 16_000, 16_384, 20_000, 65_536, 300_000] {
        let body: Vec<u8> = (0..size).map(|at: u32| b'a' + at.to_le_bytes()[0] % 26).collect();
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
        tcp.write_all(head.as_bytes()).await.unwrap();
        tcp.write_all(&body).await.unwrap();
        let response = read_one(&mut tcp).await;
        assert_eq!(response.body.as_bytes(), body, "{size}");
    }
}

#[tokio::test]
async fn a_head_in_pieces_of_any_size_is_read() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    // Around the size of the buffer it is read into.
    for first in [1, 16, 4094, 4095, 4096, 4097, 8191] {
        let head =
            format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(9000));
        let (one, two) = head.split_at(first);
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.write_all(one.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        tcp.write_all(two.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        within(tcp.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(parse(&bytes).status, 200, "{first}");
    }
}
