//! Certificate authorities for upstream TLS, checked before Pingora sees them: its own parsing panics.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use config::{BackendTls, TrustedCa};
use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use policies::Invalid;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where distributions keep their CA bundle: Debian and Alpine, Fedora and RHEL, SUSE, older RHEL, BSD.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];
/// A bundle without certificates: nothing verifies against it.
const EMPTY: &str = "/dev/null";

/// Path of a CA bundle that Pingora's connectors read without panicking: `SSL_CERT_FILE` or that of the operating
/// system, and an empty one when neither can be read. For `ServerConf::ca_file` of every Pingora connector, always.
#[must_use]
pub fn trust_file() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| {
        let named = std::env::var("SSL_CERT_FILE").ok();
        first_readable(named.iter().map(String::as_str).chain(BUNDLES)).unwrap_or_else(|| {
            tracing::warn!("no readable CA bundle: backends that trust the system's CAs are refused");
            EMPTY.to_owned()
        })
    })
}

/// The first of `files` that Pingora would read, read with its own code.
fn first_readable<'f>(files: impl IntoIterator<Item = &'f str>) -> Option<String> {
    let found = files.into_iter().filter(|file| Path::new(file).is_file()).find(|file| {
        let mut roots = RootCertStore::empty();
        match pingora_rustls::load_ca_file_into_store(file, &mut roots) {
            Ok(()) => !roots.is_empty(),
            Err(error) => {
                tracing::warn!(file, %error, "CA bundle not used");
                false
            }
        }
    });
    found.map(str::to_owned)
}

/// Certificates to verify a backend with; `None`: those of [`trust_file`].
pub(super) fn authorities(tls: &BackendTls) -> Result<Option<Arc<CaType>>, Invalid> {
    match &tls.ca {
        TrustedCa::System if trust_file() == EMPTY => Err(Invalid::field(
            "tls.ca",
            "this proxy has no readable system CA bundle: name CA certificates, or set SSL_CERT_FILE",
        )),
        TrustedCa::System => Ok(None),
        TrustedCa::Pem(pem) => parse(pem).map(Some),
    }
}

fn parse(pem: &str) -> Result<Arc<CaType>, Invalid> {
    let invalid = |message: String| Invalid::field("tls.ca", message);
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for (at, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let certificate = certificate
            .map_err(|error| invalid(format!("certificate {at}: {error}; give PEM certificates")))?;
        // Both parsers must agree: Pingora uses x509-parser (and panics), the handshake uses webpki.
        X509Certificate::from_der(&certificate)
            .map_err(|error| invalid(format!("certificate {at}: {error}; give X.509 certificates")))?;
        roots.add(certificate.clone()).map_err(|error| {
            invalid(format!("certificate {at}: {error}; give certificates of authorities"))
        })?;
        certificates.push(WrappedX509::new(certificate.to_vec(), parse_x509));
    }
    if certificates.is_empty() {
        return Err(invalid("holds no certificate: give at least one as PEM".into()));
    }
    Ok(certificates.into())
}

/// Checks the name to verify: an empty one would switch verification off, and Pingora rewrites underscores.
pub(super) fn check_hostname(hostname: &str) -> Result<(), Invalid> {
    match ServerName::try_from(hostname) {
        Ok(ServerName::DnsName(_)) if !hostname.contains('_') => Ok(()),
        _ => Err(Invalid::field(
            "tls.hostname",
            format!("{hostname:?} is not a DNS name: write the name in the backend's certificate"),
        )),
    }
}

#[cfg(test)]
mod tests;
