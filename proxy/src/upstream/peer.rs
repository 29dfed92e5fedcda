//! Prototypes of Pingora peers: everything about reaching an endpoint that does not depend on the request.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{AppProtocol, Backend, BackendRef};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, PeerOptions};
use policies::Invalid;
use rustls_pki_types::ServerName;

use super::client::{ClientIdentity, keyed};
use super::names::Verifier;
use super::pins::Strict;
use super::trust;
use crate::egress::{Secure, http1, told};

/// Requests on one HTTP/2 connection at a time; the backend may allow fewer.
pub(super) const MAX_STREAMS: u32 = 100;
/// Time for the TCP handshake, and again for that of TLS.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time until a connection can carry a request.
pub(super) const TOTAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time a connection is kept without a request. Connections to an endpoint that is gone end by it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time one write may be blocked by a backend that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Finds connections whose host is gone.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
pub(super) const KEEPALIVES: u32 = 3;
/// How long what was sent may go without an acknowledgement.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Finds HTTP/2 connections whose other end is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// What a backend may send ahead of a slow client, per stream; and for all streams of a connection together, so that
/// stalled clients cannot starve the others.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;

/// How to reach the endpoints of one cluster.
#[derive(Debug)]
pub(super) struct Dialer {
    options: PeerOptions,
    sni: Option<String>,
    /// For what the backend speaks, and for HTTP/2 to a backend that speaks HTTP/1.1 else.
    group_keys: [u64; 2],
    /// For handshakes of our own.
    secure: Option<Arc<Strict>>,
    /// The policy names more than Pingora can check.
    is_strict: bool,
}

impl Dialer {
    /// # Errors
    /// When the TLS settings cannot be used.
    pub(super) fn new(backend: &BackendRef, spec: &Backend) -> Result<Self, Invalid> {
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(CONNECT_TIMEOUT);
        options.total_connection_timeout = Some(TOTAL_CONNECT_TIMEOUT);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.write_timeout = Some(WRITE_TIMEOUT);
        // A quiet backend is legitimate: long polls, event streams, WebSocket. Dead hosts are found by keepalive,
        // slow ones by the request's own limits.
        options.read_timeout = None;
        options.alpn = match spec.protocol {
            AppProtocol::Http | AppProtocol::Ws => http1(),
            AppProtocol::H2c => ALPN::H2,
        };
        options.max_h2_streams = MAX_STREAMS as usize;
        options.h2_ping_interval = Some(PING_INTERVAL);
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: KEEPALIVE_IDLE,
            interval: KEEPALIVE_INTERVAL,
            count: KEEPALIVES as usize,
            #[cfg(target_os = "linux")]
            user_timeout: UNACKNOWLEDGED,
        });
        let mut secure = None;
        if let Some(tls) = &spec.tls {
            trust::check_hostname(&tls.hostname)?;
            options.ca = trust::authorities(tls)?;
            // Over HTTP/2 the chain is Pingora's to check; the names are ours, by the digest of what it saw.
            options.verify_hostname = tls.subject_alt_names.is_empty();
            let name = ServerName::try_from(tls.hostname.clone())
                .map_err(|e| Invalid::field("tls.hostname", e.to_string()))?;
            let strict = Arc::new(Strict { verifier: Verifier::new(tls)?, name });
            told(&mut options, Secure { strict: strict.clone(), identity: None });
            secure = Some(strict);
        }
        Ok(Self {
            options,
            sni: spec.tls.as_ref().map(|tls| tls.hostname.clone()),
            group_keys: [group_key(backend, spec, false), group_key(backend, spec, true)],
            is_strict: spec.tls.as_ref().is_some_and(|tls| !tls.subject_alt_names.is_empty()),
            secure,
        })
    }

    /// The prototype for one endpoint.
    pub(super) fn prototype(&self, address: SocketAddr) -> HttpPeer {
        // A socket address resolves to itself: no DNS, no panic.
        let mut peer = HttpPeer::new(address, self.sni.is_some(), self.sni.clone().unwrap_or_default());
        peer.options = self.options.clone();
        peer.group_key = self.group_keys[0];
        peer
    }

    /// A peer like `prototype` that speaks HTTP/2 whatever the backend says.
    pub(super) fn force_h2(&self, peer: &mut HttpPeer) {
        if !matches!(peer.options.alpn, ALPN::H2) {
            peer.options.alpn = ALPN::H2;
            peer.group_key = self.group_keys[1];
        }
    }

    /// Its endpoints are verified by more than what Pingora does.
    pub(super) const fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// What its endpoints are verified by where Pingora has no part; `None`: they are not reached over TLS. `identity`:
    /// what is shown to them.
    pub(super) fn secure(&self, identity: Option<&ClientIdentity>) -> Option<Secure> {
        let strict = self.secure.clone()?;
        Some(Secure { strict, identity: identity.map(ClientIdentity::certified) })
    }

    /// True where connections are Pingora's own: it speaks HTTP/2.
    pub(super) const fn is_http2(&self, h2: bool) -> bool {
        h2 || matches!(self.options.alpn, ALPN::H2)
    }

    /// Requests that share a connection.
    pub(super) const fn streams(&self) -> u32 {
        if matches!(self.options.alpn, ALPN::H2) { MAX_STREAMS } else { 1 }
    }
}

/// Pingora shares connections between peers of one address, name and group key, whatever their CA and protocol: the
/// key stands for those.
fn group_key(backend: &BackendRef, spec: &Backend, force_h2: bool) -> u64 {
    let h2 = force_h2 || spec.protocol == AppProtocol::H2c;
    let tls = spec.tls.as_ref().map(|tls| {
        let pem = match &tls.ca {
            config::TrustedCa::System => None,
            config::TrustedCa::Pem(pem) => Some(pem.as_str()),
        };
        (tls.hostname.as_str(), tls.subject_alt_names.as_slice(), pem)
    });
    keyed().hash_one((&backend.namespace, h2, tls))
}
