//! Asks a service whether a request may go on, in the two ways Envoy does (ext_authz): by gRPC
//! (`envoy.service.auth.v3.Authorization/Check`) and by HTTP, so that what was written for Envoy fits here.
//!
//! What a reader would get wrong: the service is trusted to decide, not to frame. What it says of fields that frame a
//! message or belong to a connection, or of pseudo-header fields, is never done; an answer that cannot be done as a whole
//! refuses the request, even where `failOpen` would admit it without an answer.

mod body;
mod cache;
mod decision;
mod extension;
mod filter;
mod grpc;
mod http;
mod proto;

use std::time;

use ::http::{HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::body::BodyToExtAuth;
use self::cache::Cache;
pub use self::extension::ContextExtension;
pub use self::filter::ExtAuthFilter;
use self::filter::Service;
use crate::edits::name;
use crate::grpc::authority;
use crate::mode::Mode;
use crate::schema::{Bounds, PATH_PREFIX, each, field_name, form, rule, within};
use crate::{BackendRef, Duration, Invalid, Lookup, ObjectRef, Policy};

/// Names of fields in one list.
const MOST_NAMES: usize = 64;
/// Entries of `contextExtensions`.
const MOST_EXTENSIONS: usize = 32;
/// Results that are kept.
const MOST_KEPT: u32 = 65_536;
/// Time for an answer.
const TIMEOUT: Bounds = Bounds::new(time::Duration::from_millis(1), time::Duration::from_mins(1));
/// How long an answer may be kept.
const TTL: Bounds = Bounds::new(time::Duration::from_millis(1), time::Duration::from_hours(1));

/// Who decides, what it is told, and what becomes of its answer. Exactly one of `grpc` and `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule("has(self.grpc) != has(self.http)", "name one service: grpc or http"))]
#[schemars(transform = rule(
    "!has(self.http) || !has(self.contextExtensions) || size(self.contextExtensions) == 0",
    "contextExtensions is of gRPC services only: leave it out, or use grpc",
))]
#[schemars(transform = rule(
    "!has(self.http) || !has(self.bodyToExtAuth) || !has(self.bodyToExtAuth.packAsBytes) || !self.bodyToExtAuth.packAsBytes",
    "packAsBytes is of gRPC services only: leave it out, or use grpc",
))]
#[schemars(transform = rule(
    "!has(self.http) || has(self.bodyToExtAuth) || !has(self.headersToExtAuth) \
     || !self.headersToExtAuth.exists(h, h.lowerAscii() == 'content-type')",
    "headersToExtAuth names content-type, but a service of http gets no body without bodyToExtAuth: leave it out",
))]
pub struct ExtAuth {
    /// A service of Envoy's gRPC contract, such as Open Policy Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcService>,
    /// A service of Envoy's HTTP contract: it gets the head of the request, and 200 admits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpService>,
    /// Header fields of the request that the service gets; up to 64. Default: with `grpc` all; with `http` only
    /// Authorization, which it always gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MOST_NAMES), transform = each(field_name))]
    pub headers_to_ext_auth: Option<Vec<String>>,
    /// Shows the service the body, too. Default: it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_to_ext_auth: Option<BodyToExtAuth>,
    /// Constants that the service gets as `context_extensions`; only with `grpc`; up to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MOST_EXTENSIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub context_extensions: Vec<ContextExtension>,
    /// Time for the answer, connecting included; 1ms to 1m. Default 200ms.
    #[serde(default = "default_timeout")]
    #[schemars(transform = within(TIMEOUT))]
    pub timeout: Duration,
    /// Whether requests go on while the service does not answer. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_open: bool,
    /// Status of a refusal without a usable answer of the service; 400 to 599. Default 403.
    #[serde(default = "default_status")]
    #[schemars(range(min = 400, max = 599))]
    pub status_on_error: u16,
    /// Keeps answers. Default: every request is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSettings>,
    /// Whether requests are refused or only noted. Default Enforce.
    #[serde(default)]
    pub mode: Mode,
}

/// A service that speaks `envoy.service.auth.v3.Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(ONE_BACKEND, "name one Service: as backendRef, or in backendRefs"))]
pub struct GrpcService {
    /// Where it is. It is balanced and connected to like any backend, by HTTP/2 and its BackendTLSPolicy. This or
    /// `backendRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendRef>,
    /// The same as a list of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub backend_refs: Vec<BackendRef>,
}

/// A service that gets method, path, Host and some fields of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rule(ONE_BACKEND, "name one Service: as backendRef, or in backendRefs"))]
#[schemars(transform = rule("!has(self.path) || !has(self.pathOverride)", "write one of path and pathOverride"))]
pub struct HttpService {
    /// Where it is. It is balanced and connected to like any backend, by its BackendTLSPolicy. This or `backendRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendRef>,
    /// The same as a list of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub backend_refs: Vec<BackendRef>,
    /// What comes before the path of the request, such as `/check`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(PATH_PREFIX))]
    pub path: Option<String>,
    /// What stands for path and query of the request, such as `/check`. Instead of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = form(PATH_PREFIX), length(min = 1))]
    pub path_override: Option<String>,
    /// Fields of its answer that the backend gets; up to 64. What clients send in them is removed, also where the answer
    /// has none. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_NAMES), transform = each(field_name))]
    pub headers_to_backend: Vec<String>,
}

const ONE_BACKEND: &str = "has(self.backendRef) != (has(self.backendRefs) && size(self.backendRefs) > 0)";

/// Which answers are kept, and how long. Method, scheme, host, path with query and what the service gets of the body always
/// tell requests apart; a service whose decision depends on more than these and `keys` must not be cached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheSettings {
    /// How long an answer holds; 1ms to 1h. A permission that is taken back holds as long.
    #[schemars(transform = within(TTL))]
    pub ttl: Duration,
    /// Header fields that tell requests apart, such as Authorization; 1 to 64.
    #[schemars(length(min = 1, max = MOST_NAMES), transform = each(field_name))]
    pub keys: Vec<String>,
    /// Answers that are kept by each proxy; 1 to 65,536. Default 1,024.
    #[serde(default = "default_entries")]
    #[schemars(range(min = 1, max = MOST_KEPT))]
    pub max_entries: u32,
}

const fn default_timeout() -> Duration {
    Duration(time::Duration::from_millis(200))
}

const fn default_status() -> u16 {
    403
}

const fn default_entries() -> u32 {
    1_024
}

impl Policy for ExtAuth {
    type Filter = ExtAuthFilter;

    fn backends(&self) -> Vec<&BackendRef> {
        let grpc =
            self.grpc.iter().flat_map(|service| service.backend_ref.iter().chain(&service.backend_refs));
        let http =
            self.http.iter().flat_map(|service| service.backend_ref.iter().chain(&service.backend_refs));
        grpc.chain(http).collect()
    }

    fn objects(&self) -> Vec<&ObjectRef> {
        self.context_extensions.iter().filter_map(ContextExtension::object).collect()
    }

    fn compile(&self, lookup: &dyn Lookup) -> Result<ExtAuthFilter, Invalid> {
        let at = match (&self.grpc, &self.http) {
            (Some(_), None) => "grpc.backendRef",
            (None, Some(_)) => "http.backendRef",
            (None, None) => {
                return Err(Invalid::field("grpc", "is missing, and so is http; name one service"));
            }
            (Some(_), Some(_)) => {
                return Err(Invalid::field("http", "is there beside grpc; keep one of them"));
            }
        };
        let upstream = match self.backends()[..] {
            [backend] => lookup.backend(backend).ok_or_else(|| Invalid::BackendNotFound(backend.clone()))?,
            [] => return Err(Invalid::field(at, "is missing; name a Service")),
            _ => {
                return Err(Invalid::field(
                    at,
                    "and backendRefs name more than one Service; keep one of them",
                ));
            }
        };
        let service = self.service(upstream.name(), lookup)?;
        let body = self.body_to_ext_auth.map(|body| body.compile(self.grpc.is_some())).transpose()?;
        let status = StatusCode::from_u16(self.status_on_error)
            .ok()
            .filter(|status| (400..=599).contains(&status.as_u16()));
        Ok(ExtAuthFilter {
            service,
            upstream,
            body,
            timeout: TIMEOUT.check("timeout", self.timeout)?,
            fail_open: self.fail_open,
            on_error: status
                .ok_or_else(|| Invalid::field("statusOnError", "is no status of an error; use 400 to 599"))?,
            cache: self.cache.as_ref().map(CacheSettings::compile).transpose()?,
            mode: self.mode,
        })
    }
}

impl ExtAuth {
    /// How the service is spoken to, which is `backend` (`namespace/name:port`).
    fn service(&self, backend: &str, lookup: &dyn Lookup) -> Result<Service, Invalid> {
        let told =
            self.headers_to_ext_auth.as_ref().map(|list| names("headersToExtAuth", list)).transpose()?;
        if told.iter().flatten().any(|name| *name == body::PARTIAL) {
            let message = format!("names {}, which is the proxy's to say; leave it out", body::PARTIAL);
            return Err(Invalid::field("headersToExtAuth", message));
        }
        let Some(http) = &self.http else {
            return Ok(Service::Grpc(grpc::Service {
                authority: authority(backend)
                    .ok_or_else(|| Invalid::field("grpc.backendRef", "is no name of a Service"))?,
                told,
                packs: self.body_to_ext_auth.is_some_and(|body| body.pack_as_bytes),
                extensions: extension::compile(&self.context_extensions, lookup)?,
            }));
        };
        if !self.context_extensions.is_empty() {
            let message = "is of gRPC services only; leave it out, or use `grpc`";
            return Err(Invalid::field("contextExtensions", message));
        }
        let told = told.unwrap_or_default();
        if self.body_to_ext_auth.is_none() && told.contains(&::http::header::CONTENT_TYPE) {
            let message =
                "names content-type, but the service gets no body; leave it out, or set bodyToExtAuth";
            return Err(Invalid::field("headersToExtAuth", message));
        }
        Ok(Service::Http(http::Service {
            target: http.target()?,
            told,
            to_backend: names("http.headersToBackend", &http.headers_to_backend)?,
        }))
    }
}

impl CacheSettings {
    fn compile(&self) -> Result<Cache, Invalid> {
        if self.keys.is_empty() {
            return Err(Invalid::field(
                "cache.keys",
                "is empty, so that all callers would have one answer; name the fields that tell them apart",
            ));
        }
        if !(1..=MOST_KEPT).contains(&self.max_entries) {
            let message = format!("is {}; use 1 to {MOST_KEPT}", self.max_entries);
            return Err(Invalid::field("cache.maxEntries", message));
        }
        let ttl = TTL.check("cache.ttl", self.ttl)?;
        Ok(Cache::new(ttl, names("cache.keys", &self.keys)?, self.max_entries))
    }
}

fn names(field: &str, list: &[String]) -> Result<Box<[HeaderName]>, Invalid> {
    if list.len() > MOST_NAMES {
        return Err(Invalid::field(field, format!("has more than {MOST_NAMES} names")));
    }
    list.iter().enumerate().map(|(at, text)| name(&format!("{field}[{at}]"), text)).collect()
}

impl HttpService {
    fn target(&self) -> Result<http::Target, Invalid> {
        match (&self.path, &self.path_override) {
            (None, None) => Ok(http::Target::Under("".into())),
            (Some(prefix), None) => {
                Ok(http::Target::Under(path("http.path", prefix)?.trim_end_matches('/').into()))
            }
            (None, Some(instead)) => {
                let instead = path("http.pathOverride", instead)?;
                let target = instead.parse().ok().filter(|_| !instead.is_empty());
                Ok(http::Target::Instead(target.ok_or_else(|| {
                    Invalid::field("http.pathOverride", "is empty; write one such as /check, or leave it out")
                })?))
            }
            (Some(_), Some(_)) => {
                Err(Invalid::field("http.pathOverride", "is there beside path; keep one of them"))
            }
        }
    }
}

fn path<'a>(field: &str, path: &'a str) -> Result<&'a str, Invalid> {
    let is_path = path.is_empty()
        || (path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\".contains(&b)));
    if !is_path {
        let message = format!("{path:?} is no path: write one such as /check, without query and escapes");
        return Err(Invalid::field(field, message));
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
