//! From resources to a snapshot: pure, incremental, and an invalid resource fails alone.
//!
//! ```text
//! Update ─► Store ─► dirty keys ─► clusters ─► policies ─► rules, matches ─► tables of the parents ─► ports ─► Snapshot
//!                                  (endpoints swap inside)                   (copied on write)
//! ```
//!
//! The result depends only on the resources, not on the order in which they came, save for one rule: of a resource that
//! is refused the last good version stays. Working copies and snapshots share all that is clean: a change copies the
//! path from its port to its match, some microseconds whatever the number of routes.
//!
//! A certificate, backend or listener that cannot be used is refused ([`Severity::Refused`](config::Severity)). A route
//! never is: what is wrong with it becomes a 500 for its rule, or for the share of one backend, and the rest of it works
//! ([`Severity::Degraded`](config::Severity)). A match that cannot be read matches nothing.

use std::sync::Arc;

use config::{Rejection, Update};

use crate::snapshot::{Clusters, Snapshot};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::workloads::Workloads;
use attached::AttachedPolicies;
use port::{Attachments, Changed, Ports};
use problems::Problems;
use route::Routes;
use rule::Scene;
use stream::Streams;

mod attached;
mod backend;
mod certificate;
mod listener;
mod matches;
mod port;
mod problems;
mod route;
mod rule;
mod stream;

pub(crate) use attached::Kept;

/// Compiles updates, one after the other. One owner task.
#[derive(Debug)]
pub struct Compiler {
    telemetry: Arc<Telemetry>,
    store: Store,
    clusters: Clusters,
    udp_clusters: Clusters,
    kept: Kept,
    attached: AttachedPolicies,
    routes: Routes,
    streams: Streams,
    ports: Ports,
    workloads: Workloads,
    problems: Problems,
}

impl Compiler {
    /// A compiler without resources. Keys that have to be fetched are not: nobody is let in by them.
    #[must_use]
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Self::with(telemetry, Kept::default())
    }

    /// With what is kept beside the configuration.
    pub(crate) fn with(telemetry: Arc<Telemetry>, kept: Kept) -> Self {
        Self {
            telemetry,
            store: Store::default(),
            clusters: Clusters::default(),
            udp_clusters: Clusters::default(),
            kept,
            attached: AttachedPolicies::default(),
            routes: Routes::default(),
            streams: Streams::default(),
            ports: Ports::default(),
            workloads: Workloads::default(),
            problems: Problems::default(),
        }
    }

    /// The resources as last told, for `/config` and the snapshot on disk.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Applies an update. Endpoints are swapped in the live clusters at once; everything else is in the snapshot.
    ///
    /// The rejections are all there are now, not only those of this update, so that a status made of them never goes
    /// stale.
    #[must_use]
    pub fn apply(&mut self, update: Update) -> (Snapshot, Vec<Rejection>) {
        let version = update.version;
        let dirty = self.store.apply(update);
        let Self {
            telemetry,
            store,
            clusters,
            udp_clusters,
            kept,
            attached,
            routes,
            streams,
            ports,
            workloads,
            problems,
        } = self;
        workloads.compile(&dirty, store);
        telemetry.knows(workloads.len());
        // In the order in which one is made of the other.
        let backends = backend::compile([clusters, udp_clusters], &dirty, store, telemetry, problems);
        let moved = attached.compile(&dirty, &backends, (store, clusters, kept), problems);
        let scene = Scene { clusters, udp_clusters, attached, telemetry };
        let mut parents = routes.compile(&dirty, (&backends, &moved), store, scene, problems);
        parents.extend(streams.compile(&dirty, &backends, store, scene, problems));
        let changed = Changed { dirty: &dirty, backends: &backends, moved: &moved, parents: &parents };
        ports.compile(&changed, store, Attachments { routes, streams }, scene, problems);
        let snapshot = Snapshot {
            version,
            ports: ports.ports().clone(),
            clusters: clusters.clone(),
            udp_clusters: udp_clusters.clone(),
            workloads: workloads.clone(),
        };
        (snapshot, problems.list())
    }
}
