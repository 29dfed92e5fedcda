//! The Service in front of the proxies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Making, Port};
use crate::fairway_proxy::{ExternalTrafficPolicy, ServiceType};

impl Making<'_> {
    pub(super) fn service(&self, ports: &BTreeSet<Port>) -> Value {
        let parameters = &self.parameters.service;
        let r#type = parameters.r#type.unwrap_or(ServiceType::LoadBalancer);
        let ports: Vec<Value> = ports
            .iter()
            .map(|(port, protocol)| {
                json!({
                    "name": format!("{}-{port}", protocol.to_ascii_lowercase()),
                    "port": port,
                    "targetPort": port,
                    "protocol": protocol,
                })
            })
            .collect();
        let mut spec = json!({
            "type": r#type.as_str(),
            "selector": self.selector(),
            "ipFamilyPolicy": "PreferDualStack",
            "ports": ports,
        });
        if let Some(spec) = spec.as_object_mut() {
            if r#type != ServiceType::ClusterIP {
                // Kubernetes' own default hides clients behind addresses of nodes: of lists, limits and logs.
                let policy = parameters.external_traffic_policy.unwrap_or(ExternalTrafficPolicy::Local);
                spec.insert("externalTrafficPolicy".into(), policy.as_str().into());
            }
            if r#type == ServiceType::LoadBalancer {
                // Deprecated without a successor; implementations read their own annotations beside it.
                if let Some(address) = self.requested_address() {
                    spec.insert("loadBalancerIP".into(), address.into());
                }
                if let Some(class) = &parameters.load_balancer_class {
                    spec.insert("loadBalancerClass".into(), class.as_str().into());
                }
            }
        }
        let mut object = self.object("v1", "Service", &parameters.annotations);
        object.insert("spec".into(), spec);
        Value::Object(object)
    }

    /// A Service without an address: it only lists the pods of a waypoint, to which the EndpointSlices of other Services lead.
    pub(super) fn headless(&self) -> Value {
        let mut object = self.object("v1", "Service", &self.parameters.service.annotations);
        let spec = json!({
            "type": "ClusterIP",
            "clusterIP": "None",
            "selector": self.selector(),
            "ipFamilyPolicy": "PreferDualStack",
        });
        object.insert("spec".into(), spec);
        Value::Object(object)
    }

    /// A Service takes one address: the first that the Gateway asks for. Of the others its status says that they are
    /// not usable.
    fn requested_address(&self) -> Option<&str> {
        let requested = self.gateway.spec.addresses.as_deref().unwrap_or_default();
        requested
            .iter()
            .filter(|address| address.r#type.as_deref().is_none_or(|kind| kind == "IPAddress"))
            .filter_map(|address| address.value.as_deref())
            .find(|value| value.parse::<IpAddr>().is_ok())
    }
}
