//! Rules: policies and backends, compiled once and shared by every match of the rule.

use std::sync::Arc;

use config::{BackendRef, HttpRoute, HttpRule, Key, Kind, Target, WeightedBackend};
use policies::{Chain, Invalid};

use super::attached::AttachedPolicies;
use super::matches::{self, Patterns};
use super::route::Attachable;
use crate::route::host::{Edits, HostTable};
use crate::route::hosts::{HostPattern, Hosts};
use crate::route::precedence::RouteAge;
use crate::rule::{Action, Rule, RuleName};
use crate::snapshot::Clusters;
use crate::split::{Share, Split};
use crate::telemetry::Telemetry;

/// What a rule is compiled against.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) clusters: &'a Clusters,
    pub(super) udp_clusters: &'a Clusters,
    pub(super) attached: &'a AttachedPolicies,
    pub(super) telemetry: &'a Telemetry,
}

/// Compiles a rule. What cannot be compiled becomes a 500, of the whole rule or of one share, and a message with the
/// field, the reason and the remedy.
pub(super) fn compile(
    spec: &HttpRule,
    name: RuleName,
    is_grpc: bool,
    scene: Scene<'_>,
) -> (Rule, Vec<String>) {
    let mut problems = Vec::new();
    let stats = scene.telemetry.route(&name);
    let (chain, action) = match spec.policies.compile(scene.clusters) {
        Ok(chain) => (chain, action(&spec.action, scene, &mut problems)),
        Err((policy, invalid)) => {
            let message = policy_problem(policy, &invalid);
            problems.push(message.clone());
            (Chain::default(), Action::Fail(message.into()))
        }
    };
    (Rule { name, is_grpc, chain, action, stats }, problems)
}

/// A rule that cannot be used.
pub(super) fn failing(message: &str, name: RuleName, is_grpc: bool, scene: Scene<'_>) -> Rule {
    let stats = scene.telemetry.route(&name);
    Rule { name, is_grpc, chain: Chain::default(), action: Action::Fail(message.into()), stats }
}

fn action(spec: &config::Action, scene: Scene<'_>, problems: &mut Vec<String>) -> Action {
    match spec {
        config::Action::Forward(backends) => Action::Forward(Split::new(
            backends
                .iter()
                .enumerate()
                .map(|(at, backend)| (backend.weight, share(at, backend, scene, problems)))
                .collect(),
        )),
        config::Action::Fail { message } => Action::Fail(message.as_str().into()),
    }
}

fn share(at: usize, spec: &WeightedBackend, scene: Scene<'_>, problems: &mut Vec<String>) -> Share {
    let clusters = scene.clusters;
    let (target, chain) = match spec.policies.compile(clusters) {
        Ok(chain) => {
            let target = match &spec.target {
                Target::Backend(backend) => clusters.get(backend).cloned().ok_or_else(|| missing(backend)),
                // The translator has told it already.
                Target::Invalid { message } => {
                    return Share { target: Err(message.as_str().into()), chain };
                }
            };
            (target, chain)
        }
        // Without its policies the backend must not be reached.
        Err((policy, invalid)) => (Err(policy_problem(policy, &invalid)), Chain::default()),
    };
    let target = target.map_err(|problem| {
        problems.push(format!("action.forward[{at}].{problem}"));
        problem.into()
    });
    let (chain, missing) = scene.attached.guard(&chain, spec.attached.iter());
    problems.extend(missing.iter().map(|name| format!("action.forward[{at}].{}", no_policy(name))));
    Share { target, chain }
}

/// What to say of a policy that is named and not there.
pub(super) fn no_policy(key: &Key) -> String {
    let Key { kind, namespace, name } = key;
    format!("attached: there is no {} {namespace}/{name} here, so every request is refused", kind.as_str())
}

fn policy_problem(policy: &str, invalid: &Invalid) -> String {
    format!("policies.{}", invalid.of(policy))
}

pub(super) fn missing(backend: &BackendRef) -> String {
    format!("target: backend {backend} does not exist")
}

/// The shares of a rule.
pub(super) fn shares(rule: &HttpRule) -> impl Iterator<Item = &WeightedBackend> {
    match &rule.action {
        config::Action::Forward(shares) => shares.iter(),
        config::Action::Fail { .. } => [].iter(),
    }
}

/// Every policy a route names.
pub(super) fn attached(route: &HttpRoute) -> impl Iterator<Item = &Key> {
    let of_rules = route
        .rules
        .iter()
        .flat_map(|rule| rule.attached.iter().chain(shares(rule).flat_map(|share| &share.attached)));
    route.attached.iter().chain(of_rules)
}

/// Every backend a rule points at.
pub(super) fn backends(rule: &HttpRule) -> impl Iterator<Item = &BackendRef> {
    let targets = shares(rule).filter_map(|share| match &share.target {
        Target::Backend(backend) => Some(backend),
        Target::Invalid { .. } => None,
    });
    let of_shares = shares(rule).flat_map(|share| share.policies.backends());
    rule.policies.backends().into_iter().chain(targets).chain(of_shares)
}

/// Forwards everything to a captured Service that no route is attached to.
pub(super) fn service_default(backend: &BackendRef, scene: Scene<'_>) -> Hosts<HostTable> {
    let name = RuleName {
        kind: "Service",
        route: format!("{}/{}", backend.namespace, backend.name).into(),
        rule: backend.port.to_string().into(),
    };
    let stats = scene.telemetry.route(&name);
    let age = RouteAge { created: 0, name: name.route.clone(), kind: Kind::Backend };
    let target = scene.clusters.get(backend).cloned().ok_or_else(|| missing(backend).into());
    let split = Split::new(vec![(1, Share { target, chain: Chain::default() })]);
    let attached = scene.attached.of(&Attachable::Service(backend.clone()));
    let (chain, _) = scene.attached.guard(&Chain::default(), attached.iter());
    let rule = Rule { name, is_grpc: false, chain: Chain::default(), action: Action::Forward(split), stats };
    let (all, _) = matches::compile_all(&[], &mut Patterns::default());
    let (rule, age) = (Arc::new(rule), Arc::new(age));
    let added =
        all.into_iter().map(|m| Arc::new(m.of(rule.clone(), chain.clone(), age.clone(), 0))).collect();
    let mut hosts = Hosts::default();
    hosts.edit(
        HostPattern::Any,
        || HostTable::new(""),
        |table| table.apply(&Edits { removed: Vec::new(), added }),
    );
    hosts
}
