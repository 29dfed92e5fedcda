//! Reads a cluster. Private keys are dropped as they arrive.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Config};
use serde_json::{Map, Value};

use super::check::{Stage, certificates};
use super::cluster::Cluster;
use super::seen::Seen;
use crate::cluster::{AUTHORITY_SECRET, REFERENCED_ROLE, write};
use crate::install::{self, Installation, NAME};
use crate::provisioned::GATEWAY_NAME;

/// Objects per answer of the API server.
const PAGE: u32 = 500;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Kinds of these groups are read, whatever CRDs there are.
const GROUPS: &[&str] = &["gateway.networking.k8s.io", "fairway.dev"];

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no way to a cluster.
    #[error("there is no way to a cluster: set KUBECONFIG, or name a file with --kubeconfig: {0}")]
    Config(String),
    /// The API server.
    #[error("the API server cannot be asked: {0}")]
    Api(String),
}

/// A way to a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Instead of `KUBECONFIG`, `~/.kube/config` or the pod's ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// Instead of the file's current one.
    pub context: Option<String>,
    /// Namespace of the controller.
    pub namespace: String,
    /// Only objects of this namespace, and what is needed to judge them; all without.
    pub scope: Option<String>,
}

impl Access {
    /// Reads what a check or an overview needs.
    ///
    /// # Errors
    /// When the API server cannot be reached. What it refuses to show is noted in the [`Cluster`].
    pub async fn read(&self, stage: Stage) -> Result<Cluster, AccessError> {
        let client = self.client().await?;
        let version = client.apiserver_version().await.map_err(|error| failed(&error))?.git_version;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut reading = Reading {
            client,
            cluster: Cluster {
                namespace: self.namespace.clone(),
                now: i64::try_from(now).unwrap_or(i64::MAX),
                version,
                ..Cluster::default()
            },
        };
        reading.list("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "").await?;
        reading.named("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", NAME).await?;
        reading.named("apps/v1", "Deployment", &self.namespace, NAME).await?;
        match stage {
            Stage::Before => reading.rights().await?,
            Stage::Installed => self.installed(&mut reading).await?,
        }
        Ok(reading.cluster)
    }

    /// Reads what captured Services are judged by.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub async fn read_mesh(&self) -> Result<Cluster, AccessError> {
        let client = self.client().await?;
        let cluster = Cluster { namespace: self.namespace.clone(), ..Cluster::default() };
        let mut reading = Reading { client, cluster };
        let scope = self.scope.as_deref().unwrap_or_default();
        reading.list("v1", "Service", scope, "").await?;
        reading.list("discovery.k8s.io/v1", "EndpointSlice", scope, "").await?;
        Ok(reading.cluster)
    }

    pub(super) async fn client(&self) -> Result<Client, AccessError> {
        let config = |error: &dyn std::error::Error| AccessError::Config(error.to_string());
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut found = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| config(&error))?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(|error| config(&error))?
            }
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| config(&error))?
            }
            None => Config::infer().await.map_err(|error| config(&error))?,
        };
        found.connect_timeout = Some(PATIENCE / 3);
        found.read_timeout = Some(PATIENCE);
        Client::try_from(found).map_err(|error| failed(&error))
    }

    async fn installed(&self, reading: &mut Reading) -> Result<(), AccessError> {
        const RBAC: &str = "rbac.authorization.k8s.io/v1";
        let (own, scope) = (self.namespace.as_str(), self.scope.as_deref().unwrap_or_default());
        for name in [NAME, REFERENCED_ROLE] {
            reading.named(RBAC, "ClusterRole", "", name).await?;
        }
        reading.named(RBAC, "Role", own, NAME).await?;
        reading.named(RBAC, "RoleBinding", own, NAME).await?;
        reading.named("coordination.k8s.io/v1", "Lease", own, NAME).await?;
        reading.list("v1", "Pod", own, &format!("app.kubernetes.io/name={NAME}")).await?;
        reading.list("v1", "Pod", scope, GATEWAY_NAME).await?;
        reading.list("apps/v1", "Deployment", scope, GATEWAY_NAME).await?;
        for (resource, is_namespaced) in kinds(&reading.cluster) {
            let namespace = if is_namespaced { scope } else { "" };
            reading.pages(&resource, namespace, "").await?;
        }
        reading.named("v1", "Secret", own, AUTHORITY_SECRET).await?;
        let listeners = certificates::listeners(&reading.cluster);
        let mut secrets: Vec<(String, String)> =
            listeners.into_iter().flat_map(|(owner, it)| certificates::secrets(owner, it)).collect();
        secrets.sort_unstable();
        secrets.dedup();
        for (namespace, name) in secrets {
            reading.named("v1", "Secret", &namespace, &name).await?;
        }
        Ok(())
    }
}

/// The kinds of Gateway API and of ours that there are, and whether they are in namespaces.
fn kinds(cluster: &Cluster) -> Vec<(ApiResource, bool)> {
    let crds = cluster.of("CustomResourceDefinition").into_iter();
    let of_ours = crds.filter(|crd| GROUPS.contains(&crd.text("/spec/group")));
    of_ours
        .filter_map(|crd| {
            let is = |version: &Seen<'_>, field| version.0.get(field).and_then(Value::as_bool) == Some(true);
            let mut served = crd.list("/spec/versions").filter(|version| is(version, "served"));
            let version = served.next()?.text("/name");
            let (group, kind) = (crd.text("/spec/group"), crd.text("/spec/names/kind"));
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: format!("{group}/{version}"),
                kind: kind.to_owned(),
                plural: crd.text("/spec/names/plural").to_owned(),
            };
            Some((resource, crd.text("/spec/scope") == "Namespaced"))
        })
        .collect()
}

/// A cluster in the reading.
struct Reading {
    client: Client,
    cluster: Cluster,
}

impl Reading {
    /// One object; that it is not there is no error.
    async fn named(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), AccessError> {
        let resource = write::resource(api_version, kind);
        match write::api(&self.client, &resource, namespace).get_opt(name).await {
            Ok(object) => self.take(&resource, object),
            Err(error) => self.refused(&resource, &error)?,
        }
        Ok(())
    }

    /// All objects, or those with a label.
    async fn list(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        labels: &str,
    ) -> Result<(), AccessError> {
        self.pages(&write::resource(api_version, kind), namespace, labels).await
    }

    async fn pages(
        &mut self,
        resource: &ApiResource,
        namespace: &str,
        labels: &str,
    ) -> Result<(), AccessError> {
        let api: Api<DynamicObject> = write::api(&self.client, resource, namespace);
        let mut wanted = ListParams::default().limit(PAGE).labels(labels);
        loop {
            match api.list(&wanted).await {
                Ok(page) => {
                    let next = page.metadata.continue_.filter(|token| !token.is_empty());
                    self.take(resource, page.items);
                    match next {
                        Some(token) => wanted = wanted.continue_token(&token),
                        None => return Ok(()),
                    }
                }
                // The CRD has just gone.
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error) => return self.refused(resource, &error),
            }
        }
    }

    fn take(&mut self, resource: &ApiResource, objects: impl IntoIterator<Item = DynamicObject>) {
        let objects = objects.into_iter().filter_map(|object| serde_json::to_value(object).ok());
        self.cluster.objects.extend(objects.map(|object| slim(object, resource)));
    }

    /// A refusal is noted; anything else ends the reading.
    fn refused(&mut self, resource: &ApiResource, error: &kube::Error) -> Result<(), AccessError> {
        if let kube::Error::Api(status) = error
            && matches!(status.code, 401 | 403)
        {
            self.cluster.unreadable.insert(resource.kind.clone(), status.message.clone());
            return Ok(());
        }
        Err(failed(error))
    }

    /// Asks whether we may create what an installation is made of.
    async fn rights(&mut self) -> Result<(), AccessError> {
        let installation =
            Installation { namespace: self.cluster.namespace.clone(), ..Installation::default() };
        let mut asked: Vec<(ApiResource, String)> = Vec::new();
        for object in install::crds().iter().chain(&install::objects(&installation)) {
            let object = Seen(object);
            let resource = write::resource(object.text("/apiVersion"), object.kind());
            let one = (resource, object.namespace().to_owned());
            if !asked.contains(&one) {
                asked.push(one);
            }
        }
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        for (resource, namespace) in asked {
            for verb in ["create", "patch"] {
                let review = review(&resource, &namespace, verb);
                let answer =
                    api.create(&PostParams::default(), &review).await.map_err(|error| failed(&error))?;
                if !answer.status.is_some_and(|status| status.allowed) {
                    self.cluster.forbidden.push(format!("{verb} {}", resource.plural));
                }
            }
        }
        Ok(())
    }
}

fn review(resource: &ApiResource, namespace: &str, verb: &str) -> SelfSubjectAccessReview {
    let some = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        group: some(&resource.group),
        resource: some(&resource.plural),
        namespace: some(namespace),
        verb: some(verb),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
    SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
}

pub(super) fn failed(error: &kube::Error) -> AccessError {
    AccessError::Api(write::message(error))
}

/// Names an object's kind, which lists leave out, and drops what is large and never read, and what is secret.
fn slim(mut object: Value, resource: &ApiResource) -> Value {
    let Some(fields) = object.as_object_mut() else { return object };
    fields.insert("apiVersion".into(), resource.api_version.clone().into());
    fields.insert("kind".into(), resource.kind.clone().into());
    let map = |fields: &mut Map<String, Value>, key: &str, keep: fn(&str) -> bool| {
        if let Some(map) = fields.get_mut(key).and_then(Value::as_object_mut) {
            map.retain(|key, _| keep(key));
        }
    };
    map(fields, "metadata", |key| key != "managedFields");
    match resource.kind.as_str() {
        "Secret" => map(fields, "data", |key| key.ends_with(".crt")),
        "CustomResourceDefinition" if !is_own(fields) => {
            let versions = fields.get_mut("spec").and_then(|spec| spec.get_mut("versions"));
            for version in versions.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(version) = version.as_object_mut() {
                    version.retain(|key, _| matches!(key.as_str(), "name" | "served" | "storage"));
                }
            }
        }
        _ => {}
    }
    object
}

fn is_own(crd: &Map<String, Value>) -> bool {
    crd.get("spec").and_then(|spec| spec.get("group")).and_then(Value::as_str) == Some("fairway.dev")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_private_key_is_kept() {
        let secret = json!({ "metadata": { "name": "s", "managedFields": [] }, "data": {
            "tls.crt": "QQ==", "tls.key": "Qg==", "ca.crt": "Qw==", "ca.key": "RA==", "password": "RQ=="
        } });
        let kept = slim(secret, &write::resource("v1", "Secret"));
        assert_eq!(kept["data"], json!({ "tls.crt": "QQ==", "ca.crt": "Qw==" }));
        assert_eq!(kept["kind"], "Secret");
        assert_eq!(kept["metadata"], json!({ "name": "s" }));
    }
}
