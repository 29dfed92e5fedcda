//! Bodies that are waited for: clients that wait, that are slow, that leave, and that never end.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::shown::{Framing, Setup, Shown, letters, post};
use crate::harness::{Body, Http2, Origin, get, parse, raw, read_one, within};

/// A body of what is sent to it.
fn sent(pieces: mpsc::Receiver<Bytes>) -> Body {
    let frames = futures::stream::unfold(pieces, |mut pieces| async move {
        Some((Ok::<_, Infallible>(Frame::data(pieces.recv().await?)), pieces))
    });
    StreamBody::new(frames).boxed()
}

#[tokio::test]
async fn a_client_that_waits_is_told_once_before_its_body_is_read() {
    let origin = Origin::named("a").await;
    let shown = Shown::start(Setup::default(), &[origin.address]).await;
    for (body, status) in [("yes", 200), ("no", 401), ("yes", 200)] {
        let mut tcp = TcpStream::connect(shown.mesh.address()).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 25];
        within(tcp.read_exact(&mut told)).await.unwrap_or_else(|e| panic!("{body}: {e}"));
        assert_eq!(std::str::from_utf8(&told).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        tcp.write_all(body.as_bytes()).await.unwrap();
        assert_eq!(read_one(&mut tcp).await.status, status, "{body}");
        shown.was_shown("false", body);
    }
}

#[tokio::test]
async fn a_body_is_held_to_what_its_listener_says_while_it_is_read() {
    let origin = Origin::named("a").await;
    let setup = Setup { traffic: "{limits: {requestBodyBytes: 100}}", ..Setup::default() };
    let shown = Shown::start(setup, &[origin.address]).await;
    let answer = post(shown.mesh.address(), Framing::Chunks(10), &letters(101)).await;
    assert_eq!((answer.status, &*answer.body), (413, "request_body_too_large"));
    let mut client = Http2::plain(shown.mesh.address()).await;
    let request = Request::post("http://a.test/").body(super::shown::pieces(&letters(101), 10)).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 413);
    assert_eq!(post(shown.mesh.address(), Framing::Chunks(10), &letters(100)).await.status, 200);

    let setup = Setup { traffic: "{timeout: {http: {requestReceivedTimeout: 500ms}}}", ..Setup::default() };
    let shown = Shown::start(setup, &[origin.address]).await;
    let late =
        raw(shown.mesh.address(), "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nx").await;
    assert_eq!((late.status, &*late.body), (408, "request_body_timeout"));
    let (_held, pieces) = mpsc::channel(1);
    let mut client = Http2::plain(shown.mesh.address()).await;
    let late = client.send(Request::post("http://a.test/").body(sent(pieces)).unwrap()).await;
    assert!(late.is_err() || late.is_ok_and(|late| late.status() == 408), "a reset or an answer");
    assert_eq!(client.get("http://a.test/").await.unwrap().status(), 200, "of the stream alone");

    let setup = Setup { traffic: "{timeout: {http: {streamIdleTimeout: 500ms}}}", ..Setup::default() };
    let shown = Shown::start(setup, &[origin.address]).await;
    let idle =
        raw(shown.mesh.address(), "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nx").await;
    assert_eq!((idle.status, &*idle.body), (408, "stream_idle_timeout"));
}

#[tokio::test]
async fn a_request_that_is_over_its_time_before_its_body_is_there_is_504() {
    let origin = Origin::named("a").await;
    let shown =
        Shown::start(Setup { rule: "{timeouts: {request: 500ms}}", ..Setup::default() }, &[origin.address])
            .await;
    let begun = Instant::now();
    let late =
        raw(shown.mesh.address(), "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nx").await;
    assert_eq!((late.status, &*late.body), (504, "request_timeout"));
    for (form, status, grpc) in [("text/plain", 504, None), ("application/grpc", 200, Some("4"))] {
        let (_held, pieces) = mpsc::channel(1);
        let mut client = Http2::plain(shown.mesh.address()).await;
        let request =
            Request::post("http://a.test/").header("content-type", form).body(sent(pieces)).unwrap();
        let late = client.send(request).await.unwrap();
        assert_eq!(late.status(), status);
        assert_eq!(late.headers().get("grpc-status").map(|status| status.to_str().unwrap()), grpc);
    }
    assert!(begun.elapsed() >= Duration::from_millis(1490), "{:?}", begun.elapsed());
    assert_eq!((shown.take().len(), origin.requests()), (0, 0));
}

#[tokio::test]
async fn a_client_that_leaves_amid_its_body_is_asked_for_by_nobody() {
    let origin = Origin::named("a").await;
    let shown = Shown::start(Setup::default(), &[origin.address]).await;
    for framing in ["content-length: 100\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        for resets in [false, true] {
            let mut tcp = TcpStream::connect(shown.mesh.address()).await.unwrap();
            tcp.write_all(format!("POST / HTTP/1.1\r\nhost: a.test\r\n{framing}").as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            if resets {
                tcp.set_zero_linger().unwrap();
                drop(tcp);
                continue;
            }
            tcp.shutdown().await.unwrap();
            let mut answer = Vec::new();
            within(tcp.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        }
    }
    let mut client = Http2::plain(shown.mesh.address()).await;
    let (half, pieces) = mpsc::channel(1);
    let request = Request::post("http://a.test/").body(sent(pieces)).unwrap();
    let asking = tokio::spawn(async move {
        let _ = client.send(request).await;
    });
    half.send("half".into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    asking.abort();
    assert_eq!(get(shown.mesh.address(), "/").await.status, 200);
    shown.was_shown("-", "");
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn what_is_no_body_is_400_before_anybody_is_asked() {
    let origin = Origin::named("a").await;
    let shown = Shown::start(Setup::default(), &[origin.address]).await;
    let request =
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalfX\r\n0\r\n\r\n";
    let answer = raw(shown.mesh.address(), request).await;
    assert_eq!((answer.status, &*answer.body), (400, "bad_chunk"));
    assert_eq!((shown.take().len(), origin.requests()), (0, 0));
}

/// Sends each message back as it comes.
async fn echo() -> Origin {
    Origin::start(|request| async move {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut messages = request.into_body();
            while let Some(Ok(frame)) = messages.frame().await {
                if let Ok(data) = frame.into_data()
                    && sender.send(data).await.is_err()
                {
                    return;
                }
            }
        });
        Response::builder().header("content-type", "application/grpc").body(sent(receiver)).unwrap()
    })
    .await
}

#[tokio::test]
async fn a_stream_without_end_goes_on_once_there_is_enough_of_it() {
    let origin = echo().await;
    let part = "{maxRequestBytes: 10, allowPartialMessage: true}";
    let shown =
        Shown::start(Setup { body: part, protocol: "h2c", ..Setup::default() }, &[origin.address]).await;
    let mut client = Http2::plain(shown.mesh.address()).await;
    let (sender, pieces) = mpsc::channel(1);
    let request = Request::post("http://a.test/s/m")
        .header("content-type", "application/grpc")
        .body(sent(pieces))
        .unwrap();
    let calling = tokio::spawn(async move { (client.send(request).await, client) });
    for message in ["abcd", "efgh"] {
        sender.send(message.into()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(origin.requests(), 0, "eight bytes are not ten");
    sender.send("ijkl".into()).await.unwrap();
    let (response, _client) = within(calling).await.unwrap();
    let mut answers = response.unwrap().into_body();
    let mut back = Vec::new();
    while back.len() < 12 {
        back.extend_from_slice(&within(answers.frame()).await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(back, b"abcdefghijkl");
    shown.was_shown("true", "abcdefghij");
    // Both ways at once from then on.
    for message in ["one", "two"] {
        sender.send(message.into()).await.unwrap();
        assert_eq!(within(answers.frame()).await.unwrap().unwrap().into_data().unwrap(), message);
    }
}

#[tokio::test]
async fn a_stream_that_is_too_long_is_refused_as_grpc_wants_it() {
    let origin = echo().await;
    let setup = Setup { body: "{maxRequestBytes: 10}", protocol: "h2c", ..Setup::default() };
    let shown = Shown::start(setup, &[origin.address]).await;
    let mut client = Http2::plain(shown.mesh.address()).await;
    let (sender, pieces) = mpsc::channel(1);
    let request = Request::post("http://a.test/s/m")
        .header("content-type", "application/grpc")
        .body(sent(pieces))
        .unwrap();
    sender.send("abcdefghijk".into()).await.unwrap();
    let refused = client.send(request).await.unwrap();
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-message"], "ext_auth_body_too_large");
    assert_eq!((shown.take().len(), origin.requests()), (0, 0));
}

#[tokio::test]
async fn a_web_socket_is_decided_without_its_bytes() {
    let origin = Origin::start(|mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut read, mut write) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let response =
            Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        response.body(crate::harness::full("")).unwrap()
    })
    .await;
    let shown = Shown::start(Setup::default(), &[origin.address]).await;
    let mut tcp = TcpStream::connect(shown.mesh.address()).await.unwrap();
    let shake = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tcp.write_all(shake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(tcp.read_u8()).await.unwrap());
    }
    assert_eq!(parse(&head).status, 101);
    tcp.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    within(tcp.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"ping");
    shown.was_shown("-", "");
}
