//! The configuration as last told, before compiling. One owner task.

use std::collections::BTreeSet;

use config::{Key, Resources, Update};

/// Every resource as last told.
#[derive(Debug, Default)]
pub struct Store {
    resources: Resources,
}

/// What an update changed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Dirty(pub BTreeSet<Key>);

impl Store {
    /// Takes an update over and says what changed by it.
    pub fn apply(&mut self, update: Update) -> Dirty {
        let mut dirty = Dirty::default();
        for (key, resource) in update.upserts {
            dirty.0.insert(key.clone());
            self.resources.insert(key, resource);
        }
        for key in update.removes {
            self.resources.remove(&key);
            dirty.0.insert(key);
        }
        dirty
    }

    /// All resources.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }
}
