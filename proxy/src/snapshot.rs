//! The immutable compiled configuration and its single writer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{BackendRef, Protocol, Scope};
use rustc_hash::FxHashMap;

use crate::route::RouteTable;
use crate::route::map::{CowMap, Keyed};
use crate::stream::StreamTable;
use crate::tls::TlsTable;
use crate::traffic::Traffic;
use crate::upstream::Cluster;
use crate::workloads::Workloads;

/// Everything a request needs. A request loads it once and keeps it.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The version of the update it was compiled from.
    pub version: u64,
    /// One entry per address to bind.
    pub ports: FxHashMap<Bind, Arc<Port>>,
    /// Every backend that takes connections.
    pub clusters: Clusters,
    /// Every backend that takes datagrams.
    pub udp_clusters: Clusters,
    /// Who is behind an address.
    pub(crate) workloads: Workloads,
}

/// What a socket carries. A number may be a port of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// An address to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bind {
    /// What arrives.
    pub transport: Transport,
    /// `None`: all addresses.
    pub address: Option<IpAddr>,
    /// Port; 0 only in tests.
    pub port: u16,
}

impl Bind {
    /// `address:port`, for what is counted here and not known to belong to one listener.
    pub(crate) fn name(&self) -> String {
        match self.address {
            Some(address) => SocketAddr::new(address, self.port).to_string(),
            None => format!("*:{}", self.port),
        }
    }
}

/// A listening port: one or more listeners that share it.
#[derive(Debug, Clone)]
pub struct Port {
    /// What it speaks; listeners of one port agree, save that `TLS` has HTTPS listeners beside its own.
    pub protocol: Protocol,
    /// Names of its listeners, for logs and `/config`.
    pub listeners: Arc<[(config::Key, Scope)]>,
    /// Its routes.
    pub routes: Arc<RouteTable>,
    /// What is done with a handshake, by SNI, when `protocol` is HTTPS or TLS.
    pub tls: Option<Arc<TlsTable>>,
    /// The routes of its only listener, when `protocol` is TCP or UDP.
    pub streams: Option<Arc<StreamTable>>,
    /// What its connections are held to: that of its first listener by key.
    pub(crate) traffic: Arc<Traffic>,
}

/// Every backend; cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Clusters(CowMap<Cluster>);

impl Clusters {
    /// The cluster of a backend.
    #[must_use]
    pub fn get(&self, backend: &BackendRef) -> Option<&Arc<Cluster>> {
        self.0.get(backend)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.0.iter()
    }

    /// Number of clusters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, cluster: Arc<Cluster>) {
        self.0.insert(cluster);
    }

    pub(crate) fn remove(&mut self, backend: &BackendRef) {
        self.0.remove(backend);
    }
}

impl Keyed for Cluster {
    type Key = BackendRef;

    fn key(&self) -> &BackendRef {
        &self.backend
    }
}

impl policies::Lookup for Clusters {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn policies::Upstream>> {
        self.get(backend).map(|cluster| cluster.clone() as _)
    }

    fn offload(&self) -> Arc<dyn policies::Offload> {
        crate::offload::shared()
    }
}

impl Port {
    /// Whether it tells its callers apart by the address they come from.
    pub(crate) fn is_by_address(&self) -> bool {
        self.listeners.iter().any(|(_, scope)| matches!(scope, Scope::Service(_)))
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
