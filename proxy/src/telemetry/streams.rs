//! What is counted of connections and flows that are not requests.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::counters::Table;

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
