//! What runs for a Gateway, in its namespace: pure, from the Gateway and its parameters to objects to apply.
//!
//! Everything is owned by the Gateway, so the cluster's garbage collector removes it with the Gateway. Nothing of a
//! listener is in the pod template: listeners travel as configuration, and a new port only changes the Service. That
//! works because proxies bind listener ports as they are written: the pod sysctl `net.ipv4.ip_unprivileged_port_start`
//! (one of the "safe" ones, allowed by the restricted Pod Security Standard) opens those below 1024 to a process
//! without any capability. The rejected alternative, mapping them to high container ports, would make `Listener.port`
//! and what a proxy binds two different numbers everywhere.

mod apply;
mod deployment;
mod handover;
mod scaling;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use config::identity::Role;
use serde_json::{Map, Value, json};

pub(crate) use self::apply::{Provisioner, Refusals};
pub(crate) use self::deployment::AUDIENCE;
use crate::Resources;
use crate::api::Gateway;
use crate::fairway_proxy::FairwayProxySpec;
pub(crate) use crate::provisioned::GATEWAY_NAME;
use crate::provisioned::{label_value, name};
use crate::resources::Named;
use crate::translate::parameters;

/// What the controller's own installation decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Image of gateways unless a FairwayProxy names one.
    pub(crate) image: String,
    /// Image of waypoints, likewise.
    pub(crate) waypoint_image: String,
    /// Where proxies reach the controller, such as `https://fairway-controller.fairway-system.svc:15010`.
    pub(crate) controller: String,
    /// Certificate authorities that proxies trust for it, PEM.
    pub(crate) trust: String,
}

/// A port of a Gateway's Service: number, and `TCP` or `UDP`.
pub(crate) type Port = (u16, &'static str);

/// What a Gateway needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Provision {
    /// To apply, in this order.
    pub(crate) objects: Vec<Value>,
    /// Must not be there: kind and name.
    pub(crate) absent: Vec<(&'static str, String)>,
    /// How many proxies an autoscaler begins with, if one decides how many there are.
    pub(crate) fewest: Option<i64>,
}

/// How the proxies of a Gateway run; `None` when it is not ours to run, or must be left as it is until its references
/// hold.
pub(crate) fn parameters_of(gateway: &Gateway, resources: &Resources) -> Option<FairwayProxySpec> {
    if gateway.metadata.deletion_timestamp.is_some() {
        None
    } else {
        parameters::effective(gateway, resources)
    }
}

/// What a Gateway needs.
pub(crate) fn provision(
    gateway: &Gateway,
    parameters: &FairwayProxySpec,
    ports: &BTreeSet<Port>,
    environment: &Environment,
) -> Provision {
    let role = parameters::role(gateway);
    let making = Making { gateway, parameters, environment, name: name(gateway), role };
    let mut objects = vec![making.service_account(), making.trust()];
    let mut absent = Vec::new();
    // A Service cannot be without ports. One that is there keeps its address until there are ports again.
    match role {
        Role::Gateway if !ports.is_empty() => objects.push(making.service(ports)),
        Role::Gateway => {}
        Role::Waypoint => objects.push(making.headless()),
    }
    objects.push(making.deployment());
    objects.push(making.disruption_budget());
    match making.autoscaler() {
        Some(autoscaler) => objects.push(autoscaler),
        None => absent.push(("HorizontalPodAutoscaler", making.name)),
    }
    let fewest = parameters.autoscaling.as_ref().map(|autoscaling| autoscaling.min_replicas.into());
    Provision { objects, absent, fewest }
}

/// The objects of one Gateway in the making.
struct Making<'a> {
    gateway: &'a Gateway,
    parameters: &'a FairwayProxySpec,
    environment: &'a Environment,
    name: String,
    role: Role,
}

impl Making<'_> {
    fn object(
        &self,
        api_version: &str,
        kind: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Map<String, Value> {
        let mut all = self.infrastructure_annotations();
        all.extend(annotations.clone());
        let mut metadata = json!({
            "name": self.name,
            "namespace": self.gateway.namespace(),
            "labels": self.labels(),
            "ownerReferences": [{
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": self.gateway.name(),
                "uid": self.gateway.metadata.uid.as_deref().unwrap_or_default(),
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        });
        if let Some(metadata) = metadata.as_object_mut()
            && !all.is_empty()
        {
            metadata.insert("annotations".into(), json!(all));
        }
        let mut object = Map::new();
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), kind.into());
        object.insert("metadata".into(), metadata);
        object
    }

    /// What Services and Deployments select pods by. Never changes.
    fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), format!("fairway-{}", self.role.as_str())),
            (GATEWAY_NAME.to_owned(), label_value(self.gateway)),
        ])
    }

    /// The user's, then ours, which win.
    fn labels(&self) -> BTreeMap<String, String> {
        let infrastructure = self.gateway.spec.infrastructure.as_ref();
        let mut labels = infrastructure.and_then(|i| i.labels.clone()).unwrap_or_default();
        labels.extend(self.selector());
        labels.extend([
            (
                "gateway.networking.k8s.io/gateway-class-name".to_owned(),
                crate::provisioned::shortened(&self.gateway.spec.gateway_class_name, 63),
            ),
            ("app.kubernetes.io/managed-by".to_owned(), "fairway.dev-controller".to_owned()),
        ]);
        labels
    }

    fn infrastructure_annotations(&self) -> BTreeMap<String, String> {
        self.gateway.spec.infrastructure.as_ref().and_then(|i| i.annotations.clone()).unwrap_or_default()
    }

    /// The proxies' identity. It may do nothing in the cluster.
    fn service_account(&self) -> Value {
        let mut object = self.object("v1", "ServiceAccount", &BTreeMap::new());
        object.insert("automountServiceAccountToken".into(), false.into());
        Value::Object(object)
    }

    /// Whom proxies trust to be the controller. A mounted ConfigMap, so that a new authority restarts nobody.
    fn trust(&self) -> Value {
        let mut object = self.object("v1", "ConfigMap", &BTreeMap::new());
        object.insert("data".into(), json!({ "ca.crt": self.environment.trust }));
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests;
