//! The input of a translation: every object, immutable, in conflict order, indexed.
//!
//! Sorting happens here and nowhere else. Gateway API: "the oldest … based on creation timestamp", then "the first
//! appearing in alphabetical order by `{namespace}/{name}`".

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer};

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

/// Objects of one kind, in conflict order.
#[derive(Debug)]
pub struct Objects<T> {
    sorted: Arc<[Arc<T>]>,
    by_name: Arc<ByName<T>>,
}

/// Objects by namespace and name.
type ByName<T> = FxHashMap<Box<str>, FxHashMap<Box<str>, Arc<T>>>;

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { sorted: Arc::default(), by_name: Arc::default() }
    }
}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self { sorted: Arc::clone(&self.sorted), by_name: Arc::clone(&self.by_name) }
    }
}

impl<T: Named> Objects<T> {
    /// Of several objects with one name the last is kept.
    fn new(objects: Vec<Arc<T>>) -> Self {
        let mut by_name = ByName::default();
        for object in objects {
            let (namespace, name) = (object.namespace(), object.name());
            match by_name.get_mut(namespace) {
                Some(names) => drop(names.insert(name.into(), object)),
                None => drop(by_name.entry(namespace.into()).or_default().insert(name.into(), object)),
            }
        }
        let mut sorted: Vec<Arc<T>> = by_name.values().flat_map(FxHashMap::values).cloned().collect();
        sorted.sort_unstable_by(|a, b| {
            (a.created(), a.namespace(), a.name()).cmp(&(b.created(), b.namespace(), b.name()))
        });
        Self { sorted: sorted.into(), by_name: Arc::new(by_name) }
    }

    /// All, oldest first, then by `namespace/name`.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.sorted.iter()
    }

    /// The one of this name. `namespace` is empty for kinds without.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.by_name.get(namespace)?.get(name)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

impl<'a, T> IntoIterator for &'a Objects<T> {
    type Item = &'a Arc<T>;
    type IntoIter = std::slice::Iter<'a, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted.iter()
    }
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident = $text:literal, $field:ident, namespaced: $namespaced:literal; )*) => {
        /// An object of a kind we read.
        #[derive(Debug, Clone)]
        pub enum Object { $( $(#[$doc])* $kind(Arc<api::$kind>), )* }

        /// The kinds we read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ObjectKind { $( $(#[$doc])* $kind, )* }

        impl ObjectKind {
            /// As in a manifest's `kind`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$kind => $text, )* }
            }
        }

        impl Object {
            /// Its kind, namespace and name.
            #[must_use]
            pub fn key(&self) -> ObjectKey {
                match self { $( Self::$kind(o) => ObjectKey::new(ObjectKind::$kind, o.namespace(), o.name()), )* }
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
        }
    };
}

kinds! {
    /// GatewayClass.
    GatewayClass = "GatewayClass", gateway_classes, namespaced: false;
    /// Gateway.
    Gateway = "Gateway", gateways, namespaced: true;
    /// ListenerSet.
    ListenerSet = "ListenerSet", listener_sets, namespaced: true;
    /// HTTPRoute.
    HttpRoute = "HTTPRoute", http_routes, namespaced: true;
    /// GRPCRoute.
    GrpcRoute = "GRPCRoute", grpc_routes, namespaced: true;
    /// ReferenceGrant.
    ReferenceGrant = "ReferenceGrant", reference_grants, namespaced: true;
    /// BackendTLSPolicy.
    BackendTlsPolicy = "BackendTLSPolicy", backend_tls_policies, namespaced: true;
    /// Service.
    Service = "Service", services, namespaced: true;
    /// EndpointSlice.
    EndpointSlice = "EndpointSlice", endpoint_slices, namespaced: true;
    /// Secret.
    Secret = "Secret", secrets, namespaced: true;
    /// ConfigMap.
    ConfigMap = "ConfigMap", config_maps, namespaced: true;
    /// Namespace.
    Namespace = "Namespace", namespaces, namespaced: false;
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
