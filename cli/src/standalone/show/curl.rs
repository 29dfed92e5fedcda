//! Requests that work, for what is served: one over HTTP, one over HTTPS, one through the waypoint.

use config::{
    Action, ClientValidationMode, Endpoints, HttpMatch, HttpRoute, HttpRule, Key, Listener, Parent,
    PathMatch, Protocol, Resource, Resources, Scope, Target, ValueKind,
};

use crate::view::listener_of;

/// A request that a rule answers from a backend.
struct Request {
    hostname: Option<String>,
    path: String,
    options: String,
}

/// At most three lines for a shell.
pub(super) fn lines(resources: &Resources, ca: &str) -> Vec<String> {
    let listeners: Vec<(&Key, &Listener)> =
        resources.iter().filter_map(|(key, resource)| Some((key, listener_of(resource)?))).collect();
    let first = |wanted: fn(&Listener) -> bool| {
        let mut of_kind = listeners.iter().filter(|(_, listener)| wanted(listener));
        of_kind.find_map(|(key, listener)| line(key, listener, resources, ca))
    };
    let lines = [
        first(|l| l.scope == Scope::Gateway && l.protocol == Protocol::Http),
        first(|l| l.scope == Scope::Gateway && l.protocol == Protocol::Https && !needs_certificate(l)),
        first(|l| l.scope != Scope::Gateway),
    ];
    lines.into_iter().flatten().collect()
}

/// Whether a client needs a certificate, which only its owner has.
fn needs_certificate(listener: &Listener) -> bool {
    let validation = listener.tls.as_ref().and_then(|tls| tls.client_validation.as_ref());
    validation.is_some_and(|validation| validation.mode == ClientValidationMode::AllowValidOnly)
}

fn line(key: &Key, listener: &Listener, resources: &Resources, ca: &str) -> Option<String> {
    let request = request(key, listener, resources)?;
    let port = listener.port;
    let ip = listener.address.map_or("127.0.0.1".into(), |ip| match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    });
    let Request { hostname, path, options } = request;
    match (&listener.scope, listener.protocol, hostname) {
        (Scope::Service(captured), Protocol::Http, _) => Some(format!(
            "curl -s{options} -H 'Host: {}.{}' http://{ip}:{port}{path}",
            captured.backend.name, captured.backend.namespace
        )),
        (Scope::Gateway, Protocol::Http, Some(host)) => {
            Some(format!("curl -s{options} --resolve {host}:{port}:{ip} 'http://{host}:{port}{path}'"))
        }
        (Scope::Gateway, Protocol::Http, None) => {
            Some(format!("curl -s{options} 'http://{ip}:{port}{path}'"))
        }
        (Scope::Gateway, Protocol::Https, host) => {
            let host = host.unwrap_or_else(|| "localhost".into());
            Some(format!(
                "curl -s{options} --cacert {ca} --resolve {host}:{port}:{ip} 'https://{host}:{port}{path}'"
            ))
        }
        // Not for requests.
        (Scope::Gateway, Protocol::Tls | Protocol::Tcp | Protocol::Udp, _) | (Scope::Service(_), _, _) => {
            None
        }
    }
}

fn request(key: &Key, listener: &Listener, resources: &Resources) -> Option<Request> {
    let mut best: Option<(usize, Request)> = None;
    let mut has_route = false;
    for resource in resources.values() {
        let Resource::HttpRoute(route) = &**resource else { continue };
        let Some(hostname) = attached(key, listener, route) else { continue };
        has_route = true;
        for rule in route.rules.iter().filter(|rule| answers(rule, resources)) {
            let every = [HttpMatch::default()];
            let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches };
            for (cost, path, options) in matches.iter().filter_map(simple) {
                if best.as_ref().is_none_or(|(other, _)| cost < *other) {
                    best = Some((cost, Request { hostname: hostname.clone(), path, options }));
                }
            }
        }
    }
    match best {
        Some((_, request)) => Some(request),
        // A captured Service without routes is forwarded to.
        None if !has_route && listener.scope != Scope::Gateway => {
            Some(Request { hostname: None, path: "/".into(), options: String::new() })
        }
        None => None,
    }
}

/// The host name under which a listener serves a route; inner `None`: any.
fn attached(key: &Key, listener: &Listener, route: &HttpRoute) -> Option<Option<String>> {
    route.parents.iter().find_map(|parent| match (parent, &listener.scope) {
        (Parent::Service(service), Scope::Service(mine)) => (service == mine).then_some(None),
        (Parent::Listener { namespace, gateway, section, hostnames }, Scope::Gateway) => {
            let is_mine = *namespace == key.namespace && format!("{gateway}/{section}") == key.name;
            let name = hostnames.first().filter(|_| is_mine)?;
            Some(match name.strip_prefix("*.") {
                Some(rest) => Some(format!("www.{rest}")),
                None => (name != "*").then(|| name.clone()),
            })
        }
        _ => None,
    })
}

/// Whether a rule forwards to backends that all have endpoints.
fn answers(rule: &HttpRule, resources: &Resources) -> bool {
    let Action::Forward(backends) = &rule.action else { return false };
    let lives = |target: &Target| {
        let Target::Backend(reference) = target else { return false };
        matches!(
            resources.get(&Key::endpoints(reference)).map(|resource| &**resource),
            Some(Resource::Endpoints(Endpoints { endpoints })) if !endpoints.is_empty()
        )
    };
    let weighted: Vec<_> = backends.iter().filter(|backend| backend.weight > 0).collect();
    rule.policies.redirect.is_none() && !weighted.is_empty() && weighted.iter().all(|b| lives(&b.target))
}

/// A request for a match, if it is easily written: its conditions count against it, a longer path for it.
fn simple(one: &HttpMatch) -> Option<(usize, String, String)> {
    let path = match &one.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path.clone(),
        PathMatch::Regex(_) | PathMatch::GrpcMethod(_) => return None,
    };
    let is_plain =
        |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\'' | b'\\' | b'"'));
    let conditions = one.headers.iter().chain(&one.query);
    if conditions.clone().any(|c| c.kind == ValueKind::Regex || !is_plain(&c.name) || !is_plain(&c.value)) {
        return None;
    }
    if !is_plain(&path) {
        return None;
    }
    let mut options = String::new();
    if let Some(method) = one.method.as_ref().filter(|method| *method != "GET") {
        options.push_str(&format!(" -X {method}"));
    }
    for header in &one.headers {
        options.push_str(&format!(" -H '{}: {}'", header.name, header.value));
    }
    let query: Vec<String> = one.query.iter().map(|q| format!("{}={}", q.name, q.value)).collect();
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    // A path of its own shows more than `/`.
    let cost = conditions.count() * 2 + usize::from(one.method.is_some()) + usize::from(path == "/");
    Some((cost, path, options))
}
