//! Real servers on loopback.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) head: Arc<http::request::Parts>,
    /// `None` when the body was broken off.
    pub(super) body: Option<Bytes>,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.connections() - self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Waits for the `count`th request to be seen whole or broken off.
    pub(super) async fn wait(&self, count: usize) -> Vec<Seen> {
        until(|| self.seen.lock().len() >= count).await;
        self.seen()
    }

    /// A server that reads every body and answers 200 with it; `/status/N` answers N.
    pub(super) async fn echo(tls: Option<rustls::ServerConfig>) -> Self {
        Self::start(tls, |seen| async move {
            let status = seen.head.uri.path().strip_prefix("/status/").and_then(|code| code.parse().ok());
            let body = Full::new(seen.body.unwrap_or_default());
            http::Response::builder().status(status.unwrap_or(200)).body(body).expect("a response")
        })
        .await
    }

    /// A server whose answers `answer` makes, HTTP/1 or HTTP/2 as the client speaks.
    pub(super) async fn start<F, A>(tls: Option<rustls::ServerConfig>, answer: F) -> Self
    where
        F: Fn(Seen) -> A + Clone + Send + 'static,
        A: Future<Output = http::Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server =
            Self { address, connections: Arc::default(), closed: Arc::default(), seen: Arc::default() };
        let (connections, closed, seen) =
            (server.connections.clone(), server.closed.clone(), server.seen.clone());
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, seen, answer, closed) = (tls.clone(), seen.clone(), answer.clone(), closed.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: http::Request<Incoming>| {
                        let (seen, answer) = (seen.clone(), answer.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
                            let request = Seen { head: Arc::new(head), body };
                            seen.lock().push(request.clone());
                            Ok::<_, Infallible>(answer(request).await)
                        }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // Errors are the client's doing: tests look at what it saw.
                    match tls {
                        None => drop(builder.serve_connection(TokioIo::new(tcp), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                drop(builder.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }
}

/// Waits until something holds, for 10 s at most.
pub(super) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("did not happen within 10 s");
}

/// A certificate authority.
pub(super) struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("key");
        Self(rcgen::CertifiedIssuer::self_signed(params, key).expect("certificate"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's settings with a certificate for `name`.
    pub(super) fn server(&self, name: &str, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let key = rcgen::KeyPair::generate().expect("key");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("params");
        let leaf = params.signed_by(&key, &self.0).expect("certificate");
        let chain = vec![CertificateDer::from(leaf)];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("certificate and key");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}
