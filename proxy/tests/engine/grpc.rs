//! gRPC: HTTP/2 on both sides, trailers, messages both ways at once.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use crate::harness::{Body, Http2, Mesh, Origin, one_backend, within};

/// Sends each message back as it comes, and says in trailers how many there were.
async fn echo() -> Origin {
    Origin::start(|request| async move {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(back(request, sender));
        Response::builder().header("content-type", "application/grpc").body(body(receiver)).unwrap()
    })
    .await
}

async fn back(request: Request<Incoming>, sender: mpsc::Sender<Frame<Bytes>>) {
    let mut messages = request.into_body();
    let mut count = 0u32;
    while let Some(Ok(frame)) = messages.frame().await {
        let Ok(message) = frame.into_data() else { continue };
        // The end may come in a frame of its own.
        count += u32::from(!message.is_empty());
        if sender.send(Frame::data(message)).await.is_err() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("count", HeaderValue::from(count));
    let _ = sender.send(Frame::trailers(trailers)).await;
}

fn body(receiver: mpsc::Receiver<Frame<Bytes>>) -> Body {
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        let frame = receiver.recv().await?;
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    StreamBody::new(frames).boxed()
}

fn call(body: Body) -> Request<Body> {
    Request::post("http://a.test/echo.Echo/Stream")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn messages_go_both_ways_at_once_and_trailers_follow() {
    // Also where the Service says nothing of HTTP/2: trailers need it.
    for protocol in ["h2c", "http"] {
        let origin = echo().await;
        let mesh = Mesh::start(&one_backend(protocol, &[origin.address])).await;
        let mut client = Http2::plain(mesh.address()).await;
        let (sender, receiver) = mpsc::channel(1);
        let response = client.send(call(body(receiver))).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut answers = response.into_body();
        for turn in 0..100u8 {
            sender.send(Frame::data(Bytes::from(vec![turn; 100]))).await.unwrap();
            // The answer comes while the request goes on.
            let answer = within(answers.frame()).await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(answer, vec![turn; 100]);
        }
        drop(sender);
        let trailers = within(answers.frame()).await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["count"]),
            (&"0".parse().unwrap(), &"100".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_call_without_body_has_trailers_too() {
    let origin = echo().await;
    let mesh = Mesh::start(&one_backend("h2c", &[origin.address])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let response = client.send(call(crate::harness::full(""))).await.unwrap();
    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_client_that_cancels_cancels_the_backends_work() {
    let (told, mut gone) = mpsc::channel::<()>(1);
    let origin = Origin::start(move |_| {
        let told = told.clone();
        async move {
            let _told = told;
            std::future::pending::<Response<Body>>().await
        }
    })
    .await;
    let mesh = Mesh::start(&one_backend("h2c", &[origin.address])).await;
    let mut client = Http2::plain(mesh.address()).await;
    let pending = tokio::spawn(async move { client.send(call(crate::harness::full(""))).await });
    while origin.requests() == 0 {
        tokio::task::yield_now().await;
    }
    pending.abort();
    let _held = origin.address;
    drop(origin);
    assert!(within(gone.recv()).await.is_none());
}
