//! What is known of one connection or flow; when it is dropped, it is logged and counted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use policies::caller::Peer;
use tokio::time::Instant;

use crate::rule::StreamRule;
use crate::telemetry::edges::Edge;
use crate::telemetry::{Course, StreamRecord, Telemetry};
use crate::upstream::{Outcome, Picked};

/// One connection or flow that has a rule.
#[derive(Debug)]
pub(crate) struct Account {
    telemetry: Arc<Telemetry>,
    /// `TCP`, `TLS` or `UDP`.
    protocol: &'static str,
    listener: Arc<str>,
    rule: Arc<StreamRule>,
    sni: Option<Box<str>>,
    peer: SocketAddr,
    /// What its connection proves.
    source: Option<Arc<Peer>>,
    /// Towards a captured Service.
    edge: Option<Edge>,
    begun: Instant,
    attempts: u32,
    /// Its endpoint; counts as in use until the end.
    picked: Option<(Picked, Instant)>,
    /// From asking the endpoint to its answer.
    answered: OnceLock<std::time::Duration>,
    received: AtomicU64,
    sent: AtomicU64,
    reason: OnceLock<&'static str>,
}

impl Account {
    pub(crate) fn new(
        telemetry: Arc<Telemetry>,
        protocol: &'static str,
        listener: Arc<str>,
        rule: Arc<StreamRule>,
        sni: Option<Box<str>>,
        peer: SocketAddr,
    ) -> Self {
        rule.stats.opened();
        Self {
            telemetry,
            protocol,
            listener,
            rule,
            sni,
            peer,
            source: None,
            edge: None,
            begun: Instant::now(),
            attempts: 0,
            picked: None,
            answered: OnceLock::new(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            reason: OnceLock::new(),
        }
    }

    /// Takes note of whom its connection comes from. `is_captured`: the listener is a captured Service's.
    pub(crate) fn comes_from(&mut self, source: Option<&Arc<Peer>>, is_captured: bool) {
        self.source = source.cloned();
        let workload = source.and_then(|source| source.workload.as_ref());
        self.edge = is_captured.then(|| Edge::new(&self.telemetry, workload, &self.listener));
    }

    /// An endpoint is tried.
    pub(crate) fn attempt(&mut self, picked: Picked) -> &Picked {
        self.attempts += 1;
        &self.picked.insert((picked, Instant::now())).0
    }

    /// The endpoint answers; only the first time counts.
    pub(crate) fn answered(&self) {
        let Some((picked, since)) = self.picked.as_ref().filter(|_| self.answered.get().is_none()) else {
            return;
        };
        let latency = *self.answered.get_or_init(|| since.elapsed());
        picked.record(Outcome::Success, latency);
        picked.cluster().stats.attempt(Outcome::Success, 0, latency);
        picked.cluster().stats.connected(false);
    }

    /// The endpoint takes nothing any more.
    pub(crate) fn refused(&self) {
        let Some((picked, since)) = &self.picked else { return };
        let latency = since.elapsed();
        // Whoever comes next should go elsewhere, whether or not it has answered before.
        picked.record(Outcome::ConnectFailure, latency);
        let is_answered = self.answered.get().is_some();
        let outcome = if is_answered { Outcome::Broken } else { Outcome::ConnectFailure };
        picked.cluster().stats.attempt(outcome, 0, latency);
    }

    /// Bytes of the client that the backend was sent.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.rule.stats.received(bytes as u64);
    }

    /// Bytes of the backend that the client was sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.rule.stats.sent(bytes as u64);
    }

    /// Says why it ends; the first reason holds.
    pub(crate) fn end(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Without a word: its task was dropped.
        let silent = if std::thread::panicking() { "panic" } else { "cut" };
        let reason = self.reason.get().copied().unwrap_or(silent);
        self.rule.stats.ended(reason);
        let (received, sent) = (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        if let Some(edge) = &self.edge {
            edge.stats().connection(received, sent);
        }
        self.telemetry.finish_stream(&StreamRecord {
            sni: self.sni.as_deref(),
            source: self.source.as_ref().and_then(|source| source.workload.as_ref()),
            course: Course {
                protocol: self.protocol,
                reason,
                listener: &self.listener,
                rule: Some(&self.rule.name),
                upstream: self
                    .picked
                    .as_ref()
                    .map(|(picked, _)| (&picked.cluster().backend, picked.address())),
                attempts: self.attempts,
                duration: self.begun.elapsed(),
                upstream_duration: self.answered.get().copied(),
                bytes_in: received,
                bytes_out: sent,
                client: self.peer,
            },
        });
    }
}
