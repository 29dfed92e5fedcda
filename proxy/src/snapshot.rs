//! The immutable compiled configuration and its single writer.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{Protocol, Scope};
use rustc_hash::FxHashMap;

use crate::route::RouteTable;
use crate::upstream::Cluster;

/// Everything a request needs. A request loads it once and keeps it.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The version of the update it was compiled from.
    pub version: u64,
    /// One entry per address to bind.
    pub ports: FxHashMap<Bind, Arc<Port>>,
    /// Clusters by `namespace/name:port`.
    pub clusters: FxHashMap<config::BackendRef, Arc<Cluster>>,
}

/// An address to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bind {
    /// `None`: all addresses.
    pub address: Option<IpAddr>,
    /// Port; 0 only in tests.
    pub port: u16,
}

/// A listening port: one or more listeners that share it.
#[derive(Debug)]
pub struct Port {
    /// What it speaks; listeners of one port agree.
    pub protocol: Protocol,
    /// Names of its listeners, for logs and `/config`.
    pub listeners: Vec<(config::Key, Scope)>,
    /// Its routes.
    pub routes: Arc<RouteTable>,
    /// TLS settings by SNI, when `protocol` is HTTPS.
    pub tls: Option<Arc<TlsTable>>,
}

/// TLS settings by SNI.
#[derive(Debug, Default)]
pub struct TlsTable {}

impl TlsTable {
    /// The settings for a client's SNI; `None`: refuse the handshake.
    #[must_use]
    pub fn pick(&self, _sni: Option<&str>) -> Option<&Arc<rustls::ServerConfig>> {
        None
    }
}

/// Reads the newest snapshot; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader(Arc<ArcSwap<Snapshot>>);

impl Reader {
    /// The newest snapshot.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

/// Publishes snapshots. Not `Clone`: there is one owner.
#[derive(Debug)]
pub struct Writer(Arc<ArcSwap<Snapshot>>);

impl Writer {
    /// From now on requests see `snapshot`.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}

/// A writer and its reader, with an empty snapshot.
#[must_use]
pub fn pair() -> (Writer, Reader) {
    let shared = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    (Writer(shared.clone()), Reader(shared))
}
