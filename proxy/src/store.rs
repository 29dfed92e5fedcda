//! The configuration as last told, before compiling. One owner task.

use std::collections::BTreeMap;
use std::mem;

use config::{Endpoints, Key, Kind, Resource, Update};

/// Every resource as last told.
#[derive(Debug, Default)]
pub struct Store {
    resources: BTreeMap<Key, Resource>,
}

/// What an update changed, by key: the resource as it was before, if it was there. What it is now, the store knows.
pub type Dirty = BTreeMap<Key, Option<Resource>>;

impl Store {
    /// Takes an update over and says what changed by it. A resource told again as it was, as after a reconnect, is no
    /// change.
    pub fn apply(&mut self, update: Update) -> Dirty {
        let mut dirty = Dirty::new();
        for (key, resource) in update.upserts {
            match self.resources.get_mut(&key) {
                Some(old) if *old == resource => {}
                Some(old) => {
                    let old = mem::replace(old, resource);
                    dirty.insert(key, Some(old));
                }
                None => {
                    self.resources.insert(key.clone(), resource);
                    dirty.insert(key, None);
                }
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
    pub fn resources(&self) -> &BTreeMap<Key, Resource> {
        &self.resources
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Resource> {
        self.resources.get(key)
    }

    pub(crate) fn endpoints(&self, key: &Key) -> Option<&Endpoints> {
        let key = Key { kind: Kind::Endpoints, ..key.clone() };
        match self.get(&key) {
            Some(Resource::Endpoints(endpoints)) => Some(endpoints),
            _ => None,
        }
    }
}
