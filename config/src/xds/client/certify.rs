//! The proxy's certificate: a new key each time, signed by the controller for the token, renewed at half of its life.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::ClientState;
use super::dial::{DialError, Dialer};
use crate::backoff::{Backoff, random};
use crate::xds::proto::{ISSUE, IssueRequest, IssueResponse};

/// Longest time for the controller to sign.
const SIGN: Duration = Duration::from_secs(20);
/// A certificate that ends sooner is not used for a new connection.
const USABLE: Duration = Duration::from_secs(5);

/// A certificate with its key, in memory only.
pub(in crate::xds) struct Certified {
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
    expires: Instant,
    renew: Instant,
}

impl Certified {
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key().into()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(in crate::xds) enum CertifyError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no key can be made")]
    Key(#[from] rcgen::Error),
    #[error("the controller gives no certificate: {}", .0.message())]
    Refused(tonic::Status),
    #[error("the controller takes too long to give a certificate")]
    Timeout,
    #[error("the controller's certificate for this proxy cannot be used: {0}")]
    Unusable(&'static str),
}

impl From<tonic::Status> for CertifyError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(status)
    }
}

/// Gets certificates, one at a time.
pub(in crate::xds) struct Certifier {
    dialer: Arc<Dialer>,
    current: Mutex<Option<Arc<Certified>>>,
    state: watch::Sender<ClientState>,
}

impl Certifier {
    pub(in crate::xds) fn new(dialer: Arc<Dialer>, state: watch::Sender<ClientState>) -> Self {
        Self { dialer, current: Mutex::new(None), state }
    }

    /// The certificate for a new connection.
    pub(in crate::xds) async fn get(&self) -> Result<Arc<Certified>, CertifyError> {
        let mut current = self.current.lock().await;
        if let Some(certified) = current.as_ref().filter(|one| one.expires > Instant::now() + USABLE) {
            return Ok(certified.clone());
        }
        let certified = Arc::new(self.obtain().await?);
        *current = Some(certified.clone());
        Ok(certified)
    }

    /// Ends when a stream opened with a certificate should go over to a newer one, which is there: at nine tenths of its
    /// life.
    pub(super) async fn superseded(&self, certified: &Arc<Certified>) {
        let rest = certified.expires.saturating_duration_since(certified.renew);
        tokio::time::sleep_until(certified.expires - rest / 5).await;
        while self.current.lock().await.as_ref().is_some_and(|current| Arc::ptr_eq(current, certified)) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Gets the next certificate while the last one is good: connections that stand are not touched, new ones use it.
    pub(super) async fn renew(&self) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            let due = self.current.lock().await.as_ref().map(|certified| certified.renew);
            let now = Instant::now();
            match due {
                // The first one comes with the first connection.
                None => tokio::time::sleep(Duration::from_secs(1)).await,
                Some(due) if due > now => tokio::time::sleep_until(due).await,
                Some(_) => match self.obtain().await {
                    Ok(certified) => {
                        backoff.reset();
                        *self.current.lock().await = Some(Arc::new(certified));
                    }
                    Err(error) => {
                        let cause = error.source().map(ToString::to_string);
                        tracing::info!(%error, cause, "certificate not renewed yet");
                        tokio::time::sleep(backoff.next()).await;
                    }
                },
            }
        }
    }

    async fn obtain(&self) -> Result<Certified, CertifyError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let signed = tokio::time::timeout(SIGN, self.ask(request.der())).await;
        let chain = signed.map_err(|_| CertifyError::Timeout)??;
        let certified = read(&key, chain)?;
        self.state.send_modify(|state| state.certificates += 1);
        Ok(certified)
    }

    async fn ask(&self, request: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertifyError> {
        let channel = self.dialer.connect(None).await?;
        let mut grpc =
            Grpc::with_origin(channel, self.dialer.origin.clone()).max_decoding_message_size(256 << 10);
        let message = IssueRequest { request: request.to_vec().into(), node: Some(self.dialer.node()) };
        let mut call = tonic::Request::new(message);
        call.metadata_mut().insert("authorization", self.dialer.token().await?);
        let codec: ProstCodec<IssueRequest, IssueResponse> = ProstCodec::default();
        let response = grpc.unary(call, http::uri::PathAndQuery::from_static(ISSUE), codec).await?;
        Ok(response.into_inner().chain.into_iter().map(|der| der.to_vec().into()).collect())
    }
}

fn read(key: &KeyPair, chain: Vec<CertificateDer<'static>>) -> Result<Certified, CertifyError> {
    let leaf = chain.first().ok_or(CertifyError::Unusable("it is empty"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|_| CertifyError::Unusable("it is no certificate"))?;
    if parsed.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(key) {
        return Err(CertifyError::Unusable("it is for another key"));
    }
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
    let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after);
    let life = ends.duration_since(SystemTime::now()).map_err(|_| {
        CertifyError::Unusable("it has expired already; do the clocks of proxy and controller agree?")
    })?;
    let now = Instant::now();
    // Not all at once: some a tenth earlier or later.
    let renew = now + life.mul_f64(0.45 + 0.1 * random());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(Certified { chain, key, expires: now + life, renew })
}
