//! What is wrong with the configuration now.

use std::collections::BTreeMap;

use config::{Key, Rejection, Severity};

/// Where in the compiler a problem was seen; each place only takes back its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The resource by itself, and what it refers to.
    Resource,
    /// The certificates of a listener.
    Certificates,
    /// What a listener shows to backends.
    Identity,
    /// Listeners that cannot share a port.
    Conflict,
    /// Listeners that share one and would treat its connections differently.
    Traffic,
}

/// All problems, whatever update they came with: an answer that listed only the news would let status go stale.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<(Key, Stage), Vec<(Severity, String)>>);

impl Problems {
    /// Replaces what a stage has to say of a resource.
    pub(super) fn set(&mut self, key: &Key, stage: Stage, problems: Vec<(Severity, String)>) {
        if problems.is_empty() {
            self.clear(key, stage);
        } else {
            self.0.insert((key.clone(), stage), problems);
        }
    }

    pub(super) fn clear(&mut self, key: &Key, stage: Stage) {
        if !self.0.is_empty() {
            self.0.remove(&(key.clone(), stage));
        }
    }

    /// By key.
    pub(super) fn list(&self) -> Vec<Rejection> {
        self.0
            .iter()
            .flat_map(|((key, _), problems)| {
                problems.iter().map(|(severity, message)| Rejection {
                    key: key.clone(),
                    severity: *severity,
                    message: message.clone(),
                })
            })
            .collect()
    }
}
