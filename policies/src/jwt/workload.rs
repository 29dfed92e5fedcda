//! ServiceAccount tokens: what Kubernetes says of who has one, and which pod it was given to.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::spec::PodBinding;
use crate::caller::{Assurance, Caller, Peer, Workload};

/// Whose token it is.
pub(super) struct Holder {
    pub(super) workload: Workload,
    /// UID of the pod it was given to; one that was not asked for by a pod has none.
    pod: Option<Box<str>>,
}

impl Holder {
    /// Whether the token may come over a connection of that pod (UID); `None`: nobody knows whose it is.
    pub(super) fn may_come_from(&self, pod: Option<&str>, binding: PodBinding) -> bool {
        match (binding, self.pod.as_deref(), pod) {
            (PodBinding::None, ..) => true,
            (PodBinding::IfKnown | PodBinding::Required, Some(own), Some(from)) => own == from,
            (binding, ..) => binding == PodBinding::IfKnown,
        }
    }
}

/// The holder of a ServiceAccount token. `sub` and the private claims must say the same: one issuer signs both.
pub(super) fn of(claims: &Map<String, Value>) -> Option<Holder> {
    let kubernetes = claims.get("kubernetes.io")?.as_object()?;
    let namespace = kubernetes.get("namespace")?.as_str()?;
    let name = kubernetes.get("serviceaccount")?.as_object()?.get("name")?.as_str()?;
    let (of_sub, name_of_sub) =
        claims.get("sub")?.as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let is_name = |text: &str| !text.is_empty() && text.len() <= 253;
    // A pod that cannot be read is no reason to take the token for one that no pod has.
    let pod = match kubernetes.get("pod") {
        None => None,
        Some(pod) => Some(pod.as_object()?.get("uid")?.as_str()?.into()),
    };
    (of_sub == namespace && name_of_sub == name && is_name(namespace) && is_name(name)).then(|| Holder {
        workload: Workload {
            namespace: namespace.to_owned(),
            service_account: name.to_owned(),
            assurance: Assurance::Token,
        },
        pod,
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
