//! Service, EndpointSlice, Secret, ConfigMap and Namespace.

use super::super::finding::Code;
use super::super::node::{Node, Value};
use super::formats::{BASE64, CONFIG_KEY, IP, LABEL, LABEL_VALUE, PORT_NAME, QUALIFIED_NAME, SERVICE_NAME};
use super::metadata::{NAME, kind};
use super::{
    Report, Schema, Unique, formatted, integer, list, map, object, opt, port, req, string, strings, text,
};

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

/// On a Secret: standalone makes a certificate for it.
pub(in crate::manifests) const SELF_SIGNED: &str = "fairway.dev/self-signed";

/// Service.
pub(in crate::manifests) fn service() -> Schema {
    let ports = object([
        opt("name", formatted(0, 63, &PORT_NAME)),
        req("port", port()),
        opt("targetPort", Schema::IntegerOrText),
        opt("protocol", Schema::Enum(PROTOCOLS)).or(|| Value::text("TCP")),
        opt("appProtocol", formatted(0, 253, &QUALIFIED_NAME)),
        opt("nodePort", integer(0, 65535)),
    ]);
    let spec = object([
        opt("ports", list(ports, 0, usize::MAX).unique(Unique::By(&["port", "protocol"])).rule(port_names)),
        opt("selector", map(formatted(0, 63, &LABEL_VALUE), usize::MAX).keys(&QUALIFIED_NAME)),
        opt("type", Schema::Enum(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]))
            .or(|| Value::text("ClusterIP")),
        opt("clusterIP", string()),
        opt("clusterIPs", strings()),
        opt("externalName", string()),
        opt("externalIPs", strings()),
        opt("externalTrafficPolicy", Schema::Enum(&["Cluster", "Local"])),
        opt("internalTrafficPolicy", Schema::Enum(&["Cluster", "Local"])),
        opt("trafficDistribution", string()),
        opt("sessionAffinity", Schema::Enum(&["None", "ClientIP"])),
        opt("sessionAffinityConfig", Schema::Any),
        opt("publishNotReadyAddresses", Schema::Bool),
        opt("ipFamilies", list(Schema::Enum(&["IPv4", "IPv6"]), 0, 2)),
        opt("ipFamilyPolicy", Schema::Enum(&["SingleStack", "PreferDualStack", "RequireDualStack"])),
        opt("loadBalancerIP", string()),
        opt("loadBalancerClass", string()),
        opt("loadBalancerSourceRanges", strings()),
        opt("allocateLoadBalancerNodePorts", Schema::Bool),
        opt("healthCheckNodePort", integer(0, 65535)),
    ])
    .rule(service_spec);
    kind(&SERVICE_NAME, [req("spec", spec)])
}

fn port_names(node: &Node, report: &mut Report<'_>) {
    let ports = node.items();
    if ports.len() < 2 {
        return;
    }
    for (index, port) in ports.iter().enumerate() {
        let name = port.text_of("name");
        let below = format!("[{index}].name");
        if name.is_empty() {
            let reason = "a Service of several ports names each of them";
            return report.at(port, &below, Code::Missing, reason, "add a name");
        }
        if ports.iter().take(index).any(|other| other.text_of("name") == name) {
            return report.at(
                port,
                &below,
                Code::NotAllowed,
                format!("{name:?} is there twice"),
                "rename one",
            );
        }
    }
}

fn service_spec(node: &Node, report: &mut Report<'_>) {
    let is_external = node.text_of("type") == "ExternalName";
    if is_external != node.has("externalName") && is_external {
        return report.broken(node, "externalName", "is required when type is ExternalName", "add it");
    }
    let is_portless = is_external || node.text_of("clusterIP") == "None";
    if !is_portless && node.get("ports").is_none_or(|ports| ports.items().is_empty()) {
        report.at(node, "ports", Code::Missing, "is required", "add at least one port");
    }
}

/// EndpointSlice.
pub(in crate::manifests) fn endpoint_slice() -> Schema {
    let conditions =
        object([opt("ready", Schema::Bool), opt("serving", Schema::Bool), opt("terminating", Schema::Bool)]);
    let endpoint = object([
        req("addresses", list(string(), 1, 100)),
        opt("conditions", conditions).or(|| Value::Map(Vec::new())),
        opt("hostname", formatted(0, 63, &LABEL)),
        opt("nodeName", string()),
        opt("zone", string()),
        opt("targetRef", Schema::Any),
        opt("hints", Schema::Any),
        opt("deprecatedTopology", Schema::Any),
    ]);
    let ports = object([
        opt("name", formatted(0, 63, &PORT_NAME)).or(|| Value::text("")),
        opt("port", port()),
        opt("protocol", Schema::Enum(PROTOCOLS)).or(|| Value::text("TCP")),
        opt("appProtocol", formatted(0, 253, &QUALIFIED_NAME)),
    ]);
    let slice = kind(
        NAME,
        [
            req("addressType", Schema::Enum(&["IPv4", "IPv6", "FQDN"])),
            req("endpoints", list(endpoint, 0, 1000)),
            opt("ports", list(ports, 0, 100).unique(Unique::By(&["name"]))),
        ],
    );
    slice.rule(addresses)
}

fn addresses(node: &Node, report: &mut Report<'_>) {
    let address_type = node.text_of("addressType");
    for (index, endpoint) in node.get("endpoints").map(Node::items).unwrap_or_default().iter().enumerate() {
        for (at, address) in endpoint.get("addresses").map(Node::items).unwrap_or_default().iter().enumerate()
        {
            let text = address.as_str().unwrap_or_default();
            let is_right = match text.parse::<std::net::IpAddr>() {
                Ok(ip) if ip.is_ipv4() => address_type == "IPv4",
                Ok(_) => address_type == "IPv6",
                Err(_) => address_type == "FQDN" && (super::formats::HOSTNAME.accepts)(text),
            };
            if !is_right {
                let below = format!("endpoints[{index}].addresses[{at}]");
                let form = if address_type == "FQDN" { "a DNS name" } else { IP.form };
                let remedy = format!("it must be {form} of addressType {address_type}");
                return report.at(
                    address,
                    &below,
                    Code::NotAllowed,
                    format!("{text:?} is not allowed"),
                    remedy,
                );
            }
        }
    }
}

/// Secret.
pub(in crate::manifests) fn secret() -> Schema {
    kind(
        NAME,
        [
            opt("type", text(0, 253)).or(|| Value::text("Opaque")),
            opt("data", map(formatted(0, usize::MAX, &BASE64), usize::MAX).keys(&CONFIG_KEY)),
            opt("stringData", map(string(), usize::MAX).keys(&CONFIG_KEY)),
            opt("immutable", Schema::Bool),
        ],
    )
    .rule(tls_secret)
}

fn tls_secret(node: &Node, report: &mut Report<'_>) {
    if node.text_of("type") != "kubernetes.io/tls"
        || node.path(&["metadata", "annotations", SELF_SIGNED]).is_some()
    {
        return;
    }
    for key in ["tls.crt", "tls.key"] {
        if !["data", "stringData"].iter().any(|part| node.path(&[part, key]).is_some()) {
            let reason = format!("a Secret of type kubernetes.io/tls has the key {key}");
            let remedy =
                format!("add it, or annotate {SELF_SIGNED}: \"true\" for a self-made one in standalone");
            return report.broken(node, "data", reason, remedy);
        }
    }
}

/// ConfigMap.
pub(in crate::manifests) fn config_map() -> Schema {
    kind(
        NAME,
        [
            opt("data", map(string(), usize::MAX).keys(&CONFIG_KEY)),
            opt("binaryData", map(formatted(0, usize::MAX, &BASE64), usize::MAX).keys(&CONFIG_KEY)),
            opt("immutable", Schema::Bool),
        ],
    )
}

/// Namespace.
pub(in crate::manifests) fn namespace() -> Schema {
    kind(&LABEL, [opt("spec", object([opt("finalizers", strings())]))])
}
