//! Connections to the controller.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::metadata::{Ascii, MetadataValue};

use super::ClientOptions;
use super::certify::Certified;
use crate::backoff::random;
use crate::xds::proto::Node;

/// Longest time for a connection to an address, and for a TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// A controller that is gone is found after at most three times this; a busy one may take twice this to answer a ping.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes of a trust bundle or token.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::xds) enum DialError {
    #[error("{path} cannot be read")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no certificates in PEM")]
    Bundle { path: String },
    #[error("{path} holds no token")]
    Token { path: String },
    #[error("certificates cannot be used")]
    Certificates(#[from] rustls::Error),
    #[error("{0} cannot be found")]
    Resolve(String, #[source] io::Error),
    #[error("{0} cannot be reached")]
    Connect(String, #[source] io::Error),
    #[error("{0}: no answer in time")]
    Timeout(String),
    #[error("{0}: TLS handshake failed")]
    Tls(String, #[source] io::Error),
    #[error("{0}: no HTTP/2")]
    Http2(String, #[source] hyper::Error),
}

/// The controller's URL is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no URL of a controller: write https://HOST:PORT")]
pub struct BadUrl(String);

/// Makes connections.
pub(in crate::xds) struct Dialer {
    host: String,
    port: u16,
    name: ServerName<'static>,
    /// For the requests' `:scheme` and `:authority`.
    pub(in crate::xds) origin: http::Uri,
    bundle: std::path::PathBuf,
    token: std::path::PathBuf,
    proxy: crate::identity::ProxyId,
}

impl Dialer {
    pub(in crate::xds) fn new(options: &ClientOptions) -> Result<Self, BadUrl> {
        let wrong = || BadUrl(options.controller.clone());
        let origin: http::Uri = options.controller.parse().map_err(|_| wrong())?;
        let is_bare = matches!(origin.path(), "" | "/") && origin.query().is_none();
        if origin.scheme_str() != Some("https") || !is_bare {
            return Err(wrong());
        }
        let host = origin.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        Ok(Self {
            host,
            port: origin.port_u16().unwrap_or(443),
            name,
            origin,
            bundle: options.controller_ca.clone(),
            token: options.token_file.clone(),
            proxy: options.proxy.clone(),
        })
    }

    pub(super) fn gateway(&self) -> &crate::identity::GatewayRef {
        &self.proxy.gateway
    }

    /// Who we say we are.
    pub(in crate::xds) fn node(&self) -> Node {
        Node {
            id: self.proxy.pod.clone(),
            cluster: self.proxy.gateway.to_string(),
            user_agent_name: "fairway".into(),
            user_agent_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// `Bearer …`, as the file says now.
    pub(in crate::xds) async fn token(&self) -> Result<MetadataValue<Ascii>, DialError> {
        let path = || self.token.display().to_string();
        let text = read(&self.token).await?;
        let text = String::from_utf8_lossy(&text);
        let value = MetadataValue::try_from(format!("Bearer {}", text.trim()));
        let mut value = value.map_err(|_| DialError::Token { path: path() })?;
        if text.trim().is_empty() {
            return Err(DialError::Token { path: path() });
        }
        // Not shown in logs, not kept in header tables.
        value.set_sensitive(true);
        Ok(value)
    }

    /// A connection; with a certificate of ours or, to ask for one, without.
    pub(in crate::xds) async fn connect(&self, certified: Option<&Certified>) -> Result<Channel, DialError> {
        let config = self.config(certified).await?;
        let to = format!("{}:{}", self.host, self.port);
        let socket = self.socket(&to).await?;
        // Small answers shall not wait for more.
        _ = socket.set_nodelay(true);
        let handshake = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), socket);
        let stream = match tokio::time::timeout(CONNECT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(DialError::Tls(to, error)),
            Err(_) => return Err(DialError::Timeout(to)),
        };
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(2 * KEEP_ALIVE)
            .keep_alive_while_idle(true)
            // The window is all that a proxy that is busy applying has to hold.
            .initial_stream_window_size(2 << 20)
            .initial_connection_window_size(2 << 20)
            .max_header_list_size(32 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| DialError::Http2(to, error))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the controller broke");
            }
        });
        Ok(Channel { requests, _task: Arc::new(Task(task)) })
    }

    /// To one of the addresses, a random one first, so that proxies spread over the controllers.
    async fn socket(&self, to: &str) -> Result<TcpStream, DialError> {
        let found =
            tokio::time::timeout(CONNECT, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let Ok(found) = found else { return Err(DialError::Timeout(to.to_owned())) };
        let mut addresses: Vec<_> =
            found.map_err(|error| DialError::Resolve(to.to_owned(), error))?.collect();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a random index; there are few addresses"
        )]
        let first = (random() * addresses.len() as f64) as usize;
        let first = first.min(addresses.len());
        addresses.rotate_left(first);
        let mut failed = DialError::Connect(to.to_owned(), io::Error::from(io::ErrorKind::NotFound));
        for address in addresses {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => failed = DialError::Connect(address.to_string(), error),
                Err(_) => failed = DialError::Timeout(address.to_string()),
            }
        }
        Err(failed)
    }

    async fn config(&self, certified: Option<&Certified>) -> Result<ClientConfig, DialError> {
        let bundle = read(&self.bundle).await?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
        if added == 0 {
            return Err(DialError::Bundle { path: self.bundle.display().to_string() });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match certified {
            Some(certified) => config.with_client_auth_cert(certified.chain.clone(), certified.key())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would be that of an older certificate.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, DialError> {
    use tokio::io::AsyncReadExt as _;
    let failed = |source| DialError::File { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.take(MAX_FILE).read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}

/// A connection; it ends when its last clone is dropped.
#[derive(Clone)]
pub(in crate::xds) struct Channel {
    requests: SendRequest<Body>,
    _task: Arc<Task>,
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl GrpcService<Body> for Channel {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{GatewayRef, ProxyId, Role};

    fn dialer(url: &str) -> Result<Dialer, BadUrl> {
        Dialer::new(&ClientOptions {
            controller: url.into(),
            controller_ca: "ca".into(),
            token_file: "token".into(),
            proxy: ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", "g"), pod: "p".into() },
            snapshot: None,
        })
    }

    #[test]
    fn a_controller_is_named_by_an_https_url() {
        let named = dialer("https://fairway-controller.fairway-system.svc:15010").ok().unwrap();
        assert_eq!((named.host.as_str(), named.port), ("fairway-controller.fairway-system.svc", 15010));
        let six = dialer("https://[::1]").ok().unwrap();
        assert_eq!((six.host.as_str(), six.port), ("::1", 443));
        for wrong in ["", "controller", "http://controller:1", "https://", "https://c/path", "https://c?x"] {
            assert!(dialer(wrong).is_err(), "{wrong}");
        }
    }
}
