//! The objects of an installation: the one source of what `fairway install` prints and the Helm chart renders.

mod chart;
mod waypoint;

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use crate::backend_traffic_policy::BackendTrafficPolicy;
use crate::client_traffic_policy::ClientTrafficPolicy;
use crate::cluster::REFERENCED_ROLE;
use crate::fairway_proxy::FairwayProxy;
use crate::rbac;
use crate::rollout::Rollout;
use crate::security_policy::SecurityPolicy;
use crate::{CONTROLLER_NAME, NAMESPACE};

pub use self::chart::charts;
pub(crate) use self::waypoint::RIGHT as CAPTURE_RIGHT;

/// What an installation decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Namespace of the controller.
    pub namespace: String,
    /// Image of the controller.
    pub image: String,
    /// Image of gateways.
    pub gateway_image: String,
    /// Image of waypoints.
    pub waypoint_image: String,
    /// Whether namespaces can opt in to a waypoint. Kubernetes 1.36 is needed.
    pub waypoints: bool,
    /// How many controllers; one leads.
    pub replicas: u16,
    /// What the controller says of itself, as `--log`.
    pub log: String,
    /// How often the certificate authority is exchanged, as `--authority-period`.
    pub authority_period: String,
}

/// Name of everything there is one of.
pub(crate) const NAME: &str = "fairway-controller";
/// Where controllers serve proxies.
const XDS_PORT: u16 = 15_010;
/// Where they serve probes and metrics.
const ADMIN_PORT: u16 = 15_011;

impl Default for Installation {
    fn default() -> Self {
        let image = |name: &str| format!("ghcr.io/fairway/{name}:{}", env!("CARGO_PKG_VERSION"));
        Self {
            namespace: NAMESPACE.into(),
            image: image("fairway"),
            gateway_image: image("gateway"),
            waypoint_image: image("waypoint"),
            waypoints: true,
            replicas: 2,
            log: "info".into(),
            authority_period: "2160h".into(),
        }
    }
}

/// Our CRDs. Those of Gateway API are installed from its own release.
#[must_use]
pub fn crds() -> Vec<Value> {
    vec![
        json!(BackendTrafficPolicy::crd()),
        json!(ClientTrafficPolicy::crd()),
        json!(FairwayProxy::crd()),
        json!(Rollout::crd()),
        json!(SecurityPolicy::crd()),
    ]
}

/// Everything but CRDs, in the order in which it is to be applied.
#[must_use]
pub fn objects(installation: &Installation) -> Vec<Value> {
    let mut all = vec![installation.namespace_object()];
    all.extend(installation.access());
    all.extend(installation.workload());
    all.push(gateway_class());
    if installation.waypoints {
        all.extend(waypoint::objects());
    }
    all
}

/// Objects as YAML, a document each.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn yaml<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
) -> Result<String, serde_saphyr::SerializeError> {
    objects.into_iter().try_fold(String::new(), |text, object| {
        Ok(format!("{text}---\n{}", serde_saphyr::to_string(object)?))
    })
}

fn gateway_class() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": "fairway" },
        "spec": { "controllerName": CONTROLLER_NAME, "description": "Fairway at the edge" },
    })
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "fairway" })
}

impl Installation {
    fn namespace_object(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
            },
        })
    }

    /// ServiceAccount and rights.
    fn access(&self) -> Vec<Value> {
        const GROUP: &str = "rbac.authorization.k8s.io";
        let role = |kind: &str, name: &str, namespace: Option<&str>, rules: &[rbac::Rule]| {
            json!({
                "apiVersion": format!("{GROUP}/v1"),
                "kind": kind,
                "metadata": metadata(name, namespace),
                "rules": rbac::to_json(rules),
            })
        };
        let binding = |kind: &str, role_kind: &str, namespace: Option<&str>| {
            json!({
                "apiVersion": format!("{GROUP}/v1"),
                "kind": kind,
                "metadata": metadata(NAME, namespace),
                "roleRef": { "apiGroup": GROUP, "kind": role_kind, "name": NAME },
                "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": self.namespace }],
            })
        };
        let own = Some(self.namespace.as_str());
        vec![
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME, own) }),
            role("ClusterRole", NAME, None, &rbac::cluster_rules()),
            role("ClusterRole", REFERENCED_ROLE, None, &rbac::referenced_rules()),
            role("Role", NAME, own, &rbac::own_rules()),
            binding("ClusterRoleBinding", "ClusterRole", None),
            binding("RoleBinding", "Role", own),
        ]
    }

    fn workload(&self) -> Vec<Value> {
        let own = Some(self.namespace.as_str());
        let selector = json!({ "app.kubernetes.io/name": NAME });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(NAME, own),
            "spec": {
                "selector": selector,
                "ports": [{ "name": "xds", "port": XDS_PORT, "targetPort": XDS_PORT, "protocol": "TCP" }],
            },
        });
        let budget = json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(NAME, own),
            "spec": { "maxUnavailable": 1, "selector": { "matchLabels": selector } },
        });
        let spread = json!([{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector },
        }]);
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(NAME, own),
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": selector },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
                "template": {
                    "metadata": { "labels": labels() },
                    "spec": {
                        "serviceAccountName": NAME,
                        "securityContext": {
                            "runAsNonRoot": true,
                            "runAsUser": 65532,
                            "runAsGroup": 65532,
                            "seccompProfile": { "type": "RuntimeDefault" },
                        },
                        "topologySpreadConstraints": spread,
                        "terminationGracePeriodSeconds": 10,
                        "containers": [self.container()],
                    },
                },
            },
        });
        vec![service, deployment, budget]
    }

    /// For Helm alone: whoever removes what `fairway install` prints runs `fairway waypoint release --all` first.
    fn before_removal(&self) -> Vec<Value> {
        let workload = self.workload();
        let pod = workload.iter().find_map(|object| object.pointer("/spec/template/spec"));
        waypoint::before_removal(&self.namespace, &self.image, pod.unwrap_or(&Value::Null))
    }

    fn container(&self) -> Value {
        let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
        let probe =
            |path: &str| json!({ "httpGet": { "path": path, "port": ADMIN_PORT }, "periodSeconds": 5 });
        // Whoever makes it has leases kept in Redis.
        let redis = json!({ "name": "fairway-redis", "key": "url", "optional": true });
        json!({
            "name": "controller",
            "image": self.image,
            "args": [
                "controller",
                format!("--listen=[::]:{XDS_PORT}"),
                format!("--admin=[::]:{ADMIN_PORT}"),
                format!("--gateway-image={}", self.gateway_image),
                format!("--waypoint-image={}", self.waypoint_image),
                format!("--log={}", self.log),
                format!("--authority-period={}", self.authority_period),
            ],
            "env": [
                field("POD_NAME", "metadata.name"),
                field("POD_NAMESPACE", "metadata.namespace"),
                field("POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
                { "name": "FAIRWAY_REDIS", "valueFrom": { "secretKeyRef": redis } },
            ],
            "ports": [
                { "name": "xds", "containerPort": XDS_PORT },
                { "name": "admin", "containerPort": ADMIN_PORT },
            ],
            "livenessProbe": probe("/livez"),
            "readinessProbe": probe("/readyz"),
            "resources": { "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        })
    }
}

fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({ "name": name, "labels": labels() });
    if let (Some(metadata), Some(namespace)) = (metadata.as_object_mut(), namespace) {
        metadata.insert("namespace".into(), namespace.into());
    }
    metadata
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_install_prints_is_as_written_down() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/install.yaml");
        let all = [crds(), objects(&Installation::default())].concat();
        let text = format!(
            "# Generated: fairway install. UPDATE_GOLDEN=1 cargo test writes it.\n{}",
            yaml(&all).unwrap()
        );
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, there, "UPDATE_GOLDEN=1 writes it");
    }

    #[test]
    fn pods_fit_the_restricted_standard() {
        let all = objects(&Installation::default());
        let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"]["drop"][0], "ALL");
        assert_eq!(container["readOnlyRootFilesystem"], true);
    }

    #[test]
    fn every_kind_fits_where_kubectl_apply_keeps_it() {
        // metav1: annotations of an object are 256 KiB at most together; client-side apply keeps all of it in one.
        for crd in crds() {
            let length = serde_json::to_string(&crd).unwrap().len();
            assert!(length < 250_000, "{}: {length} bytes", crd["metadata"]["name"]);
        }
    }

    #[test]
    fn a_schema_the_api_server_takes_has_no_references() {
        let text = serde_json::to_string(&crds()).unwrap();
        assert!(!text.contains("$ref"));
    }
}
