//! What is known of one client connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::task::AtomicWaker;
use http::HeaderValue;
use policies::Scheme;
use policies::caller::{Peer, Workload};
use rustls::pki_types::CertificateDer;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::gate::Gate;
use crate::snapshot::{Bind, Transport};
use crate::telemetry::Telemetry;
use crate::telemetry::edges::Edge;
use crate::tls::{Settings, Shown, Trust};
use crate::traffic::Traffic;
use crate::traffic::connection::ConnectionRules;
use crate::workloads::{Resident, Workloads};

/// One client connection; shared by its task, its requests and the gate it came through.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The listening port it came through.
    pub(crate) gate: Arc<Gate>,
    /// The client.
    pub(crate) peer: SocketAddr,
    /// Who is really connected: `peer`, unless a PROXY protocol header has named another. Nobody is told by the address he
    /// says to have.
    source: IpAddr,
    /// The pod behind it, once it is known.
    resident: OnceLock<Arc<Resident>>,
    /// That pod is gone.
    is_orphan: AtomicBool,
    /// Our side.
    pub(crate) local: SocketAddr,
    /// What its port held it to when it came.
    pub(crate) traffic: Arc<Traffic>,
    /// When it takes no more requests.
    ends_at: Option<Instant>,
    /// Requests it has carried.
    requests: AtomicU32,
    /// Set once, after the handshake.
    tls: OnceLock<Tls>,
    /// `peer` as `x-forwarded-for` carries it, made once.
    pub(crate) forwarded_for: HeaderValue,
    /// Wakes the task while it waits for a request.
    pub(crate) waker: AtomicWaker,
    /// Ends its task; shared with what it was before its client was known.
    pub(crate) abort: Arc<OnceLock<AbortHandle>>,
    /// Set when it carries no requests: its listener.
    stream_of: OnceLock<Arc<str>>,
    /// Whom its requests come from and go to, as far as that is counted.
    edge: OnceLock<Box<Edge>>,
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
    /// Who that is, found out once.
    caller: Option<Arc<Peer>>,
}

impl Default for Connection {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self::new(
            Arc::new(Gate::new(
                Bind { transport: Transport::Tcp, address: None, port: 0 },
                &Telemetry::default(),
                Arc::default(),
            )),
            nowhere,
            nowhere,
            Arc::default(),
        )
    }
}

impl Connection {
    pub(crate) fn new(gate: Arc<Gate>, peer: SocketAddr, local: SocketAddr, traffic: Arc<Traffic>) -> Self {
        // A dual-stack socket shows IPv4 clients as mapped addresses; nobody downstream wants those.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let ends_at = traffic.connection.limits.duration.map(|most| Instant::now() + most);
        Self {
            gate,
            peer,
            source: peer.ip(),
            resident: OnceLock::new(),
            is_orphan: AtomicBool::new(false),
            local,
            traffic,
            ends_at,
            requests: AtomicU32::new(0),
            tls: OnceLock::new(),
            forwarded_for: address_value(peer.ip()),
            waker: AtomicWaker::new(),
            abort: Arc::default(),
            stream_of: OnceLock::new(),
            edge: OnceLock::new(),
            linger: AtomicBool::new(false),
            flooded: AtomicBool::new(false),
        }
    }

    /// The same before anything of it was read, for the client that a PROXY protocol header names.
    pub(crate) fn of_client(&self, peer: SocketAddr) -> Self {
        let (abort, resident) = (self.abort.clone(), self.resident.clone());
        let new = Self::new(self.gate.clone(), peer, self.local, self.traffic.clone());
        Self { abort, source: self.source, resident, ends_at: self.ends_at, ..new }
    }

    /// What it is held to.
    pub(crate) fn rules(&self) -> &ConnectionRules {
        &self.traffic.connection
    }

    /// Most bytes of a request head; `None`: the default. A head is read before it is known whose rules it is held to, so
    /// its size is the port's to say.
    pub(crate) fn head_bytes(&self) -> Option<usize> {
        self.traffic.request.head_bytes
    }

    /// When it takes no more requests, if its age is limited.
    pub(crate) const fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Takes note of a request.
    pub(crate) fn begins_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// It has carried what it may, or for as long as it may.
    pub(crate) fn is_spent(&self) -> bool {
        let most = self.rules().limits.requests;
        most.is_some_and(|most| self.requests.load(Ordering::Relaxed) >= most)
            || self.ends_at.is_some_and(|at| at <= Instant::now())
    }

    /// Tells what the handshake settled. `chain`: what the client has shown.
    pub(crate) fn secured(
        &self,
        sni: Option<&str>,
        settings: &Settings,
        chain: Option<&[CertificateDer<'static>]>,
    ) {
        // Where nobody verifies, what was shown says nothing.
        let trust = settings.trust;
        let shown = trust.and_then(|_| Shown::new(chain));
        let _ = self.tls.set(Tls { sni: sni.map(Into::into), trust, shown, caller: settings.peer(chain) });
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

    /// Who a verified client is.
    pub(crate) fn caller(&self) -> Option<&Arc<Peer>> {
        self.tls.get()?.caller.as_ref()
    }

    /// The pod it comes from. `None`: nobody knows, or it is gone; then the connection takes no more requests.
    pub(crate) fn resident(&self, workloads: &Workloads) -> Option<&Arc<Resident>> {
        if self.resident.get().is_none() {
            let _ = self.resident.set(workloads.find(self.source)?.clone());
        }
        let pod = self.resident.get()?;
        if workloads.is_still(self.source, pod) {
            return Some(pod);
        }
        if !self.is_orphan.swap(true, Ordering::Relaxed) {
            self.waker.wake();
        }
        None
    }

    /// What the address proves that it came from, for a connection that is judged once, if at all: when it comes.
    pub(crate) fn source_peer(&self) -> Option<&Arc<Peer>> {
        self.resident.get().map(|pod| pod.peer())
    }

    /// Counts a request to a captured Service.
    pub(crate) fn count(
        &self,
        telemetry: &Telemetry,
        ends: (Option<&Workload>, &Arc<str>),
        status: u16,
        duration: Duration,
    ) {
        let (source, service) = ends;
        let new = || Edge::new(telemetry, source, service);
        match self.edge.get_or_init(|| Box::new(new())).between(source, service) {
            Some(stats) => stats.request(status, duration),
            // Its caller was found out later, or it asks for another Service.
            None => new().stats().request(status, duration),
        }
    }

    /// True when no further request should come over it.
    pub(crate) fn is_draining(&self) -> bool {
        self.gate.is_draining()
            || self.is_spent()
            || self.is_orphan.load(Ordering::Relaxed)
            || self.gate.pressure.ends_connections()
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
