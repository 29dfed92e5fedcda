//! What is counted of connections and flows that are not requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use config::BackendRef;

use super::counters::Table;
use crate::rule::RuleName;

/// Counters of one rule of a TLSRoute, TCPRoute or UDPRoute.
#[derive(Debug, Default)]
pub struct StreamStats {
    open: AtomicI64,
    ended: Table<12>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl StreamStats {
    /// Counts a connection as open, until [`StreamStats::ended`].
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, reason: &'static str) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.refused(reason);
    }

    /// Counts a connection that was never open.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.ended.add(0, reason);
    }

    /// Bytes of clients.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of backends.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> i64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that have ended, by reason.
    pub(crate) fn reasons(&self) -> &Table<12> {
        &self.ended
    }

    /// Bytes of clients, and of backends.
    pub(crate) fn bytes(&self) -> [(&'static str, u64); 2] {
        [("in", self.received.load(Ordering::Relaxed)), ("out", self.sent.load(Ordering::Relaxed))]
    }

    /// True once there was a connection.
    pub(crate) fn is_used(&self) -> bool {
        self.open() != 0 || self.activity() > 0
    }

    /// Changes whenever something is counted.
    pub(crate) fn activity(&self) -> u64 {
        let [(_, received), (_, sent)] = self.bytes();
        received.wrapping_add(sent).wrapping_add(self.ended.total())
    }
}

/// One connection or flow that has ended, borrowed from whoever served it.
#[derive(Debug)]
pub struct StreamRecord<'a> {
    /// `TCP`, `TLS` or `UDP`.
    pub protocol: &'static str,
    /// The name in the ClientHello, lower-case.
    pub sni: Option<&'a str>,
    /// Stable token: why it ended; `ok` when both sides were done.
    pub reason: &'static str,
    /// The listener, `namespace/gateway/section`.
    pub listener: &'a str,
    /// The rule; `None` when no route is for it.
    pub rule: Option<&'a RuleName>,
    /// The backend and endpoint of the last attempt.
    pub upstream: Option<(&'a BackendRef, SocketAddr)>,
    /// Endpoints tried.
    pub attempts: u32,
    /// From when its rule was known to its end.
    pub duration: Duration,
    /// Time the endpoint took to accept it; for UDP, to answer.
    pub upstream_duration: Option<Duration>,
    /// Bytes of the client that were passed on.
    pub bytes_in: u64,
    /// Bytes of the backend that were passed on.
    pub bytes_out: u64,
    /// The client.
    pub peer: SocketAddr,
}
