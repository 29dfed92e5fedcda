//! The controller's admin port: `/livez`, `/readyz`, `/metrics`, `/limits`. HTTP/1.1, one request per connection, bounded.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::quota::Quotas;
use config::quota::view::{Page, ServerView};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::control::View;
use super::metrics::Metrics;
use super::state::State;
use super::watch::KINDS;

/// Connections at one time.
const CONNECTIONS: usize = 32;
/// Longest time for a connection.
const WHOLE: Duration = Duration::from_secs(30);

/// What the port tells of.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) state: Arc<State>,
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    pub(crate) quotas: Quotas,
}

/// Opens the port, on the current runtime.
pub(crate) async fn serve(address: SocketAddr, admin: Admin) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let admin = Arc::new(admin);
    tokio::spawn(config::accept(listener, CONNECTIONS, "admin port", move |stream, _| {
        let admin = Arc::clone(&admin);
        async move {
            let answer = service_fn(|req| std::future::ready(Ok::<_, Infallible>(admin.answer(&req))));
            let connection = http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), answer);
            // A scraper that goes away is not our concern.
            let _ = timeout(WHOLE, connection).await;
        }
    }));
    Ok(())
}

impl Admin {
    fn answer(&self, req: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*req.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
        }
        match req.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.ready(),
            "/limits" => self.limits(),
            "/metrics" => {
                self.metrics.quotas(self.quotas.counts());
                let mut rsp = text(StatusCode::OK, self.metrics.encode());
                let open_metrics = http::HeaderValue::from_static(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                );
                rsp.headers_mut().insert(http::header::CONTENT_TYPE, open_metrics);
                rsp
            }
            _ => text(StatusCode::NOT_FOUND, "/livez /readyz /metrics /limits\n".into()),
        }
    }

    /// Who has which share of which limit.
    fn limits(&self) -> Response<Full<Bytes>> {
        let page = Page { server: Some(ServerView::of(&self.quotas)), proxies: Vec::new() };
        match serde_json::to_string_pretty(&page) {
            Ok(page) => {
                let mut rsp = text(StatusCode::OK, page);
                let json = http::HeaderValue::from_static("application/json");
                rsp.headers_mut().insert(http::header::CONTENT_TYPE, json);
                rsp
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Ready once something is published: proxies that connect to this replica get an answer.
    fn ready(&self) -> Response<Full<Bytes>> {
        if self.views.borrow().is_some() {
            return text(StatusCode::OK, "ok\n".into());
        }
        let missing: Vec<_> =
            self.state.missing(KINDS.iter().map(|kind| kind.kind)).iter().map(|k| k.as_str()).collect();
        let why = if missing.is_empty() {
            "not published yet\n".to_owned()
        } else {
            format!("not listed yet: {}\n", missing.join(", "))
        };
        text(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut rsp = Response::new(Full::new(Bytes::from(text)));
    *rsp.status_mut() = status;
    rsp
}
