//! The controller's end: TLS, certificates for proxies, and streams.

mod answers;
mod call;
mod certificates;
mod connection;
mod intake;
mod load;
mod quota;
mod stream;
mod tls;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) use self::call::{GATEWAY, POD};
pub(super) use self::load::MAX_LOADS;
pub(super) use self::quota::MAX_REPORTS;
pub(super) use self::stream::GENERATION;
pub use self::tls::{ServerTls, TlsError};
use super::Hub;
use crate::identity::{Authenticate, Issue};
use crate::load::Loads;
use crate::quota::Quotas;

/// Connections at one time; more wait in the system's queue. Each costs some 50 KiB and each proxy has one, for a
/// moment two.
const CONNECTIONS: usize = 4096;

/// Serves a [`Hub`] to proxies.
#[derive(Clone)]
pub struct Server {
    /// What is served.
    pub hub: Hub,
    /// Who leases shares of limits.
    pub quotas: Quotas,
    /// Who asks what backends are doing.
    pub loads: Loads,
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
        crate::accept(listener, CONNECTIONS, "the port for proxies", |socket, peer| {
            connection::serve(self.clone(), socket, peer)
        })
        .await;
    }
}
