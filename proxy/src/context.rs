//! What the engine knows of one request, from its head to its log line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use pingora_http::ResponseHeader;
use policies::{Chain, ChainState, Context};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::attempt::Attempts;
use crate::call::MirrorBody;
use crate::engine::head::Host;
use crate::ingress::exchange::Exchange;
use crate::route::ListenerTable;
use crate::rule::{Action, Rule};
use crate::snapshot::Snapshot;
use crate::split::Share;
use crate::telemetry::{Course, InFlight, Record, Telemetry, TraceContext};
use crate::traffic::connection::ConnectionRules;
use crate::traffic::request::RequestRules;
use crate::upstream::{ClientIdentity, Cluster, Picked, RetryPermit};

/// One request. Pinned snapshot, decisions, and what is accounted for at its end.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) exchange: Arc<Exchange>,
    telemetry: Arc<Telemetry>,
    /// The configuration this request sees, from its first byte to its last.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The listener the request belongs to.
    pub(crate) listener: Option<Arc<ListenerTable>>,
    /// Who sent it, as the listener finds out; before that, who is connected. Port 0: not known.
    pub(crate) client: SocketAddr,
    pub(crate) started: Instant,
    /// The head as the client sent it.
    pub(crate) sent: Sent,

    pub(crate) rule: Option<Arc<Rule>>,
    /// Policies of the rule, as its listener wants them.
    pub(crate) chain: Chain,
    pub(crate) in_flight: Option<InFlight>,
    /// Which share of the rule's split.
    pub(crate) share: Option<usize>,
    pub(crate) policy: Context,
    pub(crate) rule_state: ChainState,
    pub(crate) share_state: ChainState,

    pub(crate) upstream: Upstream,
    pub(crate) mirrors: Mirrors,
    /// When the whole request must have ended.
    pub(crate) deadline: Option<Instant>,

    /// Answers of ours are gRPC's.
    pub(crate) is_grpc: bool,
    /// Asks for a WebSocket.
    pub(crate) is_upgrade: bool,
    pub(crate) trace: TraceContext,
    /// Why it ended as it did; a stable token, `ok` when the upstream answered.
    pub(crate) reason: &'static str,
    accounted: bool,
}

/// What a log line says of a request's head.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) target: Option<PathAndQuery>,
    pub(crate) version: Option<Version>,
    pub(crate) host: Option<Host>,
    pub(crate) user_agent: Option<HeaderValue>,
}

impl Sent {
    /// Keeps what policies may change.
    pub(crate) fn of(head: &Parts) -> Self {
        Self {
            method: head.method.clone(),
            target: head.uri.path_and_query().cloned(),
            version: Some(head.version),
            host: None,
            user_agent: head.headers.get(USER_AGENT).cloned(),
        }
    }
}

/// The attempts of a request.
#[derive(Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) picked: Option<Picked>,
    /// When it was picked: the start of its first attempt, so that the clock is read once.
    pub(crate) picked_at: Option<Instant>,
    pub(crate) tried: SmallVec<[SocketAddr; 2]>,
    pub(crate) attempts: Attempts,
    pub(crate) count: u32,
    pub(crate) permit: Option<RetryPermit>,
    /// How long to wait before the next attempt.
    pub(crate) delay: Duration,
    pub(crate) started: Option<Instant>,
    /// When the current attempt must have ended.
    pub(crate) deadline: Option<Instant>,
    /// The attempt may only go over HTTP/2.
    pub(crate) is_http2: bool,
    /// Informational answers to the current attempt.
    pub(crate) informational: u32,
    /// A connection was refused for its certificate, and the endpoint verified anew.
    pub(crate) is_doubted: bool,
    /// The outcome of the current attempt was told to its endpoint.
    pub(crate) recorded: bool,
    /// Time to the head of the last response.
    pub(crate) duration: Option<Duration>,
    /// The answer decided by us where Pingora only knows an error.
    pub(crate) reply: Option<policies::Reply>,
}

/// Copies of the request's body.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    pub(crate) bodies: SmallVec<[MirrorBody; 1]>,
    /// Body bytes handed on.
    pub(crate) sent: usize,
    /// Body bytes of the current attempt; a retry repeats those it has.
    pub(crate) seen: usize,
}

impl RequestContext {
    /// What its connection is held to, and since its listener is known, that listener's share of it.
    pub(crate) fn connection_rules(&self) -> &ConnectionRules {
        let own = self.exchange.connection.rules();
        self.listener.as_deref().map_or(own, |listener| &listener.traffic.connection)
    }

    pub(crate) fn new(
        exchange: Arc<Exchange>,
        telemetry: Arc<Telemetry>,
        snapshot: Arc<Snapshot>,
    ) -> Box<Self> {
        Box::new(Self {
            started: exchange.begun(),
            client: exchange.connection.peer,
            exchange,
            telemetry,
            snapshot,
            listener: None,
            in_flight: None,
            sent: Sent::default(),
            rule: None,
            share: None,
            policy: Context::default(),
            chain: Chain::default(),
            rule_state: ChainState::default(),
            share_state: ChainState::default(),
            upstream: Upstream::default(),
            mirrors: Mirrors::default(),
            deadline: None,
            is_grpc: false,
            is_upgrade: false,
            trace: TraceContext::default(),
            reason: "ok",
            accounted: false,
        })
    }

    /// The share the request goes to.
    pub(crate) fn share(&self) -> Option<&Share> {
        match &self.rule.as_ref()?.action {
            Action::Forward(split) => split.shares().get(self.share?),
            Action::Fail(_) => None,
        }
    }

    /// The backend the request goes to.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.share()?.target.as_ref().ok()
    }

    /// What the request is held to.
    pub(crate) fn rules(&self) -> &RequestRules {
        rules(self.listener.as_deref())
    }

    /// What backends are shown.
    pub(crate) fn identity(&self) -> Option<&ClientIdentity> {
        self.listener.as_ref()?.identity.as_deref()
    }

    /// Runs the response side of every filter that saw the request: the backend's first, then the rule's, then the
    /// listener's.
    pub(crate) fn apply_response(&self, head: &mut ResponseHeader) {
        if let Some(share) = self.share() {
            share.chain.response(head, &self.policy, &self.share_state);
        }
        self.chain.response(head, &self.policy, &self.rule_state);
        self.rules().late.response(head);
    }

    /// What is left until the request or its current attempt must have ended.
    pub(crate) fn limit(&self) -> Option<Instant> {
        match (self.deadline, self.upstream.deadline) {
            (Some(all), Some(one)) => Some(all.min(one)),
            (all, one) => all.or(one),
        }
    }

    /// Accounts for the request, once.
    pub(crate) fn account(&mut self, status: u16, bytes_in: u64, bytes_out: u64) {
        if std::mem::replace(&mut self.accounted, true) {
            return;
        }
        let (sent, duration) = (&self.sent, self.started.elapsed());
        let source = self.policy.caller.peer.as_ref().and_then(|peer| peer.workload.as_ref());
        if let Some(captured) = self.listener.as_ref().filter(|listener| listener.is_by_address) {
            let ends = (source, &captured.name);
            self.exchange.connection.count(&self.telemetry, ends, status, duration);
        }
        self.telemetry.finish(&Record {
            method: sent.method.as_str(),
            host: sent.host.as_ref().map_or("", Host::as_str),
            path: sent.target.as_ref().map_or("", PathAndQuery::as_str),
            status,
            stats: self.rule.as_ref().map(|rule| &*rule.stats),
            course: Course {
                protocol: version(sent.version),
                reason: self.reason,
                listener: self.listener.as_ref().map_or("", |listener| listener.name()),
                rule: self.rule.as_ref().map(|rule| &rule.name),
                upstream: self
                    .cluster()
                    .map(|cluster| &cluster.backend)
                    .zip(self.upstream.tried.last().copied()),
                attempts: self.upstream.count,
                duration,
                upstream_duration: self.upstream.duration,
                bytes_in,
                bytes_out,
                client: self.client,
            },
            trace: self.trace,
            user_agent: sent.user_agent.as_ref().and_then(|agent| agent.to_str().ok()),
            denied_by: self.policy.denied_by.as_deref(),
            would_deny: &self.policy.would_deny,
            source,
        });
    }
}

/// What requests of a listener are held to; `None`: of none.
pub(crate) fn rules(listener: Option<&ListenerTable>) -> &RequestRules {
    match listener {
        Some(listener) => &listener.traffic.request,
        None => RequestRules::of_nobody(),
    }
}

impl Drop for RequestContext {
    /// A request that is dropped before its log line: over its deadline, cut by a drain, or lost to a bug.
    fn drop(&mut self) {
        if self.accounted {
            return;
        }
        let (status, reason) = if std::thread::panicking() {
            (500, "panic")
        } else if let Some(over) = self.exchange.over() {
            (over.status(), over.reason())
        } else {
            (0, "cut")
        };
        self.reason = reason;
        // An HTTP/1 connection says so as it closes, if nothing was said before; an HTTP/2 stream is only reset.
        let says = self.sent.version != Some(Version::HTTP_2) && !self.exchange.is_answered();
        self.account(if says { status } else { 0 }, 0, 0);
    }
}

const fn version(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::HTTP_2) => "HTTP/2",
        Some(Version::HTTP_11) => "HTTP/1.1",
        Some(Version::HTTP_10) => "HTTP/1.0",
        Some(_) | None => "",
    }
}
