//! Routes to rules and matches, and matches into the tables of the parents they are attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{BackendRef, HttpRoute, HttpRule, Key, Kind, Parent, Resource, Severity};
use rustc_hash::{FxHashMap, FxHashSet};

use super::backend::Backends;
use super::listener::host_name;
use super::matches::{self, Patterns};
use super::problems::{Problems, Stage};
use super::rule::{self, Scene};
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
}

/// The routes attached to one listener or Service, whether or not this proxy serves it.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// Number of routes; one without a single rule counts too.
    routes: usize,
    pub(super) hosts: Hosts<HostTable>,
}

/// Compiled routes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    compiled: FxHashMap<Arc<Key>, Compiled>,
    attached: FxHashMap<Attachable, Attached>,
    /// Who has to be compiled again when a backend changes, comes or goes.
    referrers: FxHashMap<BackendRef, FxHashSet<Arc<Key>>>,
    patterns: Patterns,
}

#[derive(Debug, Default)]
struct Compiled {
    /// By place; none where something was wrong.
    rules: Box<[Option<Arc<Rule>>]>,
    matches: Box<[Arc<Match>]>,
}

/// What changes in the tables, by parent and host name.
type Plan = BTreeMap<(Attachable, String), Edits>;

impl Routes {
    pub(super) fn attached(&self, to: &Attachable) -> Option<&Attached> {
        self.attached.get(to)
    }

    /// Compiles routes that changed and routes that refer to a changed backend; says whose tables changed.
    pub(super) fn compile(
        &mut self,
        dirty: &Dirty,
        backends: &Backends,
        store: &Store,
        scene: Scene<'_>,
        problems: &mut Problems,
    ) -> BTreeSet<Attachable> {
        let backends = &backends.tcp;
        let mut plan = Plan::new();
        let mut touched = BTreeSet::new();
        let referrers: BTreeSet<Arc<Key>> =
            backends.iter().filter_map(|backend| self.referrers.get(backend)).flatten().cloned().collect();
        for key in referrers.iter().filter(|key| !dirty.contains_key(key)) {
            let route = http_route(store.get(key));
            let change = Change { key: key.clone(), old: route, new: route, backends };
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
            self.change(&Change { key, old, new, backends }, scene, problems, &mut plan, &mut touched);
        }
        for ((to, host), edits) in plan {
            let pattern = HostPattern::parse(&host);
            let attached = self.attached.entry(to.clone()).or_default();
            attached.hosts.edit(pattern, || HostTable::new(pattern.key()), |table| table.apply(&edits));
            touched.insert(to);
        }
        for to in &touched {
            if self.attached.get(to).is_some_and(|attached| attached.routes == 0) {
                self.attached.remove(to);
            }
        }
        touched
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
        let (after, mut found) = match change.new {
            Some(route) => change.compile(route, &before, &mut self.patterns, scene),
            None => Default::default(),
        };
        for (to, hosts) in change.old.into_iter().flat_map(|route| parents(&route.parents, &mut Vec::new())) {
            self.count(&to, |routes| routes - 1);
            touched.insert(to.clone());
            for host in hosts {
                let edits = plan.entry((to.clone(), host)).or_default();
                edits.removed.extend(before.matches.iter().cloned());
            }
        }
        for (to, hosts) in change.new.into_iter().flat_map(|route| parents(&route.parents, &mut found)) {
            self.count(&to, |routes| routes + 1);
            touched.insert(to.clone());
            for host in hosts {
                let edits = plan.entry((to.clone(), host)).or_default();
                edits.added.extend(after.matches.iter().cloned());
            }
        }
        self.refer(key, change.old, change.new);
        problems.set(key, Stage::Resource, found.into_iter().map(|m| (Severity::Degraded, m)).collect());
        if change.new.is_some() {
            self.compiled.insert(key.clone(), after);
        }
    }

    fn count(&mut self, to: &Attachable, change: impl FnOnce(usize) -> usize) {
        let attached = self.attached.entry(to.clone()).or_default();
        attached.routes = change(attached.routes);
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
    }
}

fn http_route(resource: Option<&Resource>) -> Option<&HttpRoute> {
    match resource {
        Some(Resource::HttpRoute(route) | Resource::GrpcRoute(route)) => Some(route),
        _ => None,
    }
}

/// What a route is attached to and under which host names. A name that cannot be one is left out and told.
pub(super) fn parents(of: &[Parent], problems: &mut Vec<String>) -> BTreeMap<Attachable, BTreeSet<String>> {
    let mut parents: BTreeMap<Attachable, BTreeSet<String>> = BTreeMap::new();
    for (at, parent) in of.iter().enumerate() {
        match parent {
            Parent::Service(backend) => {
                parents.entry(Attachable::Service(backend.clone())).or_default().insert("*".to_owned());
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

/// A route as it was and as it is; the same when one of its backends changed.
struct Change<'a> {
    key: Arc<Key>,
    old: Option<&'a HttpRoute>,
    new: Option<&'a HttpRoute>,
    backends: &'a BTreeSet<BackendRef>,
}

impl Change<'_> {
    fn compile(
        &self,
        route: &HttpRoute,
        before: &Compiled,
        patterns: &mut Patterns,
        scene: Scene<'_>,
    ) -> (Compiled, Vec<String>) {
        let (mut rules, mut matches, mut problems) = (Vec::new(), Vec::new(), Vec::new());
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
            matches.extend(specs.into_iter().map(|m| Arc::new(m.of(rule.clone(), age.clone(), at))));
            rules.push(found.is_empty().then_some(rule));
            problems.extend(found.into_iter().map(|problem| format!("rules[{at}].{problem}")));
        }
        (Compiled { rules: rules.into(), matches: matches.into() }, problems)
    }

    /// The rule that stood at this place, if nothing it is made of changed: its split goes on where it was.
    fn unchanged(&self, at: usize, spec: &HttpRule, before: &Compiled) -> Option<Arc<Rule>> {
        let old = self.old?.rules.get(at)?;
        let same = old.name == spec.name && old.policies == spec.policies && old.action == spec.action;
        let settled = || !rule::backends(spec).any(|backend| self.backends.contains(backend));
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
