//! Routes that name Services as their parents: a Service is captured because of them, and they say what a port carries
//! that does not say it itself.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::ObjectKey;
use crate::resources::{ObjectKind, Objects, Resources};
use crate::status::ParentRef;
use crate::translate::route::Route;
use crate::translate::slots::Slots;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_service: FxHashMap<ObjectKey, BTreeSet<Claim>>,
    /// Namespaces whose routes name Services of others, each with how often.
    consumers: Slots<Box<str>, usize>,
}

/// A parentRef of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    route: ObjectKey,
    port: Option<i32>,
    section: Option<Box<str>>,
}

impl Claim {
    pub(crate) const fn kind(&self) -> ObjectKind {
        self.route.kind
    }

    /// The namespace of its route, if that is another than the Service's.
    pub(crate) fn consumer(&self, service: &ObjectKey) -> Option<&str> {
        Some(&*self.route.namespace).filter(|namespace| *namespace != &*service.namespace)
    }

    /// Whether it names a port; `None`: it names none, and means all.
    pub(crate) fn names(&self, number: u16, name: Option<&str>) -> Option<bool> {
        if self.port.is_none() && self.section.is_none() {
            return None;
        }
        let port = self.port.is_none_or(|port| port == i32::from(number));
        Some(port && self.section.as_deref().is_none_or(|section| name == Some(section)))
    }
}

impl Claims {
    /// Takes over what changed; returns the Services it concerns.
    pub(crate) fn follow(&mut self, then: &Resources, now: &Resources) -> FxHashSet<ObjectKey> {
        let mut concerned = FxHashSet::default();
        self.kind(&then.http_routes, &now.http_routes, &mut concerned);
        self.kind(&then.grpc_routes, &now.grpc_routes, &mut concerned);
        self.kind(&then.tls_routes, &now.tls_routes, &mut concerned);
        self.kind(&then.tcp_routes, &now.tcp_routes, &mut concerned);
        concerned
    }

    fn kind<T: Route>(&mut self, then: &Objects<T>, now: &Objects<T>, concerned: &mut FxHashSet<ObjectKey>) {
        for (old, new) in then.changes(now) {
            let (old, new) = (old.map(|route| claims(&**route)), new.map(|route| claims(&**route)));
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            if old == new {
                continue;
            }
            // What comes is counted before what goes, so that a namespace keeps its number.
            for (service, claim) in &new {
                claim.consumer(service).into_iter().for_each(|consumer| self.count(consumer, 1));
                concerned.insert(service.clone());
            }
            for (service, claim) in old {
                claim.consumer(&service).into_iter().for_each(|consumer| self.count(consumer, -1));
                if let Some(claims) = self.by_service.get_mut(&service) {
                    claims.remove(&claim);
                    if claims.is_empty() {
                        self.by_service.remove(&service);
                    }
                }
                concerned.insert(service);
            }
            for (service, claim) in new {
                self.by_service.entry(service).or_default().insert(claim);
            }
        }
    }

    fn count(&mut self, consumer: &str, by: isize) {
        let slot = self
            .consumers
            .find(&consumer.into())
            .unwrap_or_else(|| self.consumers.insert(consumer.into(), 0));
        let Some(count) = self.consumers.get_mut(slot) else { return };
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.consumers.remove(slot);
        }
    }

    pub(crate) fn of(&self, service: &ObjectKey) -> impl Iterator<Item = &Claim> {
        self.by_service.get(service).into_iter().flatten()
    }

    /// The number of a namespace whose routes name Services of others.
    pub(crate) fn consumer(&self, namespace: &str) -> Option<usize> {
        self.consumers.find(&namespace.into())
    }

    /// The namespace of a number.
    pub(crate) fn consumer_name(&self, consumer: usize) -> Option<&str> {
        self.consumers.name(consumer).map(AsRef::as_ref)
    }
}

fn claims<T: Route>(route: &T) -> Vec<(ObjectKey, Claim)> {
    let is_service =
        |parent: &ParentRef| parent.group.as_deref() == Some("") && parent.kind.as_deref() == Some("Service");
    let claim = |parent: ParentRef| {
        let namespace = parent.namespace.as_deref().unwrap_or_else(|| route.namespace());
        let service = ObjectKey::new(ObjectKind::Service, namespace, parent.name.as_str());
        let claim = Claim {
            route: ObjectKey::new(T::KIND, route.namespace(), route.name()),
            port: parent.port,
            section: parent.section_name.filter(|section| !section.is_empty()).map(Into::into),
        };
        (service, claim)
    };
    let claims: BTreeSet<_> = route.parents().into_iter().filter(is_service).map(claim).collect();
    claims.into_iter().collect()
}
