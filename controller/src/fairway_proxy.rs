//! `FairwayProxy`: how the proxies of a Gateway run. Named by `parametersRef` of a Gateway or of its GatewayClass.
//!
//! What a Gateway's says wins over what its class's says, field by field (GEP-1867). Every field is optional; what
//! neither says has the default written beside the field.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the proxies of a Gateway run.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "FairwayProxy",
    namespaced,
    shortname = "fwp",
    category = "fairway",
    derive = "Default",
    derive = "PartialEq",
    doc = "How the proxies of a Gateway run. Named by parametersRef of a Gateway or of its GatewayClass."
)]
#[serde(rename_all = "camelCase", default)]
pub struct FairwayProxySpec {
    /// How many proxies. Default: 2. Not with `autoscaling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// A HorizontalPodAutoscaler decides how many. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Container image of the proxies. Default: that of the controller's own release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Resources of a proxy. Default: requests of 100m CPU and 64Mi of memory, a limit of 1Gi of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The Service in front of the proxies.
    pub service: ServiceParameters,
    /// What proxies log.
    pub logging: Logging,
    /// How proxies end.
    pub drain: Drain,
    /// Basics of the pod template.
    pub pod: PodParameters,
}

/// A HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest proxies. Default: 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Most proxies.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// CPU to aim at, in percent of the request. Default: 70.
    #[serde(default = "seventy")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_percent: i32,
}

const fn two() -> i32 {
    2
}

const fn seventy() -> i32 {
    70
}

/// The Service in front of the proxies. Its ports are those of the Gateway's listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceParameters {
    /// Type. Default: LoadBalancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ServiceType>,
    /// Annotations, such as those a cloud's load balancer reads. Both levels are merged by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `Local` keeps clients' addresses, and only nodes with a proxy take connections. With `Cluster` all nodes do, and addresses
    /// of nodes stand for those of clients: in lists and limits by address, `limits.connectionsPerAddress` of a
    /// ClientTrafficPolicy too, and in logs. Default: Local.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Which implementation of load balancers. Default: the cluster's. Cannot be changed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
}

/// Type of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable in the cluster only.
    ClusterIP,
    /// By a load balancer of the environment.
    LoadBalancer,
    /// On a port of every node.
    NodePort,
}

impl ServiceType {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::LoadBalancer => "LoadBalancer",
            Self::NodePort => "NodePort",
        }
    }
}

/// Which nodes get traffic from outside, and whose address proxies see: `Local`, those with a proxy, and the client's; `Cluster`,
/// all, and often a node's. Default: Local.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// All.
    Cluster,
    /// Those with a proxy.
    Local,
}

impl ExternalTrafficPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// What proxies log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Logging {
    /// What a proxy says of itself on standard error: `error`, `warn`, `info`, `debug`, or filters by module. Default:
    /// info.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub level: Option<String>,
    /// One JSON line per request. Default: Stdout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// Where the access log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
}

/// How proxies end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Drain {
    /// How long requests in flight may take to end, in seconds. Default: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub seconds: Option<i32>,
    /// How long a proxy that ends still takes new connections, because not every node has heard yet, in seconds.
    /// Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 300))]
    pub delay_seconds: Option<i32>,
}

/// Basics of the pod template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodParameters {
    /// Labels. Both levels are merged by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Both levels are merged by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Nodes that may run proxies. Both levels are merged by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that proxies tolerate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

impl FairwayProxySpec {
    /// What it does not say itself it takes from `below`.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        // Either of the two decides how many; a choice above replaces both below.
        let counts = if self.replicas.is_some() || self.autoscaling.is_some() { self } else { below };
        Self {
            replicas: counts.replicas,
            autoscaling: counts.autoscaling.clone(),
            image: self.image.clone().or_else(|| below.image.clone()),
            resources: self.resources.clone().or_else(|| below.resources.clone()),
            service: ServiceParameters {
                r#type: self.service.r#type.or(below.service.r#type),
                annotations: merge(&self.service.annotations, &below.service.annotations),
                external_traffic_policy: self
                    .service
                    .external_traffic_policy
                    .or(below.service.external_traffic_policy),
                load_balancer_class: self
                    .service
                    .load_balancer_class
                    .clone()
                    .or_else(|| below.service.load_balancer_class.clone()),
            },
            logging: Logging {
                level: self.logging.level.clone().or_else(|| below.logging.level.clone()),
                access_log: self.logging.access_log.or(below.logging.access_log),
            },
            drain: Drain {
                seconds: self.drain.seconds.or(below.drain.seconds),
                delay_seconds: self.drain.delay_seconds.or(below.drain.delay_seconds),
            },
            pod: PodParameters {
                labels: merge(&self.pod.labels, &below.pod.labels),
                annotations: merge(&self.pod.annotations, &below.pod.annotations),
                node_selector: merge(&self.pod.node_selector, &below.pod.node_selector),
                tolerations: self.pod.tolerations.clone().or_else(|| below.pod.tolerations.clone()),
                priority_class_name: self
                    .pod
                    .priority_class_name
                    .clone()
                    .or_else(|| below.pod.priority_class_name.clone()),
            },
        }
    }
}

fn merge(above: &BTreeMap<String, String>, below: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = below.clone();
    all.extend(above.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}
