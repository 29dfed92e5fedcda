//! TLS towards clients: what is offered and taken.

use std::sync::Arc;

use policies::client_traffic::{AlpnProtocol, ClientTls, TlsVersion, cipher};
use rustls::crypto::CryptoProvider;
use rustls::{NamedGroup, SupportedProtocolVersion, version};

const GROUPS: [(&str, NamedGroup); 3] =
    [("X25519", NamedGroup::X25519), ("P-256", NamedGroup::secp256r1), ("P-384", NamedGroup::secp384r1)];

/// What a listener offers and takes in handshakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsRules {
    tls12: bool,
    tls13: bool,
    /// IANA names of TLS 1.2, most wanted first; empty: the library's choice.
    ciphers: Vec<&'static str>,
    /// Most wanted first; empty: the library's choice.
    groups: Vec<NamedGroup>,
    /// For HTTPS, most wanted first.
    pub(crate) alpn: Vec<&'static [u8]>,
    /// Clients resume by tickets.
    pub(crate) stateless: bool,
    /// Clients resume by what we remember.
    pub(crate) stateful: bool,
    /// Whose SPIFFE IDs name workloads.
    pub(crate) trust_domains: Arc<[Box<str>]>,
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
            trust_domains: Arc::default(),
        }
    }
}

impl TlsRules {
    /// `spec` has no problems.
    pub(super) fn compile(spec: &ClientTls) -> Self {
        let (least, greatest) = spec.versions();
        let (stateless, stateful) =
            match spec.session.as_ref().and_then(|session| session.resumption.as_ref()) {
                Some(resumption) => (resumption.stateless.is_some(), resumption.stateful.is_some()),
                None => (true, true),
            };
        let ciphers = spec.ciphers.iter().flatten();
        let groups = spec.ecdh_curves.iter().flatten();
        let alpn = spec.alpn_protocols.as_ref().map(|protocols| protocols.iter().filter_map(alpn).collect());
        Self {
            tls12: least == TlsVersion::V1_2,
            tls13: greatest == TlsVersion::V1_3,
            ciphers: ciphers.filter_map(|name| cipher(name)).collect(),
            groups: groups.filter_map(|name| group(name)).collect(),
            alpn: alpn.unwrap_or_else(|| Self::default().alpn),
            stateless,
            stateful,
            trust_domains: spec.trust_domains.iter().flatten().map(|domain| domain.as_str().into()).collect(),
        }
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
            let named = |name: &&str| {
                all.cipher_suites.iter().find(|suite| suite.suite().as_str() == Some(*name)).copied()
            };
            // Those of TLS 1.3 are not chosen.
            provider.cipher_suites.retain(|suite| suite.tls13().is_some());
            provider.cipher_suites.extend(self.ciphers.iter().filter_map(named));
        }
        if !self.groups.is_empty() {
            let wanted = self.groups.iter();
            let wanted = wanted.filter_map(|name| all.kx_groups.iter().find(|group| group.name() == *name));
            provider.kx_groups = wanted.copied().collect();
        }
        Arc::new(provider)
    }
}

fn group(name: &str) -> Option<NamedGroup> {
    GROUPS.iter().find(|(known, _)| *known == name).map(|(_, group)| *group)
}

const fn alpn(protocol: &AlpnProtocol) -> Option<&'static [u8]> {
    match protocol {
        AlpnProtocol::Http2 => Some(b"h2"),
        AlpnProtocol::Http11 => Some(b"http/1.1"),
        AlpnProtocol::Http10 => None,
    }
}
