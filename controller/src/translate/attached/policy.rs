//! Policies of every kind that is attached to something, alike.

use std::sync::Arc;

use config::{Key, Kind};

use crate::api::{BackendTrafficPolicy, SecurityPolicy};
use crate::attached_policy::Spec;
use crate::resources::{Named, ObjectKind, Resources};

/// One of them.
#[derive(Debug, Clone)]
pub(crate) enum Policy {
    Security(Arc<SecurityPolicy>),
    Traffic(Arc<BackendTrafficPolicy>),
}

impl Policy {
    /// The kinds there are, as proxies know them.
    pub(crate) const KINDS: [Kind; 2] = [Kind::SecurityPolicy, Kind::BackendTrafficPolicy];

    /// All of them; of each kind the oldest first.
    pub(crate) fn all(resources: &Resources) -> impl Iterator<Item = Self> {
        let security = resources.security_policies.iter().cloned().map(Self::Security);
        security.chain(resources.backend_traffic_policies.iter().cloned().map(Self::Traffic))
    }

    /// Whether any is another one.
    pub(crate) fn differ(then: &Resources, now: &Resources) -> bool {
        then.security_policies.changes(&now.security_policies).next().is_some()
            || then.backend_traffic_policies.changes(&now.backend_traffic_policies).next().is_some()
    }

    pub(crate) fn kind(&self) -> ObjectKind {
        match self {
            Self::Security(_) => ObjectKind::SecurityPolicy,
            Self::Traffic(_) => ObjectKind::BackendTrafficPolicy,
        }
    }

    /// As proxies know it.
    pub(crate) fn key(&self) -> Key {
        let kind = match self {
            Self::Security(_) => Kind::SecurityPolicy,
            Self::Traffic(_) => Kind::BackendTrafficPolicy,
        };
        Key::new(kind, self.namespace(), self.name())
    }

    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Security(policy) => policy.namespace(),
            Self::Traffic(policy) => policy.namespace(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Security(policy) => policy.name(),
            Self::Traffic(policy) => policy.name(),
        }
    }

    pub(crate) fn generation(&self) -> Option<i64> {
        match self {
            Self::Security(policy) => policy.metadata.generation,
            Self::Traffic(policy) => policy.metadata.generation,
        }
    }

    pub(crate) fn spec(&self) -> Spec<'_> {
        match self {
            Self::Security(policy) => policy.spec.view(),
            Self::Traffic(policy) => policy.spec.view(),
        }
    }

    /// Whether it is the very same object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Security(a), Self::Security(b)) => Arc::ptr_eq(a, b),
            (Self::Traffic(a), Self::Traffic(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}
