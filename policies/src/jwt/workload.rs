//! ServiceAccount tokens: what Kubernetes says of who has one.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::caller::{Assurance, Caller, Peer, Workload};

/// The workload of a bound ServiceAccount token. `sub` and the private claims must say the same: one issuer signs both.
pub(super) fn of(claims: &Map<String, Value>) -> Option<Workload> {
    let kubernetes = claims.get("kubernetes.io")?.as_object()?;
    let namespace = kubernetes.get("namespace")?.as_str()?;
    let name = kubernetes.get("serviceaccount")?.as_object()?.get("name")?.as_str()?;
    let (of_sub, name_of_sub) =
        claims.get("sub")?.as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let is_name = |text: &str| !text.is_empty() && text.len() <= 253;
    (of_sub == namespace && name_of_sub == name && is_name(namespace) && is_name(name)).then(|| Workload {
        namespace: namespace.to_owned(),
        service_account: name.to_owned(),
        assurance: Assurance::Token,
    })
}

/// Tells who calls, unless the connection has proved it more surely.
pub(super) fn tell(workload: &Workload, caller: &mut Caller) {
    let known = caller.peer.as_ref().and_then(|peer| peer.workload.as_ref());
    if known.is_some_and(|known| known.assurance > workload.assurance) {
        return;
    }
    let mut peer = caller.peer.as_ref().map(|peer| Peer::clone(peer)).unwrap_or_default();
    peer.workload = Some(workload.clone());
    caller.peer = Some(Arc::new(peer));
}
