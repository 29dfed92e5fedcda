//! What a certificate says of itself: how long it holds, and for which host names.

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// From when until when, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) begins: i64,
    pub(crate) ends: i64,
}

/// The first certificate of a chain, PEM.
///
/// # Errors
/// What is wrong with it, to be put after its name.
pub(crate) fn first(pem: &str) -> Result<CertificateDer<'static>, String> {
    match CertificateDer::pem_slice_iter(pem.as_bytes()).next() {
        Some(Ok(certificate)) => Ok(certificate),
        Some(Err(error)) => Err(format!("is not PEM: {error}")),
        None => Err("holds no PEM certificate".to_owned()),
    }
}

/// How long a certificate holds.
///
/// # Errors
/// What is wrong with it, to be put after its name.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
    let validity = parsed.validity();
    Ok(Validity { begins: validity.not_before.timestamp(), ends: validity.not_after.timestamp() })
}

/// Whether clients take a certificate for every host name that matches `hostname`, which may begin with `*.`.
pub(crate) fn is_for(certificate: &CertificateDer<'_>, hostname: &str) -> bool {
    // A name nobody has: only a wildcard is for it.
    let name = match hostname.strip_prefix("*.") {
        Some(rest) => format!("any-name-at-all.{rest}"),
        None => hostname.to_owned(),
    };
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    ServerName::try_from(name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
}
