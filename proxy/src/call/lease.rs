//! A connection or stream borrowed from the connector's pools, and what becomes of it.
//!
//! HTTP/1: only a session whose request was sent whole and whose response was read whole goes back; Pingora looks at
//! the response alone, and would read the next request as the rest of this one's body. Everything else is closed.
//! HTTP/2: a session is always given back, whole or not. A stream that is not finished is reset (CANCEL) by that; a
//! session that is merely dropped leaves its connection among those in use for ever, without idle timeout.

use futures::FutureExt;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer};

use crate::egress;

pub(super) struct Lease<'n> {
    connector: &'n Connector<egress::Connector>,
    peer: &'n HttpPeer,
    session: Option<HttpSession>,
}

impl<'n> Lease<'n> {
    pub(super) const fn new(
        connector: &'n Connector<egress::Connector>,
        peer: &'n HttpPeer,
        session: HttpSession,
    ) -> Self {
        Self { connector, peer, session: Some(session) }
    }

    /// The session; there until the lease ends.
    pub(super) const fn session(&mut self) -> Option<&mut HttpSession> {
        self.session.as_mut()
    }

    /// Gives back a session whose request and response are complete.
    pub(super) async fn release(mut self) {
        if let Some(session) = self.session.take() {
            self.connector.release_http_session(session, self.peer, self.peer.idle_timeout()).await;
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Giving back spawns, which needs a runtime; without one the process is ending anyway.
        if let Some(session @ HttpSession::H2(_)) = self.session.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            // For HTTP/2 this never waits.
            let idle = self.peer.idle_timeout();
            let _ = self.connector.release_http_session(session, self.peer, idle).now_or_never();
        }
    }
}
