//! What a proxy has: every resource with its version, and what it makes of responses. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::snapshot::{Record, Snapshot};
use crate::xds::wire::{Decoded, Named};
use crate::{Generation, Key, Kind, Rejection, Resource, Severity, Update};

/// What a proxy has.
#[derive(Default)]
pub(super) struct Held {
    generation: Option<Generation>,
    kept: BTreeMap<Key, Kept>,
    /// By name, why: what cannot be decoded now. The version before it, if there was one, is in `kept`.
    refused: BTreeMap<String, String>,
    /// Keys of `kept` that the proxy refuses, with a version that it did not.
    refused_later: BTreeSet<Key>,
    /// All that the proxy said last.
    rejections: Vec<Rejection>,
    /// Responses of an update that is not complete.
    pending: (Vec<Decoded>, Vec<String>),
}

/// A resource with its version.
#[derive(Clone)]
struct Version {
    version: Box<str>,
    resource: Arc<Resource>,
}

struct Kept {
    newest: Version,
    /// The last one that was in use, while the newest is refused or not answered yet.
    good: Option<Box<Version>>,
}

/// An update that is older than what the proxy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller's configuration {told} is older than {has}, which is in use")]
pub(super) struct Older {
    told: Generation,
    has: Generation,
}

impl Held {
    pub(super) fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// What a snapshot holds, and the update that says so.
    pub(super) fn from_snapshot(snapshot: Snapshot) -> (Self, Update) {
        let mut held = Self { generation: Some(snapshot.generation), ..Self::default() };
        let mut update = Update { version: snapshot.generation.revision, ..Update::default() };
        for Record { key, version, resource } in snapshot.records {
            update.upserts.insert(key.clone(), resource.clone());
            held.kept.insert(key, Kept { newest: Version { version, resource }, good: None });
        }
        (held, update)
    }

    /// What the controller is told to have been received, by name. What was refused undecoded is not in it, so that it is
    /// sent, and told, again.
    pub(super) fn versions(&self) -> HashMap<String, String> {
        self.kept.iter().map(|(key, kept)| (key.to_string(), kept.newest.version.to_string())).collect()
    }

    /// A stream begins: parts of the one before are forgotten.
    pub(super) fn begin(&mut self) {
        self.pending = (Vec::new(), Vec::new());
    }

    /// Takes a response that others of the same update follow, or the last.
    pub(super) fn part(&mut self, (decoded, removed): (Vec<Decoded>, Vec<String>)) {
        self.pending.0.extend(decoded);
        self.pending.1.extend(removed);
    }

    /// The last response was there: what it means for the proxy.
    pub(super) fn complete(&mut self, generation: Generation) -> Result<Update, Older> {
        let (decoded, removed) = std::mem::take(&mut self.pending);
        if let Some(has) = self.generation.filter(|has| *has > generation) {
            return Err(Older { told: generation, has });
        }
        self.generation = Some(generation);
        let mut update = Update { version: generation.revision, ..Update::default() };
        for name in removed {
            self.refused.remove(&name);
            let Ok(key) = name.parse() else { continue };
            self.refused_later.remove(&key);
            if self.kept.remove(&key).is_some() {
                update.removes.push(key);
            }
        }
        for Decoded { name, version, resource } in decoded {
            match resource {
                Ok((key, resource)) => {
                    self.refused.remove(&name);
                    update.upserts.insert(key.clone(), resource.clone());
                    self.keep(key, Version { version, resource });
                }
                Err(why) => {
                    self.forget_pod(&name, &mut update);
                    self.refused.insert(name, why);
                }
            }
        }
        Ok(update)
    }

    /// Of what cannot be read the version before stays in use, but not of a pod: its address may be another's by now.
    fn forget_pod(&mut self, name: &str, update: &mut Update) {
        if let Ok(key) = name.parse::<Key>()
            && key.kind == Kind::Workload
            && self.kept.remove(&key).is_some()
        {
            self.refused_later.remove(&key);
            update.removes.push(key);
        }
    }

    fn keep(&mut self, key: Key, newest: Version) {
        let good = match self.kept.remove(&key) {
            Some(Kept { good: Some(good), .. }) => Some(good),
            Some(Kept { newest: good, good: None }) => Some(Box::new(good)),
            None => None,
        };
        if good.is_some() {
            self.refused_later.insert(key.clone());
        }
        self.kept.insert(key, Kept { newest, good });
    }

    /// The proxy has answered. Returns all that is rejected now, for those who show it.
    pub(super) fn answered(&mut self, rejections: Vec<Rejection>) -> Vec<Rejection> {
        let refused: BTreeSet<&Key> = rejections
            .iter()
            .filter(|rejection| rejection.severity == Severity::Refused)
            .map(|rejection| &rejection.key)
            .collect();
        let kept = &mut self.kept;
        self.refused_later.retain(|key| {
            let is_refused = refused.contains(key);
            if !is_refused && let Some(kept) = kept.get_mut(key) {
                kept.good = None;
            }
            is_refused
        });
        self.rejections = rejections;
        self.rejections()
    }

    /// Everything rejected now that has a key.
    pub(super) fn rejections(&self) -> Vec<Rejection> {
        let undecoded = self.refused.iter().filter_map(|(name, why)| {
            let key = name.parse().ok()?;
            Some(Rejection { key, severity: Severity::Refused, message: why.clone() })
        });
        undecoded.chain(self.rejections.iter().cloned()).collect()
    }

    /// Names rejected now that are no keys.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.refused.keys().filter(|name| name.parse::<Key>().is_err()).cloned().collect()
    }

    /// Everything rejected now, for the controller.
    pub(super) fn named(&self) -> Vec<Named> {
        let undecoded = self.refused.iter().map(|(name, why)| Named {
            name: name.clone(),
            severity: Severity::Refused,
            message: why.clone(),
        });
        undecoded.chain(self.rejections.iter().map(Named::from)).collect()
    }

    /// What a restarted proxy should begin with: of a resource that is refused the version before. Workloads are left out: an
    /// address may have become another pod's since, and who has no name is kept out by more policies than who has a wrong one.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let lasting = self.kept.iter().filter(|(key, _)| key.kind != Kind::Workload);
        let records = lasting.map(|(key, kept)| {
            let Version { version, resource } = kept.good.as_deref().unwrap_or(&kept.newest).clone();
            Record { key: key.clone(), version, resource }
        });
        Some(Snapshot { generation: self.generation?, records: records.collect() })
    }
}

#[cfg(test)]
mod tests;
