//! TLS towards clients: what is offered and taken.

use std::sync::Arc;

use policies::client_traffic::{AlpnProtocol, ClientTls, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion, version};

/// TLS 1.2, by OpenSSL's name and the registry's.
const CIPHERS: [(&str, &str, CipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

const GROUPS: [(&str, NamedGroup); 3] =
    [("X25519", NamedGroup::X25519), ("P-256", NamedGroup::secp256r1), ("P-384", NamedGroup::secp384r1)];

/// What a listener offers and takes in handshakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsRules {
    tls12: bool,
    tls13: bool,
    /// Of TLS 1.2, most wanted first; empty: the library's choice.
    ciphers: Vec<CipherSuite>,
    /// Most wanted first; empty: the library's choice.
    groups: Vec<NamedGroup>,
    /// For HTTPS, most wanted first.
    pub(crate) alpn: Vec<&'static [u8]>,
    /// Clients resume by tickets.
    pub(crate) stateless: bool,
    /// Clients resume by what we remember.
    pub(crate) stateful: bool,
}

impl Default for TlsRules {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
            ciphers: Vec::new(),
            groups: Vec::new(),
            alpn: vec![b"h2", b"http/1.1"],
            stateless: true,
            stateful: true,
        }
    }
}

impl TlsRules {
    /// # Errors
    /// Field, reason and remedy.
    pub(super) fn compile(spec: &ClientTls) -> Result<Self, String> {
        let least = version_of("minVersion", spec.min_version, TlsVersion::V1_2)?;
        let greatest = version_of("maxVersion", spec.max_version, TlsVersion::V1_3)?;
        if least > greatest {
            return Err("tls.minVersion: is greater than maxVersion: no handshake could succeed".to_owned());
        }
        let tls12 = least == TlsVersion::V1_2;
        let ciphers = each("ciphers", spec.ciphers.as_deref(), cipher)?;
        if !ciphers.is_empty() && !tls12 {
            return Err(
                "tls.ciphers: are those of TLS 1.2, which minVersion rules out: leave them out".to_owned()
            );
        }
        let (stateless, stateful) =
            match spec.session.as_ref().and_then(|session| session.resumption.as_ref()) {
                Some(resumption) => (resumption.stateless.is_some(), resumption.stateful.is_some()),
                None => (true, true),
            };
        let alpn = each("alpnProtocols", spec.alpn_protocols.as_deref(), alpn)?;
        Ok(Self {
            tls12,
            tls13: greatest == TlsVersion::V1_3,
            ciphers,
            groups: each("ecdhCurves", spec.ecdh_curves.as_deref(), group)?,
            alpn: if alpn.is_empty() { Self::default().alpn } else { alpn },
            stateless,
            stateful,
        })
    }

    /// Versions, newest first.
    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let both = [(self.tls13, &version::TLS13), (self.tls12, &version::TLS12)];
        both.into_iter().filter(|(taken, _)| *taken).map(|(_, version)| version).collect()
    }

    /// A provider that knows only what is wanted, in that order.
    pub(crate) fn provider(&self, all: &Arc<CryptoProvider>) -> Arc<CryptoProvider> {
        if self.ciphers.is_empty() && self.groups.is_empty() {
            return all.clone();
        }
        let mut provider = CryptoProvider::clone(all);
        if !self.ciphers.is_empty() {
            let is_old = |suite: CipherSuite| CIPHERS.iter().any(|(_, _, known)| *known == suite);
            let wanted = self.ciphers.iter();
            let wanted =
                wanted.filter_map(|name| all.cipher_suites.iter().find(|suite| suite.suite() == *name));
            provider.cipher_suites.retain(|suite| !is_old(suite.suite()));
            provider.cipher_suites.extend(wanted);
        }
        if !self.groups.is_empty() {
            let wanted = self.groups.iter();
            let wanted = wanted.filter_map(|name| all.kx_groups.iter().find(|group| group.name() == *name));
            provider.kx_groups = wanted.copied().collect();
        }
        Arc::new(provider)
    }
}

fn version_of(field: &str, given: Option<TlsVersion>, default: TlsVersion) -> Result<TlsVersion, String> {
    match given {
        None | Some(TlsVersion::Auto) => Ok(default),
        Some(version @ (TlsVersion::V1_2 | TlsVersion::V1_3)) => Ok(version),
        Some(TlsVersion::V1_0 | TlsVersion::V1_1) => {
            Err(format!("tls.{field}: TLS 1.0 and 1.1 are not supported: write \"1.2\" or \"1.3\""))
        }
    }
}

/// Reads a list in which each comes once.
fn each<T, U: PartialEq>(
    field: &str,
    given: Option<&[T]>,
    read: impl Fn(&T) -> Result<U, String>,
) -> Result<Vec<U>, String> {
    let Some(given) = given else { return Ok(Vec::new()) };
    if given.is_empty() {
        return Err(format!("tls.{field}: is empty: name one, or leave it out"));
    }
    let mut found = Vec::with_capacity(given.len());
    for (at, one) in given.iter().enumerate() {
        let one = read(one).map_err(|problem| format!("tls.{field}[{at}]: {problem}"))?;
        if found.contains(&one) {
            return Err(format!("tls.{field}[{at}]: was named before: leave it out"));
        }
        found.push(one);
    }
    Ok(found)
}

#[allow(clippy::ptr_arg, reason = "an item of a list of them")]
fn cipher(name: &String) -> Result<CipherSuite, String> {
    let found = CIPHERS.iter().find(|(openssl, iana, _)| name == openssl || name == iana);
    found.map(|(_, _, suite)| *suite).ok_or_else(|| {
        let known: Vec<_> = CIPHERS.iter().map(|(openssl, _, _)| *openssl).collect();
        format!("{name:?} is no cipher suite of TLS 1.2 that is supported: {}", known.join(", "))
    })
}

#[allow(clippy::ptr_arg, reason = "an item of a list of them")]
fn group(name: &String) -> Result<NamedGroup, String> {
    let found = GROUPS.iter().find(|(known, _)| name == known);
    found
        .map(|(_, group)| *group)
        .ok_or_else(|| format!("{name:?} is not supported: write X25519, P-256 or P-384"))
}

fn alpn(protocol: &AlpnProtocol) -> Result<&'static [u8], String> {
    match protocol {
        AlpnProtocol::Http2 => Ok(b"h2"),
        AlpnProtocol::Http11 => Ok(b"http/1.1"),
        AlpnProtocol::Http10 => Err("http/1.0 is not offered: write http/1.1".to_owned()),
    }
}
