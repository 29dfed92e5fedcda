//! The controller's certificate and the authority of its callers.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::Redacted;

/// TLS of the server, ready to use. TLS 1.3 only.
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
}

/// Why TLS cannot be set up. The last good [`ServerTls`] should be kept then.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing of the kind in it.
    #[error("{what} cannot be read as PEM")]
    Pem {
        /// `certificate chain`, `private key` or `client authority`.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Chain and key do not fit, or an authority cannot be used.
    #[error("certificate, key or authority cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The client authority cannot be used.
    #[error("the client authority cannot be used")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

impl ServerTls {
    /// `chain`, leaf first, and `key` are the controller's own; `client_authority` is one or more certificates of
    /// authorities that sign proxies' certificates (the old and the new one while they are exchanged). All PEM.
    ///
    /// # Errors
    /// When something cannot be read or does not fit together.
    pub fn new(chain: &str, key: &Redacted, client_authority: &str) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(client_authority, "client authority")? {
            roots.add(certificate)?;
        }
        // Without a certificate a caller can ask for one, and nothing else.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()?;
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
            .map_err(|source| TlsError::Pem { what: "private key", source })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(chain, "certificate chain")?, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Each connection proves its certificate anew: a resumed session would outlive it.
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config) })
    }
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(read) if read.is_empty() => {
            Err(TlsError::Pem { what, source: rustls::pki_types::pem::Error::NoItemsFound })
        }
        Ok(read) => Ok(read),
        Err(source) => Err(TlsError::Pem { what, source }),
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}
