//! The pods of a waypoint, as its headless Service and their own connections tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::EndpointSlice;

/// A pod of a waypoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    /// By family, as Services name them.
    pub(super) addresses: BTreeMap<String, String>,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
    /// It listens for every port of the Service.
    pub(super) has_answered: bool,
    /// Clients are led to it, and it listens for the ports they know.
    pub(super) is_known: bool,
}

impl Pod {
    /// Clients can be led to it.
    pub(super) const fn is_usable(&self) -> bool {
        self.ready && (self.has_answered || self.is_known)
    }
}

/// The pods behind a waypoint's own Service. `own`: the slices that lead clients there; `answers`: whether a pod, by name,
/// listens for all that is asked.
pub(super) fn pods(
    slices: &[Arc<EndpointSlice>],
    own: &[Arc<EndpointSlice>],
    answers: impl Fn(&str) -> bool,
) -> Vec<Pod> {
    let known: BTreeSet<&str> = own
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true))
        .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.as_deref())
        .collect();
    let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
    for slice in slices {
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(address) = endpoint.addresses.first() else { continue };
            let name = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
            let Some(name) = name else { continue };
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // Kubernetes: nil is true for ready, as ready for serving, false for terminating.
            let ready = conditions.ready.unwrap_or(true);
            let pod = pods.entry(name.clone()).or_insert_with(|| Pod {
                has_answered: answers(&name),
                is_known: known.contains(name.as_str()),
                name,
                addresses: BTreeMap::new(),
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                node: endpoint.node_name.clone(),
                zone: endpoint.zone.clone(),
            });
            pod.addresses.insert(slice.address_type.clone(), address.clone());
        }
    }
    pods.into_values().collect()
}
