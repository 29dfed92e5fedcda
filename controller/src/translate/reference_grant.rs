//! Who may refer to what in another namespace.

use crate::api::ReferenceGrant;
use crate::resources::{ObjectKind, Objects};

/// Gateway API's group.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// Every ReferenceGrant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grants<'a>(&'a Objects<ReferenceGrant>);

impl<'a> Grants<'a> {
    pub(crate) const fn new(grants: &'a Objects<ReferenceGrant>) -> Self {
        Self(grants)
    }

    /// Whether objects of `from` may refer to the core object `to` (kind, namespace,
    /// name).
    pub(crate) fn allow(&self, from: (ObjectKind, &str), to: (ObjectKind, &str, &str)) -> bool {
        let ((from_kind, from_namespace), (to_kind, to_namespace, to_name)) = (from, to);
        from_namespace == to_namespace
            || self.0.in_namespace(to_namespace).any(|grant| {
                grant.spec.from.iter().any(|from| {
                    from.group == from_kind.group()
                        && from.kind == from_kind.as_str()
                        && from.namespace == from_namespace
                }) && grant.spec.to.iter().any(|to| {
                    // Gateway API: "When unspecified, this policy refers to all resources of the specified
                    // Group and Kind in the local namespace".
                    to.group.is_empty()
                        && to.kind == to_kind.as_str()
                        && to.name.as_deref().is_none_or(|name| name.is_empty() || name == to_name)
                })
            })
    }

    /// What to say when [`allow`](Self::allow) says no.
    pub(crate) fn remedy(from: (ObjectKind, &str), to: (ObjectKind, &str, &str)) -> String {
        format!(
            "{} {}/{} is in another namespace: a ReferenceGrant in namespace {} must allow it from {} in \
             namespace {}",
            to.0.as_str(),
            to.1,
            to.2,
            to.1,
            from.0.as_str(),
            from.1
        )
    }
}
