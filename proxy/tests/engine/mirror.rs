//! Copies of requests, which nobody waits for.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{
    Mesh, Origin, backend, forward, full, get, listener, nobody, raw, read_one, route, within,
};

fn config(main: &[std::net::SocketAddr], copy: &[std::net::SocketAddr], policies: &str) -> String {
    let rule = format!(
        "  - action: {}\n    policies: {{mirror: [{{backend: {{namespace: default, name: copy, port: 80}}{policies}}}]}}",
        forward("a")
    );
    listener(0) + &backend("a", "http", main) + &backend("copy", "http", copy) + &route("r", &rule)
}

type Seen = Arc<Mutex<Vec<(String, usize)>>>;

async fn recorder() -> (Origin, Seen) {
    let seen = Seen::default();
    let record = seen.clone();
    let origin = Origin::start(move |request| {
        let record = record.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
            record.lock().push((path, body));
            Response::new(full("ignored"))
        }
    })
    .await;
    (origin, seen)
}

async fn until(seen: &Seen, count: usize) -> Vec<(String, usize)> {
    within(async {
        while seen.lock().len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
    seen.lock().clone()
}

#[tokio::test]
async fn a_copy_has_the_whole_body() {
    let main = Origin::named("main").await;
    let (copy, seen) = recorder().await;
    let mesh = Mesh::start(&config(&[main.address], &[copy.address], "")).await;
    assert_eq!(get(mesh.address(), "/get").await.field("origin"), Some("main"));
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n").await.unwrap();
    tcp.write_all(&[b'x'; 300_000]).await.unwrap();
    assert_eq!(read_one(&mut tcp).await.body.len(), 300_000);
    let mut seen = until(&seen, 2).await;
    seen.sort();
    assert_eq!(seen, [("/get".to_owned(), 0), ("/post".to_owned(), 300_000)]);
}

#[tokio::test]
async fn a_retried_request_is_copied_once() {
    let main = Origin::named("main").await;
    let (copy, seen) = recorder().await;
    let endpoints = [nobody().await, main.address, nobody().await];
    let mesh = Mesh::start(&config(&endpoints, &[copy.address], "")).await;
    for _ in 0..10 {
        let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
        assert_eq!(raw(mesh.address(), request).await.status, 200);
    }
    let seen = until(&seen, 10).await;
    assert_eq!(seen, vec![("/".to_owned(), 4); 10]);
}

#[tokio::test]
async fn a_copy_that_cannot_be_sent_costs_the_request_nothing() {
    let main = Origin::named("main").await;
    for copy in [vec![], vec![nobody().await]] {
        let mesh = Mesh::start(&config(&[main.address], &copy, "")).await;
        for _ in 0..5 {
            assert_eq!(get(mesh.address(), "/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_fraction_of_none_copies_nothing() {
    let main = Origin::named("main").await;
    let (copy, seen) = recorder().await;
    let mesh = Mesh::start(&config(&[main.address], &[copy.address], ", fraction: {numerator: 0}")).await;
    for _ in 0..20 {
        assert_eq!(get(mesh.address(), "/").await.status, 200);
    }
    assert_eq!(seen.lock().len(), 0);
}
