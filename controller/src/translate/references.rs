//! Which Secrets and ConfigMaps the objects refer to. In a cluster nothing else of these kinds is read.

use std::collections::BTreeSet;

use gateway_api::experimental::gateways::GatewayListeners;

use super::attached::{self, Policy};
use super::listener::has_mode_passthrough;
use super::reference_grant::Grants;
use super::{gateway_class, listener_set};
use crate::resources::{Named, ObjectKey, ObjectKind, Resources};

/// Every Secret and ConfigMap that a Gateway of ours or a policy refers to and may refer to.
pub(crate) fn referenced(resources: &Resources) -> BTreeSet<ObjectKey> {
    let grants = Grants::new(&resources.reference_grants);
    let classes: BTreeSet<&str> = resources
        .gateway_classes
        .iter()
        .filter(|class| gateway_class::is_ours(class))
        .map(|class| class.name())
        .collect();
    let sets = listener_set::by_parent(resources);
    let mut found = Found { grants, keys: BTreeSet::new() };
    for gateway in &resources.gateways {
        if !classes.contains(gateway.spec.gateway_class_name.as_str()) {
            continue;
        }
        let from = (ObjectKind::Gateway, gateway.namespace());
        found.certificates(from, &gateway.spec.listeners);
        for set in sets.get(&(gateway.namespace(), gateway.name())).into_iter().flatten() {
            found.certificates((ObjectKind::ListenerSet, set.namespace()), &set.spec.listeners);
        }
        let Some(tls) = &gateway.spec.tls else { continue };
        if let Some(client) = tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref())
        {
            found.add(from, client.kind.as_deref(), client.namespace.as_deref(), &client.name);
        }
        let Some(frontend) = &tls.frontend else { continue };
        for authority in
            frontend.default.validation.iter().flat_map(|validation| &validation.ca_certificate_refs)
        {
            found.add(from, Some(&authority.kind), authority.namespace.as_deref(), &authority.name);
        }
        let per_port = frontend.per_port.iter().flatten().filter_map(|port| port.tls.validation.as_ref());
        for authority in per_port.flat_map(|validation| &validation.ca_certificate_refs) {
            found.add(from, Some(&authority.kind), authority.namespace.as_deref(), &authority.name);
        }
    }
    for policy in &resources.backend_tls_policies {
        let from = (ObjectKind::BackendTlsPolicy, policy.namespace());
        for authority in policy.spec.validation.ca_certificate_refs.iter().flatten() {
            found.add(from, Some(&authority.kind), None, &authority.name);
        }
    }
    for policy in Policy::all(resources) {
        let from = (policy.kind(), policy.namespace());
        for object in attached::objects(&policy) {
            let kind = format!("{:?}", object.kind);
            found.add(from, Some(&kind), Some(&object.namespace), &object.name);
        }
    }
    found.keys
}

/// Whether [`referenced`] may give something else.
pub(crate) fn differs(then: &Resources, now: &Resources) -> bool {
    then.gateways.changes(&now.gateways).next().is_some()
        || then.listener_sets.changes(&now.listener_sets).next().is_some()
        || then.gateway_classes.changes(&now.gateway_classes).next().is_some()
        || then.reference_grants.changes(&now.reference_grants).next().is_some()
        || then.backend_tls_policies.changes(&now.backend_tls_policies).next().is_some()
        || Policy::differ(then, now)
}

struct Found<'a> {
    grants: Grants<'a>,
    keys: BTreeSet<ObjectKey>,
}

impl Found<'_> {
    fn certificates(&mut self, from: (ObjectKind, &str), listeners: &[GatewayListeners]) {
        let listeners = listeners.iter().filter(|listener| !has_mode_passthrough(listener));
        let tls = listeners.filter_map(|listener| listener.tls.as_ref());
        for certificate in tls.flat_map(|tls| tls.certificate_refs.iter().flatten()) {
            let (kind, namespace) = (certificate.kind.as_deref(), certificate.namespace.as_deref());
            self.add(from, kind, namespace, &certificate.name);
        }
    }

    fn add(&mut self, from: (ObjectKind, &str), kind: Option<&str>, namespace: Option<&str>, name: &str) {
        let kind = match kind {
            None | Some("Secret") => ObjectKind::Secret,
            Some("ConfigMap") => ObjectKind::ConfigMap,
            // Whoever translates it says why not.
            Some(_) => return,
        };
        let namespace = namespace.unwrap_or(from.1);
        if self.grants.allow(from, (kind, namespace, name)) {
            self.keys.insert(ObjectKey::new(kind, namespace, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Object, api};

    fn gateway(class: &str) -> Object {
        let listener = |name: &str, namespace: Option<&str>| {
            json!({
                "name": name, "port": 443, "protocol": "HTTPS",
                "tls": { "certificateRefs": [{ "name": name, "namespace": namespace }] },
            })
        };
        let listeners =
            [listener("own", None), listener("granted", Some("open")), listener("kept", Some("closed"))];
        let gateway = json!({
            "metadata": { "name": "edge", "namespace": "shop" },
            "spec": { "gatewayClassName": class, "listeners": listeners },
        });
        serde_json::from_value::<api::Gateway>(gateway).unwrap().into()
    }

    fn surroundings() -> [Object; 4] {
        let class = |name: &str, controller: &str| {
            let class = json!({ "metadata": { "name": name }, "spec": { "controllerName": controller } });
            Object::from(serde_json::from_value::<api::GatewayClass>(class).unwrap())
        };
        let grant = json!({
            "metadata": { "name": "grant", "namespace": "open" },
            "spec": {
                "from": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "shop" }],
                "to": [{ "group": "", "kind": "Secret" }],
            },
        });
        let policy = json!({
            "metadata": { "name": "tls", "namespace": "pay" },
            "spec": {
                "targetRefs": [{ "group": "", "kind": "Service", "name": "pay" }],
                "validation": {
                    "hostname": "pay.example", "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "ca" }],
                },
            },
        });
        [
            class("fairway", "fairway.dev/controller"),
            class("other", "example.com/other"),
            serde_json::from_value::<api::ReferenceGrant>(grant).unwrap().into(),
            serde_json::from_value::<api::BackendTlsPolicy>(policy).unwrap().into(),
        ]
    }

    fn of(class: &str) -> Vec<String> {
        let resources = Resources::collect(surroundings().into_iter().chain([gateway(class)]));
        referenced(&resources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_referred_to_and_granted_is_read() {
        assert_eq!(of("fairway"), ["Secret/open/granted", "Secret/shop/own", "ConfigMap/pay/ca"]);
    }

    #[test]
    fn another_controllers_gateway_makes_nothing_readable() {
        assert_eq!(of("other"), ["ConfigMap/pay/ca"]);
    }
}
