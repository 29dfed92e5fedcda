//! Endpoints that sessions name (GEP-1619).

use std::net::SocketAddr;
use std::sync::Arc;

use super::health::Gate;
use super::{Cluster, Millis, NoEndpoint, Picked};

impl Cluster {
    /// Whether one of its endpoints has this tag.
    pub(crate) fn has_tagged(&self, tag: u64) -> bool {
        self.endpoints.load().iter().any(|endpoint| endpoint.tag == tag)
    }

    /// Picks the endpoint of a session. `None`: it is gone, was tried, or takes no connections; GEP-1619: "Data planes MAY
    /// fall back to available backends".
    pub(crate) fn pick_tagged(
        self: &Arc<Self>,
        now: Millis,
        tag: u64,
        tried: &[SocketAddr],
    ) -> Option<Result<Picked, NoEndpoint>> {
        let endpoints = self.endpoints.load();
        let endpoint = endpoints.iter().find(|endpoint| endpoint.tag == tag)?;
        let is_usable = !tried.contains(&endpoint.address) && endpoint.health.gate(now) != Gate::Shut;
        is_usable.then(|| self.take(endpoint, now, 1))
    }
}
