//! Backends to clusters.

use std::collections::BTreeSet;
use std::sync::Arc;

use config::{BackendRef, Key, Kind, Resource, Severity};

use super::problems::{Problems, Stage};
use crate::snapshot::{Clusters, Transport};
use crate::store::{Dirty, Store};
use crate::telemetry::Telemetry;
use crate::upstream::Cluster;

/// Backends that changed.
#[derive(Debug, Default)]
pub(super) struct Backends {
    pub(super) tcp: BTreeSet<BackendRef>,
    pub(super) udp: BTreeSet<BackendRef>,
}

/// The reference a backend's or its endpoints' key stands for.
fn reference(key: &Key) -> Option<(Transport, BackendRef)> {
    let (transport, name) = match key.name.strip_suffix(":udp") {
        Some(name) => (Transport::Udp, name),
        None => (Transport::Tcp, &*key.name),
    };
    let (name, port) = name.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some((transport, BackendRef { namespace: key.namespace.clone(), name: name.to_owned(), port }))
}

/// Brings the clusters up to date and says which are other ones than before, or gone.
///
/// Changed endpoints are swapped inside their live cluster, before anything of this update is served: no rule has to be
/// compiled again, and a rule that is new finds them there.
pub(super) fn compile(
    [tcp, udp]: [&mut Clusters; 2],
    dirty: &Dirty,
    store: &Store,
    telemetry: &Telemetry,
    problems: &mut Problems,
) -> Backends {
    let mut all = Backends::default();
    for key in dirty.keys().filter(|key| matches!(key.kind, Kind::Backend | Kind::Endpoints)) {
        let Some((transport, backend)) = reference(key) else {
            if store.get(key).is_none() {
                problems.clear(key, Stage::Resource);
                continue;
            }
            let message = "key: the name must be service:port or service:port:udp".to_owned();
            problems.set(key, Stage::Resource, vec![(Severity::Refused, message)]);
            continue;
        };
        let (clusters, changed) = match transport {
            Transport::Tcp => (&mut *tcp, &mut all.tcp),
            Transport::Udp => (&mut *udp, &mut all.udp),
        };
        if key.kind == Kind::Endpoints {
            if let Some(cluster) = clusters.get(&backend) {
                cluster.set_endpoints(&store.endpoints(key).cloned().unwrap_or_default());
            }
            continue;
        }
        let Some(Resource::Backend(spec)) = store.get(key) else {
            problems.clear(key, Stage::Resource);
            clusters.remove(&backend);
            changed.insert(backend);
            continue;
        };
        if transport == Transport::Udp && spec.tls.is_some() {
            let message = "tls: datagrams have none: leave it out".to_owned();
            problems.set(key, Stage::Resource, vec![(Severity::Refused, message)]);
            continue;
        }
        match cluster(clusters.get(&backend), backend.clone(), spec, telemetry) {
            Ok(cluster) => {
                problems.clear(key, Stage::Resource);
                cluster.set_endpoints(&store.endpoints(key).cloned().unwrap_or_default());
                clusters.insert(Arc::new(cluster));
                changed.insert(backend);
            }
            Err(invalid) => {
                problems.set(key, Stage::Resource, vec![(Severity::Refused, invalid.to_string())]);
            }
        }
    }
    all
}

fn cluster(
    previous: Option<&Arc<Cluster>>,
    backend: BackendRef,
    spec: &config::Backend,
    telemetry: &Telemetry,
) -> Result<Cluster, policies::Invalid> {
    match previous {
        // What was learned of its endpoints holds on.
        Some(previous) => Cluster::succeed(previous, spec),
        None => {
            let stats = telemetry.backend(&backend);
            Cluster::new(backend, spec, stats)
        }
    }
}
