//! Changes, and what a proxy says of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Key, Resource, sorted};

/// Resources by key, shared: an unchanged resource is the same `Arc` from translation to snapshot, and a copy costs
/// one counter.
pub type Resources = sorted::Map<Key, Arc<Resource>>;

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
    /// What turns `old` into `new`. Costs what they do not share; the same `Arc` is equal without a look inside.
    #[must_use]
    pub fn between(version: u64, old: &Resources, new: &Resources) -> Self {
        let mut update = Self { version, ..Self::default() };
        for (key, before, after) in old.changes(new) {
            match (before, after) {
                (Some(before), Some(after)) if Arc::ptr_eq(before, after) || before == after => {}
                (_, Some(after)) => drop(update.upserts.insert(key.clone(), after.clone())),
                (_, None) => update.removes.push(key.clone()),
            }
        }
        update
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// In use; the rule named by the message answers 500.
    Degraded,
    /// Not in use; the last good version of it, if there was one, still is.
    Refused,
}
