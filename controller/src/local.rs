//! Objects that exist only where there is no cluster: endpoints of demo Services and self-made certificates.
//!
//! Two annotations ask for them; in a cluster both are just annotations, so a directory can be applied there as it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::manifests::SELF_SIGNED;
use crate::translate::service_port::Transport;
use crate::{Object, ObjectKey, api};

/// On a Service: standalone runs its pods. The value is how many, 1 to 9, or `echo` for two.
pub const DEMO: &str = "fairway.dev/demo";

/// A Service whose pods standalone runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DemoService {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Names of its TCP ports; one without a name is empty.
    pub ports: Vec<String>,
    /// The same of its UDP ports.
    pub udp_ports: Vec<String>,
    /// How many pods.
    pub pods: u8,
}

/// The Services whose pods standalone runs, sorted.
#[must_use]
pub fn demo_services(objects: &[Object]) -> Vec<DemoService> {
    let mut services: Vec<DemoService> = objects
        .iter()
        .filter_map(|object| if let Object::Service(service) = object { demo_service(service) } else { None })
        .collect();
    services.sort();
    services
}

fn demo_service(service: &api::Service) -> Option<DemoService> {
    let wanted = service.metadata.annotations.as_ref()?.get(DEMO)?;
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let names = |transport: Transport| -> Vec<String> {
        let of_transport = ports.iter().filter(|port| transport.is(port.protocol.as_deref()));
        of_transport.map(|port| port.name.clone().unwrap_or_default()).collect()
    };
    Some(DemoService {
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
        name: service.metadata.name.clone().unwrap_or_default(),
        ports: names(Transport::Tcp),
        udp_ports: names(Transport::Udp),
        pods: wanted.parse().unwrap_or(2).clamp(1, 9),
    })
}

/// The EndpointSlice of one pod: its ports, in the order of [`DemoService::ports`] and [`DemoService::udp_ports`]. A slice
/// per pod, because pods share loopback addresses and so differ by port.
#[must_use]
pub fn endpoint_slice(
    service: &DemoService,
    pod: &str,
    tcp: &[SocketAddr],
    udp: &[SocketAddr],
) -> Option<Object> {
    let ip = tcp.first().or_else(|| udp.first())?.ip();
    let labels = BTreeMap::from([
        ("kubernetes.io/service-name".to_owned(), service.name.clone()),
        ("endpointslice.kubernetes.io/managed-by".to_owned(), "standalone.fairway.dev".to_owned()),
    ]);
    let ports = |names: &[String], addresses: &[SocketAddr], transport: Transport| -> Vec<EndpointPort> {
        let ports = names.iter().zip(addresses).map(|(name, address)| EndpointPort {
            name: Some(name.clone()),
            port: Some(address.port().into()),
            protocol: Some(transport.as_str().into()),
            app_protocol: None,
        });
        ports.collect()
    };
    let mut all = ports(&service.ports, tcp, Transport::Tcp);
    all.extend(ports(&service.udp_ports, udp, Transport::Udp));
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        ..Endpoint::default()
    };
    let slice = EndpointSlice {
        address_type: if matches!(ip, IpAddr::V4(_)) { "IPv4".into() } else { "IPv6".into() },
        endpoints: Some(vec![endpoint]),
        metadata: ObjectMeta {
            name: Some(format!("{pod}-standalone")),
            namespace: Some(service.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ports: Some(all),
    };
    Some(Object::EndpointSlice(Arc::new(slice)))
}

/// A FairwayProxy that says how proxies run in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdleParameters {
    /// The FairwayProxy.
    pub object: ObjectKey,
    /// What it says, as `spec.drain.seconds`. Without a cluster nothing of it has an effect.
    pub fields: Vec<String>,
}

/// What FairwayProxies say, sorted; without a cluster there is nobody to follow it.
#[must_use]
pub fn idle_parameters(objects: &[Object]) -> Vec<IdleParameters> {
    let mut idle: Vec<IdleParameters> = objects
        .iter()
        .filter_map(|object| {
            let Object::FairwayProxy(proxy) = object else { return None };
            let spec = serde_json::to_value(&proxy.spec).unwrap_or_default();
            let mut fields = Vec::new();
            for (name, value) in spec.as_object().into_iter().flatten() {
                match value.as_object().filter(|_| matches!(&**name, "drain" | "logging" | "pod" | "service"))
                {
                    Some(group) => fields.extend(group.keys().map(|field| format!("spec.{name}.{field}"))),
                    None => fields.push(format!("spec.{name}")),
                }
            }
            Some(IdleParameters { object: object.key(), fields })
        })
        .filter(|idle| !idle.fields.is_empty())
        .collect();
    idle.sort();
    idle
}

/// A Secret that wants a self-made certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelfSigned {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// DNS names it must be valid for, sorted: those of the annotation, or the host names of the listeners that show
    /// it, and `localhost`.
    pub dns_names: Vec<String>,
}

/// The Secrets that want a self-made certificate, sorted. A Secret that has one is left alone.
#[must_use]
pub fn self_signed(objects: &[Object]) -> Vec<SelfSigned> {
    let mut wanted: Vec<SelfSigned> = objects
        .iter()
        .filter_map(|object| {
            let Object::Secret(secret) = object else { return None };
            let annotation = secret.metadata.annotations.as_ref()?.get(SELF_SIGNED)?;
            let has_key = secret
                .data
                .as_ref()
                .and_then(|data| data.get("tls.key"))
                .is_some_and(|key| !key.0.is_empty());
            (annotation != "false" && !has_key).then_some((secret, annotation))
        })
        .map(|(secret, annotation)| self_signed_one(secret, annotation, objects))
        .collect();
    wanted.sort();
    wanted
}

fn self_signed_one(secret: &api::Secret, annotation: &str, objects: &[Object]) -> SelfSigned {
    let namespace = secret.metadata.namespace.clone().unwrap_or_default();
    let name = secret.metadata.name.clone().unwrap_or_default();
    let mut dns_names: Vec<String> = if annotation == "true" {
        listener_hostnames(&namespace, &name, objects)
    } else {
        annotation.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    dns_names.push("localhost".into());
    dns_names.sort();
    dns_names.dedup();
    SelfSigned { namespace, name, dns_names }
}

fn listener_hostnames(namespace: &str, name: &str, objects: &[Object]) -> Vec<String> {
    let mut hostnames = Vec::new();
    for object in objects {
        let (meta, listeners) = if let Object::Gateway(gateway) = object {
            (&gateway.metadata, &gateway.spec.listeners)
        } else if let Object::ListenerSet(set) = object {
            (&set.metadata, &set.spec.listeners)
        } else {
            continue;
        };
        let own = meta.namespace.as_deref().unwrap_or_default();
        for listener in listeners {
            let references =
                listener.tls.as_ref().and_then(|tls| tls.certificate_refs.as_deref()).unwrap_or_default();
            if references.iter().any(|r| r.name == name && r.namespace.as_deref().unwrap_or(own) == namespace)
            {
                hostnames.extend(listener.hostname.clone());
            }
        }
    }
    hostnames
}

/// The Secret with a certificate, and the type Gateways want.
#[must_use]
pub fn with_certificate(secret: &api::Secret, chain: &str, key: &str) -> Object {
    let mut secret = secret.clone();
    let data = secret.data.get_or_insert_default();
    data.insert("tls.crt".into(), ByteString(chain.as_bytes().to_vec()));
    data.insert("tls.key".into(), ByteString(key.as_bytes().to_vec()));
    secret.type_ = Some("kubernetes.io/tls".into());
    Object::Secret(Arc::new(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_of_a_fairway_proxy_is_told_as_idle() {
        let proxy = |spec: serde_json::Value| -> Object {
            let object = json!({ "apiVersion": "fairway.dev/v1alpha1", "kind": "FairwayProxy",
                "metadata": { "name": "edge", "namespace": "shop" }, "spec": spec });
            serde_json::from_value::<api::FairwayProxy>(object).unwrap().into()
        };
        let objects = [
            proxy(json!({})),
            proxy(json!({
                "replicas": 3, "drain": { "seconds": 60 }, "logging": { "accessLog": "Off" },
                "resources": { "requests": { "cpu": "1" } }, "service": { "type": "NodePort" },
            })),
        ];
        let [idle] = &*idle_parameters(&objects) else { panic!("one of the two says something") };
        assert_eq!(idle.object.to_string(), "FairwayProxy/shop/edge");
        let told = ["replicas", "resources", "service.type", "logging.accessLog", "drain.seconds"];
        assert_eq!(idle.fields, told.map(|field| format!("spec.{field}")));
    }
}
