//! A translation in the making.

use std::collections::BTreeSet;
use std::sync::Arc;

use config::{Key, Resource};

use super::Translation;
use crate::status::Status;
use crate::{ObjectKey, Statuses};

/// What one step of a translation has to say.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) resources: Vec<(Key, Arc<Resource>)>,
    pub(crate) statuses: Vec<(ObjectKey, Arc<Status>)>,
}

impl Output {
    pub(crate) fn resource(&mut self, key: Key, resource: Resource) {
        self.resources.push((key, Arc::new(resource)));
    }
}

/// All that is said. What is said again as it was stays the same `Arc`.
#[derive(Debug, Default)]
pub(crate) struct Said {
    resources: config::Resources,
    statuses: Statuses,
}

impl Said {
    /// `None`: nothing any more.
    pub(crate) fn resource(&mut self, key: Key, resource: Option<Arc<Resource>>) {
        match resource {
            None => drop(self.resources.remove(&key)),
            Some(new)
                if self.resources.get(&key).is_some_and(|old| Arc::ptr_eq(old, &new) || *old == new) => {}
            Some(new) => drop(self.resources.insert(key, new)),
        }
    }

    /// `None`: nothing any more.
    pub(crate) fn status(&mut self, key: ObjectKey, status: Option<Arc<Status>>) {
        match status {
            None => drop(self.statuses.0.remove(&key)),
            Some(new)
                if self.statuses.0.get(&key).is_some_and(|old| Arc::ptr_eq(old, &new) || *old == new) => {}
            Some(new) => drop(self.statuses.0.insert(key, new)),
        }
    }

    pub(crate) fn translation(&self) -> Translation {
        let (resources, statuses) = (self.resources.clone(), self.statuses.clone());
        Translation { resources, statuses, ..Translation::default() }
    }
}

/// What one step said last, for steps that are done whole.
#[derive(Debug, Default)]
pub(crate) struct Part {
    resources: BTreeSet<Key>,
    statuses: BTreeSet<ObjectKey>,
}

impl Part {
    /// From now on the step says this, and nothing else.
    pub(crate) fn replace(&mut self, output: Output, said: &mut Said) {
        let resources = output.resources.iter().map(|(key, _)| key.clone()).collect();
        for gone in std::mem::replace(&mut self.resources, resources).difference(&self.resources) {
            said.resource(gone.clone(), None);
        }
        let statuses = output.statuses.iter().map(|(key, _)| key.clone()).collect();
        for gone in std::mem::replace(&mut self.statuses, statuses).difference(&self.statuses) {
            said.status(gone.clone(), None);
        }
        output.resources.into_iter().for_each(|(key, resource)| said.resource(key, Some(resource)));
        output.statuses.into_iter().for_each(|(key, status)| said.status(key, Some(status)));
    }
}
