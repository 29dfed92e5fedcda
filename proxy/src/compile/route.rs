//! Routes to rules and matches, and matches into the tables of the parents they are attached to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{BackendRef, HttpRoute, HttpRule, Key, Kind, Parent, Resource, Severity};
use rustc_hash::{FxHashMap, FxHashSet};

use super::attached::Moved;
use super::backend::Backends;
use super::listener::host_name;
use super::matches::{self, Patterns, Unruled};
use super::problems::{Problems, Stage};
use super::rule::{self, Scene, no_policy};
use crate::route::host::{Edits, HostTable};
use crate::route::hosts::{HostPattern, Hosts};
use crate::route::matches::Match;
use crate::route::precedence::RouteAge;
use crate::rule::{Rule, RuleName};
use crate::store::{Dirty, Store};

/// What routes are attached to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Attachable {
    /// `namespace/gateway/section`.
    Listener(String),
    /// A captured Service port.
    Service(BackendRef),
    /// The same, for callers of one namespace.
    Consumer(BackendRef, String),
}

impl Attachable {
    /// What a listener serves for it, and what policies are about: callers of a namespace dial the Service all others do.
    pub(super) fn served(&self) -> Cow<'_, Self> {
        match self {
            Self::Listener(_) | Self::Service(_) => Cow::Borrowed(self),
            Self::Consumer(service, _) => Cow::Owned(Self::Service(service.clone())),
        }
    }
}

/// The routes attached to one listener or Service, whether or not this proxy serves it.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// Also those without a single rule.
    routes: FxHashSet<Arc<Key>>,
    pub(super) hosts: Hosts<HostTable>,
}

/// Compiled routes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    compiled: FxHashMap<Arc<Key>, Compiled>,
    attached: FxHashMap<Attachable, Attached>,
    /// Namespaces whose callers have routes of their own, by Service.
    consumers: FxHashMap<BackendRef, BTreeSet<String>>,
    /// Who has to be compiled again when a backend changes, comes or goes.
    referrers: FxHashMap<BackendRef, FxHashSet<Arc<Key>>>,
    /// The same for policies that routes name.
    guarded: FxHashMap<Key, FxHashSet<Arc<Key>>>,
    patterns: Patterns,
}

/// All matches of a route at one parent.
type Shared = Arc<[Arc<Match>]>;

#[derive(Debug, Default)]
struct Compiled {
    /// By place; none where something was wrong.
    rules: Box<[Option<Arc<Rule>>]>,
    /// By parent. Parents with the same policies have the same.
    matches: FxHashMap<Attachable, Shared>,
}

/// What changes in the tables, by parent and host name.
type Plan = BTreeMap<(Attachable, String), Edits>;

impl Routes {
    pub(super) fn attached(&self, to: &Attachable) -> Option<&Attached> {
        self.attached.get(to)
    }

    /// The routes that callers of some namespaces have in place of a Service's own.
    pub(super) fn consumers(&self, of: &Attachable) -> FxHashMap<Box<str>, Hosts<HostTable>> {
        let Attachable::Service(service) = of else { return FxHashMap::default() };
        let consumers = self.consumers.get(service).into_iter().flatten();
        let tables = consumers.filter_map(|consumer| {
            let attached = self.attached.get(&Attachable::Consumer(service.clone(), consumer.clone()))?;
            Some((consumer.as_str().into(), attached.hosts.clone()))
        });
        tables.collect()
    }

    /// Compiles routes that changed and routes whose backends or policies did; says whose tables changed.
    pub(super) fn compile(
        &mut self,
        dirty: &Dirty,
        (backends, moved): (&Backends, &Moved),
        store: &Store,
        scene: Scene<'_>,
        problems: &mut Problems,
    ) -> BTreeSet<Attachable> {
        let backends = &backends.tcp;
        let mut plan = Plan::new();
        let mut touched = BTreeSet::new();
        let referrers: BTreeSet<Arc<Key>> =
            backends.iter().filter_map(|backend| self.referrers.get(backend)).flatten().cloned().collect();
        let guarded = moved.policies.iter().filter_map(|name| self.guarded.get(name)).flatten();
        // O(routes of a listener): when its policies change.
        let consumers = moved.parents.iter().flat_map(|to| self.consumers_of(to));
        let parents = moved.parents.iter().cloned().chain(consumers);
        let attached: Vec<Arc<Key>> = parents
            .filter_map(|to| self.attached.get(&to))
            .flat_map(|to| to.routes.iter().cloned())
            .collect();
        let referrers: BTreeSet<Arc<Key>> = guarded.cloned().chain(attached).chain(referrers).collect();
        for key in referrers.iter().filter(|key| !dirty.contains_key(key)) {
            let route = http_route(store.get(key));
            let change = Change { key: key.clone(), old: route, new: route, backends, moved };
            self.change(&change, scene, problems, &mut plan, &mut touched);
        }
        for (key, old) in
            dirty.iter().filter(|(key, _)| matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute))
        {
            let (old, new) = (http_route(old.as_deref()), http_route(store.get(key)));
            let key = self
                .compiled
                .get_key_value(key)
                .map_or_else(|| Arc::new(key.clone()), |(key, _)| key.clone());
            self.change(&Change { key, old, new, backends, moved }, scene, problems, &mut plan, &mut touched);
        }
        for ((to, host), edits) in plan {
            let pattern = HostPattern::parse(&host);
            let attached = self.attached.entry(to.clone()).or_default();
            attached.hosts.edit(pattern, || HostTable::new(pattern.key()), |table| table.apply(&edits));
            touched.insert(to);
        }
        for to in &touched {
            let is_empty = self.attached.get(to).is_some_and(|attached| attached.routes.is_empty());
            if is_empty {
                self.attached.remove(to);
            }
            if let Attachable::Consumer(service, namespace) = to {
                self.note_consumer(service, namespace, !is_empty);
            }
        }
        touched
    }

    fn note_consumer(&mut self, service: &BackendRef, namespace: &str, is_there: bool) {
        let consumers = self.consumers.entry(service.clone()).or_default();
        if is_there {
            consumers.insert(namespace.to_owned());
        } else {
            consumers.remove(namespace);
        }
        if consumers.is_empty() {
            self.consumers.remove(service);
        }
    }

    fn consumers_of(&self, of: &Attachable) -> Vec<Attachable> {
        let Attachable::Service(service) = of else { return Vec::new() };
        let consumers = self.consumers.get(service).into_iter().flatten();
        consumers.map(|namespace| Attachable::Consumer(service.clone(), namespace.clone())).collect()
    }

    fn change(
        &mut self,
        change: &Change<'_>,
        scene: Scene<'_>,
        problems: &mut Problems,
        plan: &mut Plan,
        touched: &mut BTreeSet<Attachable>,
    ) {
        let key = &change.key;
        let before = self.compiled.remove(key).unwrap_or_default();
        let mut found = Vec::new();
        let now: Parents = change.new.map(|route| parents(&route.parents, &mut found)).unwrap_or_default();
        let (after, more) = match change.new {
            Some(route) => change.compile(route, &now, &before, &mut self.patterns, scene),
            None => Default::default(),
        };
        found.splice(0..0, more);
        for (to, hosts) in change.old.into_iter().flat_map(|route| parents(&route.parents, &mut Vec::new())) {
            self.attached.entry(to.clone()).or_default().routes.remove(key);
            touched.insert(to.clone());
            for host in hosts {
                let edits = plan.entry((to.clone(), host)).or_default();
                edits.removed.extend(before.matches.get(&to).into_iter().flat_map(|all| all.iter()).cloned());
            }
        }
        for (to, hosts) in now {
            self.attached.entry(to.clone()).or_default().routes.insert(key.clone());
            touched.insert(to.clone());
            for host in hosts {
                let edits = plan.entry((to.clone(), host)).or_default();
                edits.added.extend(after.matches.get(&to).into_iter().flat_map(|all| all.iter()).cloned());
            }
        }
        self.refer(key, change.old, change.new);
        problems.set(key, Stage::Resource, found.into_iter().map(|m| (Severity::Degraded, m)).collect());
        if change.new.is_some() {
            self.compiled.insert(key.clone(), after);
        }
    }

    fn refer(&mut self, key: &Arc<Key>, old: Option<&HttpRoute>, new: Option<&HttpRoute>) {
        for backend in old.into_iter().flat_map(|route| &route.rules).flat_map(rule::backends) {
            if let Some(referrers) = self.referrers.get_mut(backend) {
                referrers.remove(key);
                if referrers.is_empty() {
                    self.referrers.remove(backend);
                }
            }
        }
        for backend in new.into_iter().flat_map(|route| &route.rules).flat_map(rule::backends) {
            self.referrers.entry(backend.clone()).or_default().insert(key.clone());
        }
        for name in old.into_iter().flat_map(rule::attached) {
            if let Some(routes) = self.guarded.get_mut(name) {
                routes.remove(key);
                if routes.is_empty() {
                    self.guarded.remove(name);
                }
            }
        }
        for name in new.into_iter().flat_map(rule::attached) {
            self.guarded.entry(name.clone()).or_default().insert(key.clone());
        }
    }
}

fn http_route(resource: Option<&Resource>) -> Option<&HttpRoute> {
    match resource {
        Some(Resource::HttpRoute(route) | Resource::GrpcRoute(route)) => Some(route),
        _ => None,
    }
}

/// A rule, compiled, and its matches before they know their chain.
type Ruled<'a> = (&'a HttpRule, Arc<Rule>, Option<Vec<Unruled>>);

/// The matches of a route at each of its parents. Where these have the same policies the matches are the same.
fn attach(
    route: &HttpRoute,
    mut ruled: Vec<Ruled<'_>>,
    (parents, age): (&Parents, &Arc<RouteAge>),
    patterns: &mut Patterns,
    (scene, missing): (Scene<'_>, &mut BTreeSet<Key>),
) -> FxHashMap<Attachable, Shared> {
    let mut matches = FxHashMap::default();
    let mut known: Vec<(&[Key], Shared)> = Vec::new();
    for to in parents.keys() {
        let of_parent = scene.attached.of(&to.served());
        if let Some((_, alike)) = known.iter().find(|(names, _)| *names == of_parent) {
            matches.insert(to.clone(), alike.clone());
            continue;
        }
        let mut all = Vec::new();
        for (at, (spec, rule, specs)) in ruled.iter_mut().enumerate() {
            let names = of_parent.iter().chain(&route.attached).chain(&spec.attached);
            let (chain, not_there) = scene.attached.guard(&rule.chain, names);
            missing.extend(not_there.into_iter().cloned());
            let specs = specs.take().unwrap_or_else(|| matches::compile_all(&spec.matches, patterns).0);
            let of = |m: Unruled| Arc::new(m.of(rule.clone(), chain.clone(), age.clone(), at));
            all.extend(specs.into_iter().map(of));
        }
        let all: Shared = all.into();
        known.push((of_parent, all.clone()));
        matches.insert(to.clone(), all);
    }
    matches
}

/// Under which host names a route is attached to what.
pub(super) type Parents = BTreeMap<Attachable, BTreeSet<String>>;

/// What a route is attached to and under which host names. A name that cannot be one is left out and told.
pub(super) fn parents(of: &[Parent], problems: &mut Vec<String>) -> Parents {
    let mut parents = Parents::new();
    for (at, parent) in of.iter().enumerate() {
        match parent {
            Parent::Service(captured) => {
                parents
                    .entry(Attachable::Service(captured.backend.clone()))
                    .or_default()
                    .insert("*".to_owned());
            }
            Parent::Consumer { of, namespace } => {
                let to = Attachable::Consumer(of.backend.clone(), namespace.clone());
                parents.entry(to).or_default().insert("*".to_owned());
            }
            Parent::Listener { namespace, gateway, section, hostnames } => {
                let to = Attachable::Listener(format!("{namespace}/{gateway}/{section}"));
                let hosts = parents.entry(to).or_default();
                for (host_at, host) in hostnames.iter().enumerate() {
                    match host_name(host) {
                        Ok(host) => drop(hosts.insert(host)),
                        Err(e) => problems.push(format!("parents[{at}].hostnames[{host_at}]: {e}")),
                    }
                }
            }
        }
    }
    parents
}

/// A route as it was and as it is; the same when one of its backends or policies changed.
struct Change<'a> {
    key: Arc<Key>,
    old: Option<&'a HttpRoute>,
    new: Option<&'a HttpRoute>,
    backends: &'a BTreeSet<BackendRef>,
    moved: &'a Moved,
}

impl Change<'_> {
    fn compile(
        &self,
        route: &HttpRoute,
        parents: &Parents,
        before: &Compiled,
        patterns: &mut Patterns,
        scene: Scene<'_>,
    ) -> (Compiled, Vec<String>) {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        let mut ruled = Vec::with_capacity(route.rules.len());
        let name: Arc<str> = format!("{}/{}", self.key.namespace, self.key.name).into();
        let age = Arc::new(RouteAge { created: route.created, name: name.clone(), kind: self.key.kind });
        for (at, spec) in route.rules.iter().enumerate() {
            let (specs, mut found) = matches::compile_all(&spec.matches, patterns);
            let rule = if found.is_empty() {
                self.unchanged(at, spec, before).unwrap_or_else(|| {
                    let (rule, more) = rule::compile(spec, self.name(at, spec, &name), self.is_grpc(), scene);
                    found = more;
                    Arc::new(rule)
                })
            } else {
                // The requests that the bad match was to catch are not known; those of its siblings must not be
                // served as if all were well.
                let message = found.join("; ");
                Arc::new(rule::failing(&message, self.name(at, spec, &name), self.is_grpc(), scene))
            };
            ruled.push((spec, rule.clone(), Some(specs)));
            rules.push(found.is_empty().then_some(rule));
            problems.extend(found.into_iter().map(|problem| format!("rules[{at}].{problem}")));
        }
        let mut missing = BTreeSet::new();
        let matches = attach(route, ruled, (parents, &age), patterns, (scene, &mut missing));
        problems.extend(missing.iter().map(no_policy));
        (Compiled { rules: rules.into(), matches }, problems)
    }

    /// The rule that stood at this place, if nothing it is made of changed: its split goes on where it was.
    fn unchanged(&self, at: usize, spec: &HttpRule, before: &Compiled) -> Option<Arc<Rule>> {
        let old = self.old?.rules.get(at)?;
        let same = old.name == spec.name && old.policies == spec.policies && old.action == spec.action;
        let settled = || {
            !rule::backends(spec).any(|backend| self.backends.contains(backend))
                && !rule::shares(spec).any(|share| self.moved.touches(&share.attached))
        };
        before.rules.get(at)?.clone().filter(|_| same && settled())
    }

    fn name(&self, at: usize, spec: &HttpRule, route: &Arc<str>) -> RuleName {
        RuleName {
            kind: if self.is_grpc() { "GRPCRoute" } else { "HTTPRoute" },
            route: route.clone(),
            rule: spec.name.as_deref().map_or_else(|| at.to_string().into(), Into::into),
        }
    }

    fn is_grpc(&self) -> bool {
        self.key.kind == Kind::GrpcRoute
    }
}
