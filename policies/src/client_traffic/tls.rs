//! TLS towards clients.

use crate::caller::spiffe_path;

use super::{Deserialize, JsonSchema, Problems, Serialize, group};

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
        /// Trust domains whose SPIFFE IDs name workloads of the cluster: to `authorization`, who shows a valid certificate
        /// with `spiffe://DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT` is that ServiceAccount. Every authority that client
        /// certificates are verified by can write such IDs, so name domains only where all of them may. Default: none.
        #[schemars(length(min = 1, max = 16))]
        trust_domains: Vec<String>,
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

/// Cipher suites of TLS 1.2 that are spoken: names of OpenSSL and IANA.
const CIPHERS: [(&str, &str); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Key exchange groups that are spoken.
const CURVES: [&str; 3] = ["X25519", "P-256", "P-384"];

/// The IANA name of a cipher suite of TLS 1.2 that is spoken, by its name of OpenSSL or IANA.
#[must_use]
pub fn cipher(name: &str) -> Option<&'static str> {
    CIPHERS.iter().find(|(openssl, iana)| *openssl == name || *iana == name).map(|(_, iana)| *iana)
}

impl TlsVersion {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    fn check(said: Option<Self>, field: &str, problems: &mut Problems) {
        if let Some(version @ (Self::V1_0 | Self::V1_1)) = said {
            problems.add(field, format!("{} is not supported: use 1.2 or 1.3", version.as_str()));
        }
    }
}

impl ClientTls {
    /// The least and the greatest version that are spoken.
    #[must_use]
    pub fn versions(&self) -> (TlsVersion, TlsVersion) {
        let or = |said: Option<TlsVersion>, default| {
            said.filter(|version| *version != TlsVersion::Auto).unwrap_or(default)
        };
        (or(self.min_version, TlsVersion::V1_2), or(self.max_version, TlsVersion::V1_3))
    }

    fn check_domains(&self, problems: &mut Problems) {
        let domains = self.trust_domains.as_deref().unwrap_or_default();
        for (index, domain) in domains.iter().enumerate() {
            if spiffe_path(&format!("spiffe://{domain}")) != Some((domain, "")) {
                let message =
                    format!("{domain:?} is no trust domain: write one such as cluster.local, in lower case");
                problems.add(format!("tls.trustDomains[{index}]"), message);
            }
        }
        problems.once("tls.trustDomains", domains);
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        TlsVersion::check(self.min_version, "tls.minVersion", problems);
        TlsVersion::check(self.max_version, "tls.maxVersion", problems);
        let (least, greatest) = self.versions();
        // What is refused anyway is not compared.
        if least > greatest && greatest >= TlsVersion::V1_2 {
            let message = format!("is above maxVersion {}: write another of them", greatest.as_str());
            problems.add("tls.minVersion", message);
        }
        let ciphers = self.ciphers.as_deref();
        if ciphers.is_some() && least > TlsVersion::V1_2 {
            problems.add("tls.ciphers", "are those of TLS 1.2, which minVersion rules out: leave them out");
        }
        for (index, name) in ciphers.unwrap_or_default().iter().enumerate() {
            if cipher(name).is_none() {
                let names = CIPHERS.map(|(openssl, _)| openssl).join(", ");
                let message =
                    format!("{name:?} is no cipher suite of TLS 1.2 that is spoken: use some of {names}");
                problems.add(format!("tls.ciphers[{index}]"), message);
            }
        }
        let curves = self.ecdh_curves.as_deref();
        for (index, name) in curves.unwrap_or_default().iter().enumerate() {
            if !CURVES.contains(&name.as_str()) {
                let message = format!("{name:?} is not spoken: use some of {}", CURVES.join(", "));
                problems.add(format!("tls.ecdhCurves[{index}]"), message);
            }
        }
        let alpn = self.alpn_protocols.as_deref();
        for (index, _) in
            alpn.unwrap_or_default().iter().enumerate().filter(|(_, p)| **p == AlpnProtocol::Http10)
        {
            problems
                .add(format!("tls.alpnProtocols[{index}]"), "http/1.0 is not supported: use h2 and http/1.1");
        }
        let lists = [
            ("tls.ciphers", ciphers.map(<[_]>::len)),
            ("tls.ecdhCurves", curves.map(<[_]>::len)),
            ("tls.alpnProtocols", alpn.map(<[_]>::len)),
            ("tls.trustDomains", self.trust_domains.as_ref().map(Vec::len)),
        ];
        for (field, _) in lists.into_iter().filter(|(_, length)| *length == Some(0)) {
            problems.add(field, "is empty: name at least one, or leave it out");
        }
        let same: Vec<_> = ciphers.unwrap_or_default().iter().filter_map(|name| cipher(name)).collect();
        problems.once("tls.ciphers", &same);
        problems.once("tls.ecdhCurves", curves.unwrap_or_default());
        problems.once("tls.alpnProtocols", alpn.unwrap_or_default());
        self.check_domains(problems);
    }
}
