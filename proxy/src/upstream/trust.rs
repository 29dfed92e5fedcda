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
        TrustedCa::System => has_bundle().map(|()| None),
        TrustedCa::Pem(pem) => {
            let (_, certificates) = of_backends(pem)?;
            let certificates = certificates.into_iter();
            Ok(Some(
                certificates.map(|one| WrappedX509::new(one.to_vec(), parse_x509)).collect::<Vec<_>>().into(),
            ))
        }
    }
}

/// The same for a handshake of our own.
pub(super) fn roots(tls: &BackendTls) -> Result<Arc<RootCertStore>, Invalid> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    match &tls.ca {
        TrustedCa::System => {
            has_bundle()?;
            let load = || {
                let mut roots = RootCertStore::empty();
                if let Err(error) = pingora_rustls::load_ca_file_into_store(trust_file(), &mut roots) {
                    tracing::warn!(%error, "CA bundle not readable any more: nobody is trusted by it");
                }
                Arc::new(roots)
            };
            Ok(SYSTEM.get_or_init(load).clone())
        }
        TrustedCa::Pem(pem) => of_backends(pem).map(|(roots, _)| Arc::new(roots)),
    }
}

fn has_bundle() -> Result<(), Invalid> {
    if trust_file() == EMPTY {
        return Err(Invalid::field(
            "tls.ca",
            "this proxy has no readable system CA bundle: name CA certificates, or set SSL_CERT_FILE",
        ));
    }
    Ok(())
}

fn of_backends(pem: &str) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Invalid> {
    // Both parsers must agree: Pingora uses x509-parser (and panics), the handshake uses webpki.
    let is_readable = |certificate: &CertificateDer<'_>| {
        X509Certificate::from_der(certificate)
            .map(drop)
            .map_err(|error| format!("{error}; give X.509 certificates"))
    };
    read(pem, is_readable).map_err(|message| Invalid::field("tls.ca", message))
}

/// Certificates of authorities, PEM, each also checked by `check`.
///
/// # Errors
/// Which certificate, why, and remedy.
pub(crate) fn read(
    pem: &str,
    check: impl Fn(&CertificateDer<'_>) -> Result<(), String>,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for (at, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let invalid = |problem: String| format!("certificate {at}: {problem}");
        let certificate = certificate.map_err(|error| invalid(format!("{error}; give PEM certificates")))?;
        check(&certificate).map_err(invalid)?;
        roots
            .add(certificate.clone())
            .map_err(|error| invalid(format!("{error}; give certificates of authorities")))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err("holds no certificate: give at least one as PEM".into());
    }
    Ok((roots, certificates))
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
