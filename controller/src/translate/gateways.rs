//! Gateways from one translation to the next: judged together, and only when something they look at changed.
//!
//! Routes refer to a Gateway by a number that stays while it is there. The counts of attached routes are put into the
//! statuses last, because nothing else of a Gateway depends on routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::attach::At;
use super::attached::{AttachedPolicies, Moved};
use super::client_traffic::Traffic;
use super::facts::{Fact, News};
use super::gateway::{self, Draft, Gateway, Listener, Set};
use super::output::{Output, Part, Said};
use super::reference_grant::Grants;
use super::slots::Slots;
use super::tls::Certificates;
use super::{Options, gateway_class, gateway_status};
use crate::ObjectKey;
use crate::provisioned::GATEWAY_NAME;
use crate::resources::{Named, ObjectKind, Objects, Resources};
use crate::status::Status;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    slots: Slots<ObjectKey, Gateway>,
    /// Of ListenerSets: number of the Gateway, index of the set.
    sets: FxHashMap<ObjectKey, (usize, usize)>,
    certificates: Certificates,
    /// Ports they hold on a host that is shared.
    ports: FxHashSet<u16>,
    /// Judged in this translation and not written yet.
    judged: Option<Output>,
    counted: Counted,
    part: Part,
}

impl Gateways {
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<usize> {
        self.slots.find(&ObjectKey::new(ObjectKind::Gateway, namespace, name))
    }

    pub(crate) fn find_set(&self, namespace: &str, name: &str) -> Option<(usize, usize)> {
        self.sets.get(&ObjectKey::new(ObjectKind::ListenerSet, namespace, name)).copied()
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Gateway> {
        self.slots.get(slot)
    }

    /// All of them, each with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Gateway)> {
        self.slots.iter().map(|(slot, _, gateway)| (slot, gateway))
    }

    /// Whether they were judged in this translation.
    pub(crate) const fn is_judged(&self) -> bool {
        self.judged.is_some()
    }

    /// Ports that nothing else on the same host may listen on.
    pub(crate) const fn ports(&self) -> &FxHashSet<u16> {
        &self.ports
    }

    /// Judges all again if anything they look at changed.
    pub(crate) fn follow(
        &mut self,
        then: &Resources,
        now: &Resources,
        options: &Options,
        (attached, moved): (&AttachedPolicies, &Moved),
        news: &mut News,
    ) {
        if !moved.gateways && !concerns(then, now) {
            return;
        }
        let grants = Grants::new(&now.reference_grants);
        let drafts = gateway::draft(now, options, &grants, &mut self.certificates);
        self.certificates.forget_unused();
        let mut output = Output::default();
        gateway_class::translate(now, options, &mut output);
        let traffic = Traffic::new(&drafts, now, options);
        gateway::resources(&drafts, &self.certificates, &traffic, attached, &mut output);
        gateway_status::translate(&drafts, &[], &mut output);
        traffic.statuses(&drafts, &mut output);
        self.ports = gateway::ports(&drafts, options);
        self.take(drafts.iter().map(|draft| gateway::context(draft, attached)).collect(), news);
        self.counted = Counted::new(&drafts, &self.slots, &output);
        self.judged = Some(output);
    }

    /// Takes over what routes see of them, and tells what of it changed.
    fn take(&mut self, gateways: Vec<Gateway>, news: &mut News) {
        let key =
            |gateway: &Gateway| ObjectKey::new(ObjectKind::Gateway, &*gateway.namespace, &*gateway.name);
        let here: FxHashSet<ObjectKey> = gateways.iter().map(key).collect();
        let gone = self.slots.iter().filter(|(_, key, _)| !here.contains(*key)).map(|(slot, ..)| slot);
        for slot in gone.collect::<Vec<_>>() {
            tell(self.slots.remove(slot).as_ref(), None, news);
        }
        for gateway in gateways {
            let key = key(&gateway);
            let old = self.slots.find(&key).and_then(|slot| self.slots.get(slot));
            if old == Some(&gateway) {
                continue;
            }
            tell(old, Some(&gateway), news);
            self.slots.insert(key, gateway);
        }
        self.sets.clear();
        for (slot, _, gateway) in self.slots.iter() {
            let sets = gateway.sets.iter().enumerate();
            self.sets.extend(sets.map(|(index, set)| {
                (ObjectKey::new(ObjectKind::ListenerSet, &*set.namespace, &*set.name), (slot, index))
            }));
        }
    }

    /// Writes what was judged, with the counts of now, or only counts that moved.
    pub(crate) fn write(
        &mut self,
        attached: &FxHashMap<At, i32>,
        moved: impl Iterator<Item = At>,
        said: &mut Said,
    ) {
        if let Some(mut output) = self.judged.take() {
            for (key, status) in &mut output.statuses {
                if let Some(filled) = self.counted.fill(key, attached) {
                    *status = filled;
                }
            }
            return self.part.replace(output, said);
        }
        let keys: FxHashSet<&ObjectKey> = moved.filter_map(|at| self.counted.object(&at)).collect();
        for key in keys {
            if let Some(status) = self.counted.fill(key, attached) {
                said.status(key.clone(), Some(status));
            }
        }
    }
}

/// Whether anything changed that Gateways look at.
fn concerns(then: &Resources, now: &Resources) -> bool {
    fn any<T: Named>(then: &Objects<T>, now: &Objects<T>) -> bool {
        then.changes(now).next().is_some()
    }
    // Only a Gateway's own Service is looked at.
    let is_made = |service: Option<&Arc<crate::api::Service>>| {
        service.is_some_and(|service| service.label(GATEWAY_NAME).is_some())
    };
    any(&then.gateway_classes, &now.gateway_classes)
        || any(&then.gateways, &now.gateways)
        || any(&then.listener_sets, &now.listener_sets)
        || any(&then.client_traffic_policies, &now.client_traffic_policies)
        || any(&then.fairway_proxies, &now.fairway_proxies)
        || any(&then.secrets, &now.secrets)
        || any(&then.config_maps, &now.config_maps)
        || any(&then.reference_grants, &now.reference_grants)
        || any(&then.namespaces, &now.namespaces)
        || then.services.changes(&now.services).any(|(old, new)| is_made(old) || is_made(new))
}

/// What routes see of a Gateway or ListenerSet.
#[derive(Debug, Default, PartialEq)]
struct Offer<'g> {
    /// `None`: it is not there, or not ours.
    is_allowed: Option<bool>,
    /// With their place in the Gateway, by name.
    listeners: BTreeMap<&'g str, Vec<(usize, &'g Listener)>>,
}

/// By Gateway and ListenerSet.
fn offers(gateway: &Gateway) -> FxHashMap<ObjectKey, Offer<'_>> {
    let own = ObjectKey::new(ObjectKind::Gateway, &*gateway.namespace, &*gateway.name);
    let key = |set: &Set| ObjectKey::new(ObjectKind::ListenerSet, &*set.namespace, &*set.name);
    let sets = gateway.sets.iter().map(|set| (key(set), set.is_allowed));
    let all = std::iter::once((own.clone(), true)).chain(sets);
    let mut offers: FxHashMap<ObjectKey, Offer<'_>> = all
        .map(|(key, is_allowed)| (key, Offer { is_allowed: Some(is_allowed), ..Offer::default() }))
        .collect();
    for (index, listener) in gateway.listeners.iter().enumerate() {
        let key = listener.set.and_then(|set| gateway.sets.get(set)).map_or_else(|| own.clone(), key);
        let listeners = &mut offers.entry(key).or_default().listeners;
        listeners.entry(&listener.name).or_default().push((index, listener));
    }
    offers
}

/// Tells what is different now.
fn tell(old: Option<&Gateway>, new: Option<&Gateway>, news: &mut News) {
    let (old, new) = (old.map(offers).unwrap_or_default(), new.map(offers).unwrap_or_default());
    let nothing = Offer::default();
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(key))) {
        let (old, new) = (old.get(key).unwrap_or(&nothing), new.get(key).unwrap_or(&nothing));
        if old.is_allowed != new.is_allowed {
            news.tell(Fact::Object(key.clone()));
        }
        if old.listeners != new.listeners {
            news.tell(Fact::Listeners(key.clone()));
        }
        let names = old.listeners.keys().chain(new.listeners.keys());
        for name in names.filter(|name| old.listeners.get(*name) != new.listeners.get(*name)) {
            news.tell(Fact::Listener(key.clone(), (*name).into()));
        }
    }
}

/// The statuses that count routes: of Gateways and ListenerSets.
#[derive(Debug, Default)]
struct Counted {
    /// The Gateway's number, the index of the first listener, and the status without counts.
    objects: FxHashMap<ObjectKey, (usize, usize, Arc<Status>)>,
    /// By number of the Gateway: in the order of their first listeners.
    firsts: FxHashMap<usize, Vec<(usize, ObjectKey)>>,
}

impl Counted {
    fn new(drafts: &[Draft<'_>], slots: &Slots<ObjectKey, Gateway>, output: &Output) -> Self {
        let mut counted = Self::default();
        for draft in drafts {
            let key = ObjectKey::new(ObjectKind::Gateway, draft.object.namespace(), draft.object.name());
            let Some(slot) = slots.find(&key) else { continue };
            let mut first = draft.object.spec.listeners.len();
            let mut firsts = vec![(0, key)];
            for set in &draft.sets {
                let (namespace, name) = (set.object.namespace(), set.object.name());
                firsts.push((first, ObjectKey::new(ObjectKind::ListenerSet, namespace, name)));
                first += if set.is_allowed { set.object.spec.listeners.len() } else { 0 };
            }
            counted.firsts.insert(slot, firsts);
        }
        let statuses: FxHashMap<&ObjectKey, &Arc<Status>> =
            output.statuses.iter().map(|(key, status)| (key, status)).collect();
        for (slot, firsts) in &counted.firsts {
            for (first, key) in firsts {
                if let Some(status) = statuses.get(key) {
                    counted.objects.insert(key.clone(), (*slot, *first, Arc::clone(status)));
                }
            }
        }
        counted
    }

    /// The object whose listener it is.
    fn object(&self, at: &At) -> Option<&ObjectKey> {
        let At::Listener(slot, listener) = at else { return None };
        let firsts = self.firsts.get(slot)?;
        let after = firsts.partition_point(|(first, _)| first <= listener);
        firsts.get(after.checked_sub(1)?).map(|(_, key)| key)
    }

    /// The status of an object with the counts of now.
    fn fill(&self, key: &ObjectKey, attached: &FxHashMap<At, i32>) -> Option<Arc<Status>> {
        let (slot, first, status) = self.objects.get(key)?;
        let mut status = Status::clone(status);
        let listeners = match &mut status {
            Status::Gateway(gateway) => &mut gateway.listeners,
            Status::ListenerSet(set) => &mut set.listeners,
            Status::GatewayClass(_)
            | Status::Route(_)
            | Status::Policy(_)
            | Status::Service(_)
            | Status::Rollout(_) => {
                return None;
            }
        };
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.attached_routes =
                attached.get(&At::Listener(*slot, first + index)).copied().unwrap_or(0);
        }
        Some(Arc::new(status))
    }
}
