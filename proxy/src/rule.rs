//! Compiled rules: what a request runs through once its route is found.

use std::fmt;
use std::sync::Arc;

use policies::Chain;

use crate::split::Split;
use crate::telemetry::{RouteStats, StreamStats};

/// One compiled rule; immutable, shared by snapshots as long as its route does not change.
#[derive(Debug)]
// What a request reads comes first and lies together.
#[repr(C)]
pub struct Rule {
    /// Counters; they outlive recompiles.
    pub stats: Arc<RouteStats>,
    /// Its own filters; what requests run through is the chain of the match, which differs by listener.
    pub chain: Chain,
    /// Replies speak gRPC (trailers-only, `grpc-status`).
    pub is_grpc: bool,
    /// Who answers.
    pub action: Action,
    /// Which rule this is, for logs, metrics and traces.
    pub name: RuleName,
}

/// The compiled rule of a TLSRoute, TCPRoute or UDPRoute.
#[derive(Debug)]
pub struct StreamRule {
    /// Which rule this is, for logs and metrics.
    pub name: RuleName,
    /// Where connections and flows go.
    pub action: Action,
    /// Counters; they outlive recompiles.
    pub stats: Arc<StreamStats>,
}

/// Names a rule of a user's route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleName {
    /// `HTTPRoute`, `GRPCRoute`, `TLSRoute`, `TCPRoute` or `UDPRoute`, or `Service` for default forwarding of a captured
    /// Service.
    pub kind: &'static str,
    /// `namespace/name` of the route.
    pub route: Arc<str>,
    /// The rule's name, or its index.
    pub rule: Arc<str>,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.kind, self.route, self.rule)
    }
}

/// Who answers.
#[derive(Debug)]
pub enum Action {
    /// One of these backends.
    Forward(Split),
    /// 500, with the reason for the log.
    Fail(Box<str>),
}
