//! The routing table, against a matcher written from the specification's words.

use std::sync::Arc;

use config::{
    Action, Backend, BackendRef, HttpMatch, HttpRoute, HttpRule, Key, Kind, Listener, Parent, PathMatch,
    PolicySet, Protocol, Resource, Scope, Target, Update, ValueKind, ValueMatch, WeightedBackend,
};
use policies::Request;
use proxy::compile::Compiler;
use proxy::snapshot::{Bind, Snapshot, Transport};
use proxy::telemetry::Telemetry;

use self::oracle::Asked;
use self::support::Plain;
use crate::memory::bounded;
use crate::pieces::Choices;

#[path = "../../proxy/tests/routing/oracle.rs"]
mod oracle;

mod support {
    pub(super) type Plain = std::collections::BTreeMap<config::Key, config::Resource>;
}

/// Few values, so that things meet.
const HOSTS: &[&str] = &["test", "a.test", "b.test", "x.a.test", "y.x.a.test", "a.b.test", "other", ""];
const PATTERNS: &[&str] = &["*", "*.test", "*.a.test", "*.x.a.test", "a.test", "b.test", "x.a.test", "test"];
const SEGMENTS: &[&str] = &["a", "ab", "b", "c"];
const REGEXES: &[&str] =
    &[".*", "/a.*", "/a/b", "/a/[bc]", "/(a|b)/c", "(?i)/A/B", "/[^/]+", "^/b/a(/.*)?$", "/a|/b/c"];
const METHODS: &[&str] = &["GET", "POST"];
const VALUES: &[&str] = &["1", "2", "1, 2", "x y"];
const VALUE_REGEXES: &[&str] = &["[0-9]", "1.*", "x y", ".*"];
const SECTIONS: &[&str] = &["one", "two", "three"];

/// Up to three listeners, six routes and eight requests.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let resources = resources(&mut choices);
    // A table with its backends and counters has its price whatever is in it.
    let snapshot = bounded(data.len(), 1 << 20, || compile(&resources));
    for _ in 0..8 {
        let asked = asked(&mut choices);
        let wanted = oracle::answer(&resources, 80, &asked).map(|(listener, found)| {
            let found = found.map(|(route, rule)| {
                let kind = if route.kind == Kind::GrpcRoute { "GRPCRoute" } else { "HTTPRoute" };
                format!("{kind}/{}/{}#{rule}", route.namespace, route.name)
            });
            (format!("{}/{}", listener.namespace, listener.name), found)
        });
        assert_eq!(find(&snapshot, &asked), wanted, "{asked:?}");
    }
}

fn compile(resources: &Plain) -> Snapshot {
    let upserts = resources.iter().map(|(key, resource)| (key.clone(), Arc::new(resource.clone()))).collect();
    let update = Update { version: 1, upserts, removes: Vec::new() };
    let (snapshot, rejections) = Compiler::new(Arc::new(Telemetry::default())).apply(update);
    assert!(rejections.is_empty(), "{rejections:?}");
    snapshot
}

fn find(snapshot: &Snapshot, asked: &Asked) -> Option<(String, Option<String>)> {
    let req = request(asked);
    let port = snapshot.ports.get(&Bind { transport: Transport::Tcp, address: None, port: 80 })?;
    let listener = port.routes.listener(&asked.host)?;
    let found = listener.find(&req, &asked.host, req.uri.path(), req.uri.query());
    Some((listener.name().to_string(), found.map(|found| found.rule.name.to_string())))
}

fn request(asked: &Asked) -> Request {
    let pair =
        |(name, value): &(String, String)| format!("{name}={}", value.replace(',', "%2C").replace(' ', "+"));
    let query = asked.query.iter().map(pair).collect::<Vec<_>>().join("&");
    let target = if query.is_empty() { asked.path.clone() } else { format!("{}?{query}", asked.path) };
    let mut req = Request::build(&*asked.method, target.as_bytes(), None).expect("a request");
    for (name, value) in &asked.headers {
        req.append_header(name.clone(), value).expect("a field");
    }
    req
}

fn resources(choices: &mut Choices<'_>) -> Plain {
    let backend = BackendRef { namespace: "ns".to_owned(), name: "a".to_owned(), port: 80 };
    let mut resources = Plain::from([(Key::backend(&backend), Resource::Backend(Backend::default()))]);
    let mut names: Vec<&str> = Vec::new();
    for section in SECTIONS {
        let name = *choices.one(PATTERNS);
        // Two listeners of one name are a conflict, which is not the table's to settle.
        if !names.contains(&name) {
            names.push(name);
            let key = Key::new(Kind::Listener, "infra", format!("gw/{section}"));
            resources.insert(key, listener((name != "*").then(|| name.to_owned())));
        }
    }
    for _ in 0..choices.below(7) {
        let grpc = choices.rarely(3);
        let (namespace, name) = (*choices.one(&["ns", "ns-b"]), *choices.one(&["a", "b", "c"]));
        let route = route(choices, &backend);
        let (kind, resource) = match grpc {
            true => (Kind::GrpcRoute, Resource::GrpcRoute(route)),
            false => (Kind::HttpRoute, Resource::HttpRoute(route)),
        };
        resources.insert(Key::new(kind, namespace, name), resource);
    }
    resources
}

fn listener(hostname: Option<String>) -> Resource {
    Resource::Listener(Listener {
        address: None,
        port: 80,
        protocol: Protocol::Http,
        hostname,
        tls: None,
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope: Scope::Gateway,
    })
}

fn route(choices: &mut Choices<'_>, backend: &BackendRef) -> HttpRoute {
    let created = i64::from(u8::try_from(choices.below(3)).unwrap_or_default());
    let parents = (0..=choices.below(2)).map(|_| Parent::Listener {
        namespace: "infra".to_owned(),
        gateway: "gw".to_owned(),
        section: (*choices.one(SECTIONS)).to_owned(),
        hostnames: std::iter::once(*choices.one(PATTERNS))
            .chain(choices.some(PATTERNS, 2))
            .map(str::to_owned)
            .collect(),
    });
    let parents = parents.collect();
    let rules = (0..=choices.below(3)).map(|_| HttpRule {
        name: None,
        matches: (0..choices.below(4)).map(|_| http_match(choices)).collect(),
        policies: PolicySet::default(),
        attached: Vec::new(),
        action: Action::Forward(vec![WeightedBackend {
            target: Target::Backend(backend.clone()),
            weight: 1,
            policies: PolicySet::default(),
            attached: Vec::new(),
        }]),
    });
    HttpRoute { created, parents, attached: Vec::new(), rules: rules.collect() }
}

fn http_match(choices: &mut Choices<'_>) -> HttpMatch {
    let path = match choices.below(8) {
        0..=2 => PathMatch::Prefix(path(choices)),
        3..=4 => PathMatch::Exact(path(choices)),
        5..=6 => PathMatch::Regex((*choices.one(REGEXES)).to_owned()),
        _ => PathMatch::GrpcMethod((*choices.one(SEGMENTS)).to_owned()),
    };
    let method = choices.rarely(3).then(|| (*choices.one(METHODS)).to_owned());
    HttpMatch {
        path,
        method,
        headers: values(choices, &["X-One", "x-two"]),
        query: values(choices, &["p", "q"]),
    }
}

/// Conditions on different names, as the IR promises.
fn values(choices: &mut Choices<'_>, names: &[&str]) -> Vec<ValueMatch> {
    let mut matches = Vec::new();
    for name in names {
        if choices.rarely(3) {
            let regex = choices.rarely(3);
            let value = choices.one(if regex { VALUE_REGEXES } else { VALUES });
            let kind = if regex { ValueKind::Regex } else { ValueKind::Exact };
            matches.push(ValueMatch { name: (*name).to_owned(), kind, value: (*value).to_owned() });
        }
    }
    matches
}

fn path(choices: &mut Choices<'_>) -> String {
    // As the engine hands them on and the API takes them: no empty segment but the last.
    let segments: String = choices.some(SEGMENTS, 3).iter().flat_map(|segment| ["/", segment]).collect();
    if segments.is_empty() || choices.rarely(3) { segments + "/" } else { segments }
}

fn asked(choices: &mut Choices<'_>) -> Asked {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let pairs = |choices: &mut Choices<'_>, names: &[&'static str]| -> Vec<(String, String)> {
        (0..choices.below(4)).map(|_| own((*choices.one(names), *choices.one(VALUES)))).collect()
    };
    Asked {
        method: (*choices.one(METHODS)).to_owned(),
        host: (*choices.one(HOSTS)).to_owned(),
        path: path(choices),
        query: pairs(choices, &["p", "q"]),
        headers: pairs(choices, &["x-one", "X-Two"]),
    }
}
