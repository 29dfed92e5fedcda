//! The service on a port: gRPC over HTTP/2, with prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tonic::server::{Grpc, UnaryService};
use tonic::{Status, body};
use tonic_prost::ProstCodec;

use super::decide::Case;
use super::limits::Limits;
use super::proto::{Request, Response, SHOULD_RATE_LIMIT};
use super::store::Store;

/// Connections at one time; more wait in the system's queue. A proxy has a few.
const CONNECTIONS: usize = 1024;
/// A peer that is gone is found after at most three times this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes of a request; some are refused before for what they hold.
const LARGEST: usize = 4 << 20;

/// A rate limit service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Which limits there are. A new value holds for new requests; counts stay.
    pub limits: Arc<ArcSwap<Limits>>,
    /// What came.
    pub store: Arc<Store>,
}

impl Service {
    /// Serves until the future is dropped, which ends all connections.
    pub async fn serve(self, listener: TcpListener) {
        crate::accept(listener, CONNECTIONS, "the rate limit service", |socket, peer| {
            connection(self.clone(), socket, peer)
        })
        .await;
    }
}

async fn connection(service: Service, socket: TcpStream, peer: SocketAddr) {
    // Answers are small, and somebody waits for each.
    _ = socket.set_nodelay(true);
    let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move { Ok::<http::Response<body::Body>, Infallible>(service.answer(request).await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(2 * KEEP_ALIVE)
        .max_header_list_size(32 << 10)
        .serve_connection(TokioIo::new(socket), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

impl Service {
    async fn answer(self, request: http::Request<hyper::body::Incoming>) -> http::Response<body::Body> {
        if request.uri().path() != SHOULD_RATE_LIMIT {
            return Status::unimplemented("envoy.service.ratelimit.v3.RateLimitService is served here")
                .into_http();
        }
        let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(LARGEST);
        grpc.unary(self, request).await
    }
}

impl UnaryService<Request> for Service {
    type Response = Response;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Response>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Request>) -> Self::Future {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let case = Case::of(&self.limits.load(), request.get_ref(), now);
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let case = case.map_err(|asked| Status::unknown(asked.to_string()))?;
            // Whoever asks decides what holds without an answer, and need not wait to be told that there is none.
            let counts = store.count(case.hits(), now).await;
            let counts = counts.map_err(|away| Status::unavailable(away.to_string()))?;
            Ok(tonic::Response::new(case.response(&counts)))
        })
    }
}
