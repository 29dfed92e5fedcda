//! Changes, and what a proxy says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::{Key, Resource};

/// Resources by key, shared: an unchanged resource is the same `Arc` from translation to snapshot.
pub type Resources = BTreeMap<Key, Arc<Resource>>;

/// A change to what a proxy should do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// Grows with each change.
    pub version: u64,
    /// Resources that are new or changed.
    pub upserts: Resources,
    /// Resources that are gone.
    pub removes: Vec<Key>,
}

impl Update {
    /// What turns `old` into `new`.
    #[must_use]
    pub fn between(version: u64, old: &Resources, new: &Resources) -> Self {
        Self {
            version,
            upserts: new
                .iter()
                // The same `Arc` is equal without a look inside: a change costs its own size, not that of the rest.
                .filter(|(key, resource)| {
                    old.get(key).is_none_or(|old| !Arc::ptr_eq(old, resource) && old != *resource)
                })
                .map(|(key, resource)| (key.clone(), resource.clone()))
                .collect(),
            removes: old.keys().filter(|key| !new.contains_key(key)).cloned().collect(),
        }
    }

    /// True when nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removes.is_empty()
    }
}

/// A resource a proxy could not use, or only in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Which.
    pub key: Key,
    /// What follows.
    pub severity: Severity,
    /// Field, reason and remedy.
    pub message: String,
}

/// What follows from a [`Rejection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// In use; the rule named by the message answers 500.
    Degraded,
    /// Not in use; the last good version of it, if there was one, still is.
    Refused,
}
