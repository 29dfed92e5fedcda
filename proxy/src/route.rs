//! The routing table: from a request head to a rule, at a cost that does not grow with the number of routes.

use std::sync::Arc;

use policies::Request;

use crate::rule::Rule;

/// All routes of one listening port.
#[derive(Debug, Default)]
pub struct RouteTable {}

/// A matched rule.
#[derive(Debug)]
pub struct Found<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// As `policies::Context::matched_prefix`.
    pub matched_prefix: usize,
}

impl RouteTable {
    /// The rule for a request. `host`: lower-case host without port, as checked by the caller. `path`: the path as it
    /// will be forwarded, without the query.
    #[must_use]
    pub fn find(&self, _req: &Request, _host: &str, _path: &str, _query: Option<&str>) -> Option<Found<'_>> {
        None
    }
}
