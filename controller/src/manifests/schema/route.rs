//! Routes of every kind (Gateway API v1.6, experimental channel).

use super::super::finding::Code;
use super::super::node::{Node, Value};
use super::filters::{backend_fields, grpc, http, needs_port};
use super::formats::{DURATION, HEADER_NAME, HEADER_VALUE, PATH_CHARS};
use super::gateway::{GATEWAY_GROUP, group, hostname, kind_name, namespace, object_name, section_name};
use super::metadata::{NAME, kind};
use super::{
    Field, Report, Schema, Unique, default_list, default_object, formatted, integer, list, object, opt, port,
    req, text,
};

/// "the total number of matches across all rules in a route must be less than 128"; the rule's own bound is 128.
const MAX_MATCHES: usize = 128;

/// HTTPRoute.
pub(in crate::manifests) fn http_route() -> Schema {
    let rule = object([
        opt("name", section_name()),
        opt("matches", list(http_match(), 0, 64)).or(default_matches),
        opt("filters", http()),
        opt("backendRefs", list(backend_ref(http()), 0, 16)),
        opt("timeouts", timeouts()),
        opt("retry", retry()),
        opt("sessionPersistence", session_persistence()),
    ])
    .rule(http_rule);
    let rules = list(rule, 1, 16).rule(rule_names).rule(total_matches);
    let default_rules = || default_list(default_object(&[("matches", default_matches())]));
    kind(NAME, [req("spec", object(route_fields([opt("rules", rules).or(default_rules)])))])
}

/// GRPCRoute.
pub(in crate::manifests) fn grpc_route() -> Schema {
    let rule = object([
        opt("name", section_name()),
        opt("matches", list(grpc_match(), 0, 64)),
        opt("filters", grpc()),
        opt("backendRefs", list(backend_ref(grpc()), 0, 16)),
        opt("sessionPersistence", session_persistence()),
    ]);
    let rules = list(rule, 0, 16).rule(rule_names).rule(total_matches);
    kind(NAME, [req("spec", object(route_fields([opt("rules", rules)])))])
}

/// TLSRoute.
pub(in crate::manifests) fn tls_route() -> Schema {
    let hostnames = req("hostnames", list(hostname(), 1, 1024));
    kind(NAME, [req("spec", object(common_fields([hostnames, stream_rules()])))])
}

/// TCPRoute and UDPRoute.
pub(in crate::manifests) fn stream_route() -> Schema {
    kind(NAME, [req("spec", object(common_fields([stream_rules()])))])
}

fn stream_rules() -> Field {
    let mut backend = backend_fields();
    backend.push(opt("weight", integer(0, 1_000_000)).or(|| Value::Integer(1)));
    let backends = list(object(backend).rule(needs_port), 1, 16);
    req("rules", list(object([opt("name", section_name()), req("backendRefs", backends)]), 1, 1))
}

fn route_fields(own: impl IntoIterator<Item = Field>) -> Vec<Field> {
    let hostnames = opt("hostnames", list(hostname(), 0, 16));
    common_fields(std::iter::once(hostnames).chain(own))
}

fn common_fields(own: impl IntoIterator<Item = Field>) -> Vec<Field> {
    let parent = object([
        opt("group", group()).or(|| Value::text(GATEWAY_GROUP)),
        opt("kind", kind_name()).or(|| Value::text("Gateway")),
        req("name", object_name()),
        opt("namespace", namespace()),
        opt("sectionName", section_name()),
        opt("port", port()),
    ]);
    let mut fields = vec![
        opt("parentRefs", list(parent, 0, 32).rule(parents)),
        opt("useDefaultGateways", Schema::Enum(&["All", "None"])),
    ];
    fields.extend(own);
    fields
}

fn default_path() -> Value {
    default_object(&[("type", Value::text("PathPrefix")), ("value", Value::text("/"))])
}

fn default_matches() -> Value {
    default_list(default_object(&[("path", default_path())]))
}

fn match_type() -> Field {
    opt("type", Schema::Enum(&["Exact", "RegularExpression"])).or(|| Value::text("Exact"))
}

fn header_matches(value: Schema) -> Schema {
    let header = object([match_type(), req("name", formatted(1, 256, &HEADER_NAME)), req("value", value)]);
    list(header, 0, 16).unique(Unique::By(&["name"]))
}

fn http_match() -> Schema {
    let path = object([
        opt("type", Schema::Enum(&["Exact", "PathPrefix", "RegularExpression"]))
            .or(|| Value::text("PathPrefix")),
        opt("value", text(0, 1024)).or(|| Value::text("/")),
    ])
    .rule(path_value);
    let query =
        object([match_type(), req("name", formatted(1, 256, &HEADER_NAME)), req("value", text(1, 1024))]);
    let methods: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    object([
        opt("path", path).or(default_path),
        opt("method", Schema::Enum(methods)),
        opt("headers", header_matches(formatted(1, 4096, &HEADER_VALUE))),
        opt("queryParams", list(query, 0, 16).unique(Unique::By(&["name"]))),
    ])
}

fn grpc_match() -> Schema {
    let method =
        object([match_type(), opt("service", text(0, 1024)), opt("method", text(0, 1024))]).rule(grpc_method);
    object([opt("method", method), opt("headers", header_matches(text(1, 4096)))])
}

fn backend_ref(filters: Schema) -> Schema {
    let mut fields = backend_fields();
    fields.push(opt("weight", integer(0, 1_000_000)).or(|| Value::Integer(1)));
    fields.push(opt("filters", filters));
    object(fields).rule(needs_port)
}

fn duration() -> Schema {
    formatted(1, usize::MAX, &DURATION)
}

fn timeouts() -> Schema {
    object([opt("request", duration()), opt("backendRequest", duration())]).rule(|node, report| {
        let time = |field| node.text_of(field).parse::<policies::Duration>().ok().map(|d| d.0);
        if let (Some(request), Some(backend)) = (time("request"), time("backendRequest"))
            && !request.is_zero()
            && backend > request
        {
            let reason = "is longer than the timeout of the whole request";
            report.broken(node, "backendRequest", reason, "make it at most timeouts.request");
        }
    })
}

fn retry() -> Schema {
    object([
        opt("codes", list(integer(400, 599), 0, usize::MAX).unique(Unique::Items)),
        opt("attempts", integer(1, i64::from(u32::MAX))),
        opt("backoff", duration()),
    ])
}

/// Of v1.6 and, where it differs, of v1.5. No build implements it yet: status says so.
fn session_persistence() -> Schema {
    object([
        opt("type", Schema::Enum(&["Cookie", "Header"])).or(|| Value::text("Cookie")),
        opt("absoluteTimeout", duration()),
        opt("idleTimeout", duration()),
        opt("sessionName", text(0, 128)),
        opt("cookieConfig", object([opt("lifetimeType", Schema::Enum(&["Permanent", "Session"]))])),
    ])
    .rule(|node, report| {
        let is_permanent =
            node.path(&["cookieConfig", "lifetimeType"]).and_then(Node::as_str) == Some("Permanent");
        if is_permanent && !node.has("absoluteTimeout") {
            report.broken(node, "absoluteTimeout", "is missing, and lifetimeType is Permanent", "add it");
        }
        if node.has("cookieConfig") && node.text_of("type") == "Header" {
            report.broken(node, "cookieConfig", "goes with type Cookie only", "remove it");
        }
    })
}

fn path_value(node: &Node, report: &mut Report<'_>) {
    let value = node.text_of("value");
    if node.text_of("type") == "RegularExpression" {
        return;
    }
    let at = node.get("value").unwrap_or(node);
    let mut refuse = |reason: String, remedy: &str| report.at(at, "value", Code::NotAllowed, reason, remedy);
    if !value.starts_with('/') {
        return refuse(format!("{value:?} is not an absolute path"), "start it with `/`");
    }
    for part in ["//", "/./", "/../", "%2f", "%2F", "#"] {
        if value.contains(part) {
            let remedy = "remove it: no request has it once its path is normalised";
            return refuse(format!("{value:?} contains `{part}`"), remedy);
        }
    }
    if value.ends_with("/.") || value.ends_with("/..") {
        return refuse(format!("{value:?} ends with a dot segment"), "remove it");
    }
    if !(PATH_CHARS.accepts)(value) {
        refuse(
            format!("{value:?} is not a path"),
            "percent-encode what is not letters, digits or -/._~!$&'()*+,;=:@",
        );
    }
}

fn grpc_method(node: &Node, report: &mut Report<'_>) {
    let (service, method) =
        (node.get("service").and_then(Node::as_str), node.get("method").and_then(Node::as_str));
    if service.is_none() && method.is_none() {
        return report.broken(
            node,
            "",
            "names neither a service nor a method",
            "add service, method or both",
        );
    }
    if node.text_of("type") != "Exact" {
        return;
    }
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if let Some(service) = service.filter(|s| !s.strip_prefix('.').unwrap_or(s).split('.').all(is_word)) {
        let remedy = "write it as the proto file does, such as `shop.v1.Cart`";
        report.at(node, "service", Code::NotAllowed, format!("{service:?} is no gRPC service"), remedy);
    }
    if let Some(method) = method.filter(|m| !is_word(m)) {
        let remedy = "write it as the proto file does, such as `GetCart`";
        report.at(node, "method", Code::NotAllowed, format!("{method:?} is no gRPC method"), remedy);
    }
}

fn parents(node: &Node, report: &mut Report<'_>) {
    let identity = |p: &Node| ["group", "kind", "namespace", "name"].map(|field| p.text_of(field).to_owned());
    let part = |p: &Node| (p.text_of("sectionName").to_owned(), p.get("port").and_then(Node::as_i64));
    for (index, parent) in node.items().iter().enumerate() {
        for other in node.items().iter().take(index).filter(|other| identity(other) == identity(parent)) {
            let ((section, port), (other_section, other_port)) = (part(parent), part(other));
            let is_same_shape =
                section.is_empty() == other_section.is_empty() && port.is_none() == other_port.is_none();
            if !is_same_shape || (section, port) == (other_section, other_port) {
                let reason = "the same parent is named twice";
                let remedy = "give each reference to it a sectionName or port of its own";
                return report.broken(parent, &format!("[{index}]"), reason, remedy);
            }
        }
    }
}

fn rule_names(node: &Node, report: &mut Report<'_>) {
    for (index, rule) in node.items().iter().enumerate() {
        let name = rule.text_of("name");
        if !name.is_empty() && node.items().iter().take(index).any(|other| other.text_of("name") == name) {
            let below = format!("[{index}].name");
            return report.broken(rule, &below, format!("{name:?} names another rule too"), "rename one");
        }
    }
}

fn total_matches(node: &Node, report: &mut Report<'_>) {
    let total: usize =
        node.items().iter().map(|rule| rule.get("matches").map_or(0, |m| m.items().len())).sum();
    if total > MAX_MATCHES {
        let reason = format!("{total} matches in all rules together");
        report.broken(node, "", reason, format!("use at most {MAX_MATCHES}; split the route"));
    }
}

fn http_rule(node: &Node, report: &mut Report<'_>) {
    let filters = node.get("filters").map(Node::items).unwrap_or_default();
    let backends = node.get("backendRefs").map(Node::items).unwrap_or_default();
    if !backends.is_empty()
        && let Some((index, redirect)) = filters.iter().enumerate().find(|(_, f)| f.has("requestRedirect"))
    {
        let reason = "a redirect and backendRefs exclude each other";
        return report.broken(redirect, &format!("filters[{index}]"), reason, "remove one of them");
    }
    let matches = node.get("matches").map(Node::items).unwrap_or_default();
    let is_one_prefix = matches.len() == 1
        && matches.iter().all(|m| m.path(&["path", "type"]).and_then(Node::as_str) == Some("PathPrefix"));
    let replaces_prefix = |filter: &Node| {
        ["requestRedirect", "urlRewrite"].iter().any(|field| {
            filter.path(&[field, "path", "type"]).and_then(Node::as_str) == Some("ReplacePrefixMatch")
        })
    };
    let of_backends = backends.iter().flat_map(|b| b.get("filters").map(Node::items).unwrap_or_default());
    if let Some(filter) =
        filters.iter().chain(of_backends).find(|filter| replaces_prefix(filter) && !is_one_prefix)
    {
        let reason = "ReplacePrefixMatch needs exactly one match, and that of type PathPrefix";
        report.broken(filter, "matches", reason, "use one rule per prefix");
    }
}
