//! Short ways to write resources and requests.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task;

use config::{
    Action, Backend, BackendRef, Captured, HttpMatch, HttpRoute, HttpRule, Key, Kind, Listener, Parent,
    PathMatch, PolicySet, Protocol, Rejection, Resource, Resources, Scope, Target, Update, WeightedBackend,
};
use fairway_proxy::compile::Compiler;
use fairway_proxy::rule::{self, Rule};
use fairway_proxy::snapshot::{Bind, Snapshot, Transport};
use fairway_proxy::telemetry::Telemetry;
use policies::{Chain, ChainState, Context, Request};

pub(super) fn compiler() -> Compiler {
    Compiler::new(Arc::new(Telemetry::default()))
}

/// An update that puts resources in.
pub(super) fn upserts(resources: impl IntoIterator<Item = (Key, Resource)>) -> Update {
    Update {
        version: 1,
        upserts: resources.into_iter().map(|(key, resource)| (key, Arc::new(resource))).collect(),
        removes: Vec::new(),
    }
}

/// An update that takes resources out.
pub(super) fn removes(keys: impl IntoIterator<Item = Key>) -> Update {
    Update { version: 1, upserts: Resources::new(), removes: keys.into_iter().collect() }
}

pub(super) fn compile(resources: impl IntoIterator<Item = (Key, Resource)>) -> (Snapshot, Vec<Rejection>) {
    compiler().apply(upserts(resources))
}

pub(super) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(super) fn backend_ref(name: &str) -> BackendRef {
    BackendRef { namespace: "ns".to_owned(), name: name.to_owned(), port: 80 }
}

pub(super) fn captured(name: &str) -> Captured {
    Captured { backend: backend_ref(name), waypoint: "ns/waypoint".to_owned() }
}

pub(super) fn backend(name: &str) -> (Key, Resource) {
    (Key::backend(&backend_ref(name)), Resource::Backend(Backend::default()))
}

/// `Listener/infra/gw/<section>`.
pub(super) fn listener(section: &str, port: u16, hostname: Option<&str>) -> (Key, Resource) {
    let listener = Listener {
        address: None,
        port,
        protocol: Protocol::Http,
        hostname: hostname.map(str::to_owned),
        tls: None,
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope: Scope::Gateway,
    };
    (Key::new(Kind::Listener, "infra", format!("gw/{section}")), Resource::Listener(listener))
}

pub(super) fn parent(section: &str, hostnames: &[&str]) -> Parent {
    Parent::Listener {
        namespace: "infra".to_owned(),
        gateway: "gw".to_owned(),
        section: section.to_owned(),
        hostnames: hostnames.iter().map(|host| (*host).to_owned()).collect(),
    }
}

pub(super) fn rule(matches: Vec<HttpMatch>, backend: &str) -> HttpRule {
    HttpRule {
        name: None,
        matches,
        policies: PolicySet::default(),
        attached: Vec::new(),
        action: Action::Forward(vec![WeightedBackend {
            target: Target::Backend(backend_ref(backend)),
            weight: 1,
            policies: PolicySet::default(),
            attached: Vec::new(),
        }]),
    }
}

pub(super) fn path(path: PathMatch) -> HttpMatch {
    HttpMatch { path, ..HttpMatch::default() }
}

pub(super) fn prefix(prefix: &str) -> HttpMatch {
    path(PathMatch::Prefix(prefix.to_owned()))
}

/// `HttpRoute/ns/<name>`.
pub(super) fn route(name: &str, parents: Vec<Parent>, rules: Vec<HttpRule>) -> (Key, Resource) {
    (
        Key::new(Kind::HttpRoute, "ns", name),
        Resource::HttpRoute(HttpRoute { created: 0, parents, attached: Vec::new(), rules }),
    )
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut req = Request::build(method, path.as_bytes(), None).unwrap();
    for (name, value) in headers {
        req.append_header((*name).to_owned(), *value).unwrap();
    }
    req
}

pub(super) fn bind(port: u16) -> Bind {
    Bind { transport: Transport::Tcp, address: None, port }
}

/// What a GET of `host` + `target` is answered by: `listener` and `rule`, or why by none.
pub(super) fn get(snapshot: &Snapshot, port: u16, host: &str, target: &str) -> String {
    decide(snapshot, port, host, &request("GET", target, &[]))
}

pub(super) fn decide(snapshot: &Snapshot, port: u16, host: &str, req: &Request) -> String {
    let Some(port) = snapshot.ports.get(&bind(port)) else { return "no port".to_owned() };
    let Some(listener) = port.routes.listener(host) else { return "no listener".to_owned() };
    match listener.find(req, host, req.uri.path(), req.uri.query()) {
        Some(found) => {
            let (guard, what) = (guard(found.chain), describe(found.rule));
            format!("{} {} {what}{guard}", listener.name(), found.rule.name)
        }
        None => format!("{} no rule", listener.name()),
    }
}

/// Origins that policies of these tests allow; each of them allows one.
pub(super) const ORIGINS: &[&str] = &["https://a.test", "https://b.test", "https://c.test"];

/// What a chain answers preflights of each origin with; nothing when they pass.
pub(super) fn guard(chain: &Chain) -> String {
    let answers = ORIGINS.iter().filter_map(|origin| {
        let fields = [("origin", *origin), ("access-control-request-method", "PUT")];
        let (mut req, mut ctx) = (request("OPTIONS", "/", &fields), Context::default());
        let mut state = ChainState::default();
        let decision = pin!(chain.request(&mut req, &mut ctx, &mut state));
        match decision.poll(&mut task::Context::from_waker(task::Waker::noop())) {
            task::Poll::Ready(decided) => decided.err().map(|reply| format!(" {}", reply.reason)),
            task::Poll::Pending => panic!("a policy waits"),
        }
    });
    answers.collect()
}

/// What a rule does, without what differs between two equal compilations.
pub(super) fn describe(rule: &Rule) -> String {
    match &rule.action {
        rule::Action::Forward(split) => {
            let shares = split.shares().iter().map(|share| match &share.target {
                Ok(cluster) => format!("{}{}", cluster.backend, guard(&share.chain)),
                Err(reason) => format!("({reason})"),
            });
            shares.collect::<Vec<_>>().join("+")
        }
        rule::Action::Fail(reason) => format!("fail({reason})"),
    }
}

/// Rejections in short: key, severity, message.
pub(super) fn messages(rejections: &[Rejection]) -> Vec<String> {
    rejections.iter().map(|r| format!("{} {:?} {}", r.key, r.severity, r.message)).collect()
}

pub(super) type Plain = BTreeMap<Key, Resource>;
