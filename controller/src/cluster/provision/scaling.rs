//! How many proxies there are, and how few there may be.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Making;

impl Making<'_> {
    /// One proxy at a time may be evicted; one that is not ready always.
    pub(super) fn disruption_budget(&self) -> Value {
        let mut object = self.object("policy/v1", "PodDisruptionBudget", &BTreeMap::new());
        let spec = json!({
            "maxUnavailable": 1,
            "selector": { "matchLabels": self.selector() },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        });
        object.insert("spec".into(), spec);
        Value::Object(object)
    }

    pub(super) fn autoscaler(&self) -> Option<Value> {
        let autoscaling = self.parameters.autoscaling.as_ref()?;
        let mut object = self.object("autoscaling/v2", "HorizontalPodAutoscaler", &BTreeMap::new());
        let spec = json!({
            "minReplicas": autoscaling.min_replicas,
            "maxReplicas": autoscaling.max_replicas.max(autoscaling.min_replicas),
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": self.name },
            "metrics": [{
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": { "type": "Utilization", "averageUtilization": autoscaling.target_cpu_percent },
                },
            }],
        });
        object.insert("spec".into(), spec);
        Some(Value::Object(object))
    }
}
