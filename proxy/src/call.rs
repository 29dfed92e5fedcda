//! Calls of our own: mirrors, and what policies ask. They use a second Pingora connector, because `HttpProxy`'s cannot be reached: other
//! pools, other connections. So load and health are counted in the [`Cluster`], never in a pool.
//!
//! What a reader would get wrong: dropping the future of a call is safe at any point; see the `Lease` for what then
//! becomes of the connection.

mod body;
mod exchange;
mod head;
mod lease;
mod mirror;
mod policy;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::HeaderMap;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_error::Error;
use pingora_http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

pub use self::body::{Body, BodySender};
use self::exchange::Attempt;
pub use self::mirror::MirrorBody;
pub(crate) use self::policy::Outbound;
use crate::attempt::{Attempts, Facts, Failure, Next};
use crate::egress;
use crate::telemetry::entropy;
use crate::upstream::{ClientIdentity, Cluster, NoEndpoint, trust_file};

/// The HTTP client of this process; build one and share it.
pub struct Net {
    connector: Connector<egress::Connector>,
    /// Bytes of request bodies that wait for slow mirrors.
    waiting: Arc<AtomicUsize>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When the whole call must be over, body included.
    pub deadline: Instant,
    /// Bytes of the response body that are read; more end the call.
    pub body: usize,
    /// Keep the response body; else it is read and thrown away.
    pub keep: bool,
}

/// An upstream's answer.
#[derive(Debug)]
pub struct Reply {
    /// Its head.
    pub head: ResponseHeader,
    /// Its body; empty when [`Limits::keep`] is false.
    pub body: Bytes,
    /// Fields after the body, of HTTP/2.
    pub trailers: Option<HeaderMap>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The cluster cannot take it.
    #[error("no endpoint can take the call: {0:?}")]
    NoEndpoint(NoEndpoint),
    /// The deadline passed.
    #[error("the call took too long")]
    Timeout,
    /// The response body is larger than allowed.
    #[error("the response body is larger than {0} bytes")]
    TooLarge(usize),
    /// Whoever sent the request body stopped before its end.
    #[error("the request body was broken off")]
    BrokenOff,
    /// The request cannot be sent: its own fault.
    #[error("the request cannot be sent")]
    Head(#[source] Box<Error>),
    /// No connection, or it failed.
    #[error("the upstream failed")]
    Upstream(#[source] Box<Error>),
}

impl Net {
    /// A client that keeps up to `idle` idle connections of each HTTP version.
    #[must_use]
    pub fn new(idle: usize) -> Arc<Self> {
        let mut options = ConnectorOptions::new(idle.max(1));
        // Pingora panics on unreadable roots.
        options.ca_file = Some(trust_file().to_owned());
        Arc::new(Self {
            connector: Connector::new_custom(Some(options), egress::Connector),
            waiting: Arc::default(),
        })
    }

    /// Sends a request to `cluster` and reads its answer. Fields of the connection are stripped from `head`, its Host
    /// stays. Connect failures and kept-alive connections that died are repeated as for forwarded requests, as long as
    /// nothing of `body` was sent.
    ///
    /// # Errors
    /// When there is no answer in time, or none that is HTTP and small enough.
    pub async fn call(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHeader,
        body: Option<Body>,
        limits: Limits,
    ) -> Result<Reply, CallError> {
        self.call_as(None, head::is_grpc(head), cluster, head, body, limits).await
    }

    /// As [`call`](Self::call), with a certificate for backends that ask for one over TLS. `is_grpc`: over HTTP/2 only.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) async fn call_as(
        &self,
        identity: Option<&ClientIdentity>,
        is_grpc: bool,
        cluster: &Arc<Cluster>,
        head: &RequestHeader,
        mut body: Option<Body>,
        limits: Limits,
    ) -> Result<Reply, CallError> {
        let whole = self.attempts(identity, is_grpc, cluster, head, &mut body, limits);
        timeout_at(limits.deadline, whole).await.unwrap_or(Err(CallError::Timeout))
    }

    async fn attempts(
        &self,
        identity: Option<&ClientIdentity>,
        is_grpc: bool,
        cluster: &Arc<Cluster>,
        head: &RequestHeader,
        body: &mut Option<Body>,
        limits: Limits,
    ) -> Result<Reply, CallError> {
        let head = head::strip(head, body.is_some()).map_err(CallError::Head)?;
        let mut tried: SmallVec<[_; 3]> = SmallVec::new();
        let mut attempts = Attempts::default();
        loop {
            let picked = cluster.pick(entropy(), &tried).map_err(CallError::NoEndpoint)?;
            tried.push(picked.address());
            let mut attempt = Attempt::new(self, picked, is_grpc, identity, limits);
            let (error, stage) = match attempt.run(&head, body).await {
                Ok(reply) => return Ok(reply),
                Err(exchange::Failed::Call(error)) => return Err(error),
                Err(exchange::Failed::Upstream(error, stage)) => (error, stage),
            };
            let (failure, sent) = Failure::of(&error, stage);
            let facts = Facts {
                failure,
                sent,
                idempotent: head.method.is_idempotent(),
                replayable: body.as_ref().is_none_or(Body::is_untouched),
                untried: cluster.has_untried(&tried),
                left: Some(limits.deadline.saturating_duration_since(Instant::now())),
                entropy: entropy(),
            };
            if attempts.next(None, &facts) == Next::Done {
                return Err(CallError::Upstream(error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
