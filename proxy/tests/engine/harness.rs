//! A proxy under test, origins behind it, and clients in front of it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use config::source::{Answer, Publisher, channel};
use config::{Resources, Update, decode_documents};
use fairway_proxy::telemetry::Telemetry;
use fairway_proxy::{Options, Proxy, Workers};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A proxy under test with its configuration.
pub(crate) struct Mesh {
    pub(crate) proxy: Proxy,
    publisher: Publisher,
    served: Resources,
    version: u64,
}

impl Mesh {
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::with(Options::new("gateway"), yaml).await
    }

    pub(crate) async fn with(options: Options, yaml: &str) -> Self {
        Self::told(options, Arc::new(Telemetry::default()), yaml).await
    }

    pub(crate) async fn told(options: Options, telemetry: Arc<Telemetry>, yaml: &str) -> Self {
        let (publisher, source) = channel();
        // Two, so that connections of one test meet on different threads.
        let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let proxy = Proxy::start(options, workers, telemetry, source).unwrap();
        let mut mesh = Self { proxy, publisher, served: Resources::new(), version: 0 };
        let answer = mesh.serve(yaml).await;
        assert_eq!(answer.rejections, [], "{yaml}");
        mesh
    }

    /// Serves these documents from now on, and nothing else.
    pub(crate) async fn serve(&mut self, yaml: &str) -> Answer {
        let next = decode_documents(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
        self.version += 1;
        let update = Update::between(self.version, &self.served, &next);
        self.served = next;
        self.publisher.updates.send(update).await.unwrap();
        let answer = self.publisher.answers.recv().await.unwrap();
        assert_eq!(answer.version, self.version);
        answer
    }

    /// The only open port.
    pub(crate) fn address(&self) -> SocketAddr {
        let addresses = self.proxy.addresses();
        assert_eq!(addresses.len(), 1, "{addresses:?}");
        SocketAddr::from(([127, 0, 0, 1], addresses[0].1.port()))
    }
}

/// A listener `http` of the Gateway `default/gw`.
pub(crate) fn listener(port: u16) -> String {
    format!(
        "---\nkey: Listener/default/gw/http\nresource: {{kind: Listener, port: {port}, protocol: HTTP, scope: gateway}}\n"
    )
}

/// A backend `default/NAME:80` that speaks `protocol`.
pub(crate) fn backend(name: &str, protocol: &str, addresses: &[SocketAddr]) -> String {
    let mut endpoints = String::new();
    for address in addresses {
        write!(endpoints, "{{address: \"{address}\"}}, ").unwrap();
    }
    format!(
        "---\nkey: Backend/default/{name}:80\nresource: {{kind: Backend, protocol: {protocol}}}\n\
         ---\nkey: Endpoints/default/{name}:80\nresource: {{kind: Endpoints, endpoints: [{endpoints}]}}\n"
    )
}

/// A listener of the Gateway `default/gw` for whole connections or datagrams; `more`: further fields (YAML, inline).
pub(crate) fn stream_listener(section: &str, protocol: &str, port: u16, more: &str) -> String {
    format!(
        "---\nkey: Listener/default/gw/{section}\nresource: {{kind: Listener, port: {port}, protocol: {protocol}, scope: \
         gateway{more}}}\n"
    )
}

/// A TLSRoute, TCPRoute or UDPRoute (`TlsRoute`, …) on a listener, with this action (YAML, inline).
pub(crate) fn stream_route(kind: &str, name: &str, section: &str, hostname: &str, action: &str) -> String {
    format!(
        "---\nkey: {kind}/default/{name}\nresource:\n  kind: {kind}\n  parents:\n  - listener: {{namespace: default, \
         gateway: gw, section: {section}, hostnames: [\"{hostname}\"]}}\n  action: {action}\n"
    )
}

/// An action that forwards to `default/NAME:80` by weight.
pub(crate) fn split(backends: &[(&str, u32)]) -> String {
    let mut shares = String::new();
    for (name, weight) in backends {
        let target = format!("{{backend: {{namespace: default, name: {name}, port: 80}}}}");
        write!(shares, "{{target: {target}, weight: {weight}}}, ").unwrap();
    }
    format!("{{forward: [{shares}]}}")
}

/// A route on the listener `http` for every host, with these rules (YAML, a list).
pub(crate) fn route(name: &str, rules: &str) -> String {
    route_on(name, "http", "*", rules)
}

pub(crate) fn route_on(name: &str, section: &str, hostname: &str, rules: &str) -> String {
    format!(
        "---\nkey: HttpRoute/default/{name}\nresource:\n  kind: HttpRoute\n  parents:\n  - listener: {{namespace: default, \
         gateway: gw, section: {section}, hostnames: [\"{hostname}\"]}}\n  rules:\n{rules}\n"
    )
}

/// An action that forwards to `default/NAME:80`.
pub(crate) fn forward(name: &str) -> String {
    format!(
        "{{forward: [{{target: {{backend: {{namespace: default, name: {name}, port: 80}}}}, weight: 1}}]}}"
    )
}

/// Everything to one backend.
pub(crate) fn one_backend(protocol: &str, addresses: &[SocketAddr]) -> String {
    listener(0) + &backend("a", protocol, addresses) + &route("r", &format!("  - action: {}", forward("a")))
}

/// The same with policies (YAML, inline).
pub(crate) fn with_policies(policies: &str, addresses: &[SocketAddr]) -> String {
    let rule = format!("  - action: {}\n    policies: {policies}", forward("a"));
    listener(0) + &backend("a", "http", addresses) + &route("r", &rule)
}

/// Everything to the backend `a`, by a SecurityPolicy with these parts (YAML, inline).
pub(crate) fn guarded(parts: &str, addresses: &[SocketAddr]) -> String {
    let guarded = route("r", &format!("  - action: {}", forward("a")))
        .replace("kind: HttpRoute\n", "kind: HttpRoute\n  attached: [SecurityPolicy/default/p]\n");
    listener(0)
        + &backend("a", "http", addresses)
        + &guarded
        + &format!(
            "---\nkey: SecurityPolicy/default/p\nresource: {{kind: SecurityPolicy, defaults: {parts}}}\n"
        )
}

/// A Secret `default/NAME` with one key.
pub(crate) fn secret(name: &str, key: &str, value: &str) -> String {
    let value = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, value);
    format!("---\nkey: Secret/default/{name}\nresource: {{kind: Secret, data: {{{key}: {value}}}}}\n")
}

/// An origin that speaks HTTP/1 and HTTP/2 with prior knowledge.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (requests, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (requests.clone(), connections.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let Ok((tcp, _)) = socket.accept().await else { continue };
                tcp.set_nodelay(true).unwrap();
                counts.1.fetch_add(1, Ordering::Relaxed);
                let (answer, seen) = (answer.clone(), counts.0.clone());
                open.spawn(async move {
                    let service = service_fn(move |request| {
                        seen.fetch_add(1, Ordering::Relaxed);
                        let answer = answer(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(tcp), service)
                        .await;
                });
            }
        });
        Self { address, requests, connections, task }
    }

    /// An origin that says its name and what it was asked.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |request| async move {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let mut response = Response::builder().header("origin", name).header("path", path);
            for (field, value) in request.headers() {
                response = response.header(format!("seen-{field}"), value);
            }
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            response.body(full(body)).unwrap()
        })
        .await
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

/// A server whose connections are handled by a closure.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub(crate) async fn start<R>(serve: impl Fn(TcpStream) -> R + Send + 'static) -> Self
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let Ok((tcp, _)) = socket.accept().await else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(tcp));
            }
        });
        Self { address, connections, task }
    }

    /// Says its name, then everything it hears.
    pub(crate) async fn echo(name: &'static str) -> Self {
        Self::start(move |mut tcp| async move {
            let _ = tcp.write_all(name.as_bytes()).await;
            let (mut from, mut to) = tcp.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// An address nobody listens on.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A raw answer: status, head and body as text.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    /// A field's value, if it is there.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends bytes over a new connection and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> Raw {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = tcp.read_to_end(&mut bytes);
    within(read).await.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)));
    parse(&bytes)
}

/// GET over a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Raw {
    raw(address, &format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")).await
}

pub(crate) fn parse(bytes: &[u8]) -> Raw {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Raw { status, head: head.to_owned(), body: body.to_owned() }
}

/// Reads one response with a content-length from a connection that stays open.
pub(crate) async fn read_one(tcp: &mut TcpStream) -> Raw {
    try_read_one(tcp).await.unwrap()
}

/// The same, for a connection that may be refused.
pub(crate) async fn try_read_one(tcp: &mut TcpStream) -> std::io::Result<Raw> {
    let mut bytes = Vec::new();
    loop {
        let read = within(tcp.read_buf(&mut bytes)).await?;
        if bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            let response = parse(&bytes);
            let length: usize = response.field("content-length").unwrap().parse().unwrap();
            if response.body.len() >= length {
                return Ok(response);
            }
        }
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// Bounds what a test waits for; generous, because machines are loaded.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened for 20 s")
}

/// An HTTP/2 client on one connection.
pub(crate) struct Http2 {
    sender: hyper::client::conn::http2::SendRequest<Body>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    /// With prior knowledge.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over<T>(stream: T) -> Self
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        within(self.sender.send_request(request)).await
    }

    pub(crate) async fn get(&mut self, url: &str) -> hyper::Result<Response<Incoming>> {
        self.send(Request::get(url).body(full("")).unwrap()).await
    }
}

/// All of a body.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}
