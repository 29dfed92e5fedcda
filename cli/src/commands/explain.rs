//! `fairway explain`: what a route does, rule by rule, and why.

mod attached;
mod find;
mod order;
mod sources;
mod traffic;

use std::fmt::Write as _;

use config::{
    Action, BackendTls, Endpoints, HttpMatch, Key, Kind, Parent, PathMatch, Resource, SubjectAltName, Target,
    ValueKind,
};
use controller::status::{ConditionStatus, Status};
use controller::{Move, ObjectKey, ObjectKind};
use serde::Serialize;

use crate::args::{Explain, Explanation};
use crate::input::Input;
use crate::output;
use crate::view::{backend_key, endpoints_key, route_of, stream_of};
use attached::Guarded;
use order::Place;
use sources::{PolicySource, Sources};
use traffic::ExplainedListener;

/// A route, explained.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    route: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    file: String,
    hostnames: Vec<String>,
    parents: Vec<ExplainedParent>,
    listeners: Vec<ExplainedListener>,
    rules: Vec<ExplainedRule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedParent {
    parent: String,
    conditions: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedRule {
    rule: String,
    matches: Vec<ExplainedMatch>,
    policies: Vec<PolicySource>,
    /// By parent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attached: Vec<Guarded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fails: Option<String>,
    /// What weights come from, where they are not those of the route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rollouts: Vec<ExplainedRollout>,
    backends: Vec<ExplainedBackend>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedRollout {
    rollout: String,
    canary: String,
    /// Percent of what stable and canary have together; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedMatch {
    when: String,
    places: Vec<Place>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedBackend {
    backend: String,
    weight: u32,
    /// Percent of the rule's requests.
    share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fails: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<String>,
    endpoints: Vec<String>,
    policies: Vec<PolicySource>,
    /// What the Service asks for beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    attached: Option<Guarded>,
}

pub(crate) fn run(args: &Explain) -> anyhow::Result<bool> {
    let input = Input::read(&args.manifests)?;
    for finding in input.loader.findings() {
        output::error(&finding.to_string());
    }
    let key = find::route(&args.route, &input)?;
    let explained = explain(&key, &input);
    let text = match args.output {
        Explanation::Text => text(&explained),
        Explanation::Json => serde_json::to_string_pretty(&explained)?,
    };
    output::line(text.trim_end());
    Ok(true)
}

fn explain(key: &ObjectKey, input: &Input) -> Explained {
    let sources = sources::of(key, input);
    let resource_key = key.kind.route().map(|kind| Key::new(kind, &*key.namespace, &*key.name));
    let resource = resource_key.as_ref().and_then(|key| input.translation.resources.get(key));
    let rules = match (&resource_key, resource) {
        (Some(key), Some(resource)) => rules(key, resource, &sources, input),
        _ => Vec::new(),
    };
    let file = input.loader.places().get(key).map(|(file, line)| format!("{}:{line}", file.display()));
    Explained {
        route: key.to_string(),
        file: file.unwrap_or_default(),
        hostnames: sources.hostnames,
        parents: parents(key, input),
        listeners: resource.map(|resource| traffic::of(resource, input)).unwrap_or_default(),
        rules,
    }
}

fn rules(key: &Key, resource: &Resource, sources: &Sources, input: &Input) -> Vec<ExplainedRule> {
    if let Some(route) = stream_of(resource) {
        let (fails, backends) = explain_action(&route.action, (key.kind, 0), sources, input);
        let rule = route.rule.clone().unwrap_or_else(|| "0".to_owned());
        let (matches, policies, attached, rollouts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        return vec![ExplainedRule { rule, matches, policies, attached, fails, rollouts, backends }];
    }
    let places = order::places(&input.translation.resources, key);
    let kind = if key.kind == Kind::GrpcRoute { ObjectKind::GrpcRoute } else { ObjectKind::HttpRoute };
    let moves = controller::moves(&input.resources, &ObjectKey::new(kind, &*key.namespace, &*key.name));
    let route = route_of(resource);
    let rules = route.into_iter().flat_map(|route| route.rules.iter().map(move |rule| (route, rule)));
    rules
        .enumerate()
        .map(|(index, (route, rule))| {
            let (fails, backends) = explain_action(&rule.action, (key.kind, index), sources, input);
            ExplainedRule {
                rule: rule.name.clone().unwrap_or_else(|| index.to_string()),
                matches: explain_matches(&rule.matches, index, &places),
                policies: sources.rule(index, &rule.policies),
                attached: attached::of_rule(route, rule, &input.translation.resources),
                fails,
                rollouts: moves.iter().filter(|one| one.rule == index).map(explain_rollout).collect(),
                backends,
            }
        })
        .collect()
}

fn explain_rollout(one: &Move) -> ExplainedRollout {
    let (rollout, canary) = (one.rollout.to_string(), one.backend.to_string());
    ExplainedRollout { rollout, canary, weight: one.weight }
}

/// Why a rule fails, or its backends. `rule`: kind of the route and place of the rule in it.
fn explain_action(
    action: &Action,
    (route, rule): (Kind, usize),
    sources: &Sources,
    input: &Input,
) -> (Option<String>, Vec<ExplainedBackend>) {
    match action {
        Action::Fail { message } => (Some(message.clone()), Vec::new()),
        Action::Forward(backends) => {
            let total: u64 = backends.iter().map(|b| u64::from(b.weight)).sum();
            let explained = backends.iter().enumerate().map(|(at, backend)| {
                let policies = sources.backend(rule, at, &backend.policies);
                explain_backend(route, backend, total, policies, input)
            });
            (None, explained.collect())
        }
    }
}

fn parents(key: &ObjectKey, input: &Input) -> Vec<ExplainedParent> {
    let Some(status) = input.translation.statuses.0.get(key) else { return Vec::new() };
    let Status::Route(status) = &**status else { return Vec::new() };
    status
        .parents
        .iter()
        .map(|parent| ExplainedParent {
            parent: parent.parent_ref.to_string(),
            conditions: parent
                .conditions
                .iter()
                .map(|condition| {
                    let (r#type, status) = (condition.r#type, condition.status);
                    if status == ConditionStatus::True && !crate::findings::is_wrong(condition) {
                        return r#type.to_owned();
                    }
                    format!("{type}={status:?} ({}): {}", condition.reason, condition.message)
                })
                .collect(),
        })
        .collect()
}

fn explain_matches(matches: &[HttpMatch], rule: usize, places: &order::Places) -> Vec<ExplainedMatch> {
    let every = [HttpMatch::default()];
    let matches = if matches.is_empty() { &every[..] } else { matches };
    matches
        .iter()
        .enumerate()
        .map(|(index, one)| ExplainedMatch { when: when(one), places: places.of(rule, index) })
        .collect()
}

/// A match in words.
fn when(one: &HttpMatch) -> String {
    let mut text = match &one.path {
        PathMatch::Exact(path) => format!("path = {path}"),
        PathMatch::Prefix(path) => format!("path under {path}"),
        PathMatch::Regex(pattern) => format!("path ~ {pattern}"),
        PathMatch::GrpcMethod(method) => format!("gRPC method {method}"),
    };
    if let Some(method) = &one.method {
        text = format!("{method} {text}");
    }
    let conditions = one.headers.iter().map(|h| ("header", h)).chain(one.query.iter().map(|q| ("query", q)));
    for (what, condition) in conditions {
        let sign = match condition.kind {
            ValueKind::Exact => "=",
            ValueKind::Regex => "~",
        };
        // Writing to a String cannot fail.
        let _ = write!(text, ", {what} {} {sign} {}", condition.name, condition.value);
    }
    text
}

fn explain_backend(
    route: Kind,
    backend: &config::WeightedBackend,
    total: u64,
    policies: Vec<PolicySource>,
    input: &Input,
) -> ExplainedBackend {
    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    let share = if total == 0 { 0.0 } else { f64::from(backend.weight) * 100.0 / total as f64 };
    let share = (share * 100.0).round() / 100.0;
    let mut explained = ExplainedBackend {
        backend: "-".into(),
        weight: backend.weight,
        share,
        fails: None,
        protocol: String::new(),
        tls: None,
        endpoints: Vec::new(),
        policies,
        attached: attached::of_backend(backend, &input.translation.resources),
    };
    match &backend.target {
        Target::Invalid { message } => explained.fails = Some(message.clone()),
        Target::Backend(reference) => {
            explained.backend = reference.to_string();
            let resources = &input.translation.resources;
            let key = backend_key(route, reference);
            if let Some(Resource::Backend(spec)) = resources.get(&key).map(|r| &**r) {
                explained.protocol = match carried(route) {
                    Some(bytes) => bytes.to_owned(),
                    None => format!("{:?}", spec.protocol).to_ascii_lowercase(),
                };
                explained.tls = spec.tls.as_ref().map(tls_names);
            }
            if let Some(Resource::Endpoints(Endpoints { endpoints })) =
                resources.get(&endpoints_key(&key)).map(|r| &**r)
            {
                explained.endpoints = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
            }
        }
    }
    explained
}

/// What a route of a kind sends to its backends, if that is nothing of HTTP.
fn carried(route: Kind) -> Option<&'static str> {
    if route == Kind::UdpRoute {
        Some("udp")
    } else {
        matches!(route, Kind::TlsRoute | Kind::TcpRoute).then_some("tcp")
    }
}

fn text(explained: &Explained) -> String {
    let mut text = explained.route.clone();
    if !explained.file.is_empty() {
        let _ = write!(text, "  {}", explained.file);
    }
    let _ = writeln!(text, "\n  hostnames  {}", crate::table::short(&explained.hostnames, 16));
    for parent in &explained.parents {
        let _ = writeln!(text, "  parent     {}  {}", parent.parent, parent.conditions.join(", "));
    }
    if explained.parents.is_empty() {
        text.push_str("  parent     none of ours: nothing serves this route\n");
    } else if explained.rules.is_empty() {
        text.push_str("  no parent accepts the route: nothing serves it\n");
    }
    for listener in explained.listeners.iter().filter(|listener| !listener.traffic.is_empty()) {
        let _ = writeln!(text, "  listener   {}", listener.listener);
        for setting in &listener.traffic {
            let _ = writeln!(text, "             {setting}");
        }
    }
    let fails = fails_with(&explained.route);
    for rule in &explained.rules {
        let _ = writeln!(text, "\n  rule {}", rule.rule);
        for one in &rule.matches {
            let _ = writeln!(text, "    when     {}", one.when);
            for place in &one.places {
                let _ = writeln!(text, "             {place}");
            }
        }
        for policy in &rule.policies {
            let _ = writeln!(text, "    policy   {policy}");
        }
        for guarded in &rule.attached {
            text.push_str(&attached::text(guarded, "    "));
        }
        if let Some(message) = &rule.fails {
            let _ = writeln!(text, "    {fails} {message}");
        }
        for ExplainedRollout { rollout, canary, weight } in &rule.rollouts {
            let _ = match weight {
                Some(weight) => writeln!(text, "    rollout  {canary} has {weight} %  from {rollout}"),
                None => writeln!(text, "    rollout  {rollout} is a dry run: weights are those of the route"),
            };
        }
        for backend in &rule.backends {
            text.push_str(&backend_text(backend, fails));
        }
    }
    text
}

/// What becomes of what cannot be served. `route`: `Kind/namespace/name`.
fn fails_with(route: &str) -> &'static str {
    match route.split('/').next() {
        Some("UDPRoute") => "drops   ",
        Some("TLSRoute" | "TCPRoute") => "resets  ",
        _ => "answers  500:",
    }
}

/// `fails`: what becomes of what cannot be sent there.
fn backend_text(backend: &ExplainedBackend, fails: &str) -> String {
    let mut text = format!("    {:>5} %  ", backend.share);
    match &backend.fails {
        Some(message) => {
            let fails = fails.trim_start_matches("answers").trim();
            let _ = writeln!(text, "{fails} {message}");
        }
        None => {
            let tls = backend.tls.as_ref().map(|name| format!(", TLS to {name}")).unwrap_or_default();
            let endpoints = crate::table::short(&backend.endpoints, 4);
            let _ = writeln!(text, "{} ({}{tls})  {endpoints}", backend.backend, backend.protocol);
        }
    }
    for policy in &backend.policies {
        let _ = writeln!(text, "             policy {policy}");
    }
    if let Some(guarded) = &backend.attached {
        text.push_str(&attached::text(guarded, "             "));
    }
    text
}

/// A parent as the tables know it.
/// The name asked for, and those the certificate must hold one of when they are others.
fn tls_names(tls: &BackendTls) -> String {
    let names: Vec<&str> = tls
        .subject_alt_names
        .iter()
        .map(|name| match name {
            SubjectAltName::Hostname(name) | SubjectAltName::Uri(name) => name.as_str(),
        })
        .collect();
    if names.is_empty() {
        return tls.hostname.clone();
    }
    format!("{} as one of {}", tls.hostname, names.join(", "))
}

/// A listener of a ListenerSet is `namespace/gateway/namespace/set/section`.
fn parent_name(parent: &Parent) -> String {
    match parent {
        Parent::Listener { namespace, gateway, section, .. } => format!("{namespace}/{gateway}/{section}"),
        Parent::Service(captured) => captured.backend.to_string(),
    }
}
