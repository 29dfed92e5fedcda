//! Who a backend may be: its certificate must come from the policy's authorities and hold one of the policy's names.
//!
//! Pingora on rustls checks one DNS name at most, the SNI. Whatever else a policy asks for is checked here, by a
//! verifier for handshakes of our own.

use std::sync::Arc;

use config::{BackendTls, SubjectAltName};
use policies::Invalid;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

use super::trust;

/// What a backend's certificate is verified by.
#[derive(Debug)]
pub(crate) struct Verifier {
    roots: Arc<RootCertStore>,
    names: Box<[Name]>,
    provider: Arc<CryptoProvider>,
}

/// A name that a certificate may hold.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Dns(ServerName<'static>),
    /// Any name that ends so; it starts with a dot.
    Below(Box<str>),
    Uri(Box<str>),
}

impl Name {
    fn read(name: &SubjectAltName) -> Option<Self> {
        let dns = |name: &str| match ServerName::try_from(name) {
            Ok(ServerName::DnsName(name)) => Some(ServerName::DnsName(name.to_owned())),
            _ => None,
        };
        match name {
            SubjectAltName::Hostname(name) => match name.strip_prefix("*.") {
                Some(suffix) => {
                    dns(suffix).map(|_| Self::Below(format!(".{}", suffix.to_ascii_lowercase()).into()))
                }
                None => dns(name).map(Self::Dns),
            },
            SubjectAltName::Uri(uri) => (!uri.is_empty()).then(|| Self::Uri(uri.as_str().into())),
        }
    }

    fn is_in(&self, parsed: &ParsedCertificate<'_>, names: &[GeneralName<'_>]) -> bool {
        match self {
            Self::Dns(name) => verify_server_name(parsed, name).is_ok(),
            Self::Below(suffix) => names.iter().any(|name| {
                matches!(name, GeneralName::DNSName(name)
                    if name.len() > suffix.len() && name.to_ascii_lowercase().ends_with(&**suffix))
            }),
            Self::Uri(uri) => {
                names.iter().any(|name| matches!(name, GeneralName::URI(name) if *name == &**uri))
            }
        }
    }
}

impl Verifier {
    /// # Errors
    /// When the policy cannot be followed: authorities or names that cannot be read.
    pub(crate) fn new(tls: &BackendTls) -> Result<Arc<Self>, Invalid> {
        let own = [SubjectAltName::Hostname(tls.hostname.clone())];
        let wanted =
            if tls.subject_alt_names.is_empty() { own.as_slice() } else { tls.subject_alt_names.as_slice() };
        let names = wanted.iter().enumerate().map(|(at, name)| {
            Name::read(name).ok_or_else(|| {
                Invalid::field(
                    "tls.subjectAltNames",
                    format!("item {at}: {name:?} is no name: write a DNS name, *.example.com or a URI"),
                )
            })
        });
        Ok(Arc::new(Self {
            names: names.collect::<Result<_, _>>()?,
            roots: trust::roots(tls)?,
            provider: Arc::new(ring::default_provider()),
        }))
    }

    /// Settings of a handshake. Nothing is resumed: a resumed session shows no certificate.
    ///
    /// # Errors
    /// When the TLS library refuses its own defaults; never today.
    pub(crate) fn settings(
        self: &Arc<Self>,
        identity: Option<Arc<CertifiedKey>>,
        alpn: &[&[u8]],
    ) -> Result<ClientConfig, Error> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(self.clone());
        let mut settings = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
            None => builder.with_no_client_auth(),
        };
        settings.resumption = Resumption::disabled();
        settings.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(settings)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        // Pingora reads the leaf with this parser, and panics: one it cannot read goes no further.
        let (_, read) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let san = read.subject_alternative_name().ok().flatten();
        let names = san.as_ref().map(|san| san.value.general_names.as_slice()).unwrap_or_default();
        if self.names.iter().any(|name| name.is_in(&parsed, names)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
