//! The certificate we show to backends.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use config::Certificate;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::CertKey;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate and key for upstream TLS, in the forms Pingora and rustls want. Checked whole before Pingora sees it:
/// its own parsing panics.
pub(crate) struct ClientIdentity {
    pingora: Arc<CertKey>,
    rustls: Arc<CertifiedKey>,
    /// Connections made with it are shared with nobody who has another, or none: Pingora tells certificates apart by
    /// their serial number only.
    fingerprint: u64,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

impl ClientIdentity {
    /// # Errors
    /// Field and reason.
    pub(crate) fn read(certificate: &Certificate) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("chain: not PEM ({e})"))?;
        if chain.is_empty() {
            return Err("chain: no certificate in it".to_owned());
        }
        for (at, one) in chain.iter().enumerate() {
            X509Certificate::from_der(one).map_err(|e| format!("chain: certificate {at}: {e}"))?;
        }
        let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal().as_bytes())
            .map_err(|_| "key: no private key in it".to_owned())?;
        let secret = key.secret_der().to_vec();
        // Pingora guesses the form from the bytes, and unwraps.
        PrivateKeyDer::try_from(secret.as_slice()).map_err(|e| format!("key: {e}"))?;
        let fingerprint = keyed().hash_one((&chain, &secret));
        let pingora = CertKey::new(chain.iter().map(|one| one.to_vec()).collect(), secret);
        let provider = rustls::crypto::ring::default_provider();
        let rustls = CertifiedKey::from_der(chain, key, &provider).map_err(|e| format!("key: {e}"))?;
        Ok(Self { pingora: Arc::new(pingora), rustls: Arc::new(rustls), fingerprint })
    }

    /// Has a connection of `peer` show it.
    pub(super) fn put_on(&self, peer: &mut HttpPeer) {
        peer.client_cert_key = Some(self.pingora.clone());
        peer.group_key = keyed().hash_one((peer.group_key, self.fingerprint));
    }

    /// For handshakes of our own.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.rustls.clone()
    }
}

/// A hasher keyed per process, so that nobody can make two group keys collide.
pub(super) fn keyed() -> &'static RandomState {
    static KEYED: OnceLock<RandomState> = OnceLock::new();
    KEYED.get_or_init(RandomState::new)
}
