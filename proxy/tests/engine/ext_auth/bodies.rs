//! Bodies that a service is shown, and that reach the backend all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::shown::{Framing, Setup, Shown, letters, pieces, post, post_over};
use crate::harness::{Body, Http2, Origin, backend, full, nobody, raw, read_one, text, within};
use crate::tls::{connect, identity};

async fn post_http2(shown: &Shown, body: Body) -> Response<Incoming> {
    let mut client = Http2::plain(shown.mesh.address()).await;
    client.send(Request::post("http://a.test/").body(body).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_body_reaches_the_service_and_the_backend_whatever_frames_it() {
    let origin = Origin::named("a").await;
    for protocol in ["http", "h2c"] {
        let setup = Setup { protocol, body: "{maxRequestBytes: 49152}", ..Setup::default() };
        let shown = Shown::start(setup, &[origin.address]).await;
        let address = shown.mesh.address();
        // Up to the most there can be.
        for size in [1, 16_384, 49_152] {
            let body = letters(size);
            for framing in
                [Framing::Length, Framing::Chunks(100_000), Framing::Chunks(1000), Framing::Chunks(7)]
            {
                let answer = post(address, framing, &body).await;
                assert_eq!(
                    (answer.status, answer.body == body),
                    (200, true),
                    "{protocol} {framing:?} {size}"
                );
                shown.was_shown("false", &body);
            }
            for sent in [full(body.clone()), pieces(&body, 1000), pieces(&body, 100_000)] {
                let answer = post_http2(&shown, sent).await;
                assert_eq!(answer.status(), 200);
                assert!(text(answer).await == body, "{protocol} {size}");
                shown.was_shown("false", &body);
            }
        }
    }
}

#[tokio::test]
async fn a_request_without_a_body_is_decided_without_one() {
    let origin = Origin::named("a").await;
    for protocol in ["http", "h2c"] {
        let shown = Shown::start(Setup { protocol, ..Setup::default() }, &[origin.address]).await;
        for framing in [Framing::Length, Framing::Chunks(1)] {
            let answer = post(shown.mesh.address(), framing, "").await;
            // Of HTTP/2 there is no length to pass on.
            let said = answer.body.strip_suffix("0\r\n\r\n").unwrap_or(&answer.body);
            assert_eq!((answer.status, said), (200, ""), "{protocol} {framing:?}");
            shown.was_shown("-", "");
        }
        for body in [full(""), pieces("", 1)] {
            let answer = post_http2(&shown, body).await;
            assert_eq!((answer.status().as_u16(), &*text(answer).await), (200, ""), "{protocol}");
            shown.was_shown("-", "");
        }
    }
}

#[tokio::test]
async fn a_part_of_a_large_body_reaches_the_service_and_all_of_it_the_backend() {
    let origin = Origin::named("a").await;
    let body = letters(300_000);
    for (protocol, most) in [("http", 1), ("http", 1000), ("http", 49_152), ("h2c", 49_152)] {
        let part = format!("{{maxRequestBytes: {most}, allowPartialMessage: true}}");
        let shown =
            Shown::start(Setup { protocol, body: &part, ..Setup::default() }, &[origin.address]).await;
        for framing in [Framing::Length, Framing::Chunks(100_000), Framing::Chunks(777)] {
            let answer = post(shown.mesh.address(), framing, &body).await;
            assert_eq!((answer.status, answer.body == body), (200, true), "{protocol} {framing:?} {most}");
            shown.was_shown("true", &body[..most]);
        }
        for sent in [full(body.clone()), pieces(&body, 777)] {
            assert!(text(post_http2(&shown, sent).await).await == body, "{protocol} {most}");
            shown.was_shown("true", &body[..most]);
        }
        if most > 1 {
            assert_eq!(post(shown.mesh.address(), Framing::Chunks(9), "short").await.body, "short");
            shown.was_shown("false", "short");
        }
    }
}

#[tokio::test]
async fn a_body_over_tls_reaches_both_too() {
    let (own, origin) = (identity("a.test"), Origin::named("a").await);
    let part = "{maxRequestBytes: 49152, allowPartialMessage: true}";
    let shown =
        Shown::start(Setup { tls: Some(&own), body: part, ..Setup::default() }, &[origin.address]).await;
    for (size, framing, partial) in [
        (49_152, Framing::Length, "false"),
        (300_000, Framing::Length, "true"),
        (300_000, Framing::Chunks(9999), "true"),
    ] {
        let body = letters(size);
        let tls = connect(shown.mesh.address(), "a.test", &own, &[]).await.unwrap();
        let answer = post_over(tls, framing, &body).await;
        assert_eq!((answer.status, answer.body == body), (200, true), "{framing:?} {size}");
        shown.was_shown(partial, &body[..49_152]);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_nobody_is_asked() {
    let origin = Origin::named("a").await;
    let shown = Shown::start(Setup::default(), &[origin.address]).await;
    let (address, body) = (shown.mesh.address(), letters(1001));
    for framing in [Framing::Length, Framing::Chunks(2000), Framing::Chunks(10)] {
        let answer = post(address, framing, &body).await;
        assert_eq!(answer.status, 413, "{framing:?}");
        assert!(answer.body.contains("ext_auth_body_too_large"), "{}", answer.body);
    }
    for sent in [full(body.clone()), pieces(&body, 10)] {
        assert_eq!(post_http2(&shown, sent).await.status(), 413);
    }
    // One that says so is not waited for, whether or not its client waits.
    for field in ["", "expect: 100-continue\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1001\r\n{field}\r\n");
        let answer = raw(address, &head).await;
        assert_eq!((answer.status, answer.field("connection")), (413, Some("close")), "{field}");
    }
    assert_eq!((shown.take().len(), origin.requests()), (0, 0));
    // A chunked one is not read to its end, which never comes.
    let head = "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n";
    assert_eq!(raw(address, &format!("{head}{body}")).await.status, 413);
}

#[tokio::test]
async fn a_refusal_of_a_body_leaves_the_connection_to_the_next_request() {
    let origin = Origin::named("a").await;
    let shown = Shown::start(Setup::default(), &[origin.address]).await;
    let mut tcp = TcpStream::connect(shown.mesh.address()).await.unwrap();
    for framing in [Framing::Length, Framing::Chunks(2), Framing::Length] {
        for (body, status) in [("no", 401), ("yes", 200), ("nothing", 401)] {
            let (field, bytes) = framing.of(body);
            let request = format!("POST / HTTP/1.1\r\nhost: a.test\r\n{field}\r\n\r\n{bytes}");
            tcp.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(read_one(&mut tcp).await.status, status, "{framing:?} {body}");
            shown.was_shown("false", body);
        }
    }
    assert_eq!(origin.requests(), 3);
}

/// Fails the first requests with 503, and says the body back from then on.
async fn flaky(failures: usize) -> Origin {
    let seen = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request| {
        let turn = seen.fetch_add(1, Ordering::Relaxed);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::builder().status(if turn < failures { 503 } else { 200 }).body(full(body)).unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn every_attempt_and_a_mirror_have_the_body_and_the_service_is_asked_once() {
    let (sender, mut copies) = tokio::sync::mpsc::channel::<Bytes>(8);
    let copy = Origin::start(move |request| {
        let sender = sender.clone();
        async move {
            sender.send(request.into_body().collect().await.unwrap().to_bytes()).await.unwrap();
            Response::new(full(""))
        }
    })
    .await;
    let rule = "{retry: {codes: [503], attempts: 2, backoff: 1ms}, \
                mirror: [{backend: {namespace: default, name: copy, port: 80}}]}";
    for protocol in ["http", "h2c"] {
        for (size, framing) in
            [(0, Framing::Chunks(1)), (49_152, Framing::Length), (49_152, Framing::Chunks(999))]
        {
            let origin = flaky(1).await;
            let more = backend("copy", "http", &[copy.address]);
            let body = "{maxRequestBytes: 49152}";
            let setup = Setup { body, rule, protocol, more: &more, ..Setup::default() };
            let shown = Shown::start(setup, &[nobody().await, origin.address]).await;
            let body = letters(size);
            let answer = post(shown.mesh.address(), framing, &body).await;
            // Of HTTP/2 there is no length to pass on.
            let said = answer.body.strip_suffix("0\r\n\r\n").unwrap_or(&answer.body);
            assert_eq!((answer.status, said == body), (200, true), "{protocol} {framing:?} {size}");
            assert_eq!(origin.requests(), 2);
            shown.was_shown(if size == 0 { "-" } else { "false" }, &body);
            assert!(within(copies.recv()).await.unwrap() == body.as_bytes(), "{protocol} {framing:?} {size}");
        }
    }
    assert_eq!(copy.requests(), 6);
}

#[tokio::test]
async fn a_body_of_which_a_part_was_read_is_kept_for_retries_as_long_as_it_fits() {
    let part = "{maxRequestBytes: 1000, allowPartialMessage: true}";
    let rule = "{retry: {codes: [503], attempts: 2, backoff: 1ms}}";
    for (size, attempts, status) in [(60_000, 3, 200), (200_000, 1, 503)] {
        let origin = flaky(2).await;
        let shown = Shown::start(Setup { body: part, rule, ..Setup::default() }, &[origin.address]).await;
        let body = letters(size);
        let answer = post(shown.mesh.address(), Framing::Length, &body).await;
        assert_eq!(
            (answer.status, answer.body == body, origin.requests()),
            (status, true, attempts),
            "{size}"
        );
        shown.was_shown("true", &body[..1000]);
    }
}
