//! Which attached policies the proxies of which Gateway enforce: those that they have answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::identity::{GatewayRef, Role};
use config::xds::ProxyState;
use config::{Generation, Key, Kind, Resource};

use super::Answer;
use crate::cluster::control::View;
use crate::status::Status;
use crate::translate::Plans;
use crate::{ObjectKey, ObjectKind};

/// Remembers what must have been answered.
#[derive(Default)]
pub(super) struct Policies(BTreeMap<ObjectKey, Known>);

struct Known {
    /// What was said of the policy, and to the proxies.
    status: Arc<Status>,
    resource: Option<Arc<Resource>>,
    /// The configuration in which this came first.
    needed: Generation,
    /// Gateways and Services whose proxies have all answered it. One that is out of sight enforces on.
    complete: BTreeSet<ObjectKey>,
}

impl Policies {
    /// Takes note of what is said and answered now.
    pub(super) fn follow(&mut self, view: &View, proxies: &BTreeMap<&GatewayRef, Vec<&ProxyState>>) {
        let mut before = std::mem::take(&mut self.0);
        let kinds = [
            (ObjectKind::SecurityPolicy, Kind::SecurityPolicy),
            (ObjectKind::BackendTrafficPolicy, Kind::BackendTrafficPolicy),
        ];
        let statuses = &view.translation.statuses;
        let all = kinds.into_iter().flat_map(|(of, kind)| statuses.of_kind(of).map(move |one| (kind, one)));
        for (kind, (key, status)) in all {
            let name = Key::new(kind, &*key.namespace, &*key.name);
            let resource = view.translation.resources.get(&name);
            let known = before.remove(key).filter(|known| {
                Arc::ptr_eq(&known.status, status)
                    && known.resource.as_ref().map(Arc::as_ptr) == resource.map(Arc::as_ptr)
            });
            let mut known = known.unwrap_or_else(|| Known {
                status: Arc::clone(status),
                resource: resource.cloned(),
                needed: view.generation,
                complete: BTreeSet::new(),
            });
            for ancestor in ancestors(status) {
                if !known.complete.contains(&ancestor)
                    && Answer::of(&connected(&ancestor, proxies, &view.translation.plans), known.needed)
                        .is_complete()
                {
                    known.complete.insert(ancestor);
                }
            }
            self.0.insert(key.clone(), known);
        }
    }

    /// Whether all proxies of a Gateway, or of a Service's waypoint, enforce a policy.
    pub(super) fn is_enforced(&self, policy: &ObjectKey, ancestor: &ObjectKey) -> bool {
        self.0.get(policy).is_some_and(|known| known.complete.contains(ancestor))
    }
}

fn ancestors(status: &Status) -> impl Iterator<Item = ObjectKey> {
    let entries = if let Status::Policy(policy) = status { policy.ancestors.as_slice() } else { &[] };
    entries.iter().filter_map(|entry| {
        let kind = match entry.ancestor_ref.kind.as_deref()? {
            "Gateway" => ObjectKind::Gateway,
            "Service" => ObjectKind::Service,
            _ => return None,
        };
        let namespace = entry.ancestor_ref.namespace.as_deref().unwrap_or_default();
        Some(ObjectKey::new(kind, namespace, entry.ancestor_ref.name.as_str()))
    })
}

/// The proxies that requests to it come through.
fn connected<'a>(
    ancestor: &ObjectKey,
    proxies: &BTreeMap<&GatewayRef, Vec<&'a ProxyState>>,
    plans: &Plans,
) -> Vec<&'a ProxyState> {
    if ancestor.kind == ObjectKind::Gateway {
        let of = |role| proxies.get(&GatewayRef::new(role, &*ancestor.namespace, &*ancestor.name)).cloned();
        return of(Role::Gateway).or_else(|| of(Role::Waypoint)).unwrap_or_default();
    }
    let Some((namespace, name)) = plans.get(ancestor).map(|plan| &plan.waypoint) else { return Vec::new() };
    proxies.get(&GatewayRef::new(Role::Waypoint, &**namespace, &**name)).cloned().unwrap_or_default()
}
