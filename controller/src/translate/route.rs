//! Routes of every kind: parents, rules, and what is remembered of both.
//!
//! Three steps: each route alone (`prepare`, remembered while the route and what it was judged against stay
//! the same), all routes against each other (`rivalry`), and the outcome (`finish`).

use std::fmt::Debug;
use std::sync::Arc;

use config::{Key, Parent, Resource};

use super::attach::{At, Attached, Surroundings};
use super::backend_ref::Backends;
use super::rule;
use super::{Output, hostname, route_status};
use crate::ObjectKey;
use crate::resources::{Named, ObjectKind, Objects};
use crate::status::{ParentRef, Problem, Status};

/// What the kinds of routes have in common: where their fields are.
pub(crate) trait Route: Named {
    const KIND: ObjectKind;
    const RESOURCE_KIND: config::Kind;
    /// A waypoint takes it.
    const IN_MESH: bool;
    /// What its rules become.
    type Rules: Debug;

    fn has_same_spec(&self, other: &Self) -> bool;
    fn hostnames(&self) -> &[String];
    fn parents(&self) -> Vec<ParentRef>;
    fn wants_default_gateways(&self) -> bool;

    /// The host names it has in common with a listener, see [`hostname::intersect`].
    fn common_hostnames(&self, listener: Option<&str>) -> Vec<String> {
        hostname::intersect(listener, self.hostnames())
    }

    fn rules(&self, cx: &mut rule::Context<'_, '_>) -> (Self::Rules, Verdict);
    fn resource(created: i64, parents: Vec<Parent>, rules: Self::Rules) -> Resource;
}

macro_rules! parent_ref {
    ($parent:expr) => {{
        let parent = $parent;
        ParentRef {
            group: parent.group.clone(),
            kind: parent.kind.clone(),
            namespace: parent.namespace.clone(),
            name: parent.name.clone(),
            section_name: parent.section_name.clone(),
            port: parent.port,
        }
    }};
}
pub(crate) use parent_ref;

/// A route judged alone, its rules ready to be handed out.
#[derive(Debug)]
pub(crate) struct Prepared<R> {
    pub(crate) rules: R,
    pub(crate) verdict: Verdict,
}

/// What is wrong with the rules of a route.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// With their place in the route. Those of condition `Accepted` made their rule, or a share of it,
    /// invalid.
    pub(crate) problems: Vec<Problem>,
    /// None of the rules is valid, or the route as a whole is not.
    pub(crate) is_invalid: bool,
}

/// What is remembered of a route.
#[derive(Debug)]
pub(crate) struct Entry<T: Route> {
    pub(crate) object: Arc<T>,
    pub(crate) attached: Attached,
    pub(crate) is_invalid: bool,
    /// Ids of backends.
    uses: Vec<u32>,
    /// `None` once it has been turned into an outcome.
    prepared: Option<Prepared<T::Rules>>,
    outcome: Option<Outcome>,
    /// Candidates lost to routes of another kind: index, and who has it.
    pub(crate) lost: Vec<(usize, String)>,
    /// Candidates where a route of its kind comes first: index, and which.
    pub(crate) outranked: Vec<(usize, String)>,
}

#[derive(Debug)]
struct Outcome {
    /// The `lost` and `outranked` it was made for.
    lost: Vec<(usize, String)>,
    outranked: Vec<(usize, String)>,
    status: Arc<Status>,
    resource: Option<Arc<Resource>>,
}

/// What is remembered of the routes of one kind, in conflict order.
#[derive(Debug)]
pub(crate) struct Memory<T: Route> {
    pub(crate) entries: Vec<Entry<T>>,
}

impl<T: Route> Default for Memory<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T: Route> Memory<T> {
    /// Judges each route alone. With `fresh`, nothing that is remembered counts.
    pub(crate) fn prepare(
        &mut self,
        routes: &Objects<T>,
        fresh: bool,
        surroundings: &Surroundings<'_>,
        backends: &mut Backends,
    ) {
        // Both lists are in the same order: one walk finds what is remembered of each route.
        let mut remembered = std::mem::take(&mut self.entries).into_iter().peekable();
        let order = |a: &T, b: &T| {
            (a.created(), a.namespace(), a.name()).cmp(&(b.created(), b.namespace(), b.name()))
        };
        for object in routes {
            while remembered.next_if(|entry| order(&entry.object, object).is_lt()).is_some() {}
            let known = remembered.next_if(|entry| order(&entry.object, object).is_eq());
            let entry = match known.filter(|entry| !fresh && is_same(&entry.object, object)) {
                Some(mut entry) => {
                    entry.object = Arc::clone(object);
                    entry.lost.clear();
                    entry.outranked.clear();
                    entry
                }
                None => prepare(object, surroundings, backends),
            };
            self.entries.push(entry);
        }
    }

    /// Turns what is known of each route into resources and statuses.
    pub(crate) fn finish(
        &mut self,
        surroundings: &Surroundings<'_>,
        backends: &mut Backends,
        out: &mut Output,
    ) {
        for entry in &mut self.entries {
            let outcome = match entry.outcome.take() {
                Some(outcome) if outcome.lost == entry.lost && outcome.outranked == entry.outranked => {
                    outcome
                }
                _ => {
                    let prepared = match entry.prepared.take() {
                        Some(prepared) => prepared,
                        // Its rules were handed out before a rival came or went.
                        None => rules(&*entry.object, surroundings, backends, &mut Vec::new()),
                    };
                    outcome(entry, prepared, surroundings)
                }
            };
            let (namespace, name) = (entry.object.namespace(), entry.object.name());
            if let Some(resource) = &outcome.resource {
                entry.uses.iter().for_each(|id| backends.use_by(*id, T::KIND));
                out.resources.push((Key::new(T::RESOURCE_KIND, namespace, name), Arc::clone(resource)));
            }
            out.statuses.push((ObjectKey::new(T::KIND, namespace, name), Arc::clone(&outcome.status)));
            entry.outcome = Some(outcome);
        }
    }

    /// Calls `each` with every place a route is accepted at, and the backends it uses there.
    pub(crate) fn for_each_accepted(&self, mut each: impl FnMut(&At, &[u32])) {
        for entry in self.entries.iter().filter(|entry| !entry.is_invalid) {
            for (_, candidate) in entry.survivors() {
                each(&candidate.at, &entry.uses);
            }
        }
    }
}

impl<T: Route> Entry<T> {
    /// Candidates not lost to a rival, each place once.
    pub(crate) fn survivors(&self) -> impl Iterator<Item = (usize, &super::attach::Candidate)> {
        let candidates = &self.attached.candidates;
        candidates.iter().enumerate().filter(move |(index, candidate)| {
            self.lost.iter().all(|(lost, _)| lost != index)
                && candidates.iter().take(*index).all(|earlier| earlier.at != candidate.at)
        })
    }
}

fn is_same<T: Route>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || (a.meta().generation == b.meta().generation && a.has_same_spec(b))
}

fn prepare<T: Route>(object: &Arc<T>, surroundings: &Surroundings<'_>, backends: &mut Backends) -> Entry<T> {
    let mut uses = Vec::new();
    let prepared = rules(&**object, surroundings, backends, &mut uses);
    Entry {
        object: Arc::clone(object),
        attached: surroundings.attach(&**object),
        is_invalid: prepared.verdict.is_invalid,
        uses,
        prepared: Some(prepared),
        outcome: None,
        lost: Vec::new(),
        outranked: Vec::new(),
    }
}

/// Translates the rules of a route.
fn rules<T: Route>(
    route: &T,
    surroundings: &Surroundings<'_>,
    backends: &mut Backends,
    uses: &mut Vec<u32>,
) -> Prepared<T::Rules> {
    let mut verdict = Verdict::default();
    for (index, hostname) in route.hostnames().iter().enumerate() {
        if let Some(problem) = hostname::wildcard_problem(hostname) {
            verdict.problems.push(Problem::unsupported(format!("hostnames[{index}]: {problem}")));
            verdict.is_invalid = true;
        }
    }
    if route.wants_default_gateways() {
        let message =
            "useDefaultGateways: default Gateways are not supported: name the Gateway in parentRefs";
        verdict.problems.push(Problem::unsupported(message));
        verdict.is_invalid = true;
    }
    let mut cx = rule::Context {
        kind: T::KIND,
        namespace: route.namespace(),
        cluster: surroundings.cluster,
        backends,
        uses,
    };
    let (rules, of_rules) = route.rules(&mut cx);
    verdict.problems.extend(of_rules.problems);
    verdict.is_invalid |= of_rules.is_invalid;
    Prepared { rules, verdict }
}

fn outcome<T: Route>(
    entry: &Entry<T>,
    prepared: Prepared<T::Rules>,
    surroundings: &Surroundings<'_>,
) -> Outcome {
    let status = route_status::status(entry, &prepared.verdict);
    let parents: Vec<Parent> = entry
        .survivors()
        .filter_map(|(_, candidate)| surroundings.parent(&candidate.at, &candidate.hostnames))
        .collect();
    // A route without valid rules still stands, and its rules answer 500: left out, its requests would fall
    // through to a route that was never meant for them.
    let resource =
        (!parents.is_empty()).then(|| Arc::new(T::resource(entry.object.created(), parents, prepared.rules)));
    let (lost, outranked) = (entry.lost.clone(), entry.outranked.clone());
    Outcome { lost, outranked, status: Arc::new(Status::Route(status)), resource }
}
