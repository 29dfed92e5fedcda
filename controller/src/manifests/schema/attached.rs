//! Policies that are attached to something, out of their CRDs.

use kube::CustomResourceExt;
use policies::{Parts, SecuritySet, TrafficSet};
use serde_json::json;

use super::super::node::Node;
use super::client_traffic::targets;
use super::metadata::{NAME, kind};
use super::{Report, Schema, derived, req};
use crate::api::{BackendTrafficPolicy, SecurityPolicy};

/// BackendTrafficPolicy.
pub(in crate::manifests) fn backend_traffic_policy() -> Schema {
    of::<BackendTrafficPolicy, TrafficSet>()
}

/// SecurityPolicy.
pub(in crate::manifests) fn security_policy() -> Schema {
    of::<SecurityPolicy, SecuritySet>()
}

fn of<K: CustomResourceExt, S: Parts>() -> Schema {
    let crd = json!(K::crd());
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    kind(NAME, [req("spec", spec.map_or(Schema::Any, derived::of).rule(targets).rule(parts::<S>))])
}

fn parts<S: Parts>(node: &Node, report: &mut Report<'_>) {
    let mut written = S::NAMES.iter().map(|name| policies::written(name));
    if node.has("defaults")
        && let Some(part) = written.find(|part| node.has(part))
    {
        let reason = "parts beside targetRefs are defaults, and there are defaults already";
        report.broken(node, &part, reason, "move it into defaults");
    }
}
