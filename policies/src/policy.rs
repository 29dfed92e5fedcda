//! The contract between a policy, the translator and the engine.
//!
//! A policy is data ([`Policy`]) that compiles once into behaviour ([`Filter`]). Nothing is parsed, looked up or
//! allocated per request that could have been compiled. Policies open no sockets and need no runtime.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use crate::caller::Caller;
use crate::incoming::Incoming;
use crate::material::Material;
use crate::offload::{AtOnce, Offload};
use crate::reference::{BackendRef, ObjectRef};

/// A request head. Change it through its inherent methods: `headers` is read-only there, because Pingora keeps a
/// second map with the case of the names.
pub type Request = pingora_http::RequestHeader;
/// A response head.
pub type Response = pingora_http::ResponseHeader;

/// One policy as the user writes it, the controller distributes it and the data plane compiles it.
pub trait Policy: Clone + PartialEq + Serialize + DeserializeOwned + JsonSchema {
    /// The compiled form.
    type Filter: Filter;

    /// Backends this policy points at. The translator fills defaults in, checks grants and publishes them.
    fn backends(&self) -> Vec<&BackendRef> {
        Vec::new()
    }

    /// Secrets and ConfigMaps this policy points at. The translator checks grants and publishes what is in them.
    fn objects(&self) -> Vec<&ObjectRef> {
        Vec::new()
    }

    /// What whoever wrote it should know although nothing is wrong: whole sentences, for its status.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Does all parsing and lookup once, off the request path.
    ///
    /// # Errors
    /// [`Invalid`] when the policy cannot do what it says; the rule that carries it then answers 500.
    fn compile(&self, lookup: &dyn Lookup) -> Result<Self::Filter, Invalid>;
}

/// A compiled policy: immutable and shared by every request of a rule.
pub trait Filter: Send + Sync + fmt::Debug {
    /// What this filter remembers of one request between its two phases; lives in the request context.
    type State: Default + Send + Sync + fmt::Debug;

    /// Whether it needs [`Context::route`].
    const BY_ROUTE: bool = false;

    /// Whether it needs [`Context::net`].
    fn calls(&self) -> bool {
        false
    }

    /// Whether it reads [`Context::incoming`].
    fn reads_body(&self) -> bool {
        false
    }

    /// What it would refuse is counted and logged, and goes on.
    fn is_shadow(&self) -> bool {
        false
    }

    /// Runs once per request, before the upstream is chosen; a retry does not repeat it.
    fn request<'a>(
        &'a self,
        _req: &'a mut Request,
        _ctx: &'a mut Context,
        _state: &'a mut Self::State,
    ) -> Verdict<'a> {
        Verdict::Continue
    }

    /// Runs once on the way back, in reverse order, for upstream responses and replies alike.
    fn response(&self, _rsp: &mut Response, _ctx: &Context, _state: &Self::State) {}
}

/// What a filter wants to happen next.
pub enum Verdict<'a> {
    /// Ask the next filter.
    Continue,
    /// Answer the client now.
    Reply(Reply),
    /// Only filters that do I/O pay for a box.
    Wait(Pin<Box<dyn Future<Output = Result<(), Reply>> + Send + 'a>>),
}

impl Verdict<'_> {
    /// What is decided, once it is.
    ///
    /// # Errors
    /// The answer to the client.
    pub async fn decided(self) -> Result<(), Reply> {
        match self {
            Self::Continue => Ok(()),
            Self::Reply(reply) => Err(reply),
            Self::Wait(decision) => decision.await,
        }
    }
}

impl fmt::Debug for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Reply(reply) => write!(f, "{reply:?}"),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}

/// A response made by the proxy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable token for logs and metrics, such as `cors_preflight`. See `docs/reasons.md`.
    pub reason: &'static str,
    /// Header fields beside those the engine sets (`date`, `content-length`, `server`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, usually empty.
    pub body: Bytes,
}

impl Reply {
    /// A reply without extra fields or body.
    #[must_use]
    pub fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, headers: Vec::new(), body: Bytes::new() }
    }

    /// Adds one header field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The scheme of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Plain text.
    #[default]
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As in a URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port a URI of this scheme may leave out.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What is known of one request, and what filters decide for the engine.
///
/// The engine fills the first group before the chain runs and reads the second after it.
#[derive(Debug, Default)]
pub struct Context {
    /// Scheme of the client's connection.
    pub scheme: Scheme,
    /// Who sent the request, as the listener finds out (`clientIPDetection`). The engine always tells; a policy that
    /// admits by address must not admit nobody.
    pub client: Option<IpAddr>,
    /// Port of the listener, as the client dialled it.
    pub port: u16,
    /// Length in bytes of the path prefix the route matched, without a trailing slash; the whole path for an exact
    /// match, 0 for a regular expression.
    pub matched_prefix: usize,
    /// Fresh random bits for sampling decisions of this request.
    pub entropy: u64,
    /// Who sent the request.
    pub caller: Caller,
    /// The route, kind and `namespace/name`; there when a filter of the chain has [`Filter::BY_ROUTE`].
    pub route: Option<(&'static str, Arc<str>)>,
    /// How policies call backends; there when a filter of the chain [calls](Filter::calls).
    pub net: Option<Arc<dyn Net>>,
    /// The request's body; there when it has one and a filter of the chain [reads it](Filter::reads_body). `None` for an
    /// upgrade, whose bytes are no body.
    pub incoming: Option<Arc<dyn Incoming>>,

    /// Decided: total time for the request and for each attempt.
    pub timeouts: crate::timeouts::Limits,
    /// Decided: when a failed attempt may be repeated.
    pub retry: Option<Arc<crate::retry::Plan>>,
    /// Decided: which backend of the rule's it prefers.
    pub split: crate::traffic_split::Preference,
    /// Decided: which endpoint its session wants; the engine says which one it got.
    pub session: Option<crate::session_persistence::Session>,
    /// Decided: who gets a copy of the request.
    pub mirrors: SmallVec<[Arc<dyn Upstream>; 1]>,
    /// Decided: how a refusal looks.
    pub denials: crate::denials::Body,
    /// Decided: name of the rule that refused the request, or would have; for logs and traces only.
    pub denied_by: Option<Arc<str>>,
    /// Decided: reasons of refusals that policies in shadow mode would have given.
    pub would_deny: SmallVec<[&'static str; 1]>,
}

/// A backend as policies see it: the engine's live cluster.
pub trait Upstream: Any + Send + Sync + fmt::Debug {
    /// `namespace/name:port`.
    fn name(&self) -> &str;
}

/// What a policy may look up while it compiles.
pub trait Lookup {
    /// The live cluster of a backend; `None` when there is no such backend.
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>>;

    /// What is in a Secret or ConfigMap; `None` when there is no such object.
    fn material(&self, _object: &ObjectRef) -> Option<Arc<Material>> {
        None
    }

    /// Where slow work is done. Default: where it is waited for.
    fn offload(&self) -> Arc<dyn Offload> {
        Arc::new(AtOnce)
    }

    /// The buckets of one limit of the policy, with room for this many keys. The same for the same limit, whatever else changes;
    /// the default forgets.
    fn counters(&self, _limit: &str, keys: usize) -> Arc<crate::rate_limit::Counters> {
        Arc::new(crate::rate_limit::Counters::new(keys))
    }

    /// The buckets of one limit of the policy that all proxies hold together, by these terms. The same for the same limit,
    /// whatever else changes; the default forgets, and nobody leases anything.
    fn leased(
        &self,
        _limit: &str,
        is_keyed: bool,
        terms: crate::lease::Terms,
    ) -> Arc<crate::rate_limit::Leased> {
        let now = crate::rate_limit::nanos(self.clock()());
        Arc::new(crate::rate_limit::Leased::new(now, is_keyed, terms))
    }

    /// Tells the time since some moment before this.
    fn clock(&self) -> fn() -> std::time::Duration {
        monotonic
    }

    /// Keys that are fetched. The default never has any, so that nobody is let in.
    fn keys(&self, _source: &crate::jwt::RemoteJwks) -> Arc<dyn crate::jwt::Keys> {
        Arc::new(crate::jwt::NoKeys)
    }
}

/// Time since this was first asked.
pub fn monotonic() -> std::time::Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// Sends requests of policies; the engine's client, with balancing, TLS and connections of its own.
pub trait Net: Send + Sync + fmt::Debug {
    /// Asks a backend. Fields of the connection are left out; connect failures are repeated on other endpoints, in the time
    /// there is.
    fn call<'a>(
        &'a self,
        upstream: &'a Arc<dyn Upstream>,
        call: Call,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>>;
}

/// A request of a policy.
#[derive(Debug)]
pub struct Call {
    /// Its head, with Host.
    pub head: Request,
    /// It is gRPC, and goes over HTTP/2 only. What a head says of its content does not count: that may be a client's word.
    pub is_grpc: bool,
    /// Its body.
    pub body: Option<Bytes>,
    /// Time for the whole answer.
    pub timeout: std::time::Duration,
}

/// An answer to a policy.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Response,
    /// Its body, up to 64 KiB.
    pub body: Bytes,
    /// Fields after the body.
    pub trailers: Option<HeaderMap>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// It took longer than the call has.
    Timeout,
    /// No endpoint, no connection, or one that broke.
    Failed,
    /// Its body is longer than 64 KiB.
    TooLarge,
}

/// Why a policy cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A field holds a value that cannot be used.
    #[error("{field}: {message}")]
    Field {
        /// Path of the field inside the policy, such as `set[0].value`.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The policy names a backend that does not exist.
    #[error("backend {0} does not exist")]
    BackendNotFound(BackendRef),
    /// The policy names a Secret or ConfigMap that does not exist.
    #[error("{0} does not exist")]
    ObjectNotFound(ObjectRef),
}

/// A policy's name as it is written: `requestHeaders` for `request_headers`.
#[must_use]
pub fn written(name: &str) -> String {
    let words = name.split('_').enumerate().map(|(at, word)| match word.split_at_checked(1) {
        Some((first, rest)) if at > 0 => first.to_ascii_uppercase() + rest,
        _ => word.to_owned(),
    });
    words.collect()
}

impl Invalid {
    /// As it is said of a policy, by its name: `cors.maxAge: …`.
    #[must_use]
    pub fn of(&self, policy: &str) -> String {
        let policy = written(policy);
        match self {
            Self::Field { .. } => format!("{policy}.{self}"),
            Self::BackendNotFound(_) | Self::ObjectNotFound(_) => format!("{policy}: {self}"),
        }
    }

    /// A [`Invalid::Field`].
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { field: field.into(), message: message.into() }
    }
}
