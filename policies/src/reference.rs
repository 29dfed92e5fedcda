//! How policies name objects: Secrets, ConfigMaps and their keys, and ports of Services.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{NAMESPACE, OBJECT_NAME, form};

/// A Secret or ConfigMap; granted (ReferenceGrant) by the time it is compiled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenObject")]
pub struct ObjectRef {
    /// `Secret` or `ConfigMap`.
    pub kind: ObjectKind,
    /// Namespace of the object. Default: that of the policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// A Secret or ConfigMap; granted (ReferenceGrant) by the time it is compiled.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ObjectRef")]
struct WrittenObject {
    /// Nothing, which is the group of both. Default: empty.
    #[serde(default, rename = "group")]
    _group: CoreGroup,
    /// `Secret` or `ConfigMap`. Default: Secret.
    #[serde(default)]
    kind: ObjectKind,
    /// Namespace of the object. Default: that of the policy.
    #[serde(default)]
    #[schemars(transform = form(NAMESPACE))]
    namespace: String,
    /// Name of the object.
    #[schemars(transform = form(OBJECT_NAME))]
    name: String,
}

impl From<WrittenObject> for ObjectRef {
    fn from(WrittenObject { kind, namespace, name, .. }: WrittenObject) -> Self {
        Self { kind, namespace, name }
    }
}

impl ObjectRef {
    /// The same with its namespace, as a policy of `namespace` means it.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
        Self { kind: self.kind, namespace: namespace.to_owned(), name: self.name.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What kind of object holds something.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ObjectKind {
    /// What must not be shown.
    #[default]
    Secret,
    /// What everybody may see.
    ConfigMap,
}

/// A Service port; granted (ReferenceGrant) by the time it is compiled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenBackend")]
pub struct BackendRef {
    /// Namespace of the Service. Default: that of the policy or route.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Port of the Service.
    pub port: u16,
}

/// A Service port; granted (ReferenceGrant) by the time it is compiled.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "BackendRef")]
struct WrittenBackend {
    /// Nothing, which is the group of Services. Default: empty.
    #[serde(default, rename = "group")]
    _group: CoreGroup,
    /// `Service`. Default: Service.
    #[serde(default, rename = "kind")]
    _kind: OnlyService,
    /// Namespace of the Service. Default: that of the policy or route.
    #[serde(default)]
    #[schemars(transform = form(NAMESPACE))]
    namespace: String,
    /// Name of the Service.
    #[schemars(transform = form(OBJECT_NAME))]
    name: String,
    /// Port of the Service.
    #[schemars(range(min = 1))]
    port: u16,
}

/// The only kind that can be named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(inline)]
enum OnlyService {
    #[default]
    Service,
}

/// The only group that can be named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
enum CoreGroup {
    #[default]
    #[serde(rename = "")]
    Core,
}

impl From<WrittenBackend> for BackendRef {
    fn from(WrittenBackend { namespace, name, port, .. }: WrittenBackend) -> Self {
        Self { namespace, name, port }
    }
}

impl BackendRef {
    /// The same with its namespace, as a policy of `namespace` means it.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
        Self { namespace: namespace.to_owned(), name: self.name.clone(), port: self.port }
    }
}

impl fmt::Display for BackendRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

impl FromStr for BackendRef {
    type Err = String;

    /// What [`Display`](fmt::Display) writes, with a namespace.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (namespace, rest) = text.split_once('/')?;
            let (name, port) = rest.rsplit_once(':')?;
            let port = port.parse().ok()?;
            let is_whole = !namespace.is_empty() && !name.is_empty();
            is_whole.then(|| Self { namespace: namespace.into(), name: name.into(), port })
        };
        parts().ok_or_else(|| format!("{text:?} is no backend: write namespace/name:port"))
    }
}

/// A key of a Secret or ConfigMap of the policy's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenKey", into = "WrittenKey")]
pub struct KeyRef {
    /// Which of them.
    pub object: ObjectRef,
    /// Which key.
    pub key: String,
}

/// A key of a Secret or ConfigMap of the policy's namespace.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "KeyRef")]
struct WrittenKey {
    /// Nothing, which is the group of both. Default: empty.
    #[serde(default, skip_serializing, rename = "group")]
    _group: CoreGroup,
    /// `Secret` or `ConfigMap`. Default: Secret.
    #[serde(default)]
    kind: ObjectKind,
    /// Name of the object.
    #[schemars(transform = form(OBJECT_NAME))]
    name: String,
    /// Which key.
    #[schemars(length(min = 1, max = 253))]
    key: String,
}

impl From<WrittenKey> for KeyRef {
    fn from(WrittenKey { kind, name, key, .. }: WrittenKey) -> Self {
        Self { object: ObjectRef { kind, namespace: String::new(), name }, key }
    }
}

impl From<KeyRef> for WrittenKey {
    fn from(KeyRef { object, key }: KeyRef) -> Self {
        Self { _group: CoreGroup::Core, kind: object.kind, name: object.name, key }
    }
}
