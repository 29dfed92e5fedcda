//! Routes of every kind: parents, rules, and what is remembered of both.
//!
//! Three steps: each route alone (`prepare`, remembered while the route and what it was told stay the same), all routes
//! against each other (`rivalry`), and the outcome (`finish`). Each step touches only routes that it changes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use config::{Key, Parent, Resource};
use rustc_hash::FxHashSet;

use super::attach::{At, Attached, Surroundings};
use super::backend_ref::Backends;
use super::facts::{Fact, News, Readers};
use super::guarded::Guarded;
use super::output::Said;
use super::queue::Queue;
use super::rivalry::Rivalry;
use super::rule;
use super::slots::Slots;
use super::usage::{Share, Usage, through};
use super::{hostname, route_status};
use crate::ObjectKey;
use crate::resources::{Named, ObjectKind, Objects};
use crate::status::{ParentRef, Problem, Status};

/// What the kinds of routes have in common: where their fields are.
pub(crate) trait Route: Named {
    const KIND: ObjectKind;
    const RESOURCE_KIND: config::Kind;
    /// A waypoint takes it.
    const IN_MESH: bool;
    /// It takes whole connections or datagrams: of several that ask for the same the first gets all.
    const IS_STREAM: bool = false;
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
    /// `attached`: the policies about its requests, if it is about requests.
    fn resource(
        created: i64,
        parents: Vec<Parent>,
        attached: Vec<config::Key>,
        rules: Self::Rules,
    ) -> Resource;
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
    /// SecurityPolicies of it.
    pub(crate) guarded: Guarded,
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
    /// Numbers of backends.
    uses: Vec<usize>,
    /// SecurityPolicies of it.
    guarded: Guarded,
    /// Of what it was told.
    reads: Box<[usize]>,
    /// `None` once it has been turned into an outcome.
    prepared: Option<Prepared<T::Rules>>,
    /// What was counted of it last.
    share: Share,
    /// Candidates lost to routes of another kind: index, and who has it.
    pub(crate) lost: BTreeMap<usize, String>,
    /// Candidates where a route of its kind comes first: index, and which.
    pub(crate) outranked: BTreeMap<usize, String>,
}

/// What is remembered of the routes of one kind.
#[derive(Debug)]
pub(crate) struct Memory<T: Route> {
    pub(crate) entries: Slots<ObjectKey, Entry<T>>,
    /// Who comes first, of routes that take whole connections.
    pub(crate) queue: Queue,
    /// To be turned into outcomes.
    unfinished: FxHashSet<usize>,
}

impl<T: Route> Default for Memory<T> {
    fn default() -> Self {
        Self { entries: Slots::default(), queue: Queue::default(), unfinished: FxHashSet::default() }
    }
}

/// What routes of all kinds have in common.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) backends: Backends,
    pub(crate) readers: Readers,
    pub(crate) rivalry: Rivalry,
    pub(crate) usage: Usage,
    pub(crate) said: Said,
}

impl<T: Route> Memory<T> {
    /// Judges each route alone that changed, or that was told something which is no longer so.
    pub(crate) fn prepare(
        &mut self,
        (then, now): (&Objects<T>, &Objects<T>),
        news: &News,
        surroundings: &Surroundings<'_>,
        common: &mut Common,
    ) {
        let key = |object: &T| ObjectKey::new(T::KIND, object.namespace(), object.name());
        let mut stale: BTreeMap<usize, Arc<T>> = BTreeMap::new();
        for (old, new) in then.changes(now) {
            let slot = old.and_then(|old| self.entries.find(&key(old)));
            let entry = slot.and_then(|slot| self.entries.get_mut(slot));
            match (new, slot, entry) {
                (None, Some(slot), _) => self.remove(slot, common),
                (None, None, _) => {}
                // Writing a status or a label changes an object but nothing that is read.
                (Some(new), _, Some(entry)) if is_same(&entry.object, new) => entry.object = Arc::clone(new),
                (Some(new), Some(slot), Some(_)) => drop(stale.insert(slot, Arc::clone(new))),
                (Some(new), ..) => self.add(prepare(new, surroundings, &mut common.backends), common),
            }
        }
        for (_, slot) in
            news.iter().flat_map(|fact| common.readers.of(fact)).filter(|(kind, _)| *kind == T::KIND)
        {
            if let Some(entry) = self.entries.get(slot) {
                stale.entry(slot).or_insert_with(|| Arc::clone(&entry.object));
            }
        }
        for (slot, object) in stale {
            let new = prepare(&object, surroundings, &mut common.backends);
            self.replace(slot, new, common);
        }
    }

    fn add(&mut self, (entry, facts): (Entry<T>, Vec<Fact>), common: &mut Common) {
        let key = ObjectKey::new(T::KIND, entry.object.namespace(), entry.object.name());
        let slot = self.entries.insert(key, entry);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.reads = common.readers.remember((T::KIND, slot), facts);
        if T::IS_STREAM {
            self.queue.add(slot, entry);
        } else {
            common.rivalry.add((T::KIND, slot), &entry.attached.candidates);
        }
        self.unfinished.insert(slot);
    }

    fn replace(&mut self, slot: usize, (mut new, facts): (Entry<T>, Vec<Fact>), common: &mut Common) {
        let Some(old) = self.entries.get_mut(slot) else { return };
        let reader = (T::KIND, slot);
        // Those to come are remembered first, so that a fact is not given up and taken up again.
        new.reads = common.readers.remember(reader, facts);
        let left = old.reads.iter().filter(|read| new.reads.binary_search(read).is_err()).copied();
        common.readers.forget(reader, &left.collect::<Vec<_>>());
        new.share = std::mem::take(&mut old.share);
        let holds_its_place = old.is_invalid == new.is_invalid
            && old.object.created() == new.object.created()
            && old.attached.candidates == new.attached.candidates;
        if holds_its_place {
            new.lost = std::mem::take(&mut old.lost);
            new.outranked = std::mem::take(&mut old.outranked);
        } else if T::IS_STREAM {
            self.queue.remove(slot);
            self.queue.add(slot, &new);
        } else {
            common.rivalry.remove(reader, &old.attached.candidates);
            common.rivalry.add(reader, &new.attached.candidates);
        }
        *old = new;
        self.unfinished.insert(slot);
    }

    fn remove(&mut self, slot: usize, common: &mut Common) {
        let Some(key) = self.entries.name(slot).cloned() else { return };
        let Some(old) = self.entries.remove(slot) else { return };
        common.readers.forget((T::KIND, slot), &old.reads);
        if T::IS_STREAM {
            self.queue.remove(slot);
        } else {
            common.rivalry.remove((T::KIND, slot), &old.attached.candidates);
        }
        common.usage.count(T::KIND, &old.share, &mut common.backends, -1);
        self.unfinished.remove(&slot);
        common.said.resource(Key::new(T::RESOURCE_KIND, &*key.namespace, &*key.name), None);
        common.said.status(key, None);
    }

    /// A candidate of a route was lost to another kind, or won back.
    pub(crate) fn lose(&mut self, slot: usize, candidate: usize, owner: Option<String>) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        match owner {
            Some(owner) => drop(entry.lost.insert(candidate, owner)),
            None => drop(entry.lost.remove(&candidate)),
        }
        self.unfinished.insert(slot);
    }

    /// Notes of routes that take whole connections who comes first, where that changed.
    pub(crate) fn rank(&mut self) {
        for slot in self.queue.take_moved() {
            let Some(entry) = self.entries.get_mut(slot) else { continue };
            let outranked = self.queue.outranked::<T>(slot, entry);
            if entry.outranked != outranked {
                entry.outranked = outranked;
                self.unfinished.insert(slot);
            }
        }
    }

    /// Turns what is known of each route into resources and statuses.
    pub(crate) fn finish(&mut self, surroundings: &Surroundings<'_>, common: &mut Common) {
        for slot in std::mem::take(&mut self.unfinished) {
            let Some(entry) = self.entries.get_mut(slot) else { continue };
            let prepared = match entry.prepared.take() {
                Some(prepared) => prepared,
                // Its rules were handed out before a rival came or went. It was told nothing new by that.
                None => rules(&*entry.object, surroundings, &mut common.backends, &mut Vec::new()),
            };
            surroundings.cluster.take_notes();
            let (status, resource) = outcome(entry, prepared, surroundings);
            let share = entry.share(resource.is_some(), surroundings);
            common.usage.count(T::KIND, &share, &mut common.backends, 1);
            common.usage.count(T::KIND, &entry.share, &mut common.backends, -1);
            entry.share = share;
            let (namespace, name) = (entry.object.namespace(), entry.object.name());
            common.said.resource(Key::new(T::RESOURCE_KIND, namespace, name), resource);
            common.said.status(ObjectKey::new(T::KIND, namespace, name), Some(status));
        }
    }
}

impl<T: Route> Entry<T> {
    /// Candidates not lost to a rival, each place once.
    pub(crate) fn survivors(&self) -> impl Iterator<Item = (usize, &super::attach::Candidate)> {
        let candidates = &self.attached.candidates;
        candidates.iter().enumerate().filter(move |(index, candidate)| {
            !self.lost.contains_key(index)
                && candidates.iter().take(*index).all(|earlier| earlier.at != candidate.at)
        })
    }

    fn share(&self, is_published: bool, surroundings: &Surroundings<'_>) -> Share {
        let accepted = self.survivors().filter(|_| !self.is_invalid);
        let places: Vec<At> = accepted.map(|(_, candidate)| candidate.at).collect();
        // What passes through is inside TLS already, the client's: no policy says how.
        let is_open = |at: &&At| !surroundings.listener(at).is_some_and(|listener| listener.is_passthrough);
        let through = places.iter().filter(is_open).map(through).collect();
        let reached = if T::IS_STREAM { Vec::new() } else { self.guarded.reached(&places, surroundings) };
        Share { places, through, uses: self.uses.clone(), is_published, reached }
    }
}

fn is_same<T: Route>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.created() == b.created() && a.meta().generation == b.meta().generation && a.has_same_spec(b))
}

/// Judges a route alone; returns also what it was told.
fn prepare<T: Route>(
    object: &Arc<T>,
    surroundings: &Surroundings<'_>,
    backends: &mut Backends,
) -> (Entry<T>, Vec<Fact>) {
    let mut uses = Vec::new();
    let prepared = rules(&**object, surroundings, backends, &mut uses);
    let entry = Entry {
        object: Arc::clone(object),
        attached: surroundings.attach(&**object),
        is_invalid: prepared.verdict.is_invalid,
        uses,
        guarded: prepared.guarded.clone(),
        reads: Box::default(),
        prepared: Some(prepared),
        share: Share::default(),
        lost: BTreeMap::new(),
        outranked: BTreeMap::new(),
    };
    (entry, surroundings.cluster.take_notes())
}

/// The Services that are all parents of a route.
fn dialled<T: Route>(route: &T) -> Vec<(String, String)> {
    let service = |parent: ParentRef| {
        let is_service = parent.group.as_deref() == Some("") && parent.kind.as_deref() == Some("Service");
        let namespace = parent.namespace.unwrap_or_else(|| route.namespace().to_owned());
        is_service.then_some((namespace, parent.name))
    };
    let all: Option<Vec<_>> = route.parents().into_iter().map(service).collect();
    all.unwrap_or_default()
}

/// Translates the rules of a route.
fn rules<T: Route>(
    route: &T,
    surroundings: &Surroundings<'_>,
    backends: &mut Backends,
    uses: &mut Vec<usize>,
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
        name: route.name(),
        dialled: dialled(route),
        cluster: surroundings.cluster,
        backends,
        uses,
        guarded: Guarded::new(route, surroundings.cluster),
    };
    let (rules, of_rules) = route.rules(&mut cx);
    let guarded = cx.guarded;
    verdict.problems.extend(of_rules.problems);
    verdict.is_invalid |= of_rules.is_invalid;
    Prepared { rules, verdict, guarded }
}

fn outcome<T: Route>(
    entry: &Entry<T>,
    prepared: Prepared<T::Rules>,
    surroundings: &Surroundings<'_>,
) -> (Arc<Status>, Option<Arc<Resource>>) {
    let status = route_status::status(entry, &prepared.verdict);
    let parents: Vec<Parent> = entry
        .survivors()
        .filter_map(|(_, candidate)| surroundings.parent(&candidate.at, &candidate.hostnames))
        .collect();
    // A route without valid rules still stands, and its rules answer 500: left out, its requests would fall
    // through to a route that was never meant for them.
    let resource = (!parents.is_empty()).then(|| {
        Arc::new(T::resource(entry.object.created(), parents, prepared.guarded.route, prepared.rules))
    });
    (Arc::new(Status::Route(status)), resource)
}
