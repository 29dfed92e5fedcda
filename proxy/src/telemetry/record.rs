//! What is said of requests, connections and flows that have ended, borrowed from whoever served them.

use std::net::SocketAddr;
use std::time::Duration;

use config::BackendRef;
use policies::caller::Workload;

use super::{RouteStats, TraceContext};
use crate::rule::RuleName;

/// How something went that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// `HTTP/1.1`, `HTTP/2`; `TCP`, `TLS` or `UDP`.
    pub protocol: &'static str,
    /// Stable token: why the proxy answered itself or broke off; `ok` else.
    pub reason: &'static str,
    /// The listener, `namespace/gateway/section`.
    pub listener: &'a str,
    /// The rule; `None` when no route matched.
    pub rule: Option<&'a RuleName>,
    /// The backend and endpoint of the last attempt.
    pub upstream: Option<(&'a BackendRef, SocketAddr)>,
    /// Attempts made; of a connection, endpoints tried.
    pub attempts: u32,
    /// From the first byte of the head to the last of the response; of a connection, from when its rule was known.
    pub duration: Duration,
    /// From sending the last attempt to its response head; of a connection, until the endpoint took it.
    pub upstream_duration: Option<Duration>,
    /// Body bytes from the client; of a connection, all that were passed on.
    pub bytes_in: u64,
    /// Body bytes to the client; of a connection, all that were passed on.
    pub bytes_out: u64,
    /// The client. Port 0: not known, as of a client that others forward for.
    pub client: SocketAddr,
}

impl<'a> Course<'a> {
    /// Of what went nowhere, in no time.
    #[must_use]
    pub const fn new(
        protocol: &'static str,
        reason: &'static str,
        listener: &'a str,
        client: SocketAddr,
    ) -> Self {
        Self {
            protocol,
            reason,
            listener,
            rule: None,
            upstream: None,
            attempts: 0,
            duration: Duration::ZERO,
            upstream_duration: None,
            bytes_in: 0,
            bytes_out: 0,
            client,
        }
    }
}

/// One finished request.
#[derive(Debug)]
pub struct Record<'a> {
    /// Method, as sent.
    pub method: &'a str,
    /// Host, as routed.
    pub host: &'a str,
    /// Path and query, as the client sent it.
    pub path: &'a str,
    /// Status sent; 0 when none was.
    pub status: u16,
    /// The counters of the rule; `None` when no route matched.
    pub stats: Option<&'a RouteStats>,
    /// How it went.
    pub course: Course<'a>,
    /// The request's place in its trace.
    pub trace: TraceContext,
    /// `user-agent`, if any.
    pub user_agent: Option<&'a str>,
    /// The rule of a policy that refused it, or would have.
    pub denied_by: Option<&'a str>,
    /// Reasons policies in shadow mode would have refused it for.
    pub would_deny: &'a [&'static str],
    /// Who sent it, as far as that is known.
    pub source: Option<&'a Workload>,
}

/// One connection or flow that has ended.
#[derive(Debug)]
pub struct StreamRecord<'a> {
    /// The name in the ClientHello, lower-case.
    pub sni: Option<&'a str>,
    /// Who has opened it, as far as that is known.
    pub source: Option<&'a Workload>,
    /// How it went.
    pub course: Course<'a>,
}
