//! Certificates of one endpoint that were verified in handshakes of our own, so that Pingora's connections, those for
//! HTTP/2, can be told by the digest of theirs.
//!
//! Before the first request to an endpoint, and from time to time, we shake hands with it ourselves ([`Verifier`]) and
//! remember the digest of its certificate. Each connection that is to carry a request, new or pooled, must show a
//! remembered one; the signature in its own handshake proved the key. What a reader would get wrong: a connection that
//! was refused goes back to Pingora's pool. So refusing one changes the pool's key, and the old connections are never
//! used again.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use pingora_core::protocols::Digest;
use pingora_error::ErrorType::{ConnectError, ConnectTimedout, Custom, InvalidCert, TLSHandshakeFailure};
use pingora_error::{BError, Error};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::dial::{bad_certificate, shake};
use super::names::Verifier;
use crate::egress::Secure;

/// Type of the error of a connection whose certificate was not verified.
pub(crate) const IDENTITY: &str = "UpstreamIdentity";

/// A certificate is verified again after this time.
const LASTS: Duration = Duration::from_secs(3600);
/// Certificates of one endpoint that are remembered: pairs of RSA and ECDSA, the old one of a rotation, several servers
/// behind one address.
const MOST: usize = 16;
/// Time for a whole handshake of ours.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After a failed one, how long everybody else is told the same.
const PAUSE: Duration = Duration::from_millis(500);

/// What one cluster's endpoints are verified by.
#[derive(Debug)]
pub(crate) struct Strict {
    pub(super) verifier: Arc<Verifier>,
    pub(super) name: ServerName<'static>,
}

/// See the module.
pub(super) struct Pins {
    known: ArcSwap<Vec<Pin>>,
    /// A connection showed another certificate: verify before the next attempt.
    in_doubt: AtomicBool,
    /// Part of the pool's key.
    generation: AtomicU32,
    /// One handshake at a time; the last failure.
    turn: Mutex<Option<(Instant, Refusal)>>,
}

#[derive(Clone)]
struct Pin {
    digest: Box<[u8]>,
    until: Instant,
}

/// Why an endpoint could not be verified.
#[derive(Debug, Clone)]
enum Refusal {
    Unreachable(String),
    Late,
    Handshake(String),
    Certificate(String),
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins").field("known", &self.known.load().len()).finish_non_exhaustive()
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            known: ArcSwap::default(),
            in_doubt: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            turn: Mutex::new(None),
        }
    }
}

impl Pins {
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// A certificate of the endpoint is known. Costs a look at a list.
    pub(super) fn is_fresh(&self) -> bool {
        let now = Instant::now();
        !self.in_doubt.load(Ordering::Acquire) && self.known.load().iter().any(|pin| now < pin.until)
    }

    /// Sees to it that a certificate of the endpoint is known, by a handshake.
    ///
    /// # Errors
    /// When the endpoint cannot be reached or is not who it must be.
    pub(super) async fn assure(
        &self,
        address: SocketAddr,
        secure: &Secure,
        within: Option<Duration>,
    ) -> Result<(), BError> {
        let whole = within.map_or(HANDSHAKE, |within| within.min(HANDSHAKE));
        let verified = timeout(whole, self.verify(address, secure)).await;
        verified.unwrap_or(Err(Refusal::Late)).map_err(|refusal| refusal.error(address))
    }

    async fn verify(&self, address: SocketAddr, secure: &Secure) -> Result<(), Refusal> {
        let mut last = self.turn.lock().await;
        // Whoever had the turn before may have done it.
        if self.is_fresh() {
            return Ok(());
        }
        if let Some((at, refusal)) = &*last
            && at.elapsed() < PAUSE
        {
            return Err(refusal.clone());
        }
        match ask(address, secure).await {
            Ok(pin) => {
                *last = None;
                self.learn(pin);
                Ok(())
            }
            Err(refusal) => {
                *last = Some((Instant::now(), refusal.clone()));
                Err(refusal)
            }
        }
    }

    /// Called by whoever has the turn.
    fn learn(&self, pin: Pin) {
        let now = Instant::now();
        let known = self.known.load();
        let others = known.iter().filter(|old| now < old.until && old.digest != pin.digest);
        let mut next: Vec<Pin> = others.take(MOST - 1).cloned().collect();
        next.insert(0, pin);
        self.known.store(Arc::new(next));
        self.in_doubt.store(false, Ordering::Release);
    }

    /// Whether a connection may carry a request.
    ///
    /// # Errors
    /// When its certificate is none that was verified; the next attempt verifies anew, on a new connection.
    pub(super) fn admit(&self, digest: Option<&Digest>) -> Result<(), BError> {
        let shown =
            digest.and_then(|digest| digest.ssl_digest.as_ref()).map(|tls| tls.cert_digest.as_slice());
        let now = Instant::now();
        if let Some(shown) = shown.filter(|shown| !shown.is_empty())
            && self.known.load().iter().any(|pin| *pin.digest == *shown && now < pin.until)
        {
            return Ok(());
        }
        self.in_doubt.store(true, Ordering::Release);
        self.generation.fetch_add(1, Ordering::Relaxed);
        Err(Error::explain(Custom(IDENTITY), "the certificate was not verified").into_up())
    }
}

async fn ask(address: SocketAddr, secure: &Secure) -> Result<Pin, Refusal> {
    let tcp = TcpStream::connect(address).await.map_err(|e| Refusal::Unreachable(e.to_string()))?;
    let stream = shake(tcp, secure, &[b"h2"]).await.map_err(|error| match bad_certificate(&error) {
        Some(why) => Refusal::Certificate(format!("{why:?}")),
        None => Refusal::Handshake(error.to_string()),
    })?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let leaf = leaf.ok_or_else(|| Refusal::Certificate("none".to_owned()))?;
    Ok(Pin { digest: pingora_rustls::hash_certificate(leaf).into(), until: until(leaf) })
}

/// Until when a certificate holds, at most [`LASTS`] from now.
fn until(leaf: &CertificateDer<'_>) -> Instant {
    let left = x509_parser::parse_x509_certificate(leaf).ok().and_then(|(_, leaf)| {
        let end = u64::try_from(leaf.validity.not_after.timestamp()).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Duration::from_secs(end).saturating_sub(now))
    });
    Instant::now() + left.unwrap_or(Duration::ZERO).min(LASTS)
}

impl Refusal {
    fn error(self, address: SocketAddr) -> BError {
        let error = match self {
            Self::Unreachable(why) => Error::explain(ConnectError, format!("{address}: {why}")),
            Self::Late => Error::explain(ConnectTimedout, format!("{address}: verifying it took too long")),
            Self::Handshake(why) => Error::explain(TLSHandshakeFailure, format!("{address}: {why}")),
            Self::Certificate(why) => Error::explain(InvalidCert, format!("{address}: certificate: {why}")),
        };
        error.into_up()
    }
}
