//! The input of a translation: every object, immutable, in conflict order, indexed.
//!
//! Versions share what they have in common, so that a translator can keep the last one and find what changed without
//! being told.
//!
//! Sorting happens here and nowhere else. Gateway API: "the oldest … based on creation timestamp", then "the first
//! appearing in alphabetical order by `{namespace}/{name}`".

mod objects;

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer};

pub use self::objects::Objects;
use crate::api;

/// What [`Objects`] needs to know of an object.
pub trait Named {
    /// Whether objects of this kind have a namespace.
    const NAMESPACED: bool = true;

    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Its name.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Its namespace, `default` when the manifest leaves it out; empty for kinds without namespace.
    fn namespace(&self) -> &str {
        if Self::NAMESPACED { self.meta().namespace.as_deref().unwrap_or("default") } else { "" }
    }

    /// creationTimestamp in seconds since 1970; 0 when it is not set, as in files.
    fn created(&self) -> i64 {
        self.meta().creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
    }

    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str> {
        self.meta().labels.as_ref()?.get(key).map(String::as_str)
    }
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident = $text:literal of $version:literal, $field:ident, namespaced: $namespaced:literal; )*) => {
        /// An object of a kind we read.
        #[derive(Debug, Clone)]
        pub enum Object { $( $(#[$doc])* $kind(Arc<api::$kind>), )* }

        /// The kinds we read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ObjectKind { $( $(#[$doc])* $kind, )* }

        impl ObjectKind {
            /// All of them.
            pub const ALL: &[Self] = &[$( Self::$kind, )*];

            /// As in a manifest's `kind`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$kind => $text, )* }
            }

            /// As in a manifest's `apiVersion`; the newest that we read.
            #[must_use]
            pub const fn api_version(self) -> &'static str {
                match self { $( Self::$kind => $version, )* }
            }
        }

        impl Object {
            /// Its kind, namespace and name.
            #[must_use]
            pub fn key(&self) -> ObjectKey {
                match self { $( Self::$kind(o) => ObjectKey::new(ObjectKind::$kind, o.namespace(), o.name()), )* }
            }

            /// Whether both are of one kind and equal.
            #[must_use]
            pub fn same_content(&self, other: &Self) -> bool {
                match (self, other) {
                    $( (Self::$kind(a), Self::$kind(b)) => a == b, )*
                    #[allow(unreachable_patterns, reason = "there may be one kind")]
                    _ => false,
                }
            }

            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> ObjectKind {
                match self { $( Self::$kind(_) => ObjectKind::$kind, )* }
            }

            /// Its metadata.
            #[must_use]
            pub fn meta(&self) -> &ObjectMeta {
                match self { $( Self::$kind(o) => o.meta(), )* }
            }
        }

        $(
            impl Named for api::$kind {
                const NAMESPACED: bool = $namespaced;

                fn meta(&self) -> &ObjectMeta {
                    &self.metadata
                }
            }

            impl From<api::$kind> for Object {
                fn from(object: api::$kind) -> Self {
                    Self::$kind(Arc::new(object))
                }
            }
        )*

        /// Every object of one moment. Cloning shares them.
        #[derive(Debug, Clone, Default)]
        pub struct Resources { $( $(#[$doc])* pub $field: Objects<api::$kind>, )* }

        impl Resources {
            /// Sorts and indexes. Of several objects with one kind and name the last is kept.
            pub fn collect(objects: impl IntoIterator<Item = Object>) -> Self {
                $( let mut $field = Vec::new(); )*
                for object in objects {
                    match object { $( Object::$kind(object) => $field.push(object), )* }
                }
                Self { $( $field: Objects::new($field), )* }
            }

            /// Takes changes of one kind: `gone` are removed, `changed` are new or replace those of their name.
            /// Objects of other kinds are left out.
            pub fn change(&mut self, kind: ObjectKind, gone: &[ObjectKey], changed: Vec<Object>) {
                match kind { $( ObjectKind::$kind => {
                    gone.iter().for_each(|key| self.$field.remove(&key.namespace, &key.name));
                    for object in changed {
                        match object {
                            Object::$kind(object) => self.$field.insert(object),
                            #[allow(unreachable_patterns, reason = "there may be one kind")]
                            _ => {}
                        }
                    }
                } )* }
            }
        }
    };
}

kinds! {
    /// GatewayClass.
    GatewayClass = "GatewayClass" of "gateway.networking.k8s.io/v1", gateway_classes, namespaced: false;
    /// Gateway.
    Gateway = "Gateway" of "gateway.networking.k8s.io/v1", gateways, namespaced: true;
    /// ListenerSet.
    ListenerSet = "ListenerSet" of "gateway.networking.k8s.io/v1", listener_sets, namespaced: true;
    /// HTTPRoute.
    HttpRoute = "HTTPRoute" of "gateway.networking.k8s.io/v1", http_routes, namespaced: true;
    /// GRPCRoute.
    GrpcRoute = "GRPCRoute" of "gateway.networking.k8s.io/v1", grpc_routes, namespaced: true;
    /// TLSRoute.
    TlsRoute = "TLSRoute" of "gateway.networking.k8s.io/v1", tls_routes, namespaced: true;
    /// TCPRoute.
    TcpRoute = "TCPRoute" of "gateway.networking.k8s.io/v1", tcp_routes, namespaced: true;
    /// UDPRoute.
    UdpRoute = "UDPRoute" of "gateway.networking.k8s.io/v1", udp_routes, namespaced: true;
    /// ReferenceGrant.
    ReferenceGrant = "ReferenceGrant" of "gateway.networking.k8s.io/v1", reference_grants, namespaced: true;
    /// BackendTLSPolicy.
    BackendTlsPolicy = "BackendTLSPolicy" of "gateway.networking.k8s.io/v1", backend_tls_policies, namespaced: true;
    /// ClientTrafficPolicy.
    ClientTrafficPolicy = "ClientTrafficPolicy" of "fairway.dev/v1alpha1", client_traffic_policies, namespaced: true;
    /// BackendTrafficPolicy.
    BackendTrafficPolicy = "BackendTrafficPolicy" of "fairway.dev/v1alpha1", backend_traffic_policies, namespaced: true;
    /// SecurityPolicy.
    SecurityPolicy = "SecurityPolicy" of "fairway.dev/v1alpha1", security_policies, namespaced: true;
    /// Service.
    Service = "Service" of "v1", services, namespaced: true;
    /// EndpointSlice.
    EndpointSlice = "EndpointSlice" of "discovery.k8s.io/v1", endpoint_slices, namespaced: true;
    /// Pod.
    Pod = "Pod" of "v1", pods, namespaced: true;
    /// NetworkPolicy.
    NetworkPolicy = "NetworkPolicy" of "networking.k8s.io/v1", network_policies, namespaced: true;
    /// Secret.
    Secret = "Secret" of "v1", secrets, namespaced: true;
    /// ConfigMap.
    ConfigMap = "ConfigMap" of "v1", config_maps, namespaced: true;
    /// Namespace.
    Namespace = "Namespace" of "v1", namespaces, namespaced: false;
    /// FairwayProxy.
    FairwayProxy = "FairwayProxy" of "fairway.dev/v1alpha1", fairway_proxies, namespaced: true;
    /// Rollout.
    Rollout = "Rollout" of "fairway.dev/v1alpha1", rollouts, namespaced: true;
}

impl ObjectKind {
    /// What proxies know a route of this kind by; `None` for what is no route.
    #[must_use]
    pub const fn route(self) -> Option<config::Kind> {
        match self {
            Self::HttpRoute => Some(config::Kind::HttpRoute),
            Self::GrpcRoute => Some(config::Kind::GrpcRoute),
            Self::TlsRoute => Some(config::Kind::TlsRoute),
            Self::TcpRoute => Some(config::Kind::TcpRoute),
            Self::UdpRoute => Some(config::Kind::UdpRoute),
            Self::GatewayClass
            | Self::Gateway
            | Self::ListenerSet
            | Self::ReferenceGrant
            | Self::BackendTlsPolicy
            | Self::ClientTrafficPolicy
            | Self::BackendTrafficPolicy
            | Self::SecurityPolicy
            | Self::Service
            | Self::EndpointSlice
            | Self::Pod
            | Self::NetworkPolicy
            | Self::Secret
            | Self::ConfigMap
            | Self::Namespace
            | Self::FairwayProxy
            | Self::Rollout => None,
        }
    }

    /// Its API group; empty for the core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether its status has an entry for each ancestor.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::BackendTlsPolicy | Self::ClientTrafficPolicy) || self.is_attached()
    }

    /// Whether it is a policy that proxies get as a resource of its own, and answer.
    #[must_use]
    pub const fn is_attached(self) -> bool {
        matches!(self, Self::SecurityPolicy | Self::BackendTrafficPolicy)
    }
}

/// Names an object of the user. Printed as `Kind/namespace/name`, without namespace for kinds that have none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kind.
    pub kind: ObjectKind,
    /// Namespace; empty for kinds without.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl ObjectKey {
    /// A key.
    pub fn new(kind: ObjectKind, namespace: impl Into<Box<str>>, name: impl Into<Box<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if !self.namespace.is_empty() {
            write!(f, "/{}", self.namespace)?;
        }
        write!(f, "/{}", self.name)
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Namespace;

    fn namespace(name: usize, created: i64, version: i64) -> Object {
        let mut object = Namespace::default();
        object.metadata.name = Some(format!("n{name}"));
        object.metadata.generation = Some(version);
        let time = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
        object.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        object.into()
    }

    fn shown(resources: &Resources) -> Vec<(String, Option<i64>)> {
        let list = &resources.namespaces;
        list.iter().for_each(|object| {
            assert!(Arc::ptr_eq(list.get("", object.name()).unwrap(), object));
        });
        list.iter().map(|object| (object.name().to_owned(), object.metadata.generation)).collect()
    }

    proptest::proptest! {
        #[test]
        fn changing_a_list_is_making_it_anew(
            steps in proptest::collection::vec(
                proptest::collection::vec((0_usize..12, 0_i64..4, proptest::bool::ANY), 0..6), 1..20),
        ) {
            let mut objects = std::collections::BTreeMap::new();
            let mut resources = Resources::default();
            for (version, step) in (0_i64..).zip(steps) {
                let mut changes = std::collections::BTreeMap::new();
                for (name, created, is_there) in step {
                    changes.insert(name, is_there.then(|| namespace(name, created, version)));
                }
                let (mut gone, mut changed) = (Vec::new(), Vec::new());
                for (name, object) in changes {
                    match object {
                        Some(object) => { changed.push(object.clone()); objects.insert(name, object); }
                        None => {
                            gone.push(ObjectKey::new(ObjectKind::Namespace, "", format!("n{name}")));
                            objects.remove(&name);
                        }
                    }
                }
                resources.change(ObjectKind::Namespace, &gone, changed);
                proptest::prop_assert_eq!(shown(&resources), shown(&Resources::collect(objects.values().cloned())));
            }
        }
    }

    #[test]
    fn of_two_objects_with_one_name_the_last_is_kept() {
        let resources = Resources::collect([namespace(1, 5, 1), namespace(1, 9, 2), namespace(0, 7, 3)]);
        assert_eq!(shown(&resources), [("n0".to_owned(), Some(3)), ("n1".to_owned(), Some(2))]);
    }
}
