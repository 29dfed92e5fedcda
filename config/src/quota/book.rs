//! Which limits there are, and who may have shares of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use policies::rate_limit::RateLimit;

use super::id::Id;
use super::server::Limited;
use crate::identity::GatewayRef;
use crate::{BackendTrafficPolicy, Key, Resource, Update};

/// The limits of a configuration, by the names that their buckets have.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<Arc<str>, Entry>,
    version: u64,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub policy: Key,
    /// What is to be held.
    pub limited: Limited,
    /// Whether each key has a bucket of its own.
    pub is_keyed: bool,
}

/// Who may have shares of what. Asked under a lock, so it has to be quick.
pub trait Rights: Send + Sync + 'static {
    /// What a bucket is limited to; `None` when whoever is in this place has no business with it.
    fn limited(&self, place: &GatewayRef, id: &Id) -> Option<Limited>;
    /// All limits that whoever is in this place may have shares of.
    fn limits(&self, place: &GatewayRef) -> Vec<Arc<str>>;
    /// Another number when limits or rights are others.
    fn version(&self) -> u64;
}

/// The name of a limit in buckets: `KIND/NAMESPACE/POLICY/RULE`.
#[must_use]
pub fn limit_name(policy: &Key, rule: &str) -> Arc<str> {
    format!("{policy}/{rule}").into()
}

/// What of a policy is held by all proxies together. Where a policy says two things, its overrides hold.
fn shared(policy: &BackendTrafficPolicy) -> Vec<policies::rate_limit::Shared> {
    let said = policy.overrides.rate_limit.as_ref().or(policy.defaults.rate_limit.as_ref());
    said.map(RateLimit::shared).unwrap_or_default()
}

impl Book {
    /// Takes over what changed.
    pub fn apply(&mut self, update: &Update) {
        for key in &update.removes {
            self.replace(key, None);
        }
        for (key, resource) in &update.upserts {
            if let Resource::BackendTrafficPolicy(policy) = &**resource {
                self.replace(key, Some(policy));
            }
        }
    }

    fn replace(&mut self, key: &Key, policy: Option<&BackendTrafficPolicy>) {
        let prefix = limit_name(key, "");
        let old = self.entries.range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded));
        let old = old.take_while(|(name, _)| name.starts_with(&*prefix));
        let old: Vec<Arc<str>> = old.map(|(name, _)| Arc::clone(name)).collect();
        let new = policy.map(shared).unwrap_or_default();
        if old.is_empty() && new.is_empty() {
            return;
        }
        self.version += 1;
        old.iter().for_each(|name| drop(self.entries.remove(name)));
        for policies::rate_limit::Shared { name, terms, is_keyed } in new {
            let limited = Limited { limit: terms.limit, reuse: terms.reuse, proxies: None };
            let entry = Entry { policy: key.clone(), limited, is_keyed };
            self.entries.insert(limit_name(key, &name), entry);
        }
    }

    /// The limit of a bucket, if it is a bucket of that limit: with anything else in its name it would be another bucket, and
    /// have the whole limit once more.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&Entry> {
        let entry = self.entries.get(id.limit()?)?;
        let pairs = if entry.is_keyed { 2 } else { 1 };
        (id.pairs().len() == pairs && id.key().is_some() == entry.is_keyed).then_some(entry)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries.iter()
    }

    /// Another number when it is another.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// A book whose limits are everybody's: gateway and waypoint of one process.
#[derive(Debug, Default)]
pub struct Everybody(Mutex<Book>);

impl Everybody {
    /// Takes over what changed.
    pub fn apply(&self, update: &Update) {
        self.0.lock().apply(update);
    }
}

impl Rights for Everybody {
    fn limited(&self, _: &GatewayRef, id: &Id) -> Option<Limited> {
        self.0.lock().get(id).map(|entry| entry.limited)
    }

    fn limits(&self, _: &GatewayRef) -> Vec<Arc<str>> {
        self.0.lock().iter().map(|(name, _)| Arc::clone(name)).collect()
    }

    fn version(&self) -> u64 {
        self.0.lock().version()
    }
}

impl<R: Rights> Rights for Arc<R> {
    fn limited(&self, place: &GatewayRef, id: &Id) -> Option<Limited> {
        (**self).limited(place, id)
    }

    fn limits(&self, place: &GatewayRef) -> Vec<Arc<str>> {
        (**self).limits(place)
    }

    fn version(&self) -> u64 {
        (**self).version()
    }
}
