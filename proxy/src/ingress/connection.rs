//! What is known of one client connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use futures::task::AtomicWaker;
use http::HeaderValue;
use policies::Scheme;
use rustls::pki_types::CertificateDer;
use tokio::task::AbortHandle;

use super::gate::Gate;
use crate::snapshot::{Bind, Transport};
use crate::telemetry::Telemetry;
use crate::tls::{Shown, Trust};

/// One client connection; shared by its task, its requests and the gate it came through.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The listening port it came through.
    pub(crate) gate: Arc<Gate>,
    /// The client.
    pub(crate) peer: SocketAddr,
    /// Our side.
    pub(crate) local: SocketAddr,
    /// Set once, after the handshake.
    tls: OnceLock<Tls>,
    /// `peer` as `x-forwarded-for` carries it, made once.
    pub(crate) forwarded_for: HeaderValue,
    /// Wakes the task while it waits for a request.
    pub(crate) waker: AtomicWaker,
    pub(crate) abort: OnceLock<AbortHandle>,
    /// Set when it carries no requests: its listener.
    stream_of: OnceLock<Arc<str>>,
    linger: AtomicBool,
    /// HTTP/2: the client sends frames that carry nothing, without end.
    flooded: AtomicBool,
}

/// What a handshake settled.
#[derive(Debug)]
struct Tls {
    sni: Option<Box<str>>,
    trust: Option<Trust>,
    /// What a verified client has shown; in a place of its own, since most have not.
    shown: Option<Box<Shown>>,
}

impl Default for Connection {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::new(
            Arc::new(Gate::new(
                Bind { transport: Transport::Tcp, address: None, port: 0 },
                &Telemetry::default(),
            )),
            nowhere,
            nowhere,
        )
    }
}

impl Connection {
    pub(crate) fn new(gate: Arc<Gate>, peer: SocketAddr, local: SocketAddr) -> Self {
        // A dual-stack socket shows IPv4 clients as mapped addresses; nobody downstream wants those.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        Self {
            gate,
            peer,
            local,
            tls: OnceLock::new(),
            forwarded_for: address_value(peer.ip()),
            waker: AtomicWaker::new(),
            abort: OnceLock::new(),
            stream_of: OnceLock::new(),
            linger: AtomicBool::new(false),
            flooded: AtomicBool::new(false),
        }
    }

    /// Tells what the handshake settled. `chain`: what the client has shown.
    pub(crate) fn secured(
        &self,
        sni: Option<&str>,
        trust: Option<Trust>,
        chain: Option<&[CertificateDer<'static>]>,
    ) {
        // Where nobody verifies, what was shown says nothing.
        let shown = trust.and_then(|_| Shown::new(chain));
        let _ = self.tls.set(Tls { sni: sni.map(Into::into), trust, shown });
    }

    /// Tells that it carries no requests, but belongs to a listener as a whole.
    pub(crate) fn streams(&self, listener: &Arc<str>) {
        let _ = self.stream_of.set(listener.clone());
    }

    /// The listener it belongs to as a whole.
    pub(crate) fn stream_of(&self) -> Option<&str> {
        self.stream_of.get().map(|listener| &**listener)
    }

    /// The scheme the client speaks.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.get().is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The name the client asked for in its handshake, lower-case; empty when it asked for none. `None`: no TLS.
    pub(crate) fn sni(&self) -> Option<&str> {
        Some(self.tls.get()?.sni.as_deref().unwrap_or_default())
    }

    /// Who verified the client's certificate.
    pub(crate) fn trust(&self) -> Option<Trust> {
        self.tls.get()?.trust
    }

    /// The certificate of a verified client.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.tls.get()?.shown.as_deref()
    }

    /// True when no further request should come over it.
    pub(crate) fn is_draining(&self) -> bool {
        self.gate.is_draining()
    }

    /// Says that the client may still be sending: closing at once would reset the connection, and the client could lose
    /// our answer (RFC 9112 section 9.6).
    pub(crate) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    /// Says that the connection has to end for what the client sends.
    pub(crate) fn flood(&self) {
        self.flooded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    pub(crate) fn lingers(&self) -> bool {
        self.linger.load(Ordering::Relaxed)
    }
}

fn address_value(ip: IpAddr) -> HeaderValue {
    HeaderValue::try_from(ip.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}
