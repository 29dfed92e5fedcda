//! The objects of a captured Service: pure, from what there is to what shall be.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::pods::Pod;
use crate::api::{EndpointSlice, Service};
use crate::provisioned::shortened;
use crate::resources::Named;
use crate::translate::{
    CAPTURED, DIRECT, FAILURE_MODE, FailureMode, MANAGED_BY, OWN_MANAGER, Plan, SERVICE_NAME, SHADOW_OF,
    TOUCHED, WAYPOINT,
};

/// Families of addresses, as Services name them, with what names of slices end in.
const FAMILIES: [(&str, &str); 2] = [("IPv4", "4"), ("IPv6", "6")];

pub(super) fn owner(service: &Service) -> Value {
    json!([{
        "apiVersion": "v1",
        "kind": "Service",
        "name": service.name(),
        "uid": service.metadata.uid.as_deref().unwrap_or_default(),
        "controller": true,
        "blockOwnerDeletion": false,
    }])
}

/// The name of the Service that keeps the endpoints of another.
pub(super) fn shadow_name(service: &Service) -> String {
    // Never the name of somebody's Service by accident.
    let digest = shortened(&format!("{}.shadow", service.name()), 63);
    let suffix = digest.rsplit('-').next().unwrap_or_default();
    let kept: String = service.name().chars().take(63 - "-mesh-".len() - suffix.len()).collect();
    format!("{kept}-mesh-{suffix}")
}

/// A headless Service with the same endpoints: what Kubernetes says of them, untouched. The user's labels are not copied:
/// whoever selects Services by them shall not find two.
pub(super) fn shadow(service: &Service) -> Value {
    let spec = service.spec.as_ref();
    let ports: Vec<Value> = spec
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default()
        .iter()
        .map(|port| {
            let mut port = json!(port);
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
            port
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": shadow_name(service),
            "namespace": service.namespace(),
            "labels": { SHADOW_OF: service.name() },
            "ownerReferences": owner(service),
        },
        "spec": {
            "clusterIP": "None",
            "selector": spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
            "publishNotReadyAddresses": spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false),
            "ipFamilyPolicy": spec.and_then(|spec| spec.ip_family_policy.clone()),
            "ipFamilies": spec.and_then(|spec| spec.ip_families.clone()),
            "ports": ports,
        },
    })
}

/// Whether a shadow is as [`shadow`] makes it.
pub(super) fn is_shadow_current(service: &Service, shadow: &Service) -> bool {
    let seen = |service: &Service| {
        let spec = service.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default().iter();
        let ports: Vec<_> = ports
            .map(|p| {
                (p.name.clone(), p.port, p.protocol.clone(), p.target_port.clone(), p.app_protocol.clone())
            })
            .collect();
        let published = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
        (spec.and_then(|spec| spec.selector.clone()), published, ports)
    };
    seen(service) == seen(shadow) && shadow.label(SHADOW_OF) == Some(service.name())
}

/// The families a Service has addresses of.
pub(super) fn families(service: &Service) -> impl Iterator<Item = (&'static str, &'static str)> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    FAMILIES.into_iter().filter(move |(family, _)| match families {
        [] => *family == "IPv4",
        families => families.iter().any(|one| one == family),
    })
}

/// How usable one of our endpoints is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As its pod is.
    AsIs,
    /// Not at all: the Service is being let go.
    Lowered,
}

/// The EndpointSlices that lead clients to a waypoint: one per family. `ports`: name and number.
pub(super) fn own_slices(
    service: &Service,
    plan: &Plan,
    ports: &[(String, u16)],
    pods: &[Pod],
    shown: Shown,
) -> Vec<Value> {
    let any_ready = pods.iter().any(|pod| pod.is_usable());
    let condition = |pod: &Pod| match shown {
        Shown::AsIs if pod.is_usable() => (true, true, false),
        // Clients that are led back to pods shall not be led here too.
        Shown::AsIs if !any_ready && plan.failure_mode == FailureMode::Open => (false, false, false),
        Shown::AsIs => (false, pod.serving, pod.terminating),
        Shown::Lowered => (false, false, false),
    };
    let of_family = |(family, suffix): (&str, &str)| {
        let endpoints = pods.iter().filter_map(|pod| {
            let address = pod.addresses.get(family)?;
            let (ready, serving, terminating) = condition(pod);
            let mut endpoint = json!({
                "addresses": [address],
                "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
            });
            let fields = endpoint.as_object_mut()?;
            fields.extend(pod.node.as_ref().map(|node| ("nodeName".to_owned(), json!(node))));
            fields.extend(pod.zone.as_ref().map(|zone| ("zone".to_owned(), json!(zone))));
            let target = json!({ "kind": "Pod", "name": pod.name, "namespace": plan.waypoint.0 });
            fields.insert("targetRef".to_owned(), target);
            Some(endpoint)
        });
        let ports = ports.iter().map(|(name, port)| {
            let app_protocol =
                service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
            let mut app_protocol =
                app_protocol.filter(|port| port.name.as_deref().unwrap_or_default() == name);
            let app_protocol = app_protocol.next().and_then(|port| port.app_protocol.clone());
            json!({ "name": name, "port": port, "protocol": "TCP", "appProtocol": app_protocol })
        });
        slice(
            service,
            plan,
            &format!("{}-wp-{suffix}", service.name()),
            family,
            None,
            (ports.collect(), endpoints.collect()),
        )
    };
    families(service).map(of_family).collect()
}

/// EndpointSlices for ports that no waypoint serves, such as those of UDP: they lead to the pods, as the shadow's say.
pub(super) fn direct_slices(
    service: &Service,
    plan: &Plan,
    shadow: &[Arc<EndpointSlice>],
    shown: Shown,
) -> Vec<Value> {
    let of_shadow = shadow.iter().filter_map(|slice| {
        let ports: Vec<Value> = slice
            .ports
            .iter()
            .flatten()
            .filter(|port| port.protocol.as_deref().unwrap_or("TCP") != "TCP")
            .map(|port| json!(port))
            .collect();
        if ports.is_empty() {
            return None;
        }
        let endpoints = slice.endpoints.iter().flatten().map(|endpoint| {
            let mut endpoint = json!(endpoint);
            if shown == Shown::Lowered
                && let Some(fields) = endpoint.as_object_mut()
            {
                fields.insert(
                    "conditions".into(),
                    json!({ "ready": false, "serving": false, "terminating": false }),
                );
            }
            endpoint
        });
        let name = format!("{}-d", slice.name());
        Some(slice_of(service, plan, &name, &slice.address_type, (ports, endpoints.collect())))
    });
    of_shadow.collect()
}

fn slice_of(
    service: &Service,
    plan: &Plan,
    name: &str,
    family: &str,
    content: (Vec<Value>, Vec<Value>),
) -> Value {
    slice(service, plan, name, family, Some(DIRECT), content)
}

fn slice(
    service: &Service,
    plan: &Plan,
    name: &str,
    family: &str,
    label: Option<&str>,
    (ports, endpoints): (Vec<Value>, Vec<Value>),
) -> Value {
    let mut labels = BTreeMap::from([(SERVICE_NAME, service.name()), (MANAGED_BY, OWN_MANAGER)]);
    labels.extend(label.map(|label| (label, "true")));
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": service.namespace(),
            "labels": labels,
            "annotations": { WAYPOINT: format!("{}/{}", plan.waypoint.0, plan.waypoint.1) },
            "ownerReferences": owner(service),
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    })
}

/// Whether a slice says what it shall.
pub(super) fn is_slice_current(wanted: &Value, seen: &EndpointSlice) -> bool {
    let wanted: Option<EndpointSlice> = serde_json::from_value(wanted.clone()).ok();
    wanted.is_some_and(|wanted| {
        let ports = |slice: &EndpointSlice| {
            let ports = slice.ports.iter().flatten();
            let ports = ports.map(|port| {
                (
                    port.name.clone().unwrap_or_default(),
                    port.port,
                    port.protocol.clone(),
                    port.app_protocol.clone(),
                )
            });
            ports.collect::<std::collections::BTreeSet<_>>()
        };
        let endpoints = |slice: &EndpointSlice| {
            let endpoints = slice.endpoints.iter().flatten();
            let mut endpoints: Vec<_> = endpoints
                .map(|endpoint| {
                    let conditions = endpoint.conditions.clone().unwrap_or_default();
                    let conditions = (conditions.ready, conditions.serving, conditions.terminating);
                    (
                        endpoint.addresses.clone(),
                        conditions,
                        endpoint.node_name.clone(),
                        endpoint.zone.clone(),
                    )
                })
                .collect();
            endpoints.sort();
            endpoints
        };
        let waypoint = |slice: &EndpointSlice| {
            slice.metadata.annotations.as_ref().and_then(|all| all.get(WAYPOINT).cloned())
        };
        seen.address_type == wanted.address_type
            && ports(seen) == ports(&wanted)
            && endpoints(seen) == endpoints(&wanted)
            && waypoint(seen) == waypoint(&wanted)
    })
}

/// The value of the label that says a Service is captured.
pub(super) fn captured_by(plan: &Plan) -> String {
    let (namespace, name) = &plan.waypoint;
    let value = format!("{namespace}.{name}");
    if value.len() <= 63 { value } else { shortened(&value, 63) }
}

/// A patch of a Service's labels: captured, by whom and how.
pub(super) fn capture_labels(plan: &Plan) -> Value {
    json!({ "metadata": { "labels": {
        CAPTURED: captured_by(plan),
        FAILURE_MODE: plan.failure_mode.as_str(),
    } } })
}

/// Whether a Service has these labels.
pub(super) fn is_labelled(service: &Service, plan: &Plan) -> bool {
    service.label(CAPTURED) == Some(&captured_by(plan))
        && service.label(FAILURE_MODE) == Some(plan.failure_mode.as_str())
}

/// A patch that takes them away. Kubernetes then shows the pods again.
pub(super) fn release_labels() -> Value {
    json!({ "metadata": { "labels": { CAPTURED: null, FAILURE_MODE: null, TOUCHED: null } } })
}

/// A patch that only makes Kubernetes write the EndpointSlices again.
pub(super) fn touch(service: &Service) -> Value {
    let next = if service.label(TOUCHED) == Some("1") { "2" } else { "1" };
    json!({ "metadata": { "labels": { TOUCHED: next } } })
}
