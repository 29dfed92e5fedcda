//! The right to read Secrets and ConfigMaps, namespace by namespace.
//!
//! The controller holds no standing right to read any Secret but its own. It may bind one fixed ClusterRole,
//! `fairway-referenced`, and binds it to itself in namespaces where something refers to a Secret or ConfigMap, and
//! takes the binding back with the last reference. So `kubectl get rolebindings -A` shows where it can read, each
//! extension is an entry in the audit log, and a stolen token reads nothing at once elsewhere. Roles with
//! `resourceNames` would be narrower, but writing them needs the verb `escalate`, with which it could give itself
//! anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::leader::Leads;
use super::metrics::{Metrics, Outcome};
use super::write;

/// ClusterRole, and RoleBinding in each namespace.
pub(crate) const ROLE: &str = "fairway-referenced";
const LABEL: &str = "app.kubernetes.io/managed-by=fairway.dev-controller";

/// Makes and removes the bindings, leader only.
pub(crate) struct Granter {
    pub(crate) client: Client,
    /// ServiceAccount and namespace of the controller.
    pub(crate) account: (String, String),
    pub(crate) namespaces: watch::Receiver<BTreeSet<String>>,
    pub(crate) leads: watch::Receiver<Leads>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Granter {
    /// Works until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut bound: Option<BTreeSet<String>> = None;
        let mut retry = Duration::from_secs(3600);
        loop {
            tokio::select! {
                Ok(()) = self.namespaces.changed() => {}
                Ok(()) = self.leads.changed() => {}
                () = tokio::time::sleep(retry) => {}
            }
            retry = Duration::from_secs(3600);
            if !self.leads.borrow_and_update().now() {
                bound = None;
                continue;
            }
            let wanted = self.namespaces.borrow_and_update().clone();
            let have = match bound.take() {
                Some(have) => have,
                None => match self.existing().await {
                    Ok(existing) => existing,
                    Err(error) => {
                        tracing::warn!(%error, "RoleBindings cannot be listed");
                        retry = Duration::from_secs(2);
                        continue;
                    }
                },
            };
            let mut now = have.clone();
            for namespace in wanted.difference(&have) {
                if self.bind(namespace).await {
                    now.insert(namespace.clone());
                } else {
                    retry = Duration::from_secs(2);
                }
            }
            for namespace in have.difference(&wanted) {
                let object = ("rbac.authorization.k8s.io/v1", "RoleBinding");
                match write::delete(&self.client, object, namespace, ROLE).await {
                    Ok(()) => drop(now.remove(namespace)),
                    Err(error) => {
                        tracing::warn!(%namespace, error = write::message(&error), "a RoleBinding cannot be removed");
                        retry = Duration::from_secs(30);
                    }
                }
            }
            bound = Some(now);
        }
    }

    async fn existing(&self) -> Result<BTreeSet<String>, kube::Error> {
        let api: Api<RoleBinding> = Api::all(self.client.clone());
        let list = api.list(&ListParams::default().labels(LABEL)).await?;
        let ours = list.items.into_iter().filter(|binding| binding.metadata.name.as_deref() == Some(ROLE));
        Ok(ours.filter_map(|binding| binding.metadata.namespace).collect())
    }

    async fn bind(&self, namespace: &str) -> bool {
        let done = write::apply(&self.client, &self.binding(namespace)).await;
        let outcome = if done.is_ok() { "done" } else { "refused" };
        self.metrics.applies.get_or_create(&Outcome { kind: "RoleBinding", outcome }).inc();
        if let Err(error) = &done {
            // The namespace may be ending.
            tracing::warn!(%namespace, error = write::message(error), "Secrets of a namespace cannot be made readable");
        }
        done.is_ok()
    }

    fn binding(&self, namespace: &str) -> Value {
        let (account, own) = &self.account;
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {
                "name": ROLE,
                "namespace": namespace,
                "labels": { "app.kubernetes.io/managed-by": "fairway.dev-controller" },
            },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": own }],
        })
    }
}
