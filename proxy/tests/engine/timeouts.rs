//! `timeouts.request` and `timeouts.backendRequest` are total: silence, dripping and waiting all count.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    Body, Http2, Mesh, Origin, backend, forward, full, get, listener, parse, route, with_policies, within,
};

const LIMIT: Duration = Duration::from_millis(400);
/// Nothing that is tested takes this long by itself; a loaded machine may.
const LONG: Duration = Duration::from_secs(15);

/// Pieces for ever, or silence after some of them.
fn pieces(count: usize, every: Duration) -> Body {
    let pieces = stream::unfold(0, move |at| async move {
        if at == count {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(every).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), at + 1))
    });
    StreamBody::new(pieces).boxed()
}

/// `/silent` says nothing, `/drip` a byte now and then, `/stuck` a byte and then nothing, `/` everything.
async fn slow() -> Origin {
    Origin::start(|request| async move {
        match request.uri().path() {
            "/silent" => std::future::pending().await,
            "/drip" => Response::new(pieces(usize::MAX, Duration::from_millis(50))),
            "/stuck" => Response::new(pieces(1, Duration::ZERO)),
            _ => Response::new(full("done")),
        }
    })
    .await
}

/// Reads to the end, whatever it is; the time it took.
async fn read_broken(address: SocketAddr, path: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = within(tcp.read_to_end(&mut bytes)).await;
    (String::from_utf8_lossy(&bytes).into_owned(), begun.elapsed())
}

#[tokio::test]
async fn a_silent_backend_is_504() {
    let origin = slow().await;
    for (policy, reason) in [("request", "request_timeout"), ("backendRequest", "backend_timeout")] {
        let config = with_policies(&format!("{{timeouts: {{{policy}: 400ms}}}}"), &[origin.address]);
        let mesh = Mesh::start(&config).await;
        let begun = Instant::now();
        let response = get(mesh.address(), "/silent").await;
        assert_eq!((response.status, &*response.body), (504, reason));
        assert!((LIMIT..LONG).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(get(mesh.address(), "/").await.status, 200);
    }
}

#[tokio::test]
async fn a_body_that_drips_or_sticks_is_cut_at_the_limit() {
    let origin = slow().await;
    for policy in ["request", "backendRequest"] {
        let config = with_policies(&format!("{{timeouts: {{{policy}: 400ms}}}}"), &[origin.address]);
        let mesh = Mesh::start(&config).await;
        for path in ["/drip", "/stuck"] {
            let (text, took) = read_broken(mesh.address(), path).await;
            assert!(text.starts_with("HTTP/1.1 200"), "{policy} {path}: {text}");
            assert!(!text.ends_with("0\r\n\r\n"), "a cut body must not look complete");
            assert!((LIMIT..LONG).contains(&took), "{policy} {path}: {took:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_http2_is_reset_at_the_limit_and_its_neighbours_are_not() {
    let origin = slow().await;
    let rules = format!(
        "  - matches: [{{path: {{prefix: /quick}}}}]\n    action: {0}\n  - action: {0}\n    policies: {{timeouts: \
         {{request: 400ms}}}}",
        forward("a")
    );
    let config = listener(0) + &backend("a", "http", &[origin.address]) + &route("r", &rules);
    let mesh = Mesh::start(&config).await;
    let mut client = Http2::plain(mesh.address()).await;
    let silent = client.get("http://a/silent").await.unwrap();
    assert_eq!(silent.status(), 504);
    for path in ["/drip", "/stuck"] {
        let begun = Instant::now();
        let response = client.get(&format!("http://a{path}")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(within(response.into_body().collect()).await.is_err(), "{path}");
        assert!((LIMIT..LONG).contains(&begun.elapsed()), "{path}: {:?}", begun.elapsed());
        assert_eq!(client.get("http://a/quick").await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_upload_that_is_never_read_is_504() {
    // Accepts, and reads nothing.
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(socket.accept().await.unwrap());
        }
    });
    let mesh = Mesh::start(&with_policies("{timeouts: {request: 400ms}}", &[address])).await;
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = tcp.into_split();
    let upload = tokio::spawn(async move { while write.write_all(&[0; 65536]).await.is_ok() {} });
    let mut bytes = Vec::new();
    let _ = within(read.read_to_end(&mut bytes)).await;
    assert_eq!(parse(&bytes).status, 504);
    within(upload).await.unwrap();
    held.abort();
}

#[tokio::test]
async fn an_attempt_that_is_too_slow_is_repeated_within_the_request() {
    let slow = slow().await;
    let quick = Origin::named("quick").await;
    let policies = "{timeouts: {request: 10s, backendRequest: 300ms}, retry: {attempts: 5, backoff: 1ms}}";
    let mesh = Mesh::start(&with_policies(policies, &[slow.address, quick.address])).await;
    for _ in 0..6 {
        assert_eq!(get(mesh.address(), "/silent").await.status, 200);
    }
    let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
    tcp.write_all(b"GET /silent HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    within(tcp.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(parse(&bytes).field("origin"), Some("quick"));
}

#[tokio::test]
async fn without_limits_a_quiet_backend_is_waited_for() {
    let origin = Origin::start(|_| async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        Response::new(full("late"))
    })
    .await;
    let mesh = Mesh::start(&with_policies("{}", &[origin.address])).await;
    assert_eq!(get(mesh.address(), "/").await.body, "late");
    let mut client = Http2::plain(mesh.address()).await;
    let request = Request::get("http://a/").body(full("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}
