//! What a cluster says, read once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::seen::Seen;
use crate::provisioned::{GATEWAY_NAME, shortened};
use crate::{CONTROLLER_NAME, provisioned};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// Namespace of the controller.
    pub namespace: String,
    /// Seconds since 1970.
    pub now: i64,
    /// Of the API server, such as `v1.36.0`.
    pub version: String,
    /// Everything that was read.
    pub objects: Vec<Value>,
    /// Kinds that could not be read, and why.
    pub unreadable: BTreeMap<String, String>,
    /// What whoever asks may not do, such as `create clusterroles`.
    pub forbidden: Vec<String>,
}

impl Cluster {
    /// Objects of a kind, in order of namespace and name.
    pub(super) fn of<'a>(&'a self, kind: &str) -> Vec<Seen<'a>> {
        let is_kind = |object: &Seen<'_>| object.kind() == kind;
        let mut all: Vec<Seen<'a>> = self.objects.iter().map(Seen).filter(is_kind).collect();
        all.sort_by_key(|object| (object.namespace(), object.name()));
        all
    }

    pub(super) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Seen<'_>> {
        self.objects
            .iter()
            .map(Seen)
            .find(|object| object.kind() == kind && object.namespace() == namespace && object.name() == name)
    }

    /// Objects of a group of APIs, in order of kind, namespace and name.
    pub(super) fn of_group<'a>(&'a self, group: &str) -> Vec<Seen<'a>> {
        let is_of =
            |object: &Seen<'_>| object.text("/apiVersion").split_once('/').is_some_and(|(of, _)| of == group);
        let mut all: Vec<Seen<'a>> = self.objects.iter().map(Seen).filter(is_of).collect();
        all.sort_by_key(|object| (object.kind(), object.namespace(), object.name()));
        all
    }

    /// GatewayClasses that are ours.
    pub(super) fn classes(&self) -> Vec<Seen<'_>> {
        let mut all = self.of("GatewayClass");
        all.retain(|class| class.text("/spec/controllerName") == CONTROLLER_NAME);
        all
    }

    /// Gateways of those.
    pub(super) fn gateways(&self) -> Vec<Seen<'_>> {
        let classes: Vec<&str> = self.classes().iter().map(|class| class.name()).collect();
        let mut all = self.of("Gateway");
        all.retain(|gateway| classes.contains(&gateway.text("/spec/gatewayClassName")));
        all
    }

    /// What runs the proxies of a Gateway.
    pub(super) fn deployment_of(&self, gateway: Seen<'_>) -> Option<Seen<'_>> {
        let name = provisioned::name_of(gateway.name(), gateway.text("/spec/gatewayClassName"));
        self.get("Deployment", gateway.namespace(), &name)
    }

    /// The proxies of a Gateway, as far as they are not about to end.
    pub(super) fn pods_of<'a>(&'a self, gateway: Seen<'_>) -> Vec<Seen<'a>> {
        let label = shortened(gateway.name(), 63);
        let mut pods = self.of("Pod");
        pods.retain(|pod| {
            pod.namespace() == gateway.namespace() && pod.label(GATEWAY_NAME) == label && is_staying(*pod)
        });
        pods
    }

    /// The pods of the controller.
    pub(super) fn controllers(&self) -> Vec<Seen<'_>> {
        let mut pods = self.of("Pod");
        pods.retain(|pod| {
            pod.namespace() == self.namespace
                && pod.label("app.kubernetes.io/name") == crate::install::NAME
                && is_staying(*pod)
        });
        pods
    }
}

fn is_staying(pod: Seen<'_>) -> bool {
    pod.text("/metadata/deletionTimestamp").is_empty()
        && !matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// Why a pod is not ready, as far as it says; `None` when it is.
pub(super) fn trouble(pod: Seen<'_>) -> Option<String> {
    if pod.status().condition("Ready").is_some_and(|ready| ready.is_true()) {
        return None;
    }
    let containers = pod.list("/status/initContainerStatuses").chain(pod.list("/status/containerStatuses"));
    for container in containers {
        for state in ["/state/waiting", "/state/terminated", "/lastState/terminated"] {
            let at = |field: &str| container.text(&format!("{state}/{field}"));
            if !at("reason").is_empty() && at("reason") != "ContainerCreating" {
                let message = Some(at("message")).filter(|message| !message.is_empty());
                return Some(message.map_or_else(
                    || at("reason").to_owned(),
                    |message| format!("{}: {message}", at("reason")),
                ));
            }
        }
    }
    let scheduled = pod.status().condition("PodScheduled").filter(|scheduled| !scheduled.is_true());
    Some(scheduled.map_or_else(
        || "its readiness probe fails, or it has only just started".to_owned(),
        |scheduled| format!("{}: {}", scheduled.reason, scheduled.message),
    ))
}

/// The version an image says it is: its tag, without a digest.
pub(super) fn tag(image: &str) -> Option<&str> {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let last = image.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}
