//! What becomes of `x-forwarded-client-cert`, and what of a certificate it says.

use policies::client_traffic::{CertificateDetail, XForwardedClientCert, XfccMode};

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CertificateRules {
    pub(crate) mode: XfccMode,
    pub(crate) details: Details,
}

/// What is said of a certificate beside its hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set")]
pub(crate) struct Details {
    pub(crate) cert: bool,
    pub(crate) chain: bool,
    pub(crate) subject: bool,
    pub(crate) uri: bool,
    pub(crate) dns: bool,
}

impl CertificateRules {
    pub(super) fn compile(spec: &XForwardedClientCert) -> Self {
        let listed = spec.cert_details_to_add.as_deref().unwrap_or_default();
        Self {
            mode: spec.mode.unwrap_or(XfccMode::Sanitize),
            details: Details {
                cert: listed.contains(&CertificateDetail::Cert),
                chain: listed.contains(&CertificateDetail::Chain),
                subject: listed.contains(&CertificateDetail::Subject),
                uri: listed.contains(&CertificateDetail::Uri),
                dns: listed.contains(&CertificateDetail::Dns),
            },
        }
    }
}
