//! Which policies the requests of one route run through.

use super::attach::{At, Surroundings};
use super::attached::{Reached, distinct, written};
use super::backend_ref::{Cluster, is_stream};
use super::facts::Fact;
use super::route::Route;
use super::usage::through;
use crate::resources::ObjectKind;
use crate::status::{Problem, reason};
use config::Key;
use policies::BackendRef;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guarded {
    /// Those of all its rules.
    pub(crate) route: Vec<Key>,
    /// Those of single rules, and of backends; each combination once.
    rules: Vec<Vec<Key>>,
    shares: Vec<Vec<Key>>,
    /// The Service that it is attached to, when there is no other parent: where its requests are let in they are held to
    /// the Service's policies already.
    service: Option<(String, String)>,
}

impl Guarded {
    pub(crate) fn new<T: Route>(route: &T, cluster: &Cluster<'_>) -> Self {
        if T::IS_STREAM {
            return Self::default();
        }
        let (namespace, name) = (route.namespace(), route.name());
        cluster.note(Fact::attached(T::KIND, namespace, name));
        cluster.note(Fact::attached(ObjectKind::Namespace, "", namespace));
        let parents = route.parents();
        let services = parents.iter().map(|parent| {
            let is_service = parent.kind.as_deref() == Some("Service");
            let at = parent.namespace.as_deref().unwrap_or(namespace);
            is_service.then(|| (at.to_owned(), parent.name.clone()))
        });
        let mut services: Vec<Option<(String, String)>> = services.collect();
        services.dedup();
        let service = if services.len() == 1 { services.pop().flatten() } else { None };
        Self { route: cluster.attached.of_route(T::KIND, namespace, name), service, ..Self::default() }
    }

    /// Those of a rule alone.
    pub(crate) fn rule(
        &mut self,
        cluster: &Cluster<'_>,
        (kind, namespace, name): (ObjectKind, &str, &str),
        rule: Option<&str>,
    ) -> Vec<Key> {
        let mut names = cluster.attached.of_rule(kind, namespace, name, rule);
        names.retain(|name| !self.route.contains(name));
        if !self.rules.contains(&names) {
            self.rules.push(names.clone());
        }
        names
    }

    /// Those of a backend, beside those of the route.
    ///
    /// # Errors
    /// Whole connections cannot be held to them.
    pub(crate) fn share(
        &mut self,
        cluster: &Cluster<'_>,
        kind: ObjectKind,
        backend: &BackendRef,
    ) -> Result<Vec<Key>, Problem> {
        if is_stream(kind) {
            // What a Namespace wants of requests is not about databases.
            cluster.note(Fact::attached(ObjectKind::Service, &backend.namespace, &backend.name));
            return match cluster.attached.own_of_service(&backend.namespace, &backend.name).next() {
                Some(policy) => {
                    Err(refused(backend, policy, "which is about requests, and here there are none"))
                }
                None => Ok(Vec::new()),
            };
        }
        let names = self.of_service(cluster, backend);
        if !names.is_empty() && !self.shares.contains(&names) {
            self.shares.push(names.clone());
        }
        Ok(names)
    }

    /// Whether copies of requests may be sent to a backend.
    ///
    /// # Errors
    /// They cannot be held to its policies.
    pub(crate) fn mirror(&self, cluster: &Cluster<'_>, backend: &BackendRef) -> Result<(), Problem> {
        match self.of_service(cluster, backend).first() {
            Some(policy) => {
                Err(refused(backend, policy, "and copies are sent without: mirror to another Service"))
            }
            None => Ok(()),
        }
    }

    fn of_service(&self, cluster: &Cluster<'_>, backend: &BackendRef) -> Vec<Key> {
        let (namespace, name) = (backend.namespace.as_str(), backend.name.as_str());
        cluster.note(Fact::attached(ObjectKind::Service, namespace, name));
        cluster.note(Fact::attached(ObjectKind::Namespace, "", namespace));
        if self.service.as_ref().is_some_and(|own| (own.0.as_str(), own.1.as_str()) == (namespace, name)) {
            return Vec::new();
        }
        let mut names = cluster.attached.of_service(namespace, name);
        names.retain(|name| !self.route.contains(name));
        names
    }

    /// What its requests run through, by where they come in.
    pub(crate) fn reached(&self, places: &[At], surroundings: &Surroundings<'_>) -> Vec<Reached> {
        let mut all: Vec<Reached> = Vec::new();
        let mut add = |at: &At, policies: Vec<Key>| {
            let reached = Reached { through: through(at), policies };
            if !reached.policies.is_empty() && !all.contains(&reached) {
                all.push(reached);
            }
        };
        for at in places {
            let of_place = surroundings.attached(at);
            for rule in &self.rules {
                let levels = of_place.iter().chain(&self.route).chain(rule);
                add(at, distinct(levels));
            }
            self.shares.iter().for_each(|names| add(at, names.clone()));
        }
        all
    }
}

fn refused(backend: &BackendRef, policy: &Key, why: &str) -> Problem {
    let policy = written(policy);
    let message = format!("Service {}/{} has {policy}, {why}", backend.namespace, backend.name);
    Problem::unresolved(reason::INVALID_BACKEND, message)
}
