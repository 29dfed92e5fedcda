//! Which clients may connect: certificates of clients.
//!
//! A handshake that resumes a session verifies nobody again. So where a certificate is needed no session can be resumed:
//! whoever connects shows a certificate that is valid then, to the authorities of then.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use config::{ClientValidation, ClientValidationMode};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::traffic::connection::TlsRules;
use crate::upstream::trust;

/// Stands for the authorities that the client of a connection was verified by, and what is made of its certificate. It is keyed per process, so that nobody
/// can make two bundles collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trust(u64);

impl Trust {
    /// `None` where anybody may connect.
    pub(crate) fn of(validation: Option<&ClientValidation>, rules: &TlsRules) -> Option<Self> {
        static KEYED: OnceLock<RandomState> = OnceLock::new();
        let needed = validation.filter(|v| v.mode == ClientValidationMode::AllowValidOnly)?;
        Some(Self(KEYED.get_or_init(RandomState::new).hash_one((&needed.ca, &rules.trust_domains))))
    }
}

/// What verifies clients.
///
/// # Errors
/// Field, reason and remedy.
pub(super) fn verifier(
    validation: &ClientValidation,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let invalid = |problem: String| format!("tls.clientValidation.ca: {problem}");
    let (roots, _) = trust::read(&validation.ca, |_| Ok(())).map_err(invalid)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| invalid(e.to_string()))?;
    Ok(match validation.mode {
        ClientValidationMode::AllowValidOnly => verifier,
        ClientValidationMode::AllowInsecureFallback => Arc::new(Anybody(verifier)),
    })
}

/// Asks for a certificate and takes whatever comes, or nothing. Nothing may be concluded from what came.
#[derive(Debug)]
struct Anybody(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Err(error) = self.0.verify_client_cert(leaf, intermediates, now) {
            tracing::debug!(%error, "client certificate not valid, served all the same");
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.0.verify_tls12_signature(message, certificate, signed);
        Ok(verified.unwrap_or_else(|_| HandshakeSignatureValid::assertion()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.0.verify_tls13_signature(message, certificate, signed);
        Ok(verified.unwrap_or_else(|_| HandshakeSignatureValid::assertion()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
