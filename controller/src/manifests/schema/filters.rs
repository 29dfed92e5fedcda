//! Filters of routes.

use super::super::finding::Code;
use super::super::node::{Node, Value};
use super::formats::{EXACT_HOSTNAME, HEADER_NAME, HEADER_VALUE, ORIGIN, PATH_CHARS};
use super::gateway::{group, kind_name, namespace, object_name};
use super::{Field, Report, Schema, Unique, formatted, integer, list, object, opt, port, req, string, text};

/// Filters of HTTPRoutes, with the field each has its settings in.
const HTTP: &[(&str, &str)] = &[
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("RequestRedirect", "requestRedirect"),
    ("URLRewrite", "urlRewrite"),
    ("ExtensionRef", "extensionRef"),
    ("CORS", "cors"),
    ("ExternalAuth", "externalAuth"),
];

/// Those a rule may hold once.
const ONCE: &[&str] =
    &["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS"];

/// Filters of an HTTPRoute's rule or backend.
pub(super) fn http() -> Schema {
    let types: &[&str] = &[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ];
    let filter = object([
        req("type", Schema::Enum(types)),
        opt("requestHeaderModifier", header_modifier()),
        opt("responseHeaderModifier", header_modifier()),
        opt("requestMirror", mirror()),
        opt("requestRedirect", redirect()),
        opt("urlRewrite", object([opt("hostname", exact_hostname()), opt("path", path_modifier())])),
        opt("extensionRef", extension_ref()),
        opt("cors", cors()),
        opt("externalAuth", external_auth()),
    ])
    .rule(settings);
    list(filter, 0, 16).rule(together)
}

/// Filters of a GRPCRoute's rule or backend.
pub(super) fn grpc() -> Schema {
    let types: &[&str] =
        &["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"];
    let filter = object([
        req("type", Schema::Enum(types)),
        opt("requestHeaderModifier", header_modifier()),
        opt("responseHeaderModifier", header_modifier()),
        opt("requestMirror", mirror()),
        opt("extensionRef", extension_ref()),
    ])
    .rule(settings);
    list(filter, 0, 16).rule(together)
}

/// The settings of a filter are those of its type.
fn settings(node: &Node, report: &mut Report<'_>) {
    let r#type = node.text_of("type");
    for (name, field) in HTTP {
        match node.get(field) {
            Some(settings) if *name != r#type => {
                let reason = format!("a filter of type {type} has no {field}");
                return report.broken(settings, field, reason, format!("set type {name}, or remove it"));
            }
            None if *name == r#type => {
                return report.broken(node, field, format!("is required for type {type}"), "add it");
            }
            _ => {}
        }
    }
}

fn together(node: &Node, report: &mut Report<'_>) {
    let types: Vec<&str> = node.items().iter().map(|filter| filter.text_of("type")).collect();
    for (index, (filter, r#type)) in node.items().iter().zip(&types).enumerate() {
        let before = types.get(..index).unwrap_or_default();
        if ONCE.contains(r#type) && before.contains(r#type) {
            let reason = format!("a second filter of type {type}");
            return report.broken(filter, &format!("[{index}]"), reason, "put both into one filter");
        }
        let other = match *r#type {
            "RequestRedirect" => "URLRewrite",
            "URLRewrite" => "RequestRedirect",
            _ => continue,
        };
        if before.contains(&other) {
            let reason = "RequestRedirect and URLRewrite exclude each other";
            return report.broken(filter, &format!("[{index}]"), reason, "keep one of them");
        }
    }
}

fn exact_hostname() -> Schema {
    formatted(1, 253, &EXACT_HOSTNAME)
}

fn header_modifier() -> Schema {
    let header = || {
        object([
            req("name", formatted(1, 256, &HEADER_NAME)),
            req("value", formatted(1, 4096, &HEADER_VALUE)),
        ])
    };
    let headers = || list(header(), 0, 16).unique(Unique::By(&["name"]));
    object([
        opt("set", headers()),
        opt("add", headers()),
        opt("remove", list(formatted(1, 256, &HEADER_NAME), 0, 16).unique(Unique::Items)),
    ])
}

/// The fields of a reference to a Service, without the rule that a Service needs a port.
pub(super) fn backend_fields() -> Vec<Field> {
    vec![
        opt("group", group()).or(|| Value::text("")),
        opt("kind", kind_name()).or(|| Value::text("Service")),
        req("name", object_name()),
        opt("namespace", namespace()),
        opt("port", port()),
    ]
}

/// "Port is required when the referent is a Kubernetes Service."
pub(super) fn needs_port(node: &Node, report: &mut Report<'_>) {
    if node.text_of("group").is_empty() && node.text_of("kind") == "Service" && !node.has("port") {
        report.at(node, "port", Code::Missing, "is required for a Service", "add the Service's port");
    }
}

fn mirror() -> Schema {
    let fraction = object([
        req("numerator", integer(0, i64::from(i32::MAX))),
        opt("denominator", integer(1, i64::from(i32::MAX))).or(|| Value::Integer(100)),
    ])
    .rule(|node, report| {
        let number = |field| node.get(field).and_then(Node::as_i64).unwrap_or_default();
        if number("numerator") > number("denominator") {
            let reason = "is above the denominator";
            report.broken(node, "numerator", reason, "a fraction is at most 1");
        }
    });
    object([
        req("backendRef", object(backend_fields()).rule(needs_port)),
        opt("percent", integer(0, 100)),
        opt("fraction", fraction),
    ])
    .rule(|node, report| {
        if node.has("percent") && node.has("fraction") {
            report.broken(node, "fraction", "percent and fraction exclude each other", "keep one of them");
        }
    })
}

fn redirect() -> Schema {
    object([
        opt("scheme", Schema::Enum(&["http", "https"])),
        opt("hostname", exact_hostname()),
        opt("path", path_modifier()),
        opt("port", port()),
        opt("statusCode", Schema::IntegerEnum(&[301, 302, 303, 307, 308])).or(|| Value::Integer(302)),
    ])
}

fn path_modifier() -> Schema {
    object([
        req("type", Schema::Enum(&["ReplaceFullPath", "ReplacePrefixMatch"])),
        opt("replaceFullPath", text(0, 1024)),
        opt("replacePrefixMatch", text(0, 1024)),
    ])
    .rule(|node, report| {
        let r#type = node.text_of("type");
        for (name, field) in
            [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")]
        {
            if name == r#type && !node.has(field) {
                return report.broken(node, field, format!("is required for type {type}"), "add it");
            }
            if name != r#type && node.has(field) {
                let remedy = format!("set type {name}, or remove it");
                return report.broken(node, field, format!("does not go with type {type}"), remedy);
            }
        }
    })
}

fn extension_ref() -> Schema {
    object([req("group", group()), req("kind", kind_name()), req("name", object_name())])
}

fn star_alone(node: &Node, report: &mut Report<'_>) {
    if node.items().len() > 1 && node.items().iter().any(|item| item.as_str() == Some("*")) {
        report.broken(node, "", "`*` stands alone", "remove it or the others");
    }
}

fn cors() -> Schema {
    let methods: &[&str] =
        &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];
    let headers = || list(formatted(1, 256, &HEADER_NAME), 0, 64).unique(Unique::Items);
    object([
        opt("allowOrigins", list(formatted(1, 253, &ORIGIN), 0, 64).unique(Unique::Items).rule(star_alone)),
        opt("allowCredentials", Schema::Bool),
        opt("allowMethods", list(Schema::Enum(methods), 0, 9).unique(Unique::Items).rule(star_alone)),
        opt("allowHeaders", headers().rule(star_alone)),
        opt("exposeHeaders", headers()),
        opt("maxAge", integer(1, i64::from(i32::MAX))).or(|| Value::Integer(5)),
    ])
}

fn external_auth() -> Schema {
    let headers = || list(string(), 0, 64).unique(Unique::Items);
    object([
        req("protocol", Schema::Enum(&["HTTP", "GRPC"])),
        req("backendRef", object(backend_fields()).rule(needs_port)),
        opt("grpc", object([opt("allowedHeaders", headers())])),
        opt(
            "http",
            object([
                opt("path", formatted(1, 1024, &PATH_CHARS)),
                opt("allowedHeaders", headers()),
                opt("allowedResponseHeaders", headers()),
            ]),
        ),
        opt("forwardBody", object([opt("maxSize", integer(0, 65535))])),
    ])
    .rule(|node, report| {
        for (protocol, field) in [("HTTP", "http"), ("GRPC", "grpc")] {
            let is_it = node.text_of("protocol") == protocol;
            if is_it != node.has(field) {
                let reason = format!("{field} and protocol {protocol} go together");
                return report.broken(node, field, reason, "add or remove one of them");
            }
        }
    })
}
