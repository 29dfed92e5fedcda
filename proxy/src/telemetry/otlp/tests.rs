//! Against the official protobuf types and gRPC service of `opentelemetry-proto`, behind hyper's HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1 as collector;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::codegen::Service;

use crate::rule::RuleName;
use crate::telemetry::tests::record;
use crate::telemetry::{Settings, Telemetry};

/// A collector that answers as it is told and hands on what it took.
struct Collector {
    answers: Arc<Mutex<Vec<Result<i64, tonic::Code>>>>,
    taken: mpsc::UnboundedSender<collector::ExportTraceServiceRequest>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<collector::ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<collector::ExportTraceServiceResponse>, tonic::Status> {
        let answer = self.answers.lock().pop().unwrap_or(Ok(0));
        let rejected_spans = answer.map_err(|code| tonic::Status::new(code, "as told"))?;
        self.taken.send(request.into_inner()).unwrap();
        let partial =
            collector::ExportTracePartialSuccess { rejected_spans, error_message: "told".to_owned() };
        Ok(tonic::Response::new(collector::ExportTraceServiceResponse { partial_success: Some(partial) }))
    }
}

type Taken = mpsc::UnboundedReceiver<collector::ExportTraceServiceRequest>;

/// Starts a collector; `answers` are given last first, then everything is taken.
async fn collect(answers: Vec<Result<i64, tonic::Code>>) -> (SocketAddr, Taken) {
    let (taken_tx, taken) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let collector = Collector { answers: answers.clone(), taken: taken_tx.clone() };
            let service = TraceServiceServer::new(collector);
            let answer = hyper::service::service_fn(move |req| {
                let mut service = service.clone();
                async move { Ok::<_, Infallible>(service.call(req).await.unwrap()) }
            });
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    (address, taken)
}

fn telemetry(address: SocketAddr) -> Arc<Telemetry> {
    let settings = Settings { otlp: Some(format!("http://{address}")), ..Settings::default() };
    Telemetry::new("gateway", &settings).unwrap()
}

async fn flushed(telemetry: &Arc<Telemetry>) {
    let telemetry = telemetry.clone();
    tokio::task::spawn_blocking(move || telemetry.flush()).await.unwrap();
}

/// Until everything is exported or dropped.
async fn settled(telemetry: &Arc<Telemetry>, count: u64) -> (u64, u64) {
    for _ in 0..60 {
        flushed(telemetry).await;
        let (exported, dropped) = telemetry.spans().unwrap();
        if exported + dropped >= count {
            return (exported, dropped);
        }
    }
    panic!("spans neither arrive nor are dropped: {:?}", telemetry.spans());
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    if let Value::StringValue(text) = value {
        return Some(text);
    }
    if let Value::IntValue(number) = value {
        return Some(number.to_string());
    }
    panic!("{key} has another type: {value:?}");
}

#[tokio::test]
async fn a_sampled_request_becomes_a_server_span() {
    let (address, mut taken) = collect(Vec::new()).await;
    let telemetry = telemetry(address);
    let rule = RuleName { kind: "HTTPRoute", route: Arc::from("shop/cart"), rule: Arc::from("0") };
    let stats = telemetry.route(&rule);
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "cart".to_owned(), port: 80 };
    let mut request = record(Some((&rule, &stats)), 503, "no_endpoints");
    request.course.upstream = Some((&backend, "10.0.0.1:8080".parse().unwrap()));
    telemetry.finish(&request);
    // Not sampled: not exported.
    request.trace.flags = 0;
    telemetry.finish(&request);
    // A trace that starts here, of a method somebody made up.
    request = record(None, 404, "route_not_found");
    request.trace.parent_id = 0;
    request.method = "BREW";
    telemetry.finish(&request);
    flushed(&telemetry).await;

    // A slow machine exports in more than one batch.
    let mut spans: Vec<Span> = Vec::new();
    while spans.len() < 2 {
        let exported = taken.recv().await.unwrap().resource_spans.remove(0);
        let resource = exported.resource.unwrap().attributes;
        assert_eq!(value(&resource, "service.name").unwrap(), "fairway-gateway");
        spans.extend(exported.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    assert_eq!(spans.len(), 2);
    let span = &spans[0];
    assert_eq!(span.name, "GET HTTPRoute/shop/cart#0");
    assert_eq!(span.trace_id, 0xabcu128.to_be_bytes());
    assert_eq!(span.span_id, 0xdefu64.to_be_bytes());
    assert_eq!(span.parent_span_id, 5u64.to_be_bytes());
    assert_eq!((span.kind, span.flags), (2, 0x301));
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 7_000_000);
    assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
    for (key, want) in [
        ("http.request.method", "GET"),
        ("url.path", "/cart"),
        ("url.query", "item=1&sig=REDACTED"),
        ("server.address", "shop.example.com"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("client.port", "1234"),
        ("user_agent.original", "test"),
        ("http.response.status_code", "503"),
        ("error.type", "no_endpoints"),
        ("fairway.reason", "no_endpoints"),
        ("fairway.listener", "shop/edge/http"),
        ("fairway.kind", "HTTPRoute"),
        ("fairway.route", "shop/cart"),
        ("fairway.rule", "0"),
        ("fairway.backend", "shop/cart:80"),
        ("fairway.upstream", "10.0.0.1:8080"),
        ("fairway.attempts", "1"),
        ("http.request.body.size", "1"),
        ("http.response.body.size", "2"),
    ] {
        assert_eq!(value(&span.attributes, key).as_deref(), Some(want), "{key}");
    }
    let root = &spans[1];
    assert_eq!((root.name.as_str(), root.flags), ("HTTP", 0x101));
    assert!(root.parent_span_id.is_empty() && root.status.is_none());
    assert_eq!(value(&root.attributes, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(value(&root.attributes, "http.request.method_original").unwrap(), "BREW");
    assert_eq!(value(&root.attributes, "fairway.route"), None);
    assert_eq!(telemetry.spans(), Some((2, 0)));
}

#[tokio::test]
async fn every_attribute_is_documented() {
    let (address, mut taken) = collect(Vec::new()).await;
    let telemetry = telemetry(address);
    let rule = RuleName { kind: "HTTPRoute", route: Arc::from("shop/cart"), rule: Arc::from("0") };
    let stats = telemetry.route(&rule);
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "cart".to_owned(), port: 80 };
    let mut request = record(Some((&rule, &stats)), 503, "no_endpoints");
    request.course.upstream = Some((&backend, "10.0.0.1:8080".parse().unwrap()));
    request.method = "BREW";
    telemetry.finish(&request);
    flushed(&telemetry).await;
    let docs = include_str!("../../../../docs/tracing.md");
    let exported = taken.recv().await.unwrap().resource_spans.remove(0);
    let resource = exported.resource.unwrap().attributes;
    for attribute in resource.iter().chain(&exported.scope_spans[0].spans[0].attributes) {
        assert!(docs.contains(&format!("`{}`", attribute.key)), "{}", attribute.key);
    }
}

#[tokio::test]
async fn large_batches_arrive_whole_over_one_connection() {
    let (address, mut taken) = collect(Vec::new()).await;
    let telemetry = telemetry(address);
    let agent = "x".repeat(2000);
    for _ in 0..1500 {
        let mut request = record(None, 200, "ok");
        request.user_agent = Some(&agent);
        telemetry.finish(&request);
    }
    assert_eq!(settled(&telemetry, 1500).await, (1500, 0));
    let mut arrived = 0;
    while arrived < 1500 {
        arrived += taken.recv().await.unwrap().resource_spans[0].scope_spans[0].spans.len();
    }
    assert_eq!(arrived, 1500);
}

#[tokio::test]
async fn spans_the_collector_does_not_take_are_dropped_and_counted() {
    // Last first: it takes the second batch but for one span, and refuses the first for good.
    let (address, _taken) = collect(vec![Ok(1), Err(tonic::Code::InvalidArgument)]).await;
    let telemetry = telemetry(address);
    telemetry.finish(&record(None, 200, "ok"));
    assert_eq!(settled(&telemetry, 1).await, (0, 1));
    for _ in 0..3 {
        telemetry.finish(&record(None, 200, "ok"));
    }
    assert_eq!(settled(&telemetry, 4).await, (2, 2));
}

#[tokio::test]
async fn a_collector_that_is_away_for_a_moment_gets_everything() {
    let (address, mut taken) = collect(vec![Err(tonic::Code::Unavailable)]).await;
    let telemetry = telemetry(address);
    telemetry.finish(&record(None, 200, "ok"));
    assert_eq!(settled(&telemetry, 1).await, (1, 0));
    assert!(taken.recv().await.is_some());
}

#[tokio::test]
async fn a_collector_nobody_vouches_for_gets_nothing() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tried_tx, mut tried) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tried_tx.send(acceptor.accept(stream).await.is_err()).unwrap();
        }
    });
    let settings = Settings { otlp: Some(format!("https://localhost:{port}")), ..Settings::default() };
    let telemetry = Telemetry::new("gateway", &settings).unwrap();
    telemetry.finish(&record(None, 200, "ok"));
    assert_eq!(settled(&telemetry, 1).await, (0, 1));
    assert_eq!(tried.recv().await, Some(true), "the handshake fails");
}

#[tokio::test]
async fn no_collector_costs_no_more_than_the_queue() {
    // A port nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let telemetry = telemetry(address);
    let started = std::time::Instant::now();
    for _ in 0..10_000 {
        telemetry.finish(&record(None, 200, "ok"));
    }
    let (exported, dropped) = telemetry.spans().unwrap();
    assert_eq!(exported, 0);
    assert!(dropped >= 10_000 - 2048 - 2 * 512, "{dropped}");
    // Flushing is bounded; far more is allowed than the two seconds it waits.
    flushed(&telemetry).await;
    assert!(started.elapsed() < Duration::from_secs(60));
}
