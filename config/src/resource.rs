//! Keys and the closed set of resource kinds.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    Backend, BackendTrafficPolicy, Certificate, Endpoints, HttpRoute, Listener, Material, SecurityPolicy,
    StreamRoute, Workload,
};

/// The kind of a resource; the order is the order in which a proxy wants to learn them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A TLS certificate with its key.
    Certificate,
    /// What a policy needs of a Secret.
    Secret,
    /// What a policy needs of a ConfigMap.
    ConfigMap,
    /// A Service port.
    Backend,
    /// The addresses of a Service port: apart, because they change most.
    Endpoints,
    /// A SecurityPolicy.
    SecurityPolicy,
    /// A BackendTrafficPolicy.
    BackendTrafficPolicy,
    /// A pod, by its addresses: before listeners, so that the first caller is known.
    Workload,
    /// A port to listen on.
    Listener,
    /// An HTTPRoute.
    HttpRoute,
    /// A GRPCRoute, as HTTP rules.
    GrpcRoute,
    /// A TLSRoute.
    TlsRoute,
    /// A TCPRoute.
    TcpRoute,
    /// A UDPRoute.
    UdpRoute,
}

impl Kind {
    /// As it is written in a [`Key`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "Certificate",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Backend => "Backend",
            Self::Endpoints => "Endpoints",
            Self::SecurityPolicy => "SecurityPolicy",
            Self::BackendTrafficPolicy => "BackendTrafficPolicy",
            Self::Workload => "Workload",
            Self::Listener => "Listener",
            Self::HttpRoute => "HttpRoute",
            Self::GrpcRoute => "GrpcRoute",
            Self::TlsRoute => "TlsRoute",
            Self::TcpRoute => "TcpRoute",
            Self::UdpRoute => "UdpRoute",
        }
    }
}

/// Names a resource: `Kind/namespace/name`. Names: a listener `gateway/section`
/// (`gateway/namespace/set/section` if it is a ListenerSet's) or `service:port`, a backend and its
/// endpoints `service:port` or `service:port:udp`, the rest as the user's object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Namespace of the user's object.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Key of the backend a reference names.
    #[must_use]
    pub fn backend(backend: &policies::BackendRef) -> Self {
        Self::new(Kind::Backend, &*backend.namespace, format!("{}:{}", backend.name, backend.port))
    }

    /// Key of the backend a reference of a UDPRoute names: a Service may have one port number for TCP and for UDP.
    #[must_use]
    pub fn udp_backend(backend: &policies::BackendRef) -> Self {
        let tcp = Self::backend(backend);
        Self { name: tcp.name + ":udp", ..tcp }
    }

    /// Key of what a policy needs of a Secret or ConfigMap.
    #[must_use]
    pub fn object(object: &policies::ObjectRef) -> Self {
        Self::new(crate::material::kind(object.kind), &*object.namespace, &*object.name)
    }

    /// Key of the endpoints of the backend a reference names.
    #[must_use]
    pub fn endpoints(backend: &policies::BackendRef) -> Self {
        Self { kind: Kind::Endpoints, ..Self::backend(backend) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a key: write Kind/namespace/name");
        let (kind, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (namespace, name) = rest.split_once('/').ok_or_else(wrong)?;
        let kind = [
            Kind::Certificate,
            Kind::Secret,
            Kind::ConfigMap,
            Kind::Backend,
            Kind::Endpoints,
            Kind::SecurityPolicy,
            Kind::BackendTrafficPolicy,
            Kind::Workload,
            Kind::Listener,
            Kind::HttpRoute,
            Kind::GrpcRoute,
            Kind::TlsRoute,
            Kind::TcpRoute,
            Kind::UdpRoute,
        ]
        .into_iter()
        .find(|k| k.as_str() == kind)
        .ok_or_else(wrong)?;
        Ok(Self::new(kind, namespace, name))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "`Kind/namespace/name`", "type": "string" })
    }
}

/// One piece of configuration. Serialised with its kind beside its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
#[allow(clippy::large_enum_variant, reason = "routes are the common case and the large one")]
pub enum Resource {
    /// See [`Certificate`].
    Certificate(Certificate),
    /// See [`Material`].
    Secret(Material),
    /// See [`Material`].
    ConfigMap(Material),
    /// See [`Backend`].
    Backend(Backend),
    /// See [`Endpoints`].
    Endpoints(Endpoints),
    /// See [`SecurityPolicy`]. In a box, or every endpoint would take the room of all that a policy may say.
    SecurityPolicy(Box<SecurityPolicy>),
    /// See [`BackendTrafficPolicy`].
    BackendTrafficPolicy(Box<BackendTrafficPolicy>),
    /// See [`Workload`].
    Workload(Workload),
    /// See [`Listener`].
    Listener(Listener),
    /// See [`HttpRoute`].
    HttpRoute(HttpRoute),
    /// A GRPCRoute: the same form, and replies speak gRPC.
    GrpcRoute(HttpRoute),
    /// See [`StreamRoute`].
    TlsRoute(StreamRoute),
    /// See [`StreamRoute`].
    TcpRoute(StreamRoute),
    /// See [`StreamRoute`]; its backends are those of [`Key::udp_backend`].
    UdpRoute(StreamRoute),
}

impl Resource {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Certificate(_) => Kind::Certificate,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Backend(_) => Kind::Backend,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::SecurityPolicy(_) => Kind::SecurityPolicy,
            Self::BackendTrafficPolicy(_) => Kind::BackendTrafficPolicy,
            Self::Workload(_) => Kind::Workload,
            Self::Listener(_) => Kind::Listener,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::TlsRoute(_) => Kind::TlsRoute,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::UdpRoute(_) => Kind::UdpRoute,
        }
    }

    /// A copy to show: private keys and what policies need of Secrets and ConfigMaps become `[redacted]`.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let hidden = || crate::Redacted::new("[redacted]");
        let mut shown = self.clone();
        match &mut shown {
            Self::Certificate(certificate) => certificate.key = hidden(),
            Self::Secret(material) | Self::ConfigMap(material) => {
                material.data.values_mut().for_each(|value| *value = hidden());
            }
            Self::Backend(_)
            | Self::Endpoints(_)
            | Self::SecurityPolicy(_)
            | Self::BackendTrafficPolicy(_)
            | Self::Workload(_)
            | Self::Listener(_)
            | Self::HttpRoute(_)
            | Self::GrpcRoute(_)
            | Self::TlsRoute(_)
            | Self::TcpRoute(_)
            | Self::UdpRoute(_) => {}
        }
        shown
    }
}
