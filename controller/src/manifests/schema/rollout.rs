//! Rollout, out of its CRD.

use kube::CustomResourceExt as _;
use serde_json::json;

use super::metadata::{NAME, kind};
use super::{Schema, derived, req};
use crate::api::Rollout;

/// Rollout.
pub(in crate::manifests) fn rollout() -> Schema {
    let crd = json!(Rollout::crd());
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    kind(NAME, [req("spec", spec.map_or(Schema::Any, derived::of))])
}
