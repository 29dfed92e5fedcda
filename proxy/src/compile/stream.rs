//! TLSRoutes, TCPRoutes and UDPRoutes to rules, and rules into the tables of the parents they are attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{BackendRef, Key, Kind, Resource, Severity, StreamRoute, Target, WeightedBackend};
use policies::Chain;
use rustc_hash::FxHashMap;

use super::backend::Backends;
use super::problems::{Problems, Stage};
use super::route::{Attachable, parents};
use super::rule::{Scene, missing};
use crate::route::hosts::{HostPattern, Hosts};
use crate::route::precedence::RouteAge;
use crate::rule::{Action, RuleName, StreamRule};
use crate::snapshot::{Clusters, Transport};
use crate::split::{Share, Split};
use crate::store::{Dirty, Store};
use crate::stream::StreamHost;

/// Compiled routes of whole connections and datagrams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Those with which nothing was wrong.
    good: FxHashMap<Key, Arc<StreamRule>>,
    attached: FxHashMap<Attachable, Attached>,
    /// Who has to be compiled again when a backend changes, comes or goes.
    referrers: FxHashMap<(Transport, BackendRef), BTreeSet<Key>>,
}

/// The routes attached to one listener or Service, whether or not this proxy serves it.
#[derive(Debug, Default)]
struct Attached {
    /// Number of routes; one without a usable host name counts too.
    routes: usize,
    hosts: Hosts<StreamHost>,
}

impl Streams {
    /// The tables of a parent; `None` without routes.
    pub(super) fn hosts(&self, to: &Attachable) -> Option<&Hosts<StreamHost>> {
        self.attached.get(to).map(|attached| &attached.hosts)
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
        let mut touched = BTreeSet::new();
        let changed = [(Transport::Tcp, &backends.tcp), (Transport::Udp, &backends.udp)];
        let changed =
            changed.into_iter().flat_map(|(transport, all)| all.iter().map(move |one| (transport, one)));
        let referrers: BTreeSet<Key> = changed
            .filter_map(|(transport, backend)| self.referrers.get(&(transport, backend.clone())))
            .flatten()
            .filter(|key| !dirty.contains_key(key))
            .cloned()
            .collect();
        for key in &referrers {
            let route = stream_route(store.get(key));
            self.change(key, route, route, None, scene, problems, &mut touched);
        }
        for (key, old) in dirty.iter().filter(|(key, _)| is_stream(key.kind)) {
            let (old, new) = (stream_route(old.as_deref()), stream_route(store.get(key)));
            // Its split goes on where it was, unless something that it is made of changed.
            let kept = self.good.get(key).filter(|_| {
                let unsettled = |backend| match transport(key.kind) {
                    Transport::Tcp => backends.tcp.contains(backend),
                    Transport::Udp => backends.udp.contains(backend),
                };
                old.zip(new).is_some_and(|(old, new)| {
                    (&old.rule, &old.action) == (&new.rule, &new.action) && !targets(new).any(unsettled)
                })
            });
            let kept = kept.cloned();
            self.change(key, old, new, kept, scene, problems, &mut touched);
        }
        for to in &touched {
            if self.attached.get(to).is_some_and(|attached| attached.routes == 0) {
                self.attached.remove(to);
            }
        }
        touched
    }

    #[allow(clippy::too_many_arguments, reason = "a change and where it shows")]
    fn change(
        &mut self,
        key: &Key,
        old: Option<&StreamRoute>,
        new: Option<&StreamRoute>,
        kept: Option<Arc<StreamRule>>,
        scene: Scene<'_>,
        problems: &mut Problems,
        touched: &mut BTreeSet<Attachable>,
    ) {
        let mut found = Vec::new();
        self.good.remove(key);
        if let Some(old) = old {
            self.edit(&parents(&old.parents, &mut Vec::new()), &age(key, old), None, touched);
            self.refer(key, old, BTreeSet::remove);
        }
        if let Some(new) = new {
            let rule = kept.unwrap_or_else(|| {
                let (rule, problems) = compile(key, new, scene);
                found = problems;
                Arc::new(rule)
            });
            if found.is_empty() {
                self.good.insert(key.clone(), rule.clone());
            }
            self.edit(&parents(&new.parents, &mut found), &age(key, new), Some(&rule), touched);
            self.refer(key, new, |keys, key| keys.insert(key.clone()));
        }
        problems.set(key, Stage::Resource, found.into_iter().map(|m| (Severity::Degraded, m)).collect());
    }

    /// Puts a rule into the tables of its parents, or takes it out.
    fn edit(
        &mut self,
        parents: &BTreeMap<Attachable, BTreeSet<String>>,
        age: &RouteAge,
        rule: Option<&Arc<StreamRule>>,
        touched: &mut BTreeSet<Attachable>,
    ) {
        for (to, hosts) in parents {
            let attached = self.attached.entry(to.clone()).or_default();
            attached.routes =
                if rule.is_some() { attached.routes + 1 } else { attached.routes.saturating_sub(1) };
            for host in hosts {
                let pattern = HostPattern::parse(host);
                let vacant = || StreamHost::new(pattern.key());
                attached.hosts.edit(pattern, vacant, |table| table.put(age, rule));
            }
            touched.insert(to.clone());
        }
    }

    fn refer(&mut self, key: &Key, route: &StreamRoute, change: impl Fn(&mut BTreeSet<Key>, &Key) -> bool) {
        for backend in targets(route) {
            let at = (transport(key.kind), backend.clone());
            let keys = self.referrers.entry(at.clone()).or_default();
            change(keys, key);
            if keys.is_empty() {
                self.referrers.remove(&at);
            }
        }
    }
}

const fn is_stream(kind: Kind) -> bool {
    matches!(kind, Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute)
}

const fn transport(kind: Kind) -> Transport {
    if matches!(kind, Kind::UdpRoute) { Transport::Udp } else { Transport::Tcp }
}

fn stream_route(resource: Option<&Resource>) -> Option<&StreamRoute> {
    match resource {
        Some(Resource::TlsRoute(route) | Resource::TcpRoute(route) | Resource::UdpRoute(route)) => {
            Some(route)
        }
        _ => None,
    }
}

fn age(key: &Key, route: &StreamRoute) -> RouteAge {
    let name = format!("{}/{}", key.namespace, key.name).into();
    RouteAge { created: route.created, name, kind: key.kind }
}

/// Every backend a route points at.
fn targets(route: &StreamRoute) -> impl Iterator<Item = &BackendRef> {
    let shares = match &route.action {
        config::Action::Forward(shares) => shares.as_slice(),
        config::Action::Fail { .. } => &[],
    };
    shares.iter().filter_map(|share| match &share.target {
        Target::Backend(backend) => Some(backend),
        Target::Invalid { .. } => None,
    })
}

/// What cannot be compiled resets its share of the connections, with a message that says field, reason and remedy.
fn compile(key: &Key, spec: &StreamRoute, scene: Scene<'_>) -> (StreamRule, Vec<String>) {
    let (kind, clusters) = match transport(key.kind) {
        Transport::Udp => ("UDPRoute", scene.udp_clusters),
        Transport::Tcp if key.kind == Kind::TcpRoute => ("TCPRoute", scene.clusters),
        Transport::Tcp => ("TLSRoute", scene.clusters),
    };
    let name = RuleName {
        kind,
        route: format!("{}/{}", key.namespace, key.name).into(),
        rule: spec.rule.as_deref().unwrap_or("0").into(),
    };
    let mut problems = Vec::new();
    let action = match &spec.action {
        config::Action::Forward(shares) => Action::Forward(Split::new(
            shares
                .iter()
                .enumerate()
                .map(|(at, spec)| (spec.weight, share(at, spec, clusters, &mut problems)))
                .collect(),
        )),
        config::Action::Fail { message } => Action::Fail(message.as_str().into()),
    };
    let stats = scene.telemetry.stream(&name);
    (StreamRule { name, action, stats }, problems)
}

fn share(at: usize, spec: &WeightedBackend, clusters: &Clusters, problems: &mut Vec<String>) -> Share {
    let target = match &spec.target {
        Target::Backend(_) if !spec.policies.is_empty() => {
            Err("policies: they are for requests, and here there are none: leave them out".to_owned())
        }
        // Who may pass cannot be asked here: nobody does.
        Target::Backend(_) if !spec.attached.is_empty() => {
            let names: Vec<String> = spec.attached.iter().map(Key::to_string).collect();
            Err(format!("attached: {} is for requests, and here there are none", names.join(", ")))
        }
        Target::Backend(backend) => clusters.get(backend).cloned().ok_or_else(|| missing(backend)),
        // The translator has told it already.
        Target::Invalid { message } => {
            return Share { target: Err(message.as_str().into()), chain: Chain::default() };
        }
    };
    let target = target.map_err(|problem| {
        problems.push(format!("action.forward[{at}].{problem}"));
        problem.into()
    });
    Share { target, chain: Chain::default() }
}

/// Forwards everything to a captured Service that no route is attached to (GEP-1294).
pub(super) fn service_default(
    backend: &BackendRef,
    clusters: &Clusters,
    scene: Scene<'_>,
) -> Hosts<StreamHost> {
    let name = RuleName {
        kind: "Service",
        route: format!("{}/{}", backend.namespace, backend.name).into(),
        rule: backend.port.to_string().into(),
    };
    let target = clusters.get(backend).cloned().ok_or_else(|| missing(backend).into());
    let split = Split::new(vec![(1, Share { target, chain: Chain::default() })]);
    let age = RouteAge { created: 0, name: name.route.clone(), kind: Kind::Backend };
    let stats = scene.telemetry.stream(&name);
    let rule = Arc::new(StreamRule { name, action: Action::Forward(split), stats });
    let mut hosts = Hosts::default();
    hosts.edit(HostPattern::Any, || StreamHost::new(""), |table| table.put(&age, Some(&rule)));
    hosts
}
