//! GatewayClass and Gateway (Gateway API v1.6).

use std::net::IpAddr;

use super::super::finding::Code;
use super::super::node::{Node, Value};
use super::formats::{
    ADDRESS_TYPE, CONTROLLER_NAME, GROUP, HOSTNAME, KIND, LABEL, LABEL_VALUE, PROTOCOL, QUALIFIED_NAME,
    SUBDOMAIN,
};
use super::metadata::{NAME, kind};
use super::{
    Report, Schema, Unique, default_object, formatted, list, map, object, opt, port, req, string, strings,
    text,
};

/// Group of the Gateway API.
pub(in crate::manifests) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

pub(super) fn group() -> Schema {
    formatted(0, 253, &GROUP)
}

pub(super) fn kind_name() -> Schema {
    formatted(1, 63, &KIND)
}

pub(super) fn object_name() -> Schema {
    text(1, 253)
}

pub(super) fn namespace() -> Schema {
    formatted(1, 63, &LABEL)
}

pub(super) fn section_name() -> Schema {
    formatted(1, 253, &SUBDOMAIN)
}

pub(super) fn hostname() -> Schema {
    formatted(1, 253, &HOSTNAME)
}

/// GatewayClass.
pub(in crate::manifests) fn gateway_class() -> Schema {
    let parameters = object([
        req("group", group()),
        req("kind", kind_name()),
        req("name", object_name()),
        opt("namespace", namespace()),
    ]);
    let spec = object([
        req("controllerName", formatted(1, 253, &CONTROLLER_NAME)),
        opt("description", text(0, 64)),
        opt("parametersRef", parameters),
    ]);
    kind(NAME, [req("spec", spec)])
}

/// Gateway.
pub(in crate::manifests) fn gateway() -> Schema {
    let address = object([
        opt("type", formatted(1, 253, &ADDRESS_TYPE)).or(|| Value::text("IPAddress")),
        opt("value", text(0, 253)),
    ])
    .rule(address);
    let infrastructure = object([
        opt("labels", map(formatted(0, 63, &LABEL_VALUE), 8).keys(&QUALIFIED_NAME)),
        opt("annotations", map(text(0, 4096), 16).keys(&QUALIFIED_NAME)),
        opt(
            "parametersRef",
            object([req("group", group()), req("kind", kind_name()), req("name", object_name())]),
        ),
    ]);
    let allowed_listeners =
        object([opt("namespaces", namespaces(&["All", "Selector", "Same", "None"], || Value::text("None")))
            .or(|| default_object(&[("from", Value::text("None"))]))]);
    let spec = object([
        req("gatewayClassName", object_name()),
        req("listeners", list(listener(), 1, 64).unique(Unique::By(&["name"])).rule(listeners)),
        opt("addresses", list(address, 0, 16).unique(Unique::Items)),
        opt("infrastructure", infrastructure),
        opt("allowedListeners", allowed_listeners),
        opt("defaultScope", Schema::Enum(&["All", "None"])),
        opt("tls", gateway_tls()),
    ]);
    kind(NAME, [req("spec", spec)])
}

/// ListenerSet.
pub(in crate::manifests) fn listener_set() -> Schema {
    let parent = object([
        opt("group", group()).or(|| Value::text(GATEWAY_GROUP)),
        opt("kind", kind_name()).or(|| Value::text("Gateway")),
        req("name", object_name()),
        opt("namespace", namespace()),
    ]);
    let listeners = list(listener(), 1, 64).unique(Unique::By(&["name"])).rule(listeners);
    kind(NAME, [req("spec", object([req("parentRef", parent), req("listeners", listeners)]))])
}

fn namespaces(from: &'static [&'static str], default: fn() -> Value) -> Schema {
    let expression =
        object([req("key", string()), req("operator", string()), opt("values", strings())]).rule(expression);
    let selector = object([
        opt("matchLabels", map(string(), usize::MAX)),
        opt("matchExpressions", list(expression, 0, usize::MAX)),
    ]);
    object([opt("from", Schema::Enum(from)).or(default), opt("selector", selector)])
}

/// The API server leaves label selectors to the controller; a wrong operator would select nothing, silently.
fn expression(node: &Node, report: &mut Report<'_>) {
    let operator = node.text_of("operator");
    let has_values = node.get("values").is_some_and(|values| !values.items().is_empty());
    match operator {
        "In" | "NotIn" if !has_values => {
            report.broken(node, "values", "In and NotIn need values", "add some")
        }
        "Exists" | "DoesNotExist" if has_values => {
            report.broken(node, "values", format!("{operator} takes no values"), "remove them");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => report.at(
            node,
            "operator",
            Code::NotAllowed,
            format!("{operator:?} is not allowed"),
            "it takes In, NotIn, Exists, DoesNotExist",
        ),
    }
}

fn listener() -> Schema {
    let route_kind =
        object([opt("group", group()).or(|| Value::text(GATEWAY_GROUP)), req("kind", kind_name())]);
    let same = || default_object(&[("from", Value::text("Same"))]);
    let allowed_routes = object([
        opt("kinds", list(route_kind, 0, 8)),
        opt("namespaces", namespaces(&["All", "Selector", "Same"], || Value::text("Same"))).or(same),
    ]);
    object([
        req("name", section_name()),
        req("port", port()),
        req("protocol", formatted(1, 255, &PROTOCOL)),
        opt("hostname", hostname()),
        opt("tls", listener_tls()),
        opt("allowedRoutes", allowed_routes).or(|| default_object(&[])),
    ])
}

fn secret_ref() -> Schema {
    object([
        opt("group", group()).or(|| Value::text("")),
        opt("kind", kind_name()).or(|| Value::text("Secret")),
        req("name", object_name()),
        opt("namespace", namespace()),
    ])
}

fn listener_tls() -> Schema {
    object([
        opt("mode", Schema::Enum(&["Terminate", "Passthrough"])).or(|| Value::text("Terminate")),
        opt("certificateRefs", list(secret_ref(), 0, 64)),
        opt("options", map(text(0, 4096), 16).keys(&QUALIFIED_NAME)),
    ])
    .rule(|tls, report| {
        let has_options = !tls.get("options").map(Node::entries).unwrap_or_default().is_empty();
        let has_certificates = tls.get("certificateRefs").is_some_and(|refs| !refs.items().is_empty());
        if tls.text_of("mode") == "Terminate" && !has_certificates && !has_options {
            let reason = "mode Terminate needs a certificate";
            report.broken(tls, "certificateRefs", reason, "name a Secret in certificateRefs");
        }
    })
}

fn gateway_tls() -> Schema {
    let ca = object([
        req("group", group()),
        req("kind", kind_name()),
        req("name", object_name()),
        opt("namespace", namespace()),
    ]);
    let validation = object([
        req("caCertificateRefs", list(ca, 1, 16)),
        opt("mode", Schema::Enum(&["AllowValidOnly", "AllowInsecureFallback"]))
            .or(|| Value::text("AllowValidOnly")),
    ]);
    let tls = object([opt("validation", validation)]);
    let per_port = object([req("port", port()), req("tls", tls.clone())]);
    object([
        opt("backend", object([opt("clientCertificateRef", secret_ref())])),
        opt(
            "frontend",
            object([
                req("default", tls),
                opt("perPort", list(per_port, 0, 64).unique(Unique::By(&["port"]))),
            ]),
        ),
    ])
}

fn address(node: &Node, report: &mut Report<'_>) {
    let value = node.text_of("value");
    let is_right = match node.text_of("type") {
        "Hostname" => value.is_empty() || (HOSTNAME.accepts)(value),
        "IPAddress" => value.is_empty() || value.parse::<IpAddr>().is_ok(),
        _ => true,
    };
    if !is_right {
        let remedy = "write an address of its type, or change the type";
        report.at(node, "value", Code::NotAllowed, format!("{value:?} is not allowed"), remedy);
    }
}

fn listeners(node: &Node, report: &mut Report<'_>) {
    let listeners = node.items();
    for (index, listener) in listeners.iter().enumerate() {
        let protocol = listener.text_of("protocol");
        let tls = listener.get("tls");
        let mode = tls.map(|tls| tls.text_of("mode")).unwrap_or_default();
        let below = |field: &str| format!("[{index}].{field}");
        if let Some(tls) = tls.filter(|_| matches!(protocol, "HTTP" | "TCP" | "UDP")) {
            let reason = format!("protocol {protocol} has no TLS");
            return report.broken(tls, &below("tls"), reason, "remove tls, or use protocol HTTPS or TLS");
        }
        if let Some(tls) = tls.filter(|_| protocol == "HTTPS" && mode == "Passthrough") {
            let reason = "protocol HTTPS terminates TLS";
            return report.broken(tls, &below("tls.mode"), reason, "use mode Terminate, or protocol TLS");
        }
        if protocol == "TLS" && mode.is_empty() {
            let reason = "protocol TLS needs tls.mode";
            return report.broken(listener, &below("tls.mode"), reason, "add Terminate or Passthrough");
        }
        if let Some(hostname) = listener.get("hostname").filter(|_| matches!(protocol, "TCP" | "UDP")) {
            let reason = format!("protocol {protocol} knows no host names");
            return report.broken(hostname, &below("hostname"), reason, "remove it");
        }
        let identity = |l: &Node| {
            (
                l.get("port").and_then(Node::as_i64),
                l.text_of("protocol").to_owned(),
                l.text_of("hostname").to_owned(),
            )
        };
        let mine = identity(listener);
        if let Some(first) = listeners.iter().take(index).position(|other| identity(other) == mine) {
            let reason = format!("has the port, protocol and hostname of item {first}");
            return report.broken(
                listener,
                &format!("[{index}]"),
                reason,
                "give it another port or hostname",
            );
        }
    }
}
