//! Certificates, and the TLS settings of the listeners that show them.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use config::{Kind, Resource, Severity};
use rustc_hash::FxHashMap;
use rustls::ServerConfig;

use super::problems::{Problems, Stage};
use crate::store::{Dirty, Store};
use crate::tls::{Identity, Terminator};

/// Certificates by `namespace/name`, the last good version of each.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Made with the first certificate: a port without TLS needs no keys for tickets.
    terminator: LazyLock<Terminator>,
    good: FxHashMap<String, Arc<Identity>>,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { terminator: LazyLock::new(Terminator::new), good: FxHashMap::default() }
    }
}

impl Certificates {
    /// Brings the certificates up to date and says which are other ones than before, or gone.
    pub(super) fn compile(
        &mut self,
        dirty: &Dirty,
        store: &Store,
        problems: &mut Problems,
    ) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for key in dirty.keys().filter(|key| key.kind == Kind::Certificate) {
            let name = format!("{}/{}", key.namespace, key.name);
            let Some(Resource::Certificate(certificate)) = store.get(key) else {
                self.good.remove(&name);
                problems.clear(key, Stage::Resource);
                changed.insert(name);
                continue;
            };
            match self.terminator.read(certificate) {
                Ok(identity) => {
                    self.good.insert(name.clone(), Arc::new(identity));
                    problems.clear(key, Stage::Resource);
                    changed.insert(name);
                }
                Err(problem) => problems.set(key, Stage::Resource, vec![(Severity::Refused, problem)]),
            }
        }
        changed
    }

    /// The settings of a listener that shows these certificates; none when it can show none.
    pub(super) fn settings(&self, names: &[String]) -> (Option<Arc<ServerConfig>>, Vec<(Severity, String)>) {
        let mut problems = Vec::new();
        let mut identities = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            match self.good.get(name) {
                Some(identity) => identities.push(identity.clone()),
                None => problems.push((
                    Severity::Degraded,
                    format!("tls.certificates[{at}]: there is no usable certificate {name}"),
                )),
            }
        }
        if identities.is_empty() {
            let message = "tls.certificates: none can be used, so that handshakes are refused".to_owned();
            problems.push((Severity::Refused, message));
            return (None, problems);
        }
        match self.terminator.settings(identities) {
            Ok(settings) => (Some(settings), problems),
            Err(e) => {
                problems.push((Severity::Refused, format!("tls: {e}")));
                (None, problems)
            }
        }
    }
}
