//! Which part of the configuration a Gateway's proxies may see.
//!
//! A gateway sees the listeners of its own Gateway and the routes attached to it; a waypoint the listeners of the Services
//! it stands in front of and the routes attached to those. Both see what these need: certificates, backends
//! (mirrors' too) and their endpoints; and waypoints every workload, since a call may come from anywhere. Nothing else, so a
//! proxy that is taken over gives away one Gateway's secrets only.
//!
//! It works on changes: what a change of one resource costs does not depend on how many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use policies::Parts;

use crate::identity::{GatewayRef, Role};
use crate::{
    Action, Attached, Backend, Captured, HttpRoute, Key, Kind, Listener, ListenerTls, Parent, Resource,
    Resources, Scope, StreamRoute, Target, Update,
};

/// What changes for one place: resources that are new or changed, and `None` for those that are gone.
pub type Change = BTreeMap<Key, Option<Arc<Resource>>>;

/// Remembers who sees what.
#[derive(Debug, Default)]
pub struct Scopes {
    /// Where each listener and route is seen.
    roots: HashMap<Key, BTreeSet<GatewayRef>>,
    shares: HashMap<GatewayRef, Share>,
    /// What every waypoint sees, kept once for all of them.
    workloads: HashMap<Key, Arc<Resource>>,
}

impl Scopes {
    /// The changes of each place that follow from an update leading to `all`. Places without any are left out.
    pub fn apply(&mut self, update: &Update, all: &Resources) -> BTreeMap<GatewayRef, Change> {
        let mut moved: BTreeMap<GatewayRef, Vec<(&Key, bool)>> = BTreeMap::new();
        for (key, resource) in &update.upserts {
            let now = places(key, resource);
            let before = if now.is_empty() {
                self.roots.remove(key)
            } else {
                self.roots.insert(key.clone(), now.clone())
            };
            let before = before.unwrap_or_default();
            for gone in before.difference(&now) {
                moved.entry(gone.clone()).or_default().push((key, false));
            }
            for new in now.difference(&before) {
                moved.entry(new.clone()).or_default().push((key, true));
            }
        }
        for key in &update.removes {
            for gone in self.roots.remove(key).unwrap_or_default() {
                moved.entry(gone).or_default().push((key, false));
            }
        }
        for place in moved.keys() {
            if !self.shares.contains_key(place) {
                self.shares.insert(place.clone(), Share::default());
            }
        }
        let (mut changes, mut of_waypoints) = (BTreeMap::new(), Vec::new());
        // O(places × changed keys), each a look-up in a hash map.
        for (place, share) in &mut self.shares {
            let was_there = !share.uses.is_empty();
            let change = share.take(moved.get(place).map_or(&[], Vec::as_slice), update, all);
            if place.role == Role::Waypoint {
                of_waypoints.push((place.clone(), (was_there, !share.uses.is_empty())));
            }
            if !change.is_empty() {
                changes.insert(place.clone(), change);
            }
        }
        self.shares.retain(|_, share| !share.uses.is_empty());
        self.take_workloads(of_waypoints, update, &mut changes);
        changes
    }

    /// What waypoints are told of workloads: one that comes is told all, one that stays what changed. `of`: whether a place
    /// was there before, and is there now.
    fn take_workloads(
        &mut self,
        of: Vec<(GatewayRef, (bool, bool))>,
        update: &Update,
        changes: &mut BTreeMap<GatewayRef, Change>,
    ) {
        let is_workload = |key: &Key| key.kind == Kind::Workload;
        let gone = update.removes.iter().filter(|key| is_workload(key) && self.workloads.contains_key(key));
        let mut news: Change = gone.map(|key| (key.clone(), None)).collect();
        let upserts = update.upserts.iter().filter(|(key, _)| is_workload(key));
        news.extend(upserts.map(|(key, resource)| (key.clone(), Some(Arc::clone(resource)))));
        for (place, _) in of.iter().filter(|(_, (was_there, is_there))| *was_there && !is_there) {
            let had = self.workloads.keys().map(|key| (key.clone(), None));
            changes.entry(place.clone()).or_default().extend(had);
        }
        for (key, resource) in &news {
            match resource {
                Some(resource) => drop(self.workloads.insert(key.clone(), Arc::clone(resource))),
                None => drop(self.workloads.remove(key)),
            }
        }
        for (place, (was_there, _)) in of.into_iter().filter(|(_, (_, is_there))| *is_there) {
            let change = changes.entry(place).or_default();
            if was_there {
                change.extend(news.clone());
            } else {
                let all = self.workloads.iter();
                change.extend(all.map(|(key, resource)| (key.clone(), Some(Arc::clone(resource)))));
            }
        }
        changes.retain(|_, change| !change.is_empty());
    }

    /// The workloads that a place sees, if it is there: all, or none.
    fn workloads(&self, place: &GatewayRef) -> Option<&HashMap<Key, Arc<Resource>>> {
        let is_there = place.role == Role::Waypoint && self.shares.contains_key(place);
        is_there.then_some(&self.workloads)
    }

    /// All that a place sees, in no order.
    pub fn seen(&self, place: &GatewayRef) -> impl Iterator<Item = (&Key, &Arc<Resource>)> {
        let own = self.shares.get(place).into_iter().flat_map(|share| &share.seen);
        own.chain(self.workloads(place).into_iter().flatten())
    }

    /// Who sees a key; of workloads, every waypoint does.
    pub fn seers(&self, key: &Key) -> impl Iterator<Item = &GatewayRef> {
        self.shares.keys().filter(|place| self.sees(place, key))
    }

    /// How many resources a place sees.
    #[must_use]
    pub fn count(&self, place: &GatewayRef) -> usize {
        let own = self.shares.get(place).map_or(0, |share| share.seen.len());
        own + self.workloads(place).map_or(0, HashMap::len)
    }

    /// Whether a place sees a key.
    #[must_use]
    pub fn sees(&self, place: &GatewayRef, key: &Key) -> bool {
        self.shares.get(place).is_some_and(|share| share.seen.contains_key(key))
            || self.workloads(place).is_some_and(|workloads| workloads.contains_key(key))
    }
}

/// What one place sees.
#[derive(Debug, Default)]
struct Share {
    /// How many reasons there are to see a key: one for being a listener or route of the place, one for each seen
    /// resource that needs it.
    uses: HashMap<Key, usize>,
    /// The keys of `uses` that exist; what they need is counted.
    seen: HashMap<Key, Arc<Resource>>,
}

impl Share {
    fn take(&mut self, moved: &[(&Key, bool)], update: &Update, all: &Resources) -> Change {
        let mut walk = Walk { share: self, all, before: BTreeMap::new() };
        // What comes is counted before what goes, so that nothing goes and comes again.
        for (key, _) in moved.iter().filter(|(_, is_seen)| *is_seen) {
            walk.retain(key);
        }
        for key in update.upserts.keys().chain(&update.removes) {
            walk.refresh(key);
        }
        for (key, _) in moved.iter().filter(|(_, is_seen)| !*is_seen) {
            walk.release(key);
        }
        let before = walk.before;
        let changes = before.into_iter().filter_map(|(key, before)| {
            let now = self.seen.get(&key);
            let is_same = match (&before, now) {
                (Some(before), Some(now)) => Arc::ptr_eq(before, now),
                (None, None) => true,
                _ => false,
            };
            (!is_same).then(|| (key, now.cloned()))
        });
        changes.collect()
    }
}

/// One change on its way through what is needed by what. Listeners and routes need backends, certificates and policies,
/// policies need Secrets and backends, those need nothing: it ends.
struct Walk<'a> {
    share: &'a mut Share,
    all: &'a Resources,
    /// What was seen before of every key that was touched.
    before: BTreeMap<Key, Option<Arc<Resource>>>,
}

impl Walk<'_> {
    fn retain(&mut self, key: &Key) {
        match self.share.uses.get_mut(key) {
            Some(count) => *count += 1,
            None => {
                self.share.uses.insert(key.clone(), 1);
                self.refresh(key);
            }
        }
    }

    fn release(&mut self, key: &Key) {
        let Some(count) = self.share.uses.get_mut(key) else { return };
        *count -= 1;
        if *count == 0 {
            self.share.uses.remove(key);
            self.refresh(key);
        }
    }

    /// Looks at a key again and follows what it needs.
    fn refresh(&mut self, key: &Key) {
        let now = if self.share.uses.contains_key(key) { self.all.get(key) } else { None };
        let before = self.share.seen.get(key);
        match (before, now) {
            (None, None) => return,
            (Some(before), Some(now)) if Arc::ptr_eq(before, now) => return,
            _ => {}
        }
        let now = now.cloned();
        let before = match &now {
            Some(now) => self.share.seen.insert(key.clone(), now.clone()),
            None => self.share.seen.remove(key),
        };
        self.before.entry(key.clone()).or_insert_with(|| before.clone());
        for needed in now.iter().flat_map(|now| needs(key, now)) {
            self.retain(&needed);
        }
        for needed in before.iter().flat_map(|before| needs(key, before)) {
            self.release(&needed);
        }
    }
}

/// Where a listener or route is seen. Other resources are seen by whoever needs them, workloads by all waypoints.
fn places(key: &Key, resource: &Resource) -> BTreeSet<GatewayRef> {
    match resource {
        Resource::Listener(listener) => match &listener.scope {
            Scope::Gateway => {
                BTreeSet::from([gateway(&key.namespace, key.name.split('/').next().unwrap_or_default())])
            }
            Scope::Service(captured) => waypoint(captured).into_iter().collect(),
        },
        Resource::HttpRoute(route) | Resource::GrpcRoute(route) => of_parents(&route.parents),
        Resource::TlsRoute(route) | Resource::TcpRoute(route) | Resource::UdpRoute(route) => {
            of_parents(&route.parents)
        }
        Resource::Certificate(_)
        | Resource::Secret(_)
        | Resource::ConfigMap(_)
        | Resource::Backend(_)
        | Resource::Endpoints(_)
        | Resource::SecurityPolicy(_)
        | Resource::BackendTrafficPolicy(_)
        | Resource::Workload(_) => BTreeSet::new(),
    }
}

fn of_parents(parents: &[Parent]) -> BTreeSet<GatewayRef> {
    let places = parents.iter().filter_map(|parent| match parent {
        Parent::Listener { namespace, gateway: name, .. } => Some(gateway(namespace, name)),
        Parent::Service(captured) | Parent::Consumer { of: captured, .. } => waypoint(captured),
    });
    places.collect()
}

fn gateway(namespace: &str, name: &str) -> GatewayRef {
    GatewayRef::new(Role::Gateway, namespace, name)
}

fn waypoint(captured: &Captured) -> Option<GatewayRef> {
    let (namespace, name) = captured.waypoint.split_once('/')?;
    Some(GatewayRef::new(Role::Waypoint, namespace, name))
}

/// What a resource cannot be used without.
fn needs(key: &Key, resource: &Resource) -> HashSet<Key> {
    let mut needs = HashSet::new();
    match resource {
        Resource::Listener(listener) => {
            // Every field by name: a new one that refers to something has to be looked at here.
            let Listener {
                address: _,
                port: _,
                protocol: _,
                hostname: _,
                tls,
                backend_certificate,
                scope,
                attached,
                traffic: _,
            } = listener;
            needs.extend(attached.iter().cloned());
            needs.extend(backend_certificate.iter().filter_map(|name| certificate(name)));
            if let Some(ListenerTls { certificates, client_validation: _ }) = tls {
                needs.extend(certificates.iter().filter_map(|name| certificate(name)));
            }
            if let Scope::Service(Captured { backend, waypoint: _ }) = scope {
                needs.extend([Key::backend(backend), Key::endpoints(backend)]);
            }
        }
        Resource::HttpRoute(route) | Resource::GrpcRoute(route) => route_needs(route, &mut needs),
        Resource::TlsRoute(route) | Resource::TcpRoute(route) => {
            stream_needs(route, Key::backend, &mut needs)
        }
        Resource::UdpRoute(route) => stream_needs(route, Key::udp_backend, &mut needs),
        Resource::SecurityPolicy(policy) => policy_needs(key, policy, &mut needs),
        Resource::BackendTrafficPolicy(policy) => policy_needs(key, policy, &mut needs),
        Resource::Backend(Backend { protocol: _, tls: _, max_connections: _ })
        | Resource::Certificate(_)
        | Resource::Secret(_)
        | Resource::ConfigMap(_)
        | Resource::Endpoints(_)
        | Resource::Workload(_) => {}
    }
    needs
}

/// `namespace/name`.
fn certificate(name: &str) -> Option<Key> {
    let (namespace, name) = name.split_once('/')?;
    Some(Key::new(Kind::Certificate, namespace, name))
}

fn policy_needs<S: Parts>(key: &Key, policy: &Attached<S>, needs: &mut HashSet<Key>) {
    for set in policy.sets() {
        needs.extend(set.objects().into_iter().map(|object| Key::object(&object.within(&key.namespace))));
        for backend in set.backends() {
            let backend = backend.within(&key.namespace);
            needs.extend([Key::backend(&backend), Key::endpoints(&backend)]);
        }
    }
}

fn route_needs(route: &HttpRoute, needs: &mut HashSet<Key>) {
    let mut attached: HashSet<Key> = route.attached.iter().cloned().collect();
    let mut need = |backend: &crate::BackendRef| {
        needs.extend([Key::backend(backend), Key::endpoints(backend)]);
    };
    for rule in &route.rules {
        rule.policies.backends().into_iter().for_each(&mut need);
        attached.extend(rule.attached.iter().cloned());
        let Action::Forward(backends) = &rule.action else { continue };
        for backend in backends {
            backend.policies.backends().into_iter().for_each(&mut need);
            attached.extend(backend.attached.iter().cloned());
            if let Target::Backend(reference) = &backend.target {
                need(reference);
            }
        }
    }
    needs.extend(attached);
}

/// `backend`: the key of what a reference names.
fn stream_needs(route: &StreamRoute, backend: fn(&crate::BackendRef) -> Key, needs: &mut HashSet<Key>) {
    let Action::Forward(shares) = &route.action else { return };
    for share in shares {
        if let Target::Backend(reference) = &share.target {
            let backend = backend(reference);
            needs.insert(Key::new(Kind::Endpoints, &*backend.namespace, &*backend.name));
            needs.insert(backend);
        }
    }
}

#[cfg(test)]
mod tests;
