//! Metrics, access log and traces. Nothing here locks or allocates per request once a route is known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::BackendRef;

use crate::rule::RuleName;

/// The process's telemetry; one per role.
#[derive(Debug, Default)]
pub struct Telemetry {}

impl Telemetry {
    /// The counters of a rule; the same for the same name as long as anybody holds them.
    #[must_use]
    pub fn route(&self, _rule: &RuleName) -> Arc<RouteStats> {
        Arc::default()
    }

    /// The counters of a backend.
    #[must_use]
    pub fn backend(&self, _backend: &BackendRef) -> Arc<BackendStats> {
        Arc::default()
    }

    /// Accounts for one finished request: metrics, access log, span.
    pub fn finish(&self, _record: &Record<'_>) {}
}

/// RED counters of one rule.
#[derive(Debug, Default)]
pub struct RouteStats {}

/// RED counters of one backend, counted per attempt.
#[derive(Debug, Default)]
pub struct BackendStats {}

/// One finished request, borrowed from the engine's context.
#[derive(Debug)]
pub struct Record<'a> {
    /// Method, as sent.
    pub method: &'a str,
    /// Host, as routed.
    pub host: &'a str,
    /// Path and query, as the client sent it.
    pub path: &'a str,
    /// HTTP version: `HTTP/1.1`, `HTTP/2`.
    pub version: &'static str,
    /// Status sent; 0 when none was.
    pub status: u16,
    /// Stable token: why the proxy answered itself or broke off; `ok` else.
    pub reason: &'static str,
    /// The listener, `namespace/gateway/section`.
    pub listener: &'a str,
    /// The rule and its counters; `None` when no route matched.
    pub rule: Option<(&'a RuleName, &'a RouteStats)>,
    /// The backend and endpoint of the last attempt.
    pub upstream: Option<(&'a BackendRef, SocketAddr)>,
    /// Attempts made.
    pub attempts: u32,
    /// From the first byte of the head to the last of the response.
    pub duration: Duration,
    /// From sending the last attempt to its response head.
    pub upstream_duration: Option<Duration>,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// The client.
    pub peer: SocketAddr,
    /// The request's place in its trace.
    pub trace: TraceContext,
    /// `user-agent`, if any.
    pub user_agent: Option<&'a str>,
}

/// W3C trace context of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace.
    pub trace_id: u128,
    /// The client's span; 0 when the trace starts here.
    pub parent_id: u64,
    /// Our span.
    pub span_id: u64,
    /// `01`: sampled.
    pub flags: u8,
}
