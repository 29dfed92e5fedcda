//! How one attempt reaches its endpoint: the peer Pingora connects to, and whether its certificate will do.

use std::time::Duration;

use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::BError;

use super::Picked;
use super::client::ClientIdentity;
use super::pins::Pins;
use crate::egress::told;

impl Picked {
    /// A peer for Pingora, cloned from the endpoint's prototype. `h2`: the request needs HTTP/2 (gRPC). `identity`: what
    /// is shown to a backend over TLS. Timeouts that depend on the request are the caller's to set; defaults: 2 s to
    /// connect (5 s with TLS), 60 s per write, none per read, 60 s idle.
    #[must_use]
    pub(crate) fn peer(&self, h2: bool, identity: Option<&ClientIdentity>) -> Box<HttpPeer> {
        let mut peer = Box::new(self.endpoint.prototype.clone());
        if h2 {
            self.cluster.dialer.force_h2(&mut peer);
        }
        if self.cluster.is_tls() {
            if let Some(pins) = self.pins(h2) {
                peer.group_key = peer.group_key.wrapping_add(u64::from(pins.generation()));
            }
            if let Some(identity) = identity {
                identity.put_on(&mut peer);
                if let Some(secure) = self.cluster.dialer.secure(Some(identity)) {
                    told(&mut peer.options, secure);
                }
            }
        }
        peer
    }

    /// Sees to it that the endpoint is who its policy says, where Pingora cannot; to be called before an attempt.
    ///
    /// # Errors
    /// When it cannot be reached, or is not.
    pub(crate) async fn assure(
        &self,
        h2: bool,
        identity: Option<&ClientIdentity>,
        within: Option<Duration>,
    ) -> Result<(), BError> {
        let Some(pins) = self.pins(h2).filter(|pins| !pins.is_fresh()) else { return Ok(()) };
        let Some(secure) = self.cluster.dialer.secure(identity) else { return Ok(()) };
        pins.assure(self.endpoint.address, &secure, within).await
    }

    /// Over HTTP/1 a connection's own handshake verifies everything.
    fn pins(&self, h2: bool) -> Option<&Pins> {
        self.endpoint.pins.as_ref().filter(|_| self.cluster.dialer.is_http2(h2))
    }

    /// Whether a connection may carry the request; to be called for each attempt, also on a pooled connection.
    ///
    /// # Errors
    /// When the endpoint was [assured](Self::assure) with another certificate. Nothing was sent, and the connection is
    /// not used again.
    pub(crate) fn admit(&self, h2: bool, digest: Option<&Digest>) -> Result<(), BError> {
        self.pins(h2).map_or(Ok(()), |pins| pins.admit(digest))
    }
}
