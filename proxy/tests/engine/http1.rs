//! HTTP/1.1 in, HTTP/1.1 out.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Mesh, Origin, get, one_backend, raw, read_one};

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
