//! SecurityPolicy, out of its CRD.

use kube::CustomResourceExt as _;
use policies::SecuritySet;
use serde_json::json;

use super::super::node::Node;
use super::client_traffic::targets;
use super::metadata::{NAME, kind};
use super::{Report, Schema, derived, req};
use crate::api::SecurityPolicy;

/// SecurityPolicy.
pub(in crate::manifests) fn security_policy() -> Schema {
    let crd = json!(SecurityPolicy::crd());
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    kind(NAME, [req("spec", spec.map_or(Schema::Any, derived::of).rule(targets).rule(parts))])
}

fn parts(node: &Node, report: &mut Report<'_>) {
    let mut written = SecuritySet::NAMES.iter().map(|name| policies::written(name));
    if node.has("defaults")
        && let Some(part) = written.find(|part| node.has(part))
    {
        let reason = "parts beside targetRefs are defaults, and there are defaults already";
        report.broken(node, &part, reason, "move it into defaults");
    }
}
