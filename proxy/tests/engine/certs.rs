//! Authorities and certificates made for one test, TLS clients and TLS origins that use them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{full, within};

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        let is_uri = |name: &&str| name.contains("://");
        let dns: Vec<String> = names.iter().filter(|n| !is_uri(n)).map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        let uris = names.iter().filter(|n| is_uri(n)).map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        self.sign(&params)
    }

    pub(crate) fn expired(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Issued { chain: leaf.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }
}

impl Issued {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }

    /// The resource `Certificate/default/NAME`.
    pub(crate) fn resource(&self, name: &str) -> String {
        format!(
            "---\nkey: Certificate/default/{name}\nresource:\n  kind: Certificate\n  chain: |\n{}  key: |\n{}",
            indented(&self.chain, 4),
            indented(&self.key, 4)
        )
    }
}

pub(crate) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// Settings of a client; kept by tests that want to resume.
pub(crate) fn client(trusted: &Authority, own: Option<&Issued>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted.roots());
    let mut config = match own {
        Some(own) => {
            let (chain, key) = own.der();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    within(TlsConnector::from(config.clone()).connect(ServerName::try_from(name).unwrap(), tcp)).await
}

/// An origin behind TLS that answers with what it saw: `origin`, `client-certificate` (SHA of none: absent), `version`.
pub(crate) struct TlsOrigin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    config: Mutex<Option<Arc<ServerConfig>>>,
    /// Leave ALPN unanswered and speak HTTP/1.
    handshakes: AtomicUsize,
    requests: AtomicUsize,
    closing: AtomicBool,
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TlsOrigin {
    /// `clients`: who must have signed the certificate a client may show; none is asked for without.
    pub(crate) async fn start(own: &Issued, clients: Option<&Authority>, alpn: &[&[u8]]) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let origin = Self { address, seen: seen.clone(), task: tokio::spawn(accept(socket, seen)) };
        origin.show(own, clients, alpn);
        origin
    }

    /// New handshakes are made with this.
    pub(crate) fn show(&self, own: &Issued, clients: Option<&Authority>, alpn: &[&[u8]]) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(clients.roots(), provider)
                    .allow_unauthenticated()
                    .build()
                    .unwrap(),
            ),
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = own.der();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        *self.seen.config.lock() = Some(Arc::new(config));
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.seen.handshakes.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Answers close their connection from now on.
    pub(crate) fn close_connections(&self) {
        self.seen.closing.store(true, Ordering::SeqCst);
    }
}

async fn accept(socket: TcpListener, seen: Arc<Seen>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((tcp, _)) = socket.accept().await else { continue };
        tcp.set_nodelay(true).unwrap();
        let seen = seen.clone();
        open.spawn(async move {
            let config = seen.config.lock().clone().unwrap();
            let Ok(stream) = TlsAcceptor::from(config).accept(tcp).await else { return };
            let number = seen.handshakes.fetch_add(1, Ordering::SeqCst);
            let has_certificate = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(move |request| answer(request, seen.clone(), has_certificate, number));
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Seen>,
    has_certificate: bool,
    number: usize,
) -> Result<Response<crate::harness::Body>, std::convert::Infallible> {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    let mut response = Response::builder()
        .header("client-certificate", if has_certificate { "yes" } else { "no" })
        .header("connection-number", number)
        .header("version", format!("{:?}", request.version()));
    if seen.closing.load(Ordering::SeqCst) && request.version() == http::Version::HTTP_11 {
        response = response.header("connection", "close");
    }
    if request.headers().contains_key("te") {
        response = response.header("content-type", "application/grpc").header("grpc-status", "0");
    }
    Ok(response.body(full("hello")).unwrap())
}
