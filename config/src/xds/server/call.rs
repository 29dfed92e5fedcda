//! Calls: which method, and who calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::super::proto::{DELTA, ISSUE, Node};
use super::super::wire::MAX_REQUEST;
use super::Server;
use super::certificates::Issuing;
use super::load::{MAX_LOADS, Telling};
use super::quota::{MAX_REPORTS, Reporting};
use super::stream::Streaming;
use crate::identity::{Identity, ProxyId, Refusal};
use crate::{Redacted, load, quota};

/// Metadata in which a proxy says which Gateway it runs for, as `node.cluster` of delta xDS, where messages have no place for it.
pub(in crate::xds) const GATEWAY: &str = "fairway-gateway";
/// Metadata in which it says its pod, as `node.id`.
pub(in crate::xds) const POD: &str = "fairway-pod";

/// A signing request has some 300 bytes.
const MAX_SIGNING_REQUEST: usize = 16 << 10;
/// Longest time to find out who calls.
const AUTHENTICATE: Duration = Duration::from_secs(15);

/// Callers who are being identified; more wait, so that strangers cannot make us flood the API server.
static IDENTIFYING: Semaphore = Semaphore::const_new(32);

/// The other end of a connection.
pub(super) struct Caller {
    pub(super) server: Server,
    pub(super) peer: SocketAddr,
    /// Its leaf certificate, verified against our authority.
    pub(super) certificate: Option<CertificateDer<'static>>,
    /// Somebody proved on it who they are.
    pub(super) is_known: AtomicBool,
}

pub(super) async fn answer(caller: &Arc<Caller>, request: http::Request<Incoming>) -> http::Response<Body> {
    match request.uri().path() {
        DELTA => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_REQUEST);
            grpc.streaming(Streaming(caller.clone()), request).await
        }
        ISSUE => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_SIGNING_REQUEST);
            grpc.unary(Issuing(caller.clone()), request).await
        }
        quota::proto::STREAM => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_REPORTS);
            grpc.streaming(Reporting(caller.clone()), request).await
        }
        load::proto::STREAM => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_LOADS);
            grpc.streaming(Telling(caller.clone()), request).await
        }
        _ => Status::unimplemented("delta xDS, certificates, quotas and loads are served here").into_http(),
    }
}

impl Caller {
    /// Who calls, by its token. The Gateway it claims must be the one its token stands for: else it is set up wrongly.
    pub(super) async fn identify(
        &self,
        metadata: &MetadataMap,
        node: Option<Node>,
    ) -> Result<Identity, Status> {
        let token = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty());
        let token = Redacted::new(token.ok_or_else(|| {
            Status::unauthenticated("send the ServiceAccount token as `authorization: Bearer …`")
        })?);
        let node = node.ok_or_else(|| Status::invalid_argument("node is missing"))?;
        let gateway =
            node.cluster.parse().map_err(|why| Status::invalid_argument(format!("node.cluster: {why}")))?;
        if node.id.is_empty() || node.id.len() > 253 {
            return Err(Status::invalid_argument("node.id: name the pod, in 1 to 253 bytes"));
        }
        let claim = ProxyId { gateway, pod: node.id };
        let asked = async {
            // Never closed.
            let _place = IDENTIFYING.acquire().await;
            self.server.authenticate.authenticate(&token, &claim).await
        };
        let identity = match tokio::time::timeout(AUTHENTICATE, asked).await {
            Ok(found) => found.map_err(refused)?,
            Err(_) => return Err(Status::unavailable("it takes too long to find out who calls")),
        };
        if identity.proxy.gateway != claim.gateway {
            return Err(Status::permission_denied(format!(
                "the token is that of {}, not of {}: check --gateway and the pod's ServiceAccount",
                identity.proxy.gateway, claim.gateway
            )));
        }
        self.is_known.store(true, Ordering::Relaxed);
        Ok(identity)
    }

    /// Which proxy calls, by what its metadata says and its token and certificate prove, and when that ends.
    pub(super) async fn proxy(&self, metadata: &MetadataMap) -> Result<(ProxyId, Instant), Status> {
        let read = |name: &str| Some(metadata.get(name)?.to_str().ok()?.to_owned());
        let node = || Some(Node { id: read(POD)?, cluster: read(GATEWAY)?, ..Node::default() });
        let identity = self.identify(metadata, node()).await?;
        let until = self.certified(&identity)?;
        Ok((identity.proxy, until))
    }

    /// That there is a certificate, whosesoever.
    pub(super) fn has_certificate(&self) -> Result<&CertificateDer<'static>, Status> {
        self.certificate.as_ref().ok_or_else(|| {
            Status::unauthenticated("callers without a certificate are served nothing else: get one first")
        })
    }

    /// When the caller's certificate expires; an error when it has none of this identity.
    pub(super) fn certified(&self, identity: &Identity) -> Result<Instant, Status> {
        // Verified by TLS; read again for its names.
        let (_, parsed) = x509_parser::parse_x509_certificate(self.has_certificate()?)
            .map_err(|_| Status::unauthenticated("the certificate cannot be read"))?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let is_of_identity = names.is_some_and(|names| {
            names.value.general_names.iter().any(
                |name| matches!(name, x509_parser::extensions::GeneralName::URI(uri) if *uri == identity.uri),
            )
        });
        if !is_of_identity {
            return Err(Status::permission_denied(format!(
                "the certificate is not that of {}",
                identity.uri
            )));
        }
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        let left =
            (SystemTime::UNIX_EPOCH + Duration::from_secs(not_after)).duration_since(SystemTime::now());
        Ok(Instant::now() + left.unwrap_or_default())
    }

    /// Says in our log what the caller is told.
    pub(super) fn log(&self, what: &'static str, status: &Status) {
        if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
            tracing::warn!(peer = %self.peer, "{what} refused: {}", status.message());
        } else {
            tracing::info!(peer = %self.peer, "{what}: {}", status.message());
        }
    }
}

/// Ends when a certificate does.
pub(super) async fn expired(until: Instant) -> Status {
    tokio::time::sleep_until(until).await;
    Status::unavailable("the certificate has expired: connect with a new one")
}

pub(super) fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Unauthenticated(message) => Status::unauthenticated(message),
        Refusal::Forbidden(message) => Status::permission_denied(message),
        Refusal::Unavailable(message) => Status::unavailable(message),
    }
}
