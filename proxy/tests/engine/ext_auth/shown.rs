//! A proxy whose requests are shown to a service, with their bodies.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    Body, Mesh, Origin, Raw, backend, forward, full, parse, route, stream_listener, within,
};
use crate::tls::{Identity, secret};

/// What differs from one test to the next, in YAML (inline).
pub(super) struct Setup<'s> {
    /// `bodyToExtAuth`.
    pub(super) body: &'s str,
    /// Policies of the rule.
    pub(super) rule: &'s str,
    /// Rules of the listener.
    pub(super) traffic: &'s str,
    /// What backends speak.
    pub(super) protocol: &'s str,
    /// The listener's certificate.
    pub(super) tls: Option<&'s Identity>,
    /// Further documents.
    pub(super) more: &'s str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            body: "{maxRequestBytes: 1000}",
            rule: "{}",
            traffic: "{}",
            protocol: "http",
            tls: None,
            more: "",
        }
    }
}

/// It, and what the service was shown: what it was told of parts, and the body.
pub(super) struct Shown {
    pub(super) mesh: Mesh,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _service: Origin,
}

impl Shown {
    /// In front of these endpoints. The service refuses bodies that begin with `no`.
    pub(super) async fn start(setup: Setup<'_>, endpoints: &[SocketAddr]) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let service = Origin::start(move |request| {
            let notes = notes.clone();
            async move {
                let field = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
                let (partial, length) =
                    (field("x-envoy-auth-partial-body").to_owned(), field("content-length").to_owned());
                let body = text(&request.into_body().collect().await.unwrap().to_bytes());
                assert_eq!(length, body.len().to_string());
                let status = if body.starts_with("no") { 401 } else { 200 };
                notes.lock().push((partial, body));
                Response::builder().status(status).body(full("")).unwrap()
            }
        })
        .await;
        let Setup { body, rule, traffic, protocol, tls, more } = setup;
        let rule = format!("  - action: {}\n    policies: {rule}", forward("a"));
        let policy = format!(
            "{{extAuth: {{http: {{backendRef: {{name: authz, port: 80}}}}, timeout: 10s, bodyToExtAuth: {body}}}}}"
        );
        let (spoken, certificates) = match tls {
            Some(_) => ("HTTPS", ", tls: {certificates: [default/own]}"),
            None => ("HTTP", ""),
        };
        let config = stream_listener("http", spoken, 0, &format!(", traffic: {traffic}{certificates}"))
            + &tls.map(|identity| secret("own", identity)).unwrap_or_default()
            + &backend("a", protocol, endpoints)
            + &backend("authz", "http", &[service.address])
            + &route("r", &rule)
                .replace("kind: HttpRoute\n", "kind: HttpRoute\n  attached: [SecurityPolicy/default/p]\n")
            + &format!(
                "---\nkey: SecurityPolicy/default/p\nresource: {{kind: SecurityPolicy, defaults: {policy}}}\n"
            )
            + more;
        Self { mesh: Mesh::start(&config).await, seen, _service: service }
    }

    /// What the service was shown since this was asked last.
    pub(super) fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.seen.lock())
    }

    /// The service was shown this, once.
    #[track_caller]
    pub(super) fn was_shown(&self, partial: &str, body: &str) {
        let seen = self.take();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].0, partial);
        assert!(seen[0].1 == body, "{} bytes instead of {}", seen[0].1.len(), body.len());
    }
}

fn text(bytes: &Bytes) -> String {
    std::str::from_utf8(bytes).unwrap().to_owned()
}

/// A body in which every byte has its place.
pub(super) fn letters(size: usize) -> String {
    (0..size).map(|at| char::from(b'a' + u8::try_from((at + at / 23) % 23).unwrap())).collect()
}

/// How a body is framed over HTTP/1.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    Length,
    /// In chunks of so many bytes.
    Chunks(usize),
}

impl Framing {
    /// The field, and the body as it is sent.
    pub(super) fn of(self, body: &str) -> (String, String) {
        match self {
            Self::Length => (format!("content-length: {}", body.len()), body.to_owned()),
            Self::Chunks(size) => {
                let chunks = body.as_bytes().chunks(size);
                let chunks = chunks
                    .map(|data| format!("{:x}\r\n{}\r\n", data.len(), std::str::from_utf8(data).unwrap()));
                ("transfer-encoding: chunked".to_owned(), chunks.collect::<String>() + "0\r\n\r\n")
            }
        }
    }
}

/// Posts over a connection of its own.
pub(super) async fn post(address: SocketAddr, framing: Framing, body: &str) -> Raw {
    post_over(TcpStream::connect(address).await.unwrap(), framing, body).await
}

/// Posts, and reads while it writes.
pub(super) async fn post_over<S: AsyncRead + AsyncWrite>(stream: S, framing: Framing, body: &str) -> Raw {
    let (field, bytes) = framing.of(body);
    let request = format!("POST / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{field}\r\n\r\n{bytes}");
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let writing = async {
        // Whoever has its answer reads no more.
        let _ = write.write_all(request.as_bytes()).await;
        let _ = write.flush().await;
    };
    let (_, ()) = within(async { tokio::join!(read.read_to_end(&mut answer), writing) }).await;
    parse(&answer)
}

/// A body in pieces, of whose length nothing is said.
pub(super) fn pieces(body: &str, size: usize) -> Body {
    let pieces = body.as_bytes().chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    StreamBody::new(futures::stream::iter(pieces.collect::<Vec<_>>())).boxed()
}
