//! Certificates, and the TLS settings of the listeners that show them.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use config::{ClientValidation, Key, Kind, Resource, Severity};
use rustc_hash::FxHashMap;

use super::problems::{Problems, Stage};
use crate::store::{Dirty, Store};
use crate::tls::{Identity, Settings, Terminator};
use crate::traffic::connection::TlsRules;
use crate::upstream::ClientIdentity;

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

    /// The certificate shown to backends, from the resource as it is now; `None`: there is no such resource.
    ///
    /// # Errors
    /// Field and reason.
    pub(super) fn client(name: &str, store: &Store) -> Result<Option<ClientIdentity>, String> {
        let Some((namespace, secret)) = name.split_once('/') else { return Ok(None) };
        let key = Key::new(Kind::Certificate, namespace, secret);
        let Some(Resource::Certificate(certificate)) = store.get(&key) else { return Ok(None) };
        ClientIdentity::read(certificate).map(Some)
    }

    /// The settings of a listener that shows these certificates to these clients; none when it can show none.
    pub(super) fn settings(
        &self,
        names: &[String],
        clients: Option<&ClientValidation>,
        rules: &TlsRules,
        alpn: &[&[u8]],
    ) -> (Option<Arc<Settings>>, Vec<(Severity, String)>) {
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
        match self.terminator.settings(identities, clients, rules, alpn) {
            Ok(settings) => (Some(settings), problems),
            Err(e) => {
                problems.push((Severity::Refused, e));
                (None, problems)
            }
        }
    }
}
