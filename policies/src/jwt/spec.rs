//! What a user writes.

use std::time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::LARGEST_SET;
use crate::mode::Mode;
use crate::schema::{
    Bounds, CLAIM_NAMES, COOKIE, JWKS_URI, VALUE_PREFIX, each, field_name, form, rule, within,
};
use crate::{BackendRef, Duration, ObjectRef};

/// Providers of a policy.
pub(super) const MOST_PROVIDERS: usize = 16;
/// Tokens that a policy revokes.
pub(super) const MOST_REVOKED: usize = 100_000;
/// How far a clock may be off.
pub(super) const CLOCK_SKEW: Bounds = Bounds::new(time::Duration::ZERO, time::Duration::from_secs(60));
/// How long keys are used.
pub(super) const CACHE_DURATION: Bounds =
    Bounds::new(time::Duration::from_secs(1), time::Duration::from_hours(24));
/// How long to wait after a fetch that failed.
pub(super) const FAILED_REFETCH: Bounds =
    Bounds::new(time::Duration::from_millis(100), time::Duration::from_hours(1));
/// How old keys may get.
pub(super) const MAX_STALE: Bounds =
    Bounds::new(time::Duration::from_mins(1), time::Duration::from_hours(168));

/// Who may call, by JSON Web Token (RFC 7519). Every token that is found must be valid; one at least must be there, unless
/// it is optional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(
    "!has(self.optional) || !has(self.requirement) || self.optional == (self.requirement == 'Optional')",
    "optional says the contrary of requirement: keep one of them",
))]
pub struct Jwt {
    /// `Enforce` or `Shadow`. Default Enforce.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// Whether a request needs a token: `Required` or `Optional`. Default Required. A token that is there and not valid is
    /// refused either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement: Option<Requirement>,
    /// Envoy Gateway's way to say `requirement: Optional`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Who issues tokens; 1 to 16.
    #[schemars(
        length(min = 1, max = MOST_PROVIDERS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub providers: Vec<Provider>,
    /// Tokens that are refused although they are valid, by their `jti`. Default: none. A token without `jti` cannot be
    /// revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub revocation: Vec<Revocation>,
}

/// Whether a request needs a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Requirement {
    /// One at least.
    #[default]
    Required,
    /// None.
    Optional,
}

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule("has(self.remoteJWKS) != has(self.localJWKS)", "give one of remoteJWKS and localJWKS"))]
#[schemars(transform = rule(
    "!has(self.type) || self.type != 'ServiceAccount' || (has(self.audiences) && size(self.audiences) > 0)",
    "audiences is missing: a ServiceAccount's token for somebody else, such as the API server, must not be taken",
))]
#[schemars(transform = rule(
    "!has(self.podBinding) || (has(self.type) && self.type == 'ServiceAccount')",
    "podBinding is about tokens of pods, and these are not: give type: ServiceAccount",
))]
pub struct Provider {
    /// Name, by which authorization refers to the token; unique in the list.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `JWT`, or `ServiceAccount` for tokens of Kubernetes, which also say what workload calls. Default JWT.
    #[serde(default, skip_serializing_if = "is_default", rename = "type")]
    pub kind: ProviderKind,
    /// The `iss` of its tokens, compared byte for byte. Its keys verify tokens of no other issuer.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// Whom tokens must be for: `aud` holds one of these. Default: `aud` is not looked at, so that a token for somebody else
    /// is taken; `type: ServiceAccount` needs one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,
    /// Keys that are fetched. This or `localJWKS`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "remoteJWKS")]
    pub remote_jwks: Option<RemoteJwks>,
    /// Keys that are here. This or `remoteJWKS`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "localJWKS")]
    pub local_jwks: Option<LocalJwks>,
    /// Claims that backends get as header fields. What clients send under these names is removed, with and without a token.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"])
    )]
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Whether a token must come from the pod it was given to, with `type: ServiceAccount`. Default IfKnown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_binding: Option<PodBinding>,
    /// Where tokens are. Default: `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_from: Option<ExtractFrom>,
    /// How far the issuer's clock may be off, 0s to 60s. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = within(CLOCK_SKEW))]
    pub clock_skew: Option<Duration>,
    /// The longest time from `iat` to `exp`; both must be there then. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Duration>,
    /// Take the token away before the request goes to the backend. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_token: bool,
}

/// What kind of tokens an issuer issues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderKind {
    /// Any.
    #[default]
    #[serde(rename = "JWT")]
    Jwt,
    /// Those of Kubernetes ServiceAccounts, bound to an audience (a `serviceAccountToken` volume).
    ServiceAccount,
}

/// Whether the token of a pod must come over a connection of that pod. Which pod a connection is of is known at waypoints, by
/// its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PodBinding {
    /// It must where both are known: a token that another pod has got hold of is refused.
    #[default]
    IfKnown,
    /// It must; a token that was not given to a pod, or that comes from nobody knows where, is refused.
    Required,
    /// It need not: for pods that pass on the tokens of others.
    None,
}

/// A JSON Web Key Set (RFC 7517) that is fetched: at most 1 MiB and 100 keys within 5 s, without redirects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(
    "!has(self.backendRef) || !has(self.backendRefs) || size(self.backendRefs) == 0",
    "backendRef stands beside backendRefs: keep the list",
))]
#[schemars(transform = rule(
    "self.uri.startsWith('https://') || has(self.backendRef) || (has(self.backendRefs) && size(self.backendRefs) > 0)",
    "uri is not https: keys that others can change on the way let anybody in; use https, or name a backendRef",
))]
#[schemars(transform = rule(
    "!self.uri.matches('^https?://(\\\\[|[0-9]+(\\\\.[0-9]+){3}([:/?]|$))') || has(self.backendRef) || \
     (has(self.backendRefs) && size(self.backendRefs) > 0)",
    "uri has an address for a host, and certificates have names: write a name, or name a backendRef",
))]
pub struct RemoteJwks {
    /// Where it is. `https`, or `http` too with a backend. Without one its host may not have an address that is this machine's
    /// own or link-local.
    #[schemars(transform = form(JWKS_URI))]
    pub uri: String,
    /// Who answers for it, instead of who the host of `uri` resolves to; TLS is its BackendTLSPolicy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendRef>,
    /// The same, at most four: they are tried in this order. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub backend_refs: Vec<BackendRef>,
    /// How long keys are used before they are fetched again, 1s to 24h; a fifth of it earlier, at random. Default 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = within(CACHE_DURATION))]
    pub cache_duration: Option<Duration>,
    /// How long to wait after a fetch that failed, 100ms to 1h, doubled each time up to a minute. Default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = within(FAILED_REFETCH))]
    pub failed_refetch_duration: Option<Duration>,
    /// How old the last good keys may get when no newer ones can be had, 1m to 168h; then nobody is let in. Default 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = within(MAX_STALE))]
    pub max_stale: Option<Duration>,
}

/// A JSON Web Key Set that is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule("has(self.inline) != has(self.valueRef)", "give one of inline and valueRef"))]
#[schemars(transform = rule("!has(self.key) || has(self.valueRef)", "key is of valueRef: leave it out"))]
#[schemars(transform = rule(
    "!has(self.type) || (self.type == 'Inline') == has(self.inline)",
    "type says something else than what is given: leave it out",
))]
pub struct LocalJwks {
    /// `Inline` or `ValueRef`. Default: the one that is given.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<LocalJwksType>,
    /// The set, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LARGEST_SET))]
    pub inline: Option<String>,
    /// The ConfigMap or Secret that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<ObjectRef>,
    /// Its key there. Default `jwks`, or the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Where a local set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalJwksType {
    /// In the policy.
    Inline,
    /// In an object.
    ValueRef,
}

/// A claim for backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimToHeader {
    /// Which claim; dots lead into objects, as in `realm.roles`. A name with dots of its own is found first.
    #[schemars(transform = form(CLAIM_NAMES))]
    pub claim: String,
    /// The header field. Text as it is, save that `%`, `,`, what is not printable ASCII, and white space at its ends are
    /// percent-encoded; numbers and booleans as JSON; lists and objects as JSON in base64url.
    #[schemars(transform = field_name)]
    pub header: String,
}

/// Where tokens are. Found twice, they are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(
    "(has(self.headers) && size(self.headers) > 0) || (has(self.cookies) && size(self.cookies) > 0) || \
     (has(self.params) && size(self.params) > 0)",
    "names no place: give headers, cookies or params, or leave it out",
))]
pub struct ExtractFrom {
    /// Header fields. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub headers: Vec<ExtractHeader>,
    /// Cookies. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), transform = each(form(COOKIE)))]
    pub cookies: Vec<String>,
    /// Parameters of the query. Default: none; they end up in logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), transform = each(form(COOKIE)))]
    pub params: Vec<String>,
}

/// A header field that holds tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtractHeader {
    /// Its name.
    #[schemars(transform = field_name)]
    pub name: String,
    /// What stands before the token, such as `Bearer ` (in any case); a field that starts otherwise holds none. Default:
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(VALUE_PREFIX))]
    pub value_prefix: Option<String>,
}

/// Tokens that are refused; at most 100,000 in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule("!has(self.key) || has(self.valueRef)", "key needs a valueRef"))]
pub struct Revocation {
    /// Their `jti`, compared byte for byte. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_REVOKED))]
    pub jtis: Vec<String>,
    /// A ConfigMap or Secret that lists more, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<ObjectRef>,
    /// Its key there. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
