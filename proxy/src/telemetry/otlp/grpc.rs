//! One gRPC method, called over one HTTP/2 connection that is made anew when it breaks.
//!
//! A whole gRPC client would bring a dozen crates for one unary call without streaming, balancing or interceptors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Request, StatusCode, Uri};
use prost::Message;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::proto::{ExportTraceServiceRequest, ExportTraceServiceResponse, PartialSuccess};

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Longest time of one call, connection included (the default of OTLP exporters).
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read; answers are a few bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A collector.
pub(super) struct Client {
    host: String,
    port: u16,
    method: Uri,
    tls: Option<TlsConnector>,
    connection: Option<SendRequest<Bytes>>,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The same call may work later.
    Later(String),
    /// The collector does not want it.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Later(reason) | Self::Refused(reason)) = self;
        f.write_str(reason)
    }
}

fn later(error: impl fmt::Display) -> Failure {
    Failure::Later(error.to_string())
}

impl Client {
    /// A client for `http://HOST:PORT` or `https://HOST:PORT`; connects with the first call.
    pub(super) fn new(endpoint: &str) -> Result<Self, String> {
        let uri: Uri = endpoint.parse().map_err(|e| format!("{e}"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("it names no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, scheme, port) = match uri.scheme_str() {
            Some("http") => (None, "http", 4317),
            Some("https") => (Some(TlsConnector::from(Arc::new(trusting_the_system()?))), "https", 4317),
            _ => return Err("it is neither http nor https".to_owned()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("OTLP over gRPC has no path".to_owned());
        }
        let port = uri.port_u16().unwrap_or(port);
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let method = Uri::builder().scheme(scheme).authority(authority).path_and_query(METHOD).build();
        Ok(Self { host, port, method: method.map_err(|e| e.to_string())?, tls, connection: None })
    }

    /// Sends spans and says how many of them the collector refused.
    pub(super) async fn export(&mut self, spans: &ExportTraceServiceRequest) -> Result<u64, Failure> {
        let called = tokio::time::timeout(TIMEOUT, self.call(spans)).await;
        let result = called.unwrap_or_else(|_| Err(Failure::Later(format!("no answer in {TIMEOUT:?}"))));
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn call(&mut self, spans: &ExportTraceServiceRequest) -> Result<u64, Failure> {
        let mut connection = self.connected().await?;
        let request = Request::post(self.method.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("fairway/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(later)?;
        let (response, mut body) = connection.send_request(request, false).map_err(later)?;
        body.send_data(frame(spans), true).map_err(later)?;
        let (head, mut body) = response.await.map_err(later)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(Failure::Later(format!("it answers HTTP {}", head.status)));
        }
        // An answer without a message has its status in the head.
        if head.headers.contains_key("grpc-status") {
            status(&head.headers)?;
        }
        let answer = read(&mut body).await?;
        if let Some(trailers) = body.trailers().await.map_err(later)? {
            status(&trailers)?;
        }
        self.connection = Some(connection);
        Ok(refused(&answer))
    }

    /// The connection of the last call, or a new one.
    async fn connected(&mut self) -> Result<SendRequest<Bytes>, Failure> {
        if let Some(connection) = self.connection.take()
            && let Ok(ready) = connection.ready().await
        {
            return Ok(ready);
        }
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(later)?;
        tcp.set_nodelay(true).map_err(later)?;
        let Some(tls) = &self.tls else {
            return open(h2::client::handshake(tcp).await.map_err(later)?).await;
        };
        // A certificate does not become good by asking again.
        let untrusted = |error: std::io::Error| Failure::Refused(error.to_string());
        let name = ServerName::try_from(self.host.clone()).map_err(later)?;
        let stream = tls.connect(name, tcp).await.map_err(untrusted)?;
        open(h2::client::handshake(stream).await.map_err(later)?).await
    }
}

async fn open<T>(
    (requests, connection): (SendRequest<Bytes>, Connection<T>),
) -> Result<SendRequest<Bytes>, Failure>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Ends when the last handle is dropped or the collector hangs up.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the OTLP collector broke");
        }
    });
    requests.ready().await.map_err(later)
}

/// TLS that believes the certificate authorities of the operating system.
fn trusting_the_system() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    pingora_core::tls::load_platform_certs_incl_env_into_store(&mut roots).map_err(|e| e.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A message with gRPC's prefix: not compressed, length.
fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.encoded_len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    // Fails only without room, and there is room.
    _ = message.encode(&mut frame);
    frame.freeze()
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, Failure> {
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(later)?;
        _ = body.flow_control().release_capacity(data.len());
        if answer.len() + data.len() > LONGEST_ANSWER {
            return Err(Failure::Refused("its answer is too long".to_owned()));
        }
        answer.extend_from_slice(&data);
    }
    Ok(answer)
}

/// How many spans the collector says it did not take.
fn refused(answer: &[u8]) -> u64 {
    let message = answer.get(5..).unwrap_or_default();
    let answer = ExportTraceServiceResponse::decode(message).unwrap_or_default();
    let PartialSuccess { rejected_spans, error_message } = answer.partial_success.unwrap_or_default();
    if rejected_spans > 0 {
        tracing::warn!(rejected_spans, error_message, "the OTLP collector refused spans");
    }
    u64::try_from(rejected_spans).unwrap_or(0)
}

/// The result of a call, from its trailers.
fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let code = text("grpc-status");
    let reason = || format!("it answers gRPC status {code} {}", text("grpc-message"));
    match code {
        "0" => Ok(()),
        // OTLP: cancelled, deadline exceeded, resource exhausted, aborted, out of range, unavailable, data loss.
        "1" | "4" | "8" | "10" | "11" | "14" | "15" => Err(Failure::Later(reason())),
        _ => Err(Failure::Refused(reason())),
    }
}
