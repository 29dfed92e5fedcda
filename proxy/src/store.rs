//! The configuration as last told, before compiling. One owner task.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Endpoints, Key, Kind, Resource, Resources, Update};

/// Every resource as last told.
#[derive(Debug, Default)]
pub struct Store {
    resources: Resources,
}

/// What an update changed, by key: the resource as it was before, if it was there. What it is now, the store knows.
pub type Dirty = BTreeMap<Key, Option<Arc<Resource>>>;

impl Store {
    /// Takes an update over and says what changed by it. A resource told again as it was, as after a reconnect, is no
    /// change.
    pub fn apply(&mut self, update: Update) -> Dirty {
        let mut dirty = Dirty::new();
        for (key, resource) in update.upserts {
            if self.resources.get(&key).is_none_or(|old| *old != resource) {
                let old = self.resources.insert(key.clone(), resource);
                dirty.insert(key, old);
            }
        }
        for key in update.removes {
            if let Some(old) = self.resources.remove(&key) {
                dirty.entry(key).or_insert(Some(old));
            }
        }
        dirty
    }

    /// All resources.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Resource> {
        self.resources.get(key).map(|resource| &**resource)
    }

    /// The endpoints of a backend.
    pub(crate) fn endpoints(&self, key: &Key) -> Option<&Endpoints> {
        match self.get(&Key { kind: Kind::Endpoints, ..key.clone() }) {
            Some(Resource::Endpoints(endpoints)) => Some(endpoints),
            _ => None,
        }
    }
}
