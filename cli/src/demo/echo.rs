//! A demo pod: says what it was asked, in JSON; to gRPC, the message it was sent; to a datagram, what it said.
//!
//! `?status=503` makes it answer so, `?delay=200ms` wait first: to try retries and timeouts. Every unary gRPC method
//! echoes; `grpc.health.v1.Health/Check` says SERVING. One that has others to call calls them for each request but those for
//! `/healthz`, and says what they said.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fetch;

/// Longest `?delay=`.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Largest gRPC message that is echoed.
const MAX_MESSAGE: usize = 4 << 20;
/// Longest time for one that is called.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of what it says.
pub(crate) const LARGEST_ANSWER: usize = 1 << 20;
/// What is passed on to those that are called: which request it is, and whose (W3C Trace Context).
const PASSED_ON: [HeaderName; 4] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-user"),
];
/// Largest datagram.
const MAX_DATAGRAM: usize = 65_535;

/// Who answers.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    /// `namespace/name`.
    pub(crate) service: String,
    /// Who is called for each request.
    pub(crate) calls: Vec<Uri>,
}

/// Serves HTTP/1.1 and HTTP/2 until `stop` ends, then ends what is in flight.
pub(crate) async fn serve(pod: Arc<Pod>, listener: TcpListener, mut stop: watch::Receiver<()>) {
    loop {
        tokio::select! {
            // Changes when the sender is dropped.
            _ = stop.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(pod.clone(), stream, stop.clone()))),
                // Out of descriptors, most likely: they come back when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Answers each datagram with one, who it was and what it said, until `stop` ends.
pub(crate) async fn serve_datagrams(pod: Arc<Pod>, socket: UdpSocket, mut stop: watch::Receiver<()>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = tokio::select! {
            // Changes when the sender is dropped.
            _ = stop.changed() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        // An error here is one of an earlier answer, whose receiver is gone.
        let Ok((length, from)) = received else { continue };
        let said = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let answer = json!({ "pod": pod.name, "service": pod.service, "datagram": said });
        let _ = socket.send_to(answer.to_string().as_bytes(), from).await;
    }
}

async fn connection(pod: Arc<Pod>, stream: TcpStream, mut stop: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |req| {
        let pod = pod.clone();
        async move { Ok::<_, Infallible>(answer(&pod, req).await) }
    });
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off is its own affair.
        _ = connection.as_mut() => return,
        _ = stop.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(pod: &Pod, req: Request<Incoming>) -> Response<Body> {
    let is_grpc = req
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if is_grpc { grpc(pod, req).await } else { http(pod, req).await }
}

async fn http(pod: &Pod, req: Request<Incoming>) -> Response<Body> {
    let (parts, mut body) = req.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let asked = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let mut size = 0;
    while let Some(Ok(frame)) = body.frame().await {
        size += frame.data_ref().map_or(0, Bytes::len);
    }
    if let Some(delay) = asked("delay").and_then(|delay| delay.parse::<policies::Duration>().ok()) {
        tokio::time::sleep(delay.0.min(MAX_DELAY)).await;
    }
    let status = asked("status").and_then(|status| status.parse().ok()).unwrap_or(StatusCode::OK);
    let host = parts.headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let host = host.as_deref().or_else(|| parts.uri.host()).unwrap_or_default().to_owned();
    let mut said = json!({
        "pod": pod.name,
        "service": pod.service,
        "method": parts.method.as_str(),
        "host": host,
        "path": parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        "protocol": protocol(parts.version),
        "headers": headers(&parts.headers),
        "bodyBytes": size,
    });
    if !pod.calls.is_empty() && parts.uri.path() != "/healthz" {
        said["calls"] = Value::Array(calls(pod, &parts.headers).await);
    }
    let mut text = serde_json::to_string_pretty(&said).unwrap_or_default();
    text.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    // 1xx is no answer.
    *response.status_mut() = if status.is_informational() { StatusCode::OK } else { status };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    insert_pod(pod, response.headers_mut());
    response
}

/// Calls all at once; what they said, in the order they are named.
async fn calls(pod: &Pod, headers: &HeaderMap) -> Vec<Value> {
    let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    let passed_on: HeaderMap = passed_on.collect();
    let mut running = JoinSet::new();
    for (at, url) in pod.calls.iter().cloned().enumerate() {
        let headers = passed_on.clone();
        running.spawn(async move {
            let said = match fetch::get(&url, &headers, LARGEST_ANSWER, PATIENCE).await {
                Ok((status, body)) => {
                    let text = || String::from_utf8_lossy(&body).into_owned().into();
                    let said: Value = serde_json::from_slice(&body).unwrap_or_else(|_| text());
                    json!({ "url": url.to_string(), "status": status.as_u16(), "said": said })
                }
                Err(error) => json!({ "url": url.to_string(), "error": format!("{error:#}") }),
            };
            (at, said)
        });
    }
    let mut said = running.join_all().await;
    said.sort_by_key(|(at, _)| *at);
    said.into_iter().map(|(_, said)| said).collect()
}

fn insert_pod(pod: &Pod, headers: &mut HeaderMap) {
    if let Ok(name) = HeaderValue::from_str(&pod.name) {
        headers.insert("x-pod", name);
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn headers(headers: &HeaderMap) -> Value {
    let mut all = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        all.insert(name.as_str().to_owned(), Value::String(values.join(", ")));
    }
    Value::Object(all)
}

async fn grpc(pod: &Pod, req: Request<Incoming>) -> Response<Body> {
    let is_health = req.uri().path() == "/grpc.health.v1.Health/Check";
    let message = Limited::new(req.into_body(), MAX_MESSAGE).collect().await.map(|body| body.to_bytes());
    let (message, status) = match message {
        Ok(_) if is_health => (serving(), "0"),
        Ok(message) => (message, "0"),
        // RESOURCE_EXHAUSTED.
        Err(_) => (Bytes::new(), "8"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    insert_pod(pod, response.headers_mut());
    response
}

/// `HealthCheckResponse { status: SERVING }` as a gRPC message: not compressed, two bytes long, field 1 is 1.
fn serving() -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(2);
    message.put_slice(&[0x08, 0x01]);
    message.freeze()
}
