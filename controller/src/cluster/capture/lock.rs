//! Keeps everybody from the pods of a captured Service but those who enforce what is attached to it: a NetworkPolicy, for who
//! asked for one. It comes once clients are led to the waypoint, and goes before they are led back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::identity::GatewayRef;
use config::{BackendRef, Key};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::sent::Sent;
use super::step::Phase;
use super::{Steerer, objects};
use crate::api::{EndpointSlice, NetworkPolicy, Service};
use crate::cluster::control::View;
use crate::cluster::write;
use crate::provisioned::{self, GATEWAY_NAME};
use crate::resources::{Named as _, ObjectKind};
use crate::translate::{LOCK_OF, Plan, Slices};
use crate::{ObjectKey, Resources};

/// How long nodes have to learn that clients are led to the waypoint before pods are closed to them.
const GRACE: Duration = Duration::from_secs(10);

/// What is remembered of them, by Service.
#[derive(Default)]
pub(super) struct Locks {
    /// Since when it is captured.
    since: BTreeMap<ObjectKey, Instant>,
    sent: Sent<ObjectKey>,
}

impl Locks {
    /// Locks what is captured and asks for it, and unlocks what does not any more. `slices`: whose endpoints are where.
    pub(super) async fn round(&mut self, steerer: &Steerer, view: &View, slices: &Slices) {
        self.sent.forget();
        let (client, locked) = (&steerer.client, self.locked(steerer, view, slices));
        for (key, policy) in locked {
            if self.sent.claim(key.clone())
                && let Err(error) = write::apply(client, &policy).await
            {
                tracing::warn!(service = %key, error = write::message(&error), "the pods of a Service cannot be locked");
            }
        }
        for (key, policy) in all(&view.resources).filter(|(key, _)| wanted(view, key).is_none()) {
            let kind = ("networking.k8s.io/v1", "NetworkPolicy");
            if self.sent.claim(key.clone())
                && let Err(error) = write::delete(client, kind, &key.namespace, policy.name()).await
            {
                tracing::warn!(service = %key, error = write::message(&error), "the pods of a Service cannot be unlocked");
            }
        }
    }

    /// The locks that are not there as they shall be.
    fn locked(&mut self, steerer: &Steerer, view: &View, slices: &Slices) -> Vec<(ObjectKey, Value)> {
        let (now, phases) = (Instant::now(), steerer.phases.borrow());
        let is_captured = |key: &ObjectKey| matches!(phases.get(key), Some(Phase::Captured { .. }));
        self.since.retain(|key, _| is_captured(key));
        let since = &mut self.since;
        let mut lock = |key: &ObjectKey| {
            let since = *since.entry(key.clone()).or_insert(now);
            let plan = wanted(view, key)?;
            let service = view.resources.services.get(&key.namespace, &key.name)?;
            let there = of(view, key);
            if there.is_none() && now < since + GRACE {
                return None;
            }
            let shadow = slices.all(key).map_or(&[][..], |slices| slices.shadow());
            let policy = policy(service, &ports(service, plan, shadow), &gates(steerer, key, plan))?;
            (!there.is_some_and(|there| is_current(&policy, there))).then(|| (key.clone(), policy))
        };
        phases.keys().filter(|key| is_captured(key)).filter_map(&mut lock).collect()
    }

    /// When to look again.
    pub(super) fn again(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.since.values().map(|since| *since + GRACE).filter(|due| *due > now).min();
        due.into_iter().chain(self.sent.again()).min()
    }
}

/// How a Service is captured that shall be locked.
fn wanted<'a>(view: &'a View, key: &ObjectKey) -> Option<&'a Plan> {
    let plan = view.translation.plans.get(key)?;
    (plan.is_locked && plan.is_wanted).then_some(plan)
}

/// The lock of a Service that is there.
pub(super) fn of<'a>(view: &'a View, key: &ObjectKey) -> Option<&'a NetworkPolicy> {
    let policy = view.resources.network_policies.get(&key.namespace, &name(&key.name))?;
    (policy.label(LOCK_OF) == Some(&*key.name)).then_some(policy)
}

/// Every lock that is there, with its Service.
fn all(resources: &Resources) -> impl Iterator<Item = (ObjectKey, &Arc<NetworkPolicy>)> {
    resources.network_policies.iter().filter_map(|policy| {
        let service = policy.label(LOCK_OF)?;
        Some((ObjectKey::new(ObjectKind::Service, policy.namespace(), service), policy))
    })
}

fn name(service: &str) -> String {
    provisioned::shortened(&format!("fairway-lock-{service}"), 63)
}

/// The Gateways whose proxies enforce what is attached to the Service: whoever sends requests to its endpoints.
fn gates(steerer: &Steerer, key: &ObjectKey, plan: &Plan) -> BTreeSet<(String, String)> {
    let backend =
        |port: u16| BackendRef { namespace: key.namespace.to_string(), name: key.name.to_string(), port };
    let seers = plan.ports.iter().flat_map(|port| steerer.hub.seers(&Key::backend(&backend(port.port))));
    let seers = seers.map(|GatewayRef { namespace, name, .. }| (namespace, name));
    // Whatever has been published so far, its own waypoint is one.
    seers.chain([(plan.waypoint.0.to_string(), plan.waypoint.1.to_string())]).collect()
}

/// The ports of pods that captured ports lead to, as numbers.
fn ports(service: &Service, plan: &Plan, shadow: &[Arc<EndpointSlice>]) -> BTreeSet<u16> {
    let named = |name: Option<&str>| {
        plan.ports.iter().any(|port| port.name.as_deref().unwrap_or_default() == name.unwrap_or_default())
    };
    let of_shadow = shadow.iter().flat_map(|slice| slice.ports.iter().flatten());
    let of_shadow = of_shadow.filter(|port| named(port.name.as_deref())).filter_map(|port| port.port);
    let of_spec = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default().iter();
    let is_tcp = |protocol: Option<&str>| protocol.unwrap_or("TCP") == "TCP";
    let of_spec = of_spec
        .filter(|port| is_tcp(port.protocol.as_deref()) && named(port.name.as_deref()))
        .filter_map(|port| {
            use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
            match &port.target_port {
                None => Some(port.port),
                Some(IntOrString::Int(number)) => Some(*number),
                Some(IntOrString::String(_)) => None,
            }
        });
    of_shadow.chain(of_spec).filter_map(|port| u16::try_from(port).ok().filter(|port| *port > 0)).collect()
}

/// Lets `gates` (namespace and name of Gateways) reach the pods on `ports`, and everybody on all other ports: a pod that a
/// NetworkPolicy is about is closed but for what one lets in. `None`: no port is known.
fn policy(service: &Service, ports: &BTreeSet<u16>, gates: &BTreeSet<(String, String)>) -> Option<Value> {
    let selector =
        service.spec.as_ref().and_then(|spec| spec.selector.clone()).filter(|labels| !labels.is_empty())?;
    if ports.is_empty() {
        return None;
    }
    let from: Vec<Value> = gates
        .iter()
        .map(|(namespace, gateway)| {
            json!({
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "podSelector": { "matchLabels": { GATEWAY_NAME: provisioned::shortened(gateway, 63) } },
            })
        })
        .collect();
    let locked: Vec<Value> = ports.iter().map(|port| json!({ "protocol": "TCP", "port": port })).collect();
    let open =
        between(ports).map(|(first, last)| json!({ "protocol": "TCP", "port": first, "endPort": last }));
    let others = ["UDP", "SCTP"].map(|protocol| json!({ "protocol": protocol, "port": 1, "endPort": 65535 }));
    let open: Vec<Value> = open.chain(others).collect();
    Some(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name(service.name()),
            "namespace": service.namespace(),
            "labels": { LOCK_OF: service.name() },
            "ownerReferences": objects::owner(service),
        },
        "spec": {
            "podSelector": { "matchLabels": selector },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": from, "ports": locked }, { "ports": open }],
        },
    }))
}

/// The ranges of ports that are none of these.
fn between(ports: &BTreeSet<u16>) -> impl Iterator<Item = (u16, u16)> {
    let firsts = std::iter::once(1).chain(ports.iter().map(|port| port.saturating_add(1)));
    let lasts = ports.iter().map(|port| port - 1).chain([u16::MAX]);
    // 65535 is followed by none.
    let is_range = |(first, last): &(u16, u16)| first <= last && !(ports.contains(first) || *first == 0);
    firsts.zip(lasts).filter(is_range)
}

/// Whether a policy says what it shall.
fn is_current(wanted: &Value, seen: &NetworkPolicy) -> bool {
    let wanted: Option<NetworkPolicy> = serde_json::from_value(wanted.clone()).ok();
    wanted.is_some_and(|wanted| wanted.spec == seen.spec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(selector: &Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "cart", "namespace": "shop", "uid": "u" },
            "spec": { "selector": selector, "ports": [
                { "name": "http", "port": 80, "targetPort": "web" },
                { "name": "grpc", "port": 90, "targetPort": 9090 },
                { "name": "dns", "port": 53, "protocol": "UDP" },
            ] },
        }))
        .unwrap()
    }

    fn plan(names: &[&str]) -> Plan {
        let port = |name: &&str| crate::translate::Port {
            name: Some((**name).into()),
            port: 80,
            listen: 20_001,
            protocol: config::Protocol::Http,
        };
        Plan {
            waypoint: ("shop".into(), "waypoint".into()),
            is_wanted: true,
            ports: names.iter().map(port).collect(),
            failure_mode: crate::translate::FailureMode::Closed,
            is_locked: true,
        }
    }

    #[test]
    fn ports_are_locked_by_the_numbers_pods_have_for_them() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": { "name": "s" }, "addressType": "IPv4", "endpoints": [],
            "ports": [{ "name": "http", "port": 8080 }, { "name": "grpc", "port": 9090 }, { "name": "dns", "port": 53 }],
        }))
        .unwrap();
        let cart = service(&json!({ "app": "cart" }));
        let slices = [Arc::new(slice)];
        assert_eq!(ports(&cart, &plan(&["http", "grpc"]), &slices), BTreeSet::from([8080, 9090]));
        assert_eq!(ports(&cart, &plan(&["http"]), &slices), BTreeSet::from([8080]));
        assert_eq!(ports(&cart, &plan(&["http"]), &[]), BTreeSet::new());
        assert_eq!(ports(&cart, &plan(&["grpc"]), &[]), BTreeSet::from([9090]));
    }

    #[test]
    fn a_lock_lets_gates_in_and_leaves_other_ports_alone() {
        let gates = BTreeSet::from([
            ("edge".to_owned(), "gw".to_owned()),
            ("shop".to_owned(), "waypoint".to_owned()),
        ]);
        let policy = policy(&service(&json!({ "app": "cart" })), &BTreeSet::from([8080]), &gates).unwrap();
        assert_eq!(policy["metadata"]["name"], "fairway-lock-cart");
        assert_eq!(policy["spec"]["podSelector"], json!({ "matchLabels": { "app": "cart" } }));
        let of = |namespace: &str, gateway: &str| {
            json!({
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "podSelector": { "matchLabels": { "gateway.networking.k8s.io/gateway-name": gateway } },
            })
        };
        assert_eq!(
            policy["spec"]["ingress"],
            json!([
                { "from": [of("edge", "gw"), of("shop", "waypoint")], "ports": [{ "protocol": "TCP", "port": 8080 }] },
                { "ports": [
                    { "protocol": "TCP", "port": 1, "endPort": 8079 },
                    { "protocol": "TCP", "port": 8081, "endPort": 65535 },
                    { "protocol": "UDP", "port": 1, "endPort": 65535 },
                    { "protocol": "SCTP", "port": 1, "endPort": 65535 },
                ] },
            ])
        );
        let there: NetworkPolicy = serde_json::from_value(policy.clone()).unwrap();
        assert!(is_current(&policy, &there));
        assert!(!is_current(&policy, &NetworkPolicy::default()));
    }

    /// A NetworkPolicy without labels to select by would close the whole namespace.
    #[test]
    fn nothing_is_locked_by_a_selector_of_everything_or_without_a_port() {
        let gates = BTreeSet::from([("shop".to_owned(), "waypoint".to_owned())]);
        let ports = BTreeSet::from([8080]);
        assert_eq!(policy(&service(&json!({})), &ports, &gates), None);
        assert_eq!(policy(&service(&json!(null)), &ports, &gates), None);
        assert_eq!(policy(&service(&json!({ "app": "cart" })), &BTreeSet::new(), &gates), None);
    }

    proptest! {
        #[test]
        fn every_port_is_either_locked_or_open(ports in prop::collection::btree_set(1u16.., 1..6), edge in any::<bool>()) {
            let mut ports = ports;
            if edge {
                ports.extend([1, 2, u16::MAX]);
            }
            let open: Vec<(u16, u16)> = between(&ports).collect();
            for port in 1..=u16::MAX {
                let times = open.iter().filter(|(first, last)| (*first..=*last).contains(&port)).count();
                prop_assert_eq!(times, usize::from(!ports.contains(&port)), "{}", port);
            }
        }
    }
}
