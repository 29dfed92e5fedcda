//! Rollouts: which rules each moves, and the weights that follow from how far it is.
//!
//! A route's backendRefs say what stable and canary have together; a Rollout divides that. Nothing is written into the route,
//! so whoever applies it again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::BackendRef;
use rustc_hash::{FxHashMap, FxHashSet};

use super::facts::{Fact, News};
use super::keys;
use super::output::{Output, Part, Said};
use crate::ObjectKey;
use crate::api::Rollout;
use crate::resources::{Named, ObjectKind, Resources};
use crate::rollout::ServicePort;
use crate::status::{Condition, Problem, RolloutStatus, Status, condition_type, reason};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    /// By route.
    moves: FxHashMap<ObjectKey, Vec<Move>>,
    /// What any of them names.
    targets: FxHashSet<ObjectKey>,
    said: Part,
}

/// A Rollout divides what two backends of a rule have together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which Rollout.
    pub rollout: ObjectKey,
    /// Index of the rule in the route.
    pub rule: usize,
    /// The canary.
    pub backend: BackendRef,
    /// The canary's part in percent; `None` in a dry run.
    pub weight: Option<u32>,
    /// Indexes of backendRefs.
    stable: usize,
    canary: usize,
    /// What the rule's backendRefs say.
    written: Vec<u32>,
}

impl Rollouts {
    /// Judges all when one of them, or of what they name, changed; tells the routes that they move otherwise than before.
    pub(crate) fn follow(&mut self, then: &Resources, now: &Resources, news: &mut News, said: &mut Said) {
        let mut routes = keys(ObjectKind::HttpRoute, &then.http_routes, &now.http_routes).chain(keys(
            ObjectKind::GrpcRoute,
            &then.grpc_routes,
            &now.grpc_routes,
        ));
        let is_moved = then.rollouts.changes(&now.rollouts).next().is_some();
        if !is_moved && (self.targets.is_empty() || !routes.any(|route| self.targets.contains(&route))) {
            return;
        }
        let judged = judge(now);
        self.targets = judged.iter().map(|judged| judged.target.clone()).collect();
        let (mut moves, mut out): (FxHashMap<_, Vec<Move>>, _) = (FxHashMap::default(), Output::default());
        for judged in judged {
            out.statuses.push((judged.key.clone(), Arc::new(judged.status())));
            if let Ok(of_rules) = judged.outcome {
                moves.entry(judged.target).or_default().extend(of_rules);
            }
        }
        let changed = |route: &&ObjectKey| moves.get(*route) != self.moves.get(*route);
        for route in moves.keys().chain(self.moves.keys()).filter(changed) {
            news.tell(Fact::Rollouts(route.clone()));
        }
        self.moves = moves;
        self.said.replace(out, said);
    }

    /// The weights of the rules of a route that are moved, by index of the rule.
    pub(crate) fn weights(&self, route: &ObjectKey) -> BTreeMap<usize, Vec<u32>> {
        let mut weights: BTreeMap<usize, Weights> = BTreeMap::new();
        for one in self.moves.get(route).into_iter().flatten() {
            let Some(weight) = one.weight else { continue };
            weights.entry(one.rule).or_insert_with(|| Weights::new(&one.written)).divide(one, weight);
        }
        weights.into_iter().map(|(rule, weights)| (rule, weights.whole())).collect()
    }
}

/// What moves the rules of a route, oldest first.
#[must_use]
pub fn moves(resources: &Resources, route: &ObjectKey) -> Vec<Move> {
    let judged = judge(resources).into_iter().filter(|judged| judged.target == *route);
    judged.filter_map(|judged| judged.outcome.ok()).flatten().collect()
}

/// A Rollout and what it can do.
struct Judged {
    key: ObjectKey,
    generation: Option<i64>,
    target: ObjectKey,
    outcome: Result<Vec<Move>, Problem>,
}

impl Judged {
    fn status(&self) -> Status {
        let problem = self.outcome.as_ref().err();
        let message = "The rollout moves the weights of its target.";
        let accepted =
            Condition::judge(condition_type::ACCEPTED, problem, reason::ACCEPTED, message, self.generation);
        Status::Rollout(RolloutStatus { conditions: vec![accepted] })
    }
}

/// All of them; of several that move one backend of a rule the oldest does, then the first by name.
fn judge(resources: &Resources) -> Vec<Judged> {
    let mut taken: FxHashMap<(ObjectKey, usize, usize), ObjectKey> = FxHashMap::default();
    let mut all = Vec::with_capacity(resources.rollouts.len());
    for rollout in &resources.rollouts {
        let (namespace, target) = (rollout.namespace(), &rollout.spec.target_ref);
        let key = ObjectKey::new(ObjectKind::Rollout, namespace, rollout.name());
        let is_grpc = target.kind == ObjectKind::GrpcRoute.as_str();
        let kind = if is_grpc { ObjectKind::GrpcRoute } else { ObjectKind::HttpRoute };
        let target = ObjectKey::new(kind, namespace, &*target.name);
        let mut outcome = found(rollout, &key, &target, resources);
        if let Ok(moves) = &outcome {
            let mut places = moves.iter().flat_map(|one| [one.stable, one.canary].map(|at| (one.rule, at)));
            let rival = places.find_map(|(rule, at)| Some((rule, taken.get(&(target.clone(), rule, at))?)));
            if let Some((rule, rival)) = rival {
                let message = format!(
                    "targetRef: Rollout {}/{} moves the same backends of rules[{rule}] and is older, or first by name: \
                     keep one of them",
                    rival.namespace, rival.name
                );
                outcome = Err(Problem::accepted(reason::CONFLICTED, message));
            } else {
                for one in moves {
                    for at in [one.stable, one.canary] {
                        taken.insert((target.clone(), one.rule, at), key.clone());
                    }
                }
            }
        }
        all.push(Judged { key, generation: rollout.metadata.generation, target, outcome });
    }
    all
}

/// A rule of a route: its name, and of each backendRef the Service port that it leads to, if it is of the route's namespace, and its
/// weight.
type Rule = (Option<String>, Vec<(Option<ServicePort>, u32)>);

fn found(
    rollout: &Rollout,
    key: &ObjectKey,
    target: &ObjectKey,
    resources: &Resources,
) -> Result<Vec<Move>, Problem> {
    let spec = &rollout.spec;
    let invalid = |message: String| Problem::accepted(reason::INVALID, message);
    if let Some(message) = spec.problem() {
        return Err(invalid(message));
    }
    if spec.target_ref.group != target.kind.group() || spec.target_ref.kind != target.kind.as_str() {
        let message = "targetRef: name an HTTPRoute or GRPCRoute of group gateway.networking.k8s.io";
        return Err(invalid(message.to_owned()));
    }
    let missing = |message: String| Problem::accepted(reason::TARGET_NOT_FOUND, message);
    let route = format!("{} {}/{}", target.kind.as_str(), target.namespace, target.name);
    let rules = rules(target, resources).ok_or_else(|| missing(format!("targetRef: there is no {route}")))?;
    let section = spec.target_ref.section_name.as_deref();
    let is_meant = |rule: &Rule| section.is_none_or(|section| rule.0.as_deref() == Some(section));
    if let Some(section) = section.filter(|_| !rules.iter().any(is_meant)) {
        return Err(missing(format!("targetRef.sectionName: {route} has no rule {section:?}")));
    }
    let (weight, backend) = (rollout.weight(), spec.canary.backend(&target.namespace));
    let backend = backend.ok_or_else(|| invalid(format!("canary.port: {} is no port", spec.canary.port)))?;
    let mut moves = Vec::new();
    for (rule, (_, backends)) in rules.iter().enumerate().filter(|(_, rule)| is_meant(rule)) {
        let at = |wanted: &ServicePort| -> Vec<usize> {
            let all = backends.iter().enumerate();
            all.filter(|(_, (backend, _))| backend.as_ref() == Some(wanted)).map(|(at, _)| at).collect()
        };
        match (&*at(&spec.stable), &*at(&spec.canary)) {
            ([stable], [canary]) => moves.push(Move {
                rollout: key.clone(),
                rule,
                backend: backend.clone(),
                weight,
                stable: *stable,
                canary: *canary,
                written: backends.iter().map(|(_, weight)| *weight).collect(),
            }),
            ([], _) | (_, []) => {}
            _ => {
                let message = "one of stable and canary is there twice: put its backendRefs together";
                return Err(invalid(format!("rules[{rule}] of {route}: {message}")));
            }
        }
    }
    if moves.is_empty() {
        let name = |ServicePort { name, port }: &ServicePort| format!("{name}:{port}");
        return Err(invalid(format!(
            "{}: no rule of {route} that is meant has both {} and {}: add both to its backendRefs",
            if section.is_some() { "targetRef.sectionName" } else { "targetRef" },
            name(&spec.stable),
            name(&spec.canary)
        )));
    }
    Ok(moves)
}

/// The rules of a route; `None` when there is none.
fn rules(route: &ObjectKey, resources: &Resources) -> Option<Vec<Rule>> {
    let (namespace, name) = (&*route.namespace, &*route.name);
    macro_rules! rules {
        ($route:expr) => {{
            let rules = $route.spec.rules.iter().flatten().map(|rule| {
                let backends = rule.backend_refs.iter().flatten().map(|backend| {
                    let is_service = backend.group.as_deref().unwrap_or_default().is_empty()
                        && backend.kind.as_deref().unwrap_or("Service") == "Service"
                        && backend.namespace.as_deref().unwrap_or(namespace) == namespace;
                    let port = backend.port.filter(|_| is_service);
                    let port = port.map(|port| ServicePort { name: backend.name.clone(), port });
                    // A negative one is the route's problem.
                    (port, u32::try_from(backend.weight.unwrap_or(1)).unwrap_or(1))
                });
                (rule.name.clone(), backends.collect())
            });
            rules.collect()
        }};
    }
    if route.kind == ObjectKind::GrpcRoute {
        resources.grpc_routes.get(namespace, name).map(|route| rules!(route))
    } else {
        resources.http_routes.get(namespace, name).map(|route| rules!(route))
    }
}

/// Weights of a rule while they are divided.
struct Weights {
    all: Vec<u128>,
    /// What one written weight is by now.
    unit: u128,
}

impl Weights {
    fn new(written: &[u32]) -> Self {
        Self { all: written.iter().map(|weight| u128::from(*weight)).collect(), unit: 1 }
    }

    /// Gives the canary so many percent of what both have; of 100 where both have nothing. Exactly: all weights grow as far as that
    /// needs.
    fn divide(&mut self, one: &Move, percent: u32) {
        let of = |all: &[u128], at: usize| all.get(at).copied().unwrap_or_default();
        let sum = of(&self.all, one.stable) + of(&self.all, one.canary);
        let sum = if sum == 0 { 100 * self.unit } else { sum };
        let part = sum * u128::from(percent);
        let factor = 100 / gcd(100, part);
        self.all.iter_mut().for_each(|weight| *weight *= factor);
        self.unit *= factor;
        let (sum, part) = (sum * factor, part * factor / 100);
        for (at, weight) in [(one.stable, sum - part), (one.canary, part)] {
            if let Some(place) = self.all.get_mut(at) {
                *place = weight;
            }
        }
    }

    /// As proxies take them. What would not fit, with many Rollouts in one rule, is rounded, and nothing becomes nothing by that.
    fn whole(self) -> Vec<u32> {
        let most = self.all.iter().copied().max().unwrap_or_default();
        let divisor = most.div_ceil(u128::from(MAX_WEIGHT)).max(1);
        let weights = self.all.iter().map(|weight| {
            let rounded = (weight / divisor).max(u128::from(*weight > 0));
            u32::try_from(rounded).unwrap_or(MAX_WEIGHT)
        });
        weights.collect()
    }
}

/// Sixteen of them fit 32 bits; the greatest that is written is a hundredth of it.
const MAX_WEIGHT: u32 = 200_000_000;

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
