//! The proxies themselves. Nothing here may depend on listeners: a change of the pod template restarts every proxy.

use std::collections::BTreeMap;

use config::identity::Role;
use serde_json::{Map, Value, json};

use super::Making;
use crate::fairway_proxy::AccessLog;
use crate::resources::Named;

/// Of the admin port in a pod: the kubelet's probes and scrapers reach it, nobody outside the cluster does.
const ADMIN_PORT: u16 = 15_000;
/// Whoever runs in our images.
const USER: u32 = 65_532;
/// Audience of the token that a proxy shows.
pub(crate) const AUDIENCE: &str = "fairway.dev/controller";

const TOKEN_DIR: &str = "/var/run/secrets/fairway.dev";
const TRUST_DIR: &str = "/etc/fairway/trust";
const STATE_DIR: &str = "/var/lib/fairway";

impl Making<'_> {
    pub(super) fn deployment(&self) -> Value {
        let mut object = self.object("apps/v1", "Deployment", &BTreeMap::new());
        let mut spec = json!({
            "selector": { "matchLabels": self.selector() },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "revisionHistoryLimit": 3,
            "template": { "metadata": self.pod_metadata(), "spec": self.pod() },
        });
        // Whoever else decides how many would be undone by each apply.
        if self.parameters.autoscaling.is_none()
            && let Some(spec) = spec.as_object_mut()
        {
            spec.insert("replicas".into(), self.parameters.replicas.unwrap_or(2).into());
        }
        object.insert("spec".into(), spec);
        Value::Object(object)
    }

    fn pod_metadata(&self) -> Value {
        let mut labels = self.parameters.pod.labels.clone();
        labels.extend(self.labels());
        let mut annotations = self.infrastructure_annotations();
        annotations.extend(self.parameters.pod.annotations.clone());
        let mut metadata = Map::from_iter([("labels".to_owned(), json!(labels))]);
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), json!(annotations));
        }
        Value::Object(metadata)
    }

    fn pod(&self) -> Value {
        let spread = |key: &str| {
            json!({
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": { "matchLabels": self.selector() },
            })
        };
        let token = json!({ "serviceAccountToken": { "audience": AUDIENCE, "expirationSeconds": 3600, "path": "token" } });
        let mut pod = json!({
            "serviceAccountName": self.name,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": self.delay() + self.drain() + 10,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
                "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
            },
            "topologySpreadConstraints": [spread("topology.kubernetes.io/zone"), spread("kubernetes.io/hostname")],
            "containers": [self.container()],
            "volumes": [
                { "name": "token", "projected": { "sources": [token] } },
                { "name": "trust", "configMap": { "name": self.name } },
                { "name": "state", "emptyDir": { "sizeLimit": "256Mi" } },
            ],
        });
        let parameters = &self.parameters.pod;
        if let Some(pod) = pod.as_object_mut() {
            if !parameters.node_selector.is_empty() {
                pod.insert("nodeSelector".into(), json!(parameters.node_selector));
            }
            if let Some(tolerations) = &parameters.tolerations {
                pod.insert("tolerations".into(), json!(tolerations));
            }
            if let Some(class) = &parameters.priority_class_name {
                pod.insert("priorityClassName".into(), class.as_str().into());
            }
        }
        pod
    }

    fn container(&self) -> Value {
        let probe = |path: &str, period: u32, failures: u32| {
            json!({
                "httpGet": { "path": path, "port": ADMIN_PORT },
                "periodSeconds": period,
                "timeoutSeconds": 2,
                "failureThreshold": failures,
            })
        };
        let resources = self.parameters.resources.as_ref().map_or_else(
            || json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "1Gi" } }),
            |resources| json!(resources),
        );
        let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
        json!({
            "name": self.role.as_str(),
            "image": self.parameters.image.as_deref().unwrap_or(match self.role {
                Role::Gateway => &self.environment.image,
                Role::Waypoint => &self.environment.waypoint_image,
            }),
            "imagePullPolicy": "IfNotPresent",
            "args": self.args(),
            "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
            "ports": [{ "name": "admin", "containerPort": ADMIN_PORT }],
            "resources": resources,
            "livenessProbe": probe("/livez", 10, 3),
            "readinessProbe": probe("/readyz", 2, 2),
            // Nodes learn late that the pod ends, and send new connections until then.
            "lifecycle": { "preStop": { "sleep": { "seconds": self.delay() } } },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [
                { "name": "token", "mountPath": TOKEN_DIR, "readOnly": true },
                { "name": "trust", "mountPath": TRUST_DIR, "readOnly": true },
                { "name": "state", "mountPath": STATE_DIR },
            ],
        })
    }

    fn args(&self) -> Vec<String> {
        let logging = &self.parameters.logging;
        let access_log = match logging.access_log.unwrap_or(AccessLog::Stdout) {
            AccessLog::Off => "off",
            AccessLog::Stdout => "stdout",
        };
        let mut args = vec![
            format!("--controller={}", self.environment.controller),
            format!("--controller-ca={TRUST_DIR}/ca.crt"),
            format!("--token-file={TOKEN_DIR}/token"),
            format!("--gateway={}/{}", self.gateway.namespace(), self.gateway.name()),
            "--pod=$(POD_NAME)".to_owned(),
            format!("--snapshot={STATE_DIR}/snapshot"),
            format!("--admin=[::]:{ADMIN_PORT}"),
            "--expose-admin".to_owned(),
            format!("--access-log={access_log}"),
            format!("--drain={}", self.drain()),
        ];
        args.extend(logging.level.as_ref().map(|level| format!("--log={level}")));
        args
    }

    /// Seconds.
    fn drain(&self) -> i32 {
        self.parameters.drain.seconds.unwrap_or(30)
    }

    /// Seconds. The API server wants at least one.
    fn delay(&self) -> i32 {
        self.parameters.drain.delay_seconds.unwrap_or(5).max(1)
    }
}
