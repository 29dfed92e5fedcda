//! What proxies answer to one translation after another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::Rejection;

use super::{
    Rejections, Translation, program_gateway, program_listener_set, program_policy, program_service, reject,
};
use crate::resources::ObjectKind;
use crate::status::Status;
use crate::{ObjectKey, Statuses};

/// Does what [`program`](super::program) does, one translation after another: remembers the last, so that the next costs
/// what changed.
#[derive(Debug, Default)]
pub(crate) struct Programmer {
    then: Statuses,
    rejections: Vec<Rejection>,
    /// Routes that proxies complained of.
    routes: BTreeSet<ObjectKey>,
    said: Statuses,
}

impl Programmer {
    /// `applied` tells whether the proxies of a Gateway serve what it says. Until then its `Programmed` stays `Unknown`;
    /// what proxies say of routes holds in any case. `enforced` tells the same of an attached policy at one of its ancestors.
    pub(crate) fn program(
        &mut self,
        translation: &Translation,
        rejections: Vec<Rejection>,
        applied: impl Fn(&ObjectKey) -> bool,
        enforced: impl Fn(&ObjectKey, &ObjectKey) -> bool,
    ) -> Statuses {
        let now = &translation.statuses;
        let sorted = Rejections::new(translation, &rejections);
        let routes: BTreeSet<ObjectKey> = sorted.routes.keys().cloned().collect();
        // What changed, and what depends on proxies.
        let mut todo: BTreeSet<ObjectKey> =
            self.then.0.changes(&now.0).map(|(key, ..)| key.clone()).collect();
        todo.extend(self.routes.union(&routes).cloned());
        if self.rejections != rejections {
            todo.extend(now.of_kind(ObjectKind::Service).map(|(key, _)| key.clone()));
        }
        for key in todo {
            match now.0.get(&key) {
                Some(status) => drop(self.said.0.insert(key.clone(), one(&key, status, &sorted))),
                None => drop(self.said.0.remove(&key)),
            }
        }
        self.listeners(translation, &sorted, applied);
        let attached = [ObjectKind::SecurityPolicy, ObjectKind::BackendTrafficPolicy];
        for (key, status) in attached.into_iter().flat_map(|kind| translation.statuses.of_kind(kind)) {
            let mut status = Arc::clone(status);
            if let Status::Policy(policy) = Arc::make_mut(&mut status) {
                program_policy(key, policy, &sorted, |ancestor| enforced(key, ancestor));
            }
            self.say(key, status);
        }
        (self.then, self.routes) = (now.clone(), routes);
        self.rejections = rejections;
        self.said.clone()
    }

    /// Gateways and ListenerSets, which are few and depend on each other: listeners of a set count for their Gateway.
    fn listeners(
        &mut self,
        translation: &Translation,
        rejections: &Rejections<'_>,
        applied: impl Fn(&ObjectKey) -> bool,
    ) {
        let mut in_sets: BTreeMap<ObjectKey, usize> = BTreeMap::new();
        for (key, status) in translation.statuses.of_kind(ObjectKind::ListenerSet) {
            let mut status = Arc::clone(status);
            if let Status::ListenerSet(set) = &*status
                && applied(&set.gateway)
                && let Status::ListenerSet(set) = Arc::make_mut(&mut status)
            {
                let served = program_listener_set(key, set, translation, rejections);
                *in_sets.entry(set.gateway.clone()).or_default() += served;
            }
            self.say(key, status);
        }
        for (key, status) in translation.statuses.of_kind(ObjectKind::Gateway) {
            let mut status = Arc::clone(status);
            if applied(key)
                && let Status::Gateway(gateway) = Arc::make_mut(&mut status)
            {
                let in_sets = in_sets.get(key).copied().unwrap_or_default();
                program_gateway(key, gateway, in_sets, translation, rejections);
            }
            self.say(key, status);
        }
    }

    /// What is said again as it was stays the same `Arc`.
    fn say(&mut self, key: &ObjectKey, status: Arc<Status>) {
        if self.said.0.get(key).is_none_or(|old| *old != status) {
            self.said.0.insert(key.clone(), status);
        }
    }
}

/// The status of an object without listeners.
fn one(key: &ObjectKey, status: &Arc<Status>, rejections: &Rejections<'_>) -> Arc<Status> {
    let mut status = Arc::clone(status);
    if key.kind == ObjectKind::Service
        && let Status::Service(service) = Arc::make_mut(&mut status)
    {
        program_service(key, &mut service.conditions, rejections);
    } else if let Some(problems) = rejections.routes.get(key)
        && let Status::Route(route) = Arc::make_mut(&mut status)
    {
        for parent in &mut route.parents {
            problems.iter().for_each(|problem| reject(&mut parent.conditions, problem));
        }
    }
    status
}
