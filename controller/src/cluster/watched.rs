//! An object as a watch delivers it, with what nobody reads taken off before it becomes typed.
//!
//! Decoding never fails as a whole: one object that these types cannot hold must not stop the watch of all its kind.
//! The status is kept apart, as text: it is compared and rewritten, never interpreted, and other controllers' entries
//! must survive with fields we do not know.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::provision::GATEWAY_NAME;
use crate::resources::Named;
use crate::status::condition_type;
use crate::translate::{
    CAPTURED, DIRECT, KUBERNETES, LOCK_OF, MANAGED_BY, OWN_MANAGER, SERVICE_NAME, SHADOW_OF, WAYPOINT,
};
use crate::{Object, ObjectKind, api};

/// A kind that is watched.
pub(crate) trait Watchable:
    Resource<DynamicType = ()>
    + DeserializeOwned
    + Named
    + Into<Object>
    + Clone
    + std::fmt::Debug
    + Send
    + 'static
{
    /// Which.
    const KIND: ObjectKind;
    /// Its status is ours to write, at least in part.
    const HAS_STATUS: bool = false;

    /// Whether what the status says is worth remembering: it is looked at again to write ours.
    fn keeps_status(_status: Option<&str>) -> bool {
        Self::HAS_STATUS
    }

    /// Its status is part of what is translated.
    const READS_STATUS: bool = false;

    /// Takes off what is never read, beside status and managed fields.
    fn slim(_object: &mut Map<String, Value>) {}
}

macro_rules! watchable {
    ($( $kind:ident $(, status: $status:literal)? $(, reads_status: $reads:literal)? $(, slim: $slim:path)?
        $(, keeps: $keeps:path)? ; )*) => { $(
        impl Watchable for api::$kind {
            const KIND: ObjectKind = ObjectKind::$kind;
            $( const HAS_STATUS: bool = $status; )?
            $( const READS_STATUS: bool = $reads; )?
            $( fn slim(object: &mut Map<String, Value>) { $slim(object); } )?
            $( fn keeps_status(status: Option<&str>) -> bool { $keeps(status) } )?
        }
    )* };
}

watchable! {
    GatewayClass, status: true;
    Gateway, status: true;
    ListenerSet, status: true;
    HttpRoute, status: true;
    GrpcRoute, status: true;
    TlsRoute, status: true;
    TcpRoute, status: true;
    UdpRoute, status: true;
    ReferenceGrant;
    BackendTlsPolicy, status: true;
    ClientTrafficPolicy, status: true;
    BackendTrafficPolicy, status: true;
    SecurityPolicy, status: true;
    Service, status: true, reads_status: true, slim: slim_service, keeps: is_captured_once;
    EndpointSlice, slim: slim_endpoint_slice;
    Pod, reads_status: true, slim: slim_pod;
    NetworkPolicy, slim: slim_network_policy;
    Secret;
    ConfigMap;
    Namespace, slim: slim_namespace;
    FairwayProxy;
    Rollout, status: true, reads_status: true, slim: slim_rollout;
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Watched<T> {
    /// Name, namespace, uid and resourceVersion.
    pub(crate) meta: ObjectMeta,
    /// The object without status and resourceVersion, or why these types cannot hold it.
    pub(crate) object: Result<T, Arc<str>>,
    /// Its status as JSON; `None` when there is none or it is not ours to write.
    pub(crate) status: Option<Box<str>>,
}

impl<'de, T: Watchable> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Map::deserialize(deserializer)?;
        let status = object.get("status").filter(|_| T::HAS_STATUS).map(|status| status.to_string().into());
        T::slim(&mut object);
        if !T::READS_STATUS {
            object.remove("status");
        }
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let meta = metadata.map(slim_metadata).unwrap_or_default();
        // Decoding leaves lists with room for more; a copy has none, which halves what a route weighs.
        let object = T::deserialize(Value::Object(object)).map(|object| T::clone(&object));
        let object = object.map_err(|error| error.to_string().into());
        Ok(Self { meta, object, status })
    }
}

/// Takes off what is never read; returns what a watch needs.
fn slim_metadata(metadata: &mut Map<String, Value>) -> ObjectMeta {
    for unused in ["managedFields", "ownerReferences", "selfLink", "generateName"] {
        metadata.remove(unused);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    ObjectMeta {
        name: text(metadata.get("name")),
        namespace: text(metadata.get("namespace")),
        uid: text(metadata.get("uid")),
        resource_version: text(metadata.remove("resourceVersion").as_ref()),
        ..ObjectMeta::default()
    }
}

/// Of Services' status only that of our own is read: it is how a Gateway learns where it is.
fn slim_service(object: &mut Map<String, Value>) {
    if label(object, GATEWAY_NAME).is_none() {
        object.remove("status");
    }
}

/// Of thousands of Services only a few were ever told of a waypoint.
fn is_captured_once(status: Option<&str>) -> bool {
    status.is_some_and(|status| status.contains(condition_type::WAYPOINT_BOUND))
}

/// Of a Rollout's status only what weights follow from is translated; the rest changes with each check.
fn slim_rollout(object: &mut Map<String, Value>) {
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.retain(|field, _| matches!(&**field, "subject" | "weight"));
    }
}

/// Labels of EndpointSlices that are read.
const LABELS: &[&str] = &[SERVICE_NAME, MANAGED_BY, CAPTURED, SHADOW_OF, DIRECT, GATEWAY_NAME];
/// What of endpoints is not.
const UNUSED: &[&str] = &["hostname", "deprecatedTopology", "hints", "targetRef", "nodeName"];
/// The same of waypoints, whose pods are told apart.
const UNUSED_OF_WAYPOINTS: &[&str] = &["hostname", "deprecatedTopology", "hints"];

fn slim_endpoint_slice(object: &mut Map<String, Value>) {
    let is_managed = label(object, MANAGED_BY).is_some();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| key == WAYPOINT);
        }
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.retain(|key, value| {
                LABELS.contains(&&**key) && !(key == MANAGED_BY && value.as_str() == Some(KUBERNETES))
            });
        }
    }
    if !is_managed && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        labels.as_object_mut().map(|labels| labels.insert(MANAGED_BY.to_owned(), "".into()));
    }
    // Which pod of a waypoint an endpoint is.
    let is_waypoint = label(object, GATEWAY_NAME).is_some() || label(object, MANAGED_BY) == Some(OWN_MANAGER);
    let unused = if is_waypoint { UNUSED_OF_WAYPOINTS } else { UNUSED };
    for endpoint in object.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(endpoint) = endpoint.as_object_mut() else { continue };
        unused.iter().for_each(|field| drop(endpoint.remove(*field)));
    }
}

/// Of a Pod only who it runs as and where it is: it has some hundred fields, most of all in its status, and all others change
/// without anybody here to know.
fn slim_pod(object: &mut Map<String, Value>) {
    let kept: [(&str, &[&str]); 3] = [
        ("metadata", &["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]),
        ("spec", &["serviceAccountName", "hostNetwork"]),
        ("status", &["phase", "podIPs"]),
    ];
    object.retain(|part, _| kept.iter().any(|(name, _)| part == name));
    for (part, fields) in kept {
        if let Some(part) = object.get_mut(part).and_then(Value::as_object_mut) {
            part.retain(|field, _| fields.contains(&&**field));
        }
    }
}

/// Of a NetworkPolicy only whom it isolates, from whom, and whether it is ours.
fn slim_network_policy(object: &mut Map<String, Value>) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("egress");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.retain(|key, _| key == LOCK_OF);
        }
    }
}

fn slim_namespace(object: &mut Map<String, Value>) {
    object.remove("spec");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
    }
}

fn label<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

impl<T: Watchable> Resource for Watched<T> {
    type DynamicType = ();
    type Scope = T::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        T::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        T::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        T::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        T::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
