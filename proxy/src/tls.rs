//! TLS settings by SNI.
//!
//! A client's SNI picks a listener by host name, as a Host picks one for a request; the listener's settings then pick a
//! certificate. A name no listener serves is refused, so that a port never shows a certificate it was not asked for.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use config::{Certificate, ClientValidation};
use policies::caller::Peer;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

pub(crate) use self::clients::Trust;
pub(crate) use self::shown::Shown;
use crate::route::hosts::{HostPattern, Hosts};
use crate::route::map::Keyed;
use crate::stream::StreamTable;
use crate::traffic::connection::TlsRules;

mod clients;
mod peer;
mod shown;

/// TLS settings by SNI.
#[derive(Debug, Default, Clone)]
pub struct TlsTable {
    listeners: Hosts<Entry>,
    /// One of the listeners takes requests.
    has_requests: bool,
}

#[derive(Debug)]
struct Entry {
    host: Box<str>,
    handshake: Handshake,
}

/// What a listener does with a handshake. Settings are none where it has no usable certificate: its names are refused,
/// not served with those of another.
#[derive(Debug)]
pub(crate) enum Handshake {
    /// Requests follow.
    Http(Option<Arc<Settings>>),
    /// Any bytes follow.
    Terminate(Option<Arc<Settings>>, Arc<StreamTable>),
    /// It is the backend's.
    Pass(Arc<StreamTable>),
}

/// TLS settings of one listener.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Arc<ServerConfig>,
    /// Who verified whoever comes through its handshakes.
    pub(crate) trust: Option<Trust>,
    /// Trust domains whose SPIFFE IDs name workloads.
    domains: Arc<[Box<str>]>,
}

impl Settings {
    /// Who has come through a handshake by them and shown this, leaf first; `None`: nobody has verified it, or it is
    /// nobody's.
    pub(crate) fn peer(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<Peer>> {
        let leaf = chain.filter(|_| self.trust.is_some())?.first()?;
        let peer = peer::peer(leaf, &self.domains).map(Arc::new);
        if peer.is_none() {
            tracing::debug!(
                "a client's certificate is valid, but has names that nobody can have: it is taken for nobody's"
            );
        }
        peer
    }
}

impl Keyed for Entry {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.host.as_bytes()
    }
}

impl TlsTable {
    /// The settings for a client's SNI; `None`: refuse the handshake. Without SNI, those of the listener without a host
    /// name.
    #[must_use]
    pub fn pick(&self, sni: Option<&str>) -> Option<&Arc<ServerConfig>> {
        self.settings(sni).map(|settings| &settings.config)
    }

    /// As [`pick`](Self::pick), with what a handshake by them proves.
    pub(crate) fn settings(&self, sni: Option<&str>) -> Option<&Arc<Settings>> {
        match self.handshake(sni)? {
            Handshake::Http(settings) | Handshake::Terminate(settings, _) => settings.as_ref(),
            Handshake::Pass(_) => None,
        }
    }

    /// What is done with a client's handshake; `None`: no listener has the name.
    pub(crate) fn handshake(&self, sni: Option<&str>) -> Option<&Handshake> {
        let entry = match sni {
            // What it takes is paid per handshake, and only by a client that writes upper case.
            Some(sni) if sni.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.listeners.find(&sni.to_ascii_lowercase(), Some)
            }
            Some(sni) => self.listeners.find(sni, Some),
            None => self.listeners.get(HostPattern::Any),
        };
        entry.map(|entry| &entry.handshake)
    }

    /// True when one of the listeners ends TLS for requests; else a name that is not served is no matter of TLS.
    pub(crate) const fn has_requests(&self) -> bool {
        self.has_requests
    }

    pub(crate) fn insert(&mut self, pattern: HostPattern<'_>, handshake: Handshake) {
        self.has_requests |= matches!(handshake, Handshake::Http(_));
        self.listeners.insert(pattern, Arc::new(Entry { host: pattern.key().into(), handshake }));
    }
}

/// A certificate that can be shown.
#[derive(Debug)]
pub(crate) struct Identity {
    certified: Arc<CertifiedKey>,
    /// DNS names of the leaf, lower-case.
    names: Box<[Box<str>]>,
}

/// Makes the TLS settings of listeners. Tickets and sessions are shared by all settings it makes, so that clients
/// resume across changes; rustls resumes only for the SNI a session began with. Where clients need a certificate there
/// are none of either.
pub(crate) struct Terminator {
    provider: Arc<CryptoProvider>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terminator")
    }
}

impl Terminator {
    pub(crate) fn new() -> Self {
        let tickets = rustls::crypto::ring::Ticketer::new()
            .inspect_err(|error| tracing::warn!(%error, "no session tickets: TLS clients cannot resume"))
            .ok();
        Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            tickets,
            sessions: ServerSessionMemoryCache::new(1024),
        }
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// Field, reason and remedy.
    pub(crate) fn read(&self, certificate: &Certificate) -> Result<Identity, String> {
        let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("chain: not PEM ({e}): give the certificate chain, leaf first"))?;
        let leaf = chain.first().ok_or("chain: no certificate in it: give the chain as PEM, leaf first")?;
        let names = names(leaf).ok_or("chain: the first certificate is not readable as X.509")?;
        // The key is revealed only to the TLS library.
        let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal().as_bytes())
            .map_err(|_| "key: no private key in it: give PKCS#8, PKCS#1 or SEC1 as PEM")?;
        let certified = CertifiedKey::from_der(chain, key, &self.provider).map_err(|e| {
            if let rustls::Error::InconsistentKeys(_) = e {
                "key: does not belong to the first certificate of the chain".to_owned()
            } else if let rustls::Error::InvalidCertificate(e) = e {
                format!("chain: the first certificate is not usable ({e})")
            } else {
                format!("key: not usable ({e}): RSA of 2048 bits or more, ECDSA P-256, P-384 or Ed25519")
            }
        })?;
        Ok(Identity { certified: Arc::new(certified), names })
    }

    /// The settings of a listener with these certificates, most wanted first, for these clients, that takes this of TLS
    /// and offers this by ALPN.
    ///
    /// # Errors
    /// What is wrong with the authorities for clients, with its field.
    pub(crate) fn settings(
        &self,
        identities: Vec<Arc<Identity>>,
        clients: Option<&ClientValidation>,
        rules: &TlsRules,
        alpn: &[&[u8]],
    ) -> Result<Arc<Settings>, String> {
        let provider = rules.provider(&self.provider);
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&rules.versions())
            .map_err(|e| format!("traffic.tls: {e}"))?;
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients::verifier(clients, &self.provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut settings = builder.with_cert_resolver(Arc::new(Resolver(identities)));
        settings.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let trust = Trust::of(clients, rules);
        let (stateless, stateful) = (rules.stateless && trust.is_none(), rules.stateful && trust.is_none());
        settings.session_storage =
            if stateful { self.sessions.clone() } else { Arc::new(NoServerSessionStorage {}) };
        let tickets = self.tickets.as_ref().filter(|_| stateless);
        if let Some(tickets) = tickets {
            settings.ticketer = tickets.clone();
        }
        if tickets.is_none() && !stateful {
            settings.send_tls13_tickets = 0;
        }
        Ok(Arc::new(Settings { config: Arc::new(settings), trust, domains: rules.trust_domains.clone() }))
    }
}

fn names(leaf: &CertificateDer<'_>) -> Option<Box<[Box<str>]>> {
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
    // No SAN, or one that cannot be read: the certificate is shown when nothing fits better.
    let san = leaf.subject_alternative_name().ok().flatten();
    let names = san.iter().flat_map(|san| &san.value.general_names);
    Some(
        names
            .filter_map(|name| {
                if let GeneralName::DNSName(name) = name {
                    Some(name.to_ascii_lowercase().into())
                } else {
                    None
                }
            })
            .collect(),
    )
}

/// Picks a certificate of one listener.
#[derive(Debug)]
struct Resolver(Vec<Arc<Identity>>);

impl ResolvesServerCert for Resolver {
    /// Gateway API: "The GatewayClass MUST use the longest matching SNI out of all available certificates". Among equals
    /// the first the client can verify, in the listener's order; the first of all when none fits. One that can verify
    /// none gets the first all the same (RFC 8446 section 4.4.2.2), so that the alert is `handshake_failure`.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sni = hello.server_name();
        self.0
            .iter()
            .filter(|identity| identity.certified.key.choose_scheme(hello.signature_schemes()).is_some())
            // The first of the least.
            .min_by_key(|identity| Reverse(sni.map(|sni| identity.fits(sni))))
            .or_else(|| self.0.first())
            .map(|identity| identity.certified.clone())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Wildcard,
    Exact,
}

impl Identity {
    /// How well the leaf names `sni`, which rustls has made lower-case. In a certificate `*` is one label (RFC 6125
    /// §6.4.3).
    fn fits(&self, sni: &str) -> Fit {
        let parent = sni.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .map(|name| match name.strip_prefix("*.") {
                Some(suffix) if parent == Some(suffix) => Fit::Wildcard,
                None if **name == *sni => Fit::Exact,
                _ => Fit::No,
            })
            .max()
            .unwrap_or(Fit::No)
    }
}
