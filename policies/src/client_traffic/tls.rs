//! TLS towards clients.

use super::{Deserialize, JsonSchema, Serialize, group};

group! {
    /// TLS towards clients.
    ClientTls {
        /// Least version. Default: 1.2.
        min_version: TlsVersion,
        /// Greatest version. Default: 1.3.
        max_version: TlsVersion,
        /// Cipher suites of TLS 1.2 by OpenSSL or IANA name, most wanted first; those of TLS 1.3 are not chosen.
        #[schemars(length(min = 1, max = 16))]
        ciphers: Vec<String>,
        /// Key exchange groups: `X25519`, `P-256`, `P-384`; most wanted first.
        #[schemars(length(min = 1, max = 8))]
        ecdh_curves: Vec<String>,
        /// What is offered to HTTPS clients, most wanted first. Default: h2, http/1.1.
        #[schemars(length(min = 1, max = 2))]
        alpn_protocols: Vec<AlpnProtocol>,
        /// Sessions.
        session: Session,
    }
}

group! {
    /// Sessions.
    Session {
        /// How clients resume. Default: both ways. `{}`: not at all.
        resumption: SessionResumption,
    }
}

group! {
    /// How clients resume sessions.
    SessionResumption {
        /// By tickets (RFC 5077, RFC 8446 section 4.6.1).
        stateless: ResumptionKind,
        /// By what the proxy remembers.
        stateful: ResumptionKind,
    }
}

/// A way to resume is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumptionKind {}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// Whatever is the default.
    Auto,
    /// Not supported: refused.
    #[serde(rename = "1.0")]
    V1_0,
    /// Not supported: refused.
    #[serde(rename = "1.1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What may be offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AlpnProtocol {
    /// HTTP/2.
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
    /// HTTP/1.0: refused.
    #[serde(rename = "http/1.0")]
    Http10,
}
