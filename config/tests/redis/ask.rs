//! A rate limit service, and somebody who asks it over its port.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use fairway_config::redis::Redis;
use fairway_config::rls::proto::{Descriptor, Entry, Request, Response, SHOULD_RATE_LIMIT};
use fairway_config::rls::{File, Limits, Service, Shared, Store};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

pub(crate) const LIMITS: &str = "
domain: edge
descriptors:
- {key: all, rate_limit: {unit: year, requests_per_unit: 100}}
- {key: tenant, rate_limit: {unit: year, requests_per_unit: 3}}
- {key: seen, shadow_mode: true, rate_limit: {unit: year, requests_per_unit: 1}}
- {key: path, value: /a*, share_threshold: true, rate_limit: {unit: year, requests_per_unit: 5}}
- {key: friend, rate_limit: {unlimited: true, replaces: [{name: stranger}]}}
- {key: stranger, rate_limit: {unit: year, requests_per_unit: 0, name: stranger}}
";

pub(crate) fn limits() -> Limits {
    Limits::of(&[File::read("limits.yaml", LIMITS).unwrap()], false).unwrap()
}

pub(crate) fn store(redis: Redis, timeout: Duration) -> Store {
    Store::Redis(Shared { redis, timeout })
}

/// Of a request about these descriptors, of one entry each.
pub(crate) fn request(descriptors: &[(&str, &str)]) -> Request {
    let descriptor = |(key, value): &(&str, &str)| Descriptor {
        entries: vec![Entry { key: (*key).into(), value: (*value).into() }],
        ..Descriptor::default()
    };
    Request {
        domain: "edge".into(),
        descriptors: descriptors.iter().map(descriptor).collect(),
        hits_addend: 0,
    }
}

/// A connection to a service that runs until its runtime ends.
#[derive(Clone)]
pub(crate) struct Asker(SendRequest<Body>);

impl Asker {
    pub(crate) async fn of(store: Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let limits = Arc::new(ArcSwap::from_pointee(limits()));
        tokio::spawn(Service { limits, store: Arc::new(store) }.serve(listener));
        let socket = TcpStream::connect(at).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Response, Status> {
        let mut grpc = Grpc::with_origin(self.clone(), "http://rls".parse().unwrap());
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(SHOULD_RATE_LIMIT);
        let answer = grpc.unary(tonic::Request::new(request), path, ProstCodec::default()).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Whether one more may go on; the code of the error where nobody knows.
    pub(crate) async fn may(&self, key: &str, value: &str) -> Result<bool, Code> {
        let answer = self.ask(request(&[(key, value)])).await.map_err(|status| status.code())?;
        Ok(answer.overall_code() == fairway_config::rls::proto::Code::Ok)
    }
}

impl GrpcService<Body> for Asker {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
