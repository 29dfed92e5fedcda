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

use super::held_to;
use crate::harness::{Body, Http2, Mesh, Origin, Peer, Raw, full, get, parse, raw, text, within};

/// Sends a head, then a piece every 50 ms until nobody takes it.
async fn drip(address: SocketAddr, head: &str, piece: &[u8]) -> Raw {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = tcp.into_split();
    let piece = piece.to_vec();
    let writing = tokio::spawn(async move {
        while write.write_all(&piece).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut bytes = Vec::new();
    let _ = within(read.read_to_end(&mut bytes)).await;
    writing.abort();
    parse(&bytes)
}

/// A body of pieces, one every 50 ms, for ever.
fn dripping(piece: &'static [u8]) -> Body {
    let pieces = stream::unfold((), move |()| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))), ()))
    });
    StreamBody::new(pieces).boxed()
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_413_before_the_backend_hears_of_it() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&held_to("{limits: {requestBodyBytes: 1Ki}}", origin.address)).await;
    let answer = raw(mesh.address(), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.body), (413, "request_body_too_large"));
    let mut http2 = Http2::plain(mesh.address()).await;
    let post = |size: usize| Request::post("http://a/").body(full(vec![b'x'; size])).unwrap();
    assert_eq!(http2.send(post(1025)).await.unwrap().status(), 413);
    assert_eq!(origin.requests(), 0);
    assert_eq!(text(http2.send(post(1024)).await.unwrap()).await.len(), 1024);
}

#[tokio::test]
async fn a_body_that_becomes_too_large_is_413_and_its_upstream_connection_is_closed() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&held_to("{limits: {requestBodyBytes: 1Ki}}", origin.address)).await;
    assert_eq!(get(mesh.address(), "/").await.status, 200);
    let chunk = ["100\r\n", &"x".repeat(256), "\r\n"].concat();
    let answer = drip(
        mesh.address(),
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        chunk.as_bytes(),
    )
    .await;
    assert_eq!((answer.status, &*answer.body), (413, "request_body_too_large"));
    let mut http2 = Http2::plain(mesh.address()).await;
    let response =
        http2.send(Request::post("http://a/").body(dripping(&[b'x'; 256])).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), &*text(response).await), (413, "request_body_too_large"));
    let before = origin.connections();
    assert_eq!(get(mesh.address(), "/").await.status, 200);
    assert_eq!(origin.connections(), before + 1, "none of those before can be used");
}

#[tokio::test]
async fn a_request_that_is_not_there_in_time_is_408() {
    let origin = Origin::named("a").await;
    let mesh =
        Mesh::start(&held_to("{timeout: {http: {requestReceivedTimeout: 500ms}}}", origin.address)).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let begun = Instant::now();
    for piece in [&b"x"[..], b""] {
        let answer = drip(mesh.address(), head, piece).await;
        assert_eq!((answer.status, &*answer.body), (408, "request_body_timeout"));
    }
    assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
    let mut http2 = Http2::plain(mesh.address()).await;
    assert!(http2.send(Request::post("http://a/").body(dripping(b"x")).unwrap()).await.is_err(), "a reset");
    assert_eq!(http2.get("http://a/").await.unwrap().status(), 200, "of the stream alone");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408() {
    let origin = Origin::named("a").await;
    let mesh = Mesh::start(&held_to("{limits: {requestBodyRate: 1Ki}}", origin.address)).await;
    let begun = Instant::now();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let http2 = async {
        let mut http2 = Http2::plain(mesh.address()).await;
        let request = Request::post("http://a/").body(dripping(b"x")).unwrap();
        let response = http2.send(request).await;
        response.is_err() || response.is_ok_and(|response| response.status() == 408)
    };
    let (http1, http2) = tokio::join!(drip(mesh.address(), head, b"x"), http2);
    assert_eq!((http1.status, &*http1.body), (408, "request_body_too_slow"));
    assert!(http2);
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_on_which_nothing_moves_ends() {
    let silent = Peer::start(|tcp| async move {
        let _held = tcp;
        std::future::pending().await
    })
    .await;
    let mesh = Mesh::start(&held_to("{timeout: {http: {streamIdleTimeout: 500ms}}}", silent.address)).await;
    let answer = get(mesh.address(), "/").await;
    assert_eq!((answer.status, &*answer.body), (504, "stream_idle_timeout"));
    let stuck = raw(mesh.address(), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx").await;
    assert_eq!((stuck.status, &*stuck.body), (408, "stream_idle_timeout"));
    let mut http2 = Http2::plain(mesh.address()).await;
    let response = http2.get("http://a/").await.unwrap();
    assert_eq!((response.status().as_u16(), &*text(response).await), (504, "stream_idle_timeout"));
}

#[tokio::test]
async fn a_request_lasts_no_longer_than_it_may() {
    let origin = Origin::start(|request| async move {
        if request.uri().path() == "/silent" {
            std::future::pending::<()>().await;
        }
        Response::new(dripping(b"x"))
    })
    .await;
    let mesh =
        Mesh::start(&held_to("{connection: {connectionLimit: {maxStreamDuration: 500ms}}}", origin.address))
            .await;
    let silent = get(mesh.address(), "/silent").await;
    assert_eq!((silent.status, &*silent.body), (504, "max_stream_duration"));
    let mut http2 = Http2::plain(mesh.address()).await;
    let response = http2.get("http://a/drip").await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(within(response.into_body().collect()).await.is_err(), "broken off");
}
