//! Who sends a request: what its connection proves.

use std::sync::Arc;

use policies::caller::Peer;

use crate::ingress::connection::Connection;
use crate::route::ListenerTable;
use crate::snapshot::Snapshot;

/// What the connection of a request proves to its listener. A certificate says more than an address, and one with a SPIFFE ID
/// says who: then the address is not asked.
pub(super) fn peer(
    connection: &Connection,
    listener: Option<&ListenerTable>,
    snapshot: &Snapshot,
) -> Option<Arc<Peer>> {
    // Whoever has come to verify nobody has not verified this one.
    let shown = connection.caller().filter(|_| listener.is_some_and(|listener| listener.trust.is_some()));
    let is_by_address = listener.is_some_and(|listener| listener.is_by_address);
    if !is_by_address || shown.is_some_and(|shown| shown.workload.is_some() || shown.spiffe().is_some()) {
        return shown.cloned();
    }
    let by_address = connection.resident(&snapshot.workloads).map(|pod| pod.peer());
    match (shown, by_address) {
        (None, by_address) => by_address.cloned(),
        (Some(shown), None) => Some(shown.clone()),
        (Some(shown), Some(by_address)) => {
            let Peer { workload, pod, .. } = Peer::clone(by_address);
            Some(Arc::new(Peer { workload, pod, ..Peer::clone(shown) }))
        }
    }
}
