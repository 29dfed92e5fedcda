//! The service map: who asks which Service, as a waypoint sees it.
//!
//! Callers are ServiceAccounts, as the access log names them; so there are as many edges as pairs of a ServiceAccount and a Service
//! that it talks to, and no more than [`MOST`] whatever certificates say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policies::caller::Workload;

use super::Telemetry;
use super::counters::Histogram;
use super::retained::Activity;

/// Edges of a role. What would be more counts as one whose ends are [`OTHER`].
const MOST: usize = 4096;
const OTHER: &str = "other";
/// A caller that nobody knows.
const UNKNOWN: &str = "unknown";

/// The ends of an edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EdgeName {
    /// `namespace/serviceaccount`.
    pub(crate) source: Arc<str>,
    /// `namespace/service:port`.
    pub(crate) service: Arc<str>,
}

impl EdgeName {
    fn new(source: Option<&Workload>, service: &Arc<str>) -> Self {
        let source = source.map(|of| format!("{}/{}", of.namespace, of.service_account));
        Self { source: source.map_or_else(|| UNKNOWN.into(), Into::into), service: service.clone() }
    }

    /// Without making a name.
    fn is(&self, source: Option<&Workload>, service: &Arc<str>) -> bool {
        let is_source = match (source, self.source.split_once('/')) {
            (Some(of), Some((namespace, account))) => {
                of.namespace == namespace && of.service_account == account
            }
            (None, None) => &*self.source == UNKNOWN,
            _ => false,
        };
        is_source && (Arc::ptr_eq(&self.service, service) || self.service == *service)
    }
}

/// What a connection remembers: its caller, and the Service that was asked first, are those of most of its requests.
#[derive(Debug)]
pub(crate) struct Edge {
    name: EdgeName,
    stats: Arc<EdgeStats>,
}

impl Edge {
    pub(crate) fn new(telemetry: &Telemetry, source: Option<&Workload>, service: &Arc<str>) -> Self {
        let name = EdgeName::new(source, service);
        Self { stats: telemetry.edge(&name), name }
    }

    /// The counters, if it is the edge between these two.
    pub(crate) fn between(&self, source: Option<&Workload>, service: &Arc<str>) -> Option<&EdgeStats> {
        self.name.is(source, service).then_some(&self.stats)
    }

    pub(crate) fn stats(&self) -> &EdgeStats {
        &self.stats
    }
}

/// Counters of one edge.
#[derive(Debug, Default)]
pub(crate) struct EdgeStats {
    /// Requests by the class of the status sent, in the order of [`CLASSES`].
    requests: [AtomicU64; CLASSES.len()],
    pub(crate) durations: Histogram,
    connections: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl EdgeStats {
    /// Counts a request. `status` 0: the client got none.
    pub(crate) fn request(&self, status: u16, duration: Duration) {
        if let Some(count) = self.requests.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.durations.observe(duration);
    }

    /// Counts a connection that carried no requests, when it has ended.
    pub(crate) fn connection(&self, received: u64, sent: u64) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.received.fetch_add(received, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    /// Requests by class, where there were some.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.requests.iter().map(|count| count.load(Ordering::Relaxed));
        CLASSES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes of callers, and of the Service.
    pub(crate) fn bytes(&self) -> [(&'static str, u64); 2] {
        [("in", self.received.load(Ordering::Relaxed)), ("out", self.sent.load(Ordering::Relaxed))]
    }
}

impl Activity for EdgeStats {
    fn activity(&self) -> u64 {
        self.requests().map(|(_, count)| count).sum::<u64>() + self.connections()
    }
}

impl Telemetry {
    /// The counters of an edge; the same for the same name as long as anybody holds them.
    fn edge(&self, name: &EdgeName) -> Arc<EdgeStats> {
        if self.edges.len() >= MOST && self.edges.find(name).is_none() {
            return self.edges.get(&EdgeName { source: OTHER.into(), service: OTHER.into() });
        }
        self.edges.get(name)
    }
}

#[cfg(test)]
mod tests;
