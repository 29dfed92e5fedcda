//! What a user writes.

use schemars::JsonSchema;
use schemars::transform::Transform;
use serde::{Deserialize, Serialize};

use crate::caller::Assurance;
use crate::mode::Mode;
use crate::schema::{
    ADDRESS, CIDR, CLAIM_PATH, FIELD_VALUE, GRPC_METHOD, GRPC_SERVICE, HOST, METHOD, OBJECT_NAME,
    OBJECT_NAME_OR_ANY, PATH, RULE_NAME, SCOPE, SHA256_BASE64, SHA256_HEX, SPIFFE, TOKEN, each, form, rule,
};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It is answered with 403.
    #[default]
    Deny,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
pub(super) fn is_enforce(mode: &Mode) -> bool {
    *mode == Mode::Enforce
}

/// Whom a rule is about, what they do, and what becomes of it. Fields are all to hold (AND); of the entries of a list
/// one is to hold (OR). At least one condition must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(
    "has(self.principal) || has(self.operation) || has(self.when)",
    "has no condition, so that it would match everything: give principal, operation or when, or say it by defaultAction",
))]
#[schemars(transform = rule(
    "self.action != 'Deny' || !has(self.principal) || !has(self.principal.minAssurance) || \
     has(self.principal.serviceAccounts) || has(self.principal.notServiceAccounts) || has(self.principal.namespaces) || \
     has(self.principal.notNamespaces)",
    "minAssurance says whom a Deny rule knows, and this one asks for nobody: name namespaces or serviceAccounts, or write an \
     Allow rule",
))]
#[schemars(transform = rule(
    "self.action != 'Deny' || !has(self.principal) || !has(self.principal.jwt) || has(self.principal.jwt.claims) || \
     has(self.principal.jwt.scopes)",
    "jwt asks for any token, which a Deny rule refuses whether it is there or not: name claims or scopes, or write an Allow \
     rule",
))]
pub struct Rule {
    /// For logs and traces; clients never see it. At most 253 characters, unlike that of any other rule. Default:
    /// `rules[INDEX]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(RULE_NAME))]
    pub name: Option<String>,
    /// What becomes of a request that the rule matches.
    pub action: Action,
    /// `Shadow`: the rule decides nothing; what it would have refused is counted and logged. Default: Enforce.
    #[serde(default, skip_serializing_if = "is_enforce")]
    pub mode: Mode,
    /// Whom it is about. Default: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// What they do. Default: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// A condition in CEL, which holds beside the others, such as
    /// `request.headers['x-tenant'] == source.workload.namespace`. At most 2,048 bytes and a cost of 5,000; all of a
    /// policy: 20,000. An error at run time never lets a request through. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub when: Option<String>,
}

/// Whom a rule is about. What is not known of a caller counts against it: an Allow rule that asks for it does not match,
/// a Deny rule that asks for it does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Principal {
    /// Ranges with the client's address, as the listener finds it out (`clientIPDetection`), such as `10.0.0.0/8`.
    #[serde(rename = "clientCIDRs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(CIDR)))]
    pub client_cidrs: Option<Vec<String>>,
    /// Ranges the client's address is in none of.
    #[serde(rename = "notClientCIDRs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(CIDR)))]
    pub not_client_cidrs: Option<Vec<String>>,
    /// ServiceAccounts the caller runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub service_accounts: Option<Vec<ServiceAccount>>,
    /// ServiceAccounts the caller does not run as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub not_service_accounts: Option<Vec<ServiceAccount>>,
    /// Namespaces the caller runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(OBJECT_NAME)))]
    pub namespaces: Option<Vec<String>>,
    /// Namespaces the caller does not run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(OBJECT_NAME)))]
    pub not_namespaces: Option<Vec<String>>,
    /// SPIFFE IDs of the caller's verified certificate: `spiffe://cluster.local/ns/web/sa/bff`, or
    /// `spiffe://cluster.local/ns/web/*` for all below.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(SPIFFE)))]
    pub spiffe: Option<Vec<String>>,
    /// SPIFFE IDs the caller's verified certificate does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(SPIFFE)))]
    pub not_spiffe: Option<Vec<String>>,
    /// What the caller's verified certificate holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// What the caller's verified certificate holds none of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_certificates: Option<Certificates>,
    /// A token that was verified by `jwt`, and what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtPrincipal>,
    /// Request headers; each is to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub headers: Option<Vec<HeaderCondition>>,
    /// Clients that API keys belong to (`apiKeyAuth`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253)))]
    pub api_clients: Option<Vec<String>>,
    /// Clients that the API key does not belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253)))]
    pub not_api_clients: Option<Vec<String>>,
    /// Users (`basicAuth`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)))]
    pub users: Option<Vec<String>>,
    /// Users that it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)))]
    pub not_users: Option<Vec<String>>,
    /// How sure it must be who a workload is, for this rule to know it: `Network` (its address), `Token` (one that
    /// Kubernetes signed), `Certificate`. Below, its namespace and ServiceAccount are not known. Default: Network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_assurance: Option<Assurance>,
}

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccount {
    /// Its namespace.
    #[schemars(transform = form(OBJECT_NAME))]
    pub namespace: String,
    /// Its name; `*`: any of the namespace.
    #[schemars(transform = form(OBJECT_NAME_OR_ANY))]
    pub name: String,
}

/// What is in a certificate. Lists that are given are all to hold, one entry of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Certificates {
    /// DNS names, as they are in the certificate; `*` there is no wildcard here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253)))]
    pub dns_names: Option<Vec<String>>,
    /// URIs, byte by byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 2048)))]
    pub uris: Option<Vec<String>>,
    /// Mail addresses, byte by byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 320)))]
    pub email_addresses: Option<Vec<String>>,
    /// Addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(ADDRESS)))]
    pub ip_addresses: Option<Vec<String>>,
    /// SHA-256 of the public key (SPKI): base64, as `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst
    /// -sha256 -binary | base64` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(SHA256_BASE64)))]
    pub spki_hashes: Option<Vec<String>>,
    /// SHA-256 of the certificate: hexadecimal, with or without colons, as `openssl x509 -fingerprint -sha256` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(SHA256_HEX)))]
    pub certificate_hashes: Option<Vec<String>>,
}

/// A verified token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtPrincipal {
    /// Name of the provider (`jwt.providers[].name`) that verified it.
    #[schemars(length(min = 1, max = 253))]
    pub provider: String,
    /// Claims; each is to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub claims: Option<Vec<ClaimCondition>>,
    /// Scopes the token has, all of them: words of the claim `scope` (RFC 8693) or, where there is none, `scp`; a list is
    /// taken as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), transform = each(form(SCOPE)))]
    pub scopes: Option<Vec<String>>,
}

/// What a claim says. `values` or `notValues` is there, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = some_values())]
pub struct ClaimCondition {
    /// Name of the claim. A dot leads into an object (`realm_access.roles`); `\.` is a dot of the name.
    #[schemars(transform = form(CLAIM_PATH))]
    pub name: String,
    /// What the claim is. A claim that is something else is not known. Default: String.
    #[serde(default, skip_serializing_if = "ValueType::is_default")]
    pub value_type: ValueType,
    /// The claim is one of them; of a list, one of its elements is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(max = 1024)))]
    pub values: Option<Vec<String>>,
    /// The claim is none of them; of a list, no element is. An Allow rule wants the claim to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(max = 1024)))]
    pub not_values: Option<Vec<String>>,
}

/// What a claim is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ValueType {
    /// A string.
    #[default]
    String,
    /// A list of strings; a string stands for a list of one.
    StringArray,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

impl ValueType {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a request header says. `values` or `notValues` is there, or both. Of a header that comes in several lines, an
/// Allow rule wants every line to hold, and a Deny rule one; lines are never put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = some_values())]
pub struct HeaderCondition {
    /// Name of the header; case does not matter.
    #[schemars(transform = form(TOKEN), transform = no_host())]
    pub name: String,
    /// The value is one of them, byte by byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(FIELD_VALUE)))]
    pub values: Option<Vec<String>>,
    /// The value is none of them. An Allow rule wants the header to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(FIELD_VALUE)))]
    pub not_values: Option<Vec<String>>,
}

/// What is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Operation {
    /// Methods, in upper case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), transform = each(form(METHOD)))]
    pub methods: Option<Vec<String>>,
    /// Methods that it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), transform = each(form(METHOD)))]
    pub not_methods: Option<Vec<String>>,
    /// Paths, without the query, in the form that goes to the backend; escapes say the same as what they stand for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub paths: Option<Vec<PathCondition>>,
    /// Paths that it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub not_paths: Option<Vec<PathCondition>>,
    /// Hosts, without port: `shop.example.com`, or `*.example.com` for all below.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(HOST)))]
    pub hosts: Option<Vec<String>>,
    /// Hosts that it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), transform = each(form(HOST)))]
    pub not_hosts: Option<Vec<String>>,
    /// Request headers; each is to hold, beside those of `principal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub headers: Option<Vec<HeaderCondition>>,
    /// Methods of gRPC services.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub grpc: Option<Vec<GrpcMethod>>,
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathCondition {
    /// How `value` is read. Default: PathPrefix.
    #[serde(default, rename = "type", skip_serializing_if = "PathType::is_default")]
    pub kind: PathType,
    /// Such as `/users`. Begins with a slash; has no query, dot segments or empty segments.
    #[schemars(transform = form(PATH))]
    pub value: String,
}

/// How a path is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathType {
    /// The path, and all below it.
    #[default]
    PathPrefix,
    /// The path alone.
    Exact,
    /// `/users/{id}/orders`: a name in braces stands for one segment that is not empty; `/**` at the end for the path
    /// before it and all below.
    Template,
}

impl PathType {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A method of a gRPC service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcMethod {
    /// The service with its package, such as `shop.Cart`.
    #[schemars(transform = form(GRPC_SERVICE))]
    pub service: String,
    /// Its method. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(GRPC_METHOD))]
    pub method: Option<String>,
}

fn some_values() -> impl Transform {
    rule("has(self.values) || has(self.notValues)", "says nothing: give values, notValues or both")
}

fn no_host() -> impl Transform {
    rule("self.lowerAscii() != 'host'", "is not the same in all versions of HTTP: use operation.hosts")
}
