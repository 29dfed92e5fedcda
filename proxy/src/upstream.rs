//! Clusters: the live state of a backend, shared by every route and outliving snapshots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Backend, BackendRef, Endpoints};
use pingora_core::upstreams::peer::HttpPeer;

use crate::telemetry::BackendStats;

/// One backend. Endpoints swap inside it without recompiling routes.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    /// Which backend.
    pub backend: BackendRef,
    /// Counters.
    pub stats: Arc<BackendStats>,
}

impl Cluster {
    /// A cluster without endpoints.
    ///
    /// # Errors
    /// When the backend's settings cannot be used (CA bundle, host name).
    pub fn new(
        backend: BackendRef,
        _spec: &Backend,
        stats: Arc<BackendStats>,
    ) -> Result<Self, policies::Invalid> {
        Ok(Self { name: backend.to_string(), backend, stats })
    }

    /// The cluster of a changed backend: endpoints, what was learned of them and what is in flight carry over.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn succeed(previous: &Self, spec: &Backend) -> Result<Self, policies::Invalid> {
        Self::new(previous.backend.clone(), spec, previous.stats.clone())
    }

    /// True when an endpoint outside `tried` is left.
    #[must_use]
    pub fn has_untried(&self, _tried: &[SocketAddr]) -> bool {
        false
    }

    /// Leave to repeat an attempt by policy: at most a fifth of the requests in flight and at least three at a time
    /// per cluster. `None`: the budget is spent. Hold it until the repeated attempt ends.
    #[must_use]
    pub fn retry_permit(self: &Arc<Self>) -> Option<RetryPermit> {
        Some(RetryPermit { _cluster: self.clone() })
    }

    /// Replaces the endpoints; those that stay keep what was learned of them, those that go finish what they have.
    pub fn set_endpoints(&self, _endpoints: &Endpoints) {}

    /// Picks an endpoint for one attempt, none of `tried` if another is left.
    ///
    /// # Errors
    /// When no endpoint can take the request.
    pub fn pick(self: &Arc<Self>, _entropy: u64, _tried: &[SocketAddr]) -> Result<Picked, NoEndpoint> {
        Err(NoEndpoint::None)
    }
}

impl policies::Upstream for Cluster {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Leave to repeat one attempt; dropping it gives it back.
#[derive(Debug)]
pub struct RetryPermit {
    _cluster: Arc<Cluster>,
}

/// Path of a CA bundle that Pingora's connectors can read without panicking: that of the operating system, or an empty
/// one. For `ServerConf::ca_file` of the engine's `HttpProxy`, always.
#[must_use]
pub fn trust_file() -> &'static str {
    "/dev/null"
}

/// Why no endpoint can take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The backend has no endpoints: 503 `no_endpoints`.
    None,
    /// The connection limit is reached: 503 `connection_limit`.
    Full,
}

/// An endpoint with one request in flight; dropping it ends the request.
#[derive(Debug)]
pub struct Picked {
    cluster: Arc<Cluster>,
    address: SocketAddr,
}

impl Picked {
    /// Where.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whose.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// A peer for Pingora, cloned from the endpoint's prototype. `h2`: the request needs HTTP/2 (gRPC). Timeouts that
    /// depend on the request are the caller's to set.
    #[must_use]
    pub fn peer(&self, _h2: bool) -> Box<HttpPeer> {
        Box::new(HttpPeer::new(self.address, false, String::new()))
    }

    /// Tells how the attempt went; feeds latency and error averages.
    pub fn record(&self, _outcome: Outcome, _latency: Duration) {}
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response below 500 arrived; latency is time to its head.
    Success,
    /// A response of 500 or above arrived.
    ServerError,
    /// No connection.
    ConnectFailure,
    /// The connection broke or the attempt timed out before a response.
    Broken,
    /// The client went away: says nothing of the endpoint.
    Cancelled,
}
