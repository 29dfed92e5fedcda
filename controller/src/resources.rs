//! The input of a translation: every object, immutable, in conflict order, indexed.
//!
//! Sorting happens here and nowhere else. Gateway API: "the oldest … based on creation timestamp", then "the first
//! appearing in alphabetical order by `{namespace}/{name}`".

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rustc_hash::FxHashSet;
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
    /// The same, by namespace and name: it is searched by halving, because copying it for the next change costs a
    /// fraction of what copying a map does.
    by_name: Arc<[Arc<T>]>,
}

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

fn by_age<T: Named>(a: &Arc<T>, b: &Arc<T>) -> Ordering {
    (a.created(), a.namespace(), a.name()).cmp(&(b.created(), b.namespace(), b.name()))
}

fn by_name<T: Named>(a: &Arc<T>, b: &Arc<T>) -> Ordering {
    (a.namespace(), a.name()).cmp(&(b.namespace(), b.name()))
}

impl<T: Named> Objects<T> {
    /// Of several objects with one name the last is kept.
    fn new(mut objects: Vec<Arc<T>>) -> Self {
        // The sort is stable, so the last of a name is the last of its run.
        objects.reverse();
        objects.sort_by(by_name);
        objects.dedup_by(|b, a| by_name(a, b).is_eq());
        let names: Arc<[Arc<T>]> = objects.as_slice().into();
        objects.sort_unstable_by(by_age);
        Self { sorted: objects.into(), by_name: names }
    }

    /// The same with some objects gone and some new or changed. Costs a copy of two lists of pointers, beside what
    /// changed.
    fn with(&self, gone: &[ObjectKey], mut new: Vec<Arc<T>>) -> Self {
        let names = gone.iter().map(|key| (&*key.namespace, &*key.name));
        let names = names.chain(new.iter().map(|object| (object.namespace(), object.name())));
        let old: FxHashSet<*const T> =
            names.filter_map(|(ns, name)| self.get(ns, name)).map(Arc::as_ptr).collect();
        let left = |list: &[Arc<T>]| -> Vec<Arc<T>> {
            list.iter().filter(|object| !old.contains(&Arc::as_ptr(object))).cloned().collect()
        };
        new.sort_unstable_by(by_name);
        let names = merge(left(&self.by_name), &new, by_name);
        new.sort_unstable_by(by_age);
        Self { sorted: merge(left(&self.sorted), &new, by_age), by_name: names }
    }

    /// All, oldest first, then by `namespace/name`.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.sorted.iter()
    }

    /// The one of this name. `namespace` is empty for kinds without.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        let order = |object: &Arc<T>| (object.namespace(), object.name()).cmp(&(namespace, name));
        let place = self.by_name.binary_search_by(order).ok()?;
        self.by_name.get(place)
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

/// Two lists, each in order, as one.
fn merge<T>(old: Vec<Arc<T>>, new: &[Arc<T>], order: fn(&Arc<T>, &Arc<T>) -> Ordering) -> Arc<[Arc<T>]> {
    if new.is_empty() {
        return old.into();
    }
    let (mut merged, mut new) = (Vec::with_capacity(old.len() + new.len()), new.iter().peekable());
    for object in old {
        while let Some(before) = new.next_if(|new| order(new, &object).is_lt()) {
            merged.push(Arc::clone(before));
        }
        merged.push(object);
    }
    merged.extend(new.cloned());
    merged.into()
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
            /// All of them.
            pub const ALL: &[Self] = &[$( Self::$kind, )*];

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
                    let of_kind = changed.into_iter().filter_map(|object| match object {
                        Object::$kind(object) => Some(object),
                        #[allow(unreachable_patterns, reason = "there may be one kind")]
                        _ => None,
                    });
                    self.$field = self.$field.with(gone, of_kind.collect());
                } )* }
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
    /// TLSRoute.
    TlsRoute = "TLSRoute", tls_routes, namespaced: true;
    /// TCPRoute.
    TcpRoute = "TCPRoute", tcp_routes, namespaced: true;
    /// UDPRoute.
    UdpRoute = "UDPRoute", udp_routes, namespaced: true;
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
    /// FairwayProxy.
    FairwayProxy = "FairwayProxy", fairway_proxies, namespaced: true;
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
