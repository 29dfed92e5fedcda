//! HTTP/2 in: by prior knowledge here, by ALPN in `tls`.

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Version};

use crate::harness::{Http2, Mesh, Origin, full, one_backend, text};

#[tokio::test]
async fn prior_knowledge_on_a_plain_port_is_recognised() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("http", &[origin.address])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let response = client.get("http://a.test/x").await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    assert_eq!(response.headers()["path"], "/x");
    assert_eq!(response.headers()["seen-host"], "a.test");
}

#[tokio::test]
async fn streams_of_one_connection_are_served_side_by_side() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&one_backend("h2c", &[origin.address])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let mut requests = Vec::new();
    for turn in 0..50 {
        let request = Request::post("http://a.test/").body(full(Bytes::from(vec![turn; 40_000]))).unwrap();
        requests.push(client.send(request).await);
    }
    let bodies = join_all(requests.into_iter().map(|response| text(response.unwrap()))).await;
    for (turn, body) in (0u8..).zip(bodies) {
        assert_eq!(body.len(), 40_000);
        assert!(body.bytes().all(|byte| byte == turn));
    }
}

#[tokio::test]
async fn replies_end_the_stream() {
    let mesh = Mesh::start(&one_backend("http", &[])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let request = Request::post("http://a.test/").body(full(vec![0; 200_000])).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(text(response).await, "no_endpoints");
    assert_eq!(client.get("http://a.test/").await.unwrap().status(), 503, "the connection lives on");
}
