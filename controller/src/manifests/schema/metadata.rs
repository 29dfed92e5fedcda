//! `metadata`, and the frame every object has.

use super::formats::{Format, LABEL, LABEL_VALUE, QUALIFIED_NAME, SUBDOMAIN, TIMESTAMP};
use super::{Field, Schema, formatted, integer, map, object, opt, req, string, strings};

/// An object: `apiVersion`, `kind`, `metadata` and these fields. Its status is the cluster's word and is not read.
pub(super) fn kind(name: &'static Format, fields: impl IntoIterator<Item = Field>) -> Schema {
    let mut all = vec![
        req("apiVersion", string()),
        req("kind", string()),
        req("metadata", metadata(name)),
        opt("status", Schema::Any),
    ];
    all.extend(fields);
    object(all)
}

fn metadata(name: &'static Format) -> Schema {
    object([
        req("name", formatted(1, 253, name)),
        opt("namespace", formatted(1, 63, &LABEL)),
        opt("labels", labels()),
        opt("annotations", map(string(), usize::MAX).keys(&QUALIFIED_NAME)),
        opt("creationTimestamp", formatted(0, 64, &TIMESTAMP)),
        opt("generation", integer(0, i64::MAX)),
        // What `kubectl get -o yaml` adds.
        opt("uid", string()),
        opt("resourceVersion", string()),
        opt("selfLink", string()),
        opt("generateName", string()),
        opt("finalizers", strings()),
        opt("ownerReferences", Schema::Any),
        opt("managedFields", Schema::Any),
        opt("deletionTimestamp", formatted(0, 64, &TIMESTAMP)),
        opt("deletionGracePeriodSeconds", integer(0, i64::MAX)),
    ])
}

/// Labels.
pub(super) fn labels() -> Schema {
    map(formatted(0, 63, &LABEL_VALUE), usize::MAX).keys(&QUALIFIED_NAME)
}

/// Names that may hold dots.
pub(super) static NAME: &Format = &SUBDOMAIN;
