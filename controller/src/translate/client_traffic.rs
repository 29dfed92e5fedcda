//! ClientTrafficPolicies: what they come to for each listener, and what we say of each.
//!
//! A policy is judged alone and taken apart into leaves (`judge`, `leaves`). For a listener those of its levels are laid
//! over each other, the specific over the general (`merge`); what a port can have only once is then settled among its
//! listeners (`port`), and what a listener has no use for is left out (`reach`). Nothing is remembered: Gateways are judged
//! together, and this with them.
//!
//! A policy with a mistake has no effect at all: what stands is what other policies and the defaults say, which are the
//! safe choice.

mod explain;
mod judge;
mod leaves;
mod merge;
mod port;
mod reach;
mod status;

use std::sync::Arc;

use policies::client_traffic::ClientTraffic;
use rustc_hash::FxHashMap;

pub use self::explain::{TrafficField, traffic_fields};
use self::judge::{Judged, Target};
use self::merge::{Clash, Fields, Level};
use super::gateway::Draft as GatewayDraft;
use super::listener::Draft as ListenerDraft;
use super::{Options, Output};
use crate::resources::{Named, ObjectKind, Resources};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Traffic<'a> {
    /// Oldest first.
    policies: Vec<Judged<'a>>,
    /// Which policy a target has: the oldest, whether it can be followed or not.
    holders: FxHashMap<Target<'a>, usize>,
    /// By Gateway and listener, as they are drafted.
    places: Vec<Vec<Place>>,
}

/// What policies come to for one listener.
#[derive(Debug, Default)]
struct Place {
    /// The policies about it, from general to specific.
    levels: Vec<Level>,
    /// What is in effect.
    fields: Fields,
    /// What is left out of a level, because it contradicts a more specific one.
    clashes: Vec<Clash>,
    traffic: Option<Arc<ClientTraffic>>,
}

impl<'a> Traffic<'a> {
    pub(crate) fn new(drafts: &[GatewayDraft<'a>], resources: &'a Resources, options: &Options) -> Self {
        let policies: Vec<Judged<'a>> =
            resources.client_traffic_policies.iter().map(|policy| judge::judge(policy)).collect();
        if policies.is_empty() {
            return Self::default();
        }
        let mut holders = FxHashMap::default();
        for (index, policy) in policies.iter().enumerate() {
            for target in policy.targets() {
                holders.entry(target).or_insert(index);
            }
        }
        let mut traffic = Self { policies, holders, places: Vec::new() };
        let mut places: Vec<Vec<Place>> = drafts.iter().map(|draft| traffic.places_of(draft)).collect();
        port::settle(drafts, &mut places, options.shared_host);
        for place in places.iter_mut().flatten().filter(|place| !place.fields.is_empty()) {
            let fields = place.fields.iter().map(|(path, field)| (path.as_str(), &field.value));
            // It cannot fail: every leaf is one of a policy that was read.
            place.traffic = leaves::assemble(fields).ok().map(Arc::new);
        }
        traffic.places = places;
        traffic
    }

    fn places_of(&self, draft: &GatewayDraft<'a>) -> Vec<Place> {
        let place = |listener: &ListenerDraft<'a>| {
            let levels: Vec<Level> = self.levels(draft, listener).collect();
            let (fields, clashes) = merge::merge(&levels, &self.policies);
            Place { levels, fields, clashes, traffic: None }
        };
        draft.listeners.iter().map(place).collect()
    }

    /// The policies about a listener, from general to specific, without those that cannot be followed.
    fn levels<'s>(
        &'s self,
        draft: &GatewayDraft<'a>,
        listener: &ListenerDraft<'a>,
    ) -> impl Iterator<Item = Level> + use<'s, 'a> {
        let name = Some(listener.spec.name.as_str());
        let gateway = (ObjectKind::Gateway, draft.object.namespace(), draft.object.name());
        let set = listener.set.map(|set| (ObjectKind::ListenerSet, set.namespace(), set.name()));
        let own = if listener.set.is_none() { Some((gateway, name)) } else { None };
        let targets = [Some((gateway, None)), own, set.map(|set| (set, None)), set.map(|set| (set, name))];
        let targets = targets.into_iter().flatten();
        targets.filter_map(move |((kind, namespace, object), section)| {
            let policy = *self.holders.get(&Target { kind, namespace, name: object, section })?;
            let is_followed = self.policies.get(policy)?.problems.is_empty();
            is_followed.then_some(Level { policy, is_of_set: kind == ObjectKind::ListenerSet })
        })
    }

    /// How a listener treats its clients.
    pub(crate) fn of(&self, gateway: usize, listener: usize) -> Option<Arc<ClientTraffic>> {
        self.places.get(gateway)?.get(listener)?.traffic.clone()
    }

    /// Writes the status of every policy.
    pub(crate) fn statuses(&self, drafts: &[GatewayDraft<'a>], out: &mut Output) {
        status::write(self, drafts, out);
    }
}
