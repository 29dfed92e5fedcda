//! Which of several matches wins, as an `Ord`: the smaller one.

use std::cmp::Reverse;
use std::sync::Arc;

use config::Kind;

/// Precedence among the matches of one host name. The fields are in the order of HTTPRouteRule's `matches`
/// documentation (Gateway API), which [`RouteAge`], `rule` and `index` end: no two matches are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    pub(crate) path: PathOrder,
    /// A match with a method goes first.
    pub(crate) method: Reverse<bool>,
    /// Number of header conditions.
    pub(crate) headers: Reverse<usize>,
    /// Number of query conditions.
    pub(crate) query: Reverse<usize>,
    pub(crate) route: Arc<RouteAge>,
    /// Place of the rule in its route.
    pub(crate) rule: usize,
    /// Place of the match in its rule.
    pub(crate) index: usize,
}

/// Kinds of paths, the first to be preferred. "The precedence of RegularExpression path matches are
/// implementation-specific" (Gateway API): ours stands between exact and prefix. A gRPC method without its service has
/// no "characters in a matching service", which a prefix has, and more "characters in a matching method" than a match
/// of everything (GRPCRouteRule.matches).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathOrder {
    Exact,
    /// By length of the pattern.
    Regex(Reverse<usize>),
    /// By length of the prefix without its trailing slash.
    Prefix(Reverse<usize>),
    GrpcMethod,
    /// The prefix `/`.
    Everything,
}

/// Precedence among routes whose matches are equally specific.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteAge {
    /// "The oldest Route based on creation timestamp."
    pub(crate) created: i64,
    /// "The Route appearing first in alphabetical order by `{namespace}/{name}`."
    pub(crate) name: Arc<str>,
    /// Two routes may differ only by this.
    pub(crate) kind: Kind,
}
