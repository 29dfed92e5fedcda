//! Where what is in effect for a listener comes from.

use std::collections::BTreeMap;

use config::{Key, Kind};
use serde_json::Value;

use super::Traffic;
use crate::ObjectKey;
use crate::resources::{Named, ObjectKind, Resources};
use crate::translate::reference_grant::Grants;
use crate::translate::tls::Certificates;
use crate::translate::{Options, gateway};

/// A setting of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficField {
    /// Such as `timeout.http.idleTimeout`.
    pub field: String,
    /// Value.
    pub value: Value,
    /// The policy that says so.
    pub from: ObjectKey,
}

/// Every setting that ClientTrafficPolicies come to, by listener.
#[must_use]
pub fn traffic_fields(resources: &Resources, options: &Options) -> BTreeMap<Key, Vec<TrafficField>> {
    let grants = Grants::new(&resources.reference_grants);
    let drafts = gateway::draft(resources, options, &grants, &mut Certificates::default());
    let traffic = Traffic::new(&drafts, resources, options);
    let mut fields = BTreeMap::new();
    for (draft, places) in drafts.iter().zip(&traffic.places) {
        for (listener, place) in draft.listeners.iter().zip(places) {
            let of_place = place.fields.iter().filter_map(|(path, field)| {
                let policy = traffic.policies.get(field.from.policy)?.policy;
                let kind = ObjectKind::ClientTrafficPolicy;
                let from = ObjectKey::new(kind, policy.namespace(), policy.name());
                Some(TrafficField { field: path.clone(), value: field.value.clone(), from })
            });
            let name = format!("{}/{}", draft.object.name(), listener.section());
            fields.insert(Key::new(Kind::Listener, draft.object.namespace(), name), of_place.collect());
        }
    }
    fields
}
