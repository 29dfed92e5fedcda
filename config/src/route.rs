//! HTTP routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackendRef, Captured, Key, PolicySet};

/// An HTTPRoute or GRPCRoute with at least one accepted parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    /// creationTimestamp in seconds since 1970; of two routes that match equally well the older wins, then the one
    /// first by `namespace/name` (Gateway API).
    #[serde(default)]
    pub created: i64,
    /// What the route is attached to.
    pub parents: Vec<Parent>,
    /// Each policy that is about it, the more general first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Key>,
    /// Rules, in the user's order.
    pub rules: Vec<HttpRule>,
}

/// A TLSRoute, TCPRoute or UDPRoute with at least one accepted parent: a whole connection, or for UDP a flow (one client
/// address and port), goes to one backend. With several on one listener (and, for TLS, one host name) the oldest wins,
/// then the one first by `namespace/name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamRoute {
    /// creationTimestamp in seconds since 1970.
    #[serde(default)]
    pub created: i64,
    /// What the route is attached to. Host names are those of the ClientHello; `*` alone where there is none.
    pub parents: Vec<Parent>,
    /// The user's name for the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where connections go. What HTTP answers with 500 is a reset here, and nothing at all for UDP. Backends carry no
    /// policies.
    pub action: Action,
}

/// What a route is attached to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Parent {
    /// A listener of a Gateway.
    #[serde(rename_all = "camelCase")]
    Listener {
        /// Namespace of the Gateway.
        namespace: String,
        /// Name of the Gateway.
        gateway: String,
        /// Name of the listener; `namespace/set/name` for a listener of a ListenerSet attached to the Gateway.
        section: String,
        /// The route's host names that the listener serves too; `*` alone: all.
        hostnames: Vec<String>,
    },
    /// A captured Service port (GAMMA).
    Service(Captured),
}

/// One rule of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRule {
    /// The user's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; none means every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// What happens to the request and its response.
    #[serde(default, skip_serializing_if = "PolicySet::is_empty")]
    pub policies: PolicySet,
    /// Each policy that is about it alone, the more general first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Key>,
    /// Who answers.
    pub action: Action,
}

/// Who answers a request that no policy answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// One of these, by weight. None, or only zero weights: 500 (Gateway API).
    Forward(Vec<WeightedBackend>),
    /// 500: the rule is invalid and says why; other rules are not touched.
    #[serde(rename_all = "camelCase")]
    Fail {
        /// For logs and `fairway explain`.
        message: String,
    },
}

/// A backend and its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeightedBackend {
    /// Who.
    pub target: Target,
    /// Share: weight over the sum of weights.
    pub weight: u32,
    /// What happens only to requests for this backend.
    #[serde(default, skip_serializing_if = "PolicySet::is_empty")]
    pub policies: PolicySet,
    /// Each policy that is about the Service, the more general first; beside those of the
    /// rule, which cannot take anything off them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Key>,
}

/// Where a share of the requests goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// A backend.
    Backend(BackendRef),
    /// The reference cannot be used: this share is answered 500 (Gateway API: "requests that would have otherwise been
    /// routed to an invalid backend MUST receive a 500").
    #[serde(rename_all = "camelCase")]
    Invalid {
        /// For logs and `fairway explain`.
        message: String,
    },
}

/// Conditions that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// The path. Default: prefix `/`.
    #[serde(default)]
    pub path: PathMatch,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Header fields; names are unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    /// Query parameters; names are unique and case-sensitive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ValueMatch>,
}

/// How a path is matched. Precedence: exact, regex (longer pattern first), longest prefix, gRPC method, prefix `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathMatch {
    /// The whole path, case-sensitive.
    Exact(String),
    /// Whole path segments: `/foo` matches `/foo` and `/foo/bar`, not `/foobar`. A trailing slash is ignored.
    Prefix(String),
    /// A regular expression (RE2 syntax) for the whole path.
    Regex(String),
    /// `This` for `/any.Service/This`: a gRPC method of whatever service.
    GrpcMethod(String),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

/// A condition on a named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueMatch {
    /// Name.
    pub name: String,
    /// How `value` is read.
    #[serde(default, skip_serializing_if = "ValueKind::is_exact")]
    pub kind: ValueKind,
    /// The value or a regular expression for the whole value.
    pub value: String,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ValueKind {
    /// Byte for byte.
    #[default]
    Exact,
    /// RE2 syntax.
    Regex,
}

impl ValueKind {
    const fn is_exact(&self) -> bool {
        matches!(self, Self::Exact)
    }
}
