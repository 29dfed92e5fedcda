//! The routing table: from a request head to a rule, at a cost that does not grow with the number of routes.
//!
//! ```text
//! port ─ host ─► listener ─ host ─► table of one host name ─► exact path ► regex ► longest prefix ► gRPC method ► /
//!        one only (GEP-3567)        falls through to less     each: the matches in order of precedence, the first
//!                                   specific names            whose method, headers and query hold
//! ```
//!
//! A request belongs to the listener with the most specific host name and to no other, even when none of its routes
//! match. Inside the listener the host name of a route comes before everything else ("precedence must be given to rules
//! from the HTTPRoute with the largest number of characters in a matching hostname"), and a name none of whose rules
//! match gives way to the next. Regular expressions stand between exact paths and prefixes, the longer pattern first.
//!
//! A port that serves one captured Service has one listener and one table for any host: the same structure, no case.

use std::sync::Arc;

use policies::{Chain, Request};
use rustc_hash::FxHashMap;

use crate::rule::Rule;
use crate::tls::Trust;
use crate::traffic::Traffic;
use crate::upstream::ClientIdentity;
use condition::Probe;
use host::HostTable;
use hosts::Hosts;
use map::Keyed;

pub(crate) mod condition;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod map;
pub(crate) mod matches;
pub(crate) mod name;
pub(crate) mod pattern;
pub(crate) mod precedence;
mod regexes;
mod tree;

/// All routes of one listening port.
#[derive(Debug, Default, Clone)]
pub struct RouteTable {
    pub(crate) listeners: Hosts<ListenerTable>,
}

/// The routes of one listener.
#[derive(Debug)]
pub struct ListenerTable {
    /// The host name its port knows it by, without `*.`; empty: any.
    pub(crate) host: Box<str>,
    pub(crate) name: Arc<str>,
    /// It serves a Service inside the cluster: who shows nothing better is known by the address he comes from.
    pub(crate) is_by_address: bool,
    /// Who must have verified the client of a connection that carries its requests.
    pub(crate) trust: Option<Trust>,
    /// What its requests show to backends.
    pub(crate) identity: Option<Arc<ClientIdentity>>,
    /// What its requests are held to.
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) hosts: Hosts<HostTable>,
    /// What callers of these namespaces have instead (GEP-1426, "consumer routes").
    pub(crate) consumers: FxHashMap<Box<str>, Hosts<HostTable>>,
}

/// A matched rule.
#[derive(Debug)]
pub struct Found<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// What its requests run through: its filters, and the SecurityPolicies that are about it at this listener.
    pub chain: &'t Chain,
    /// As `policies::Context::matched_prefix`.
    pub matched_prefix: usize,
}

impl RouteTable {
    /// The listener a request belongs to, whether or not one of its routes matches; `None`: no listener of the port
    /// serves the host. `host`: lower-case host without port, as checked by the caller.
    #[must_use]
    pub fn listener(&self, host: &str) -> Option<&Arc<ListenerTable>> {
        self.listeners.find(host, Some)
    }

    /// The rule for a request: [`Self::listener`], then [`ListenerTable::find`].
    #[must_use]
    pub fn find(&self, req: &Request, host: &str, path: &str, query: Option<&str>) -> Option<Found<'_>> {
        self.listener(host)?.find(req, host, path, query)
    }
}

impl ListenerTable {
    /// For logs: `namespace/gateway/section`, or `namespace/service:port` for a captured Service.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The rule for a request of nobody in particular. `path`: the path as it will be forwarded, without the query.
    #[must_use]
    pub fn find(&self, req: &Request, host: &str, path: &str, query: Option<&str>) -> Option<Found<'_>> {
        self.find_for(None, req, host, (path, query))
    }

    /// The rule for a request of a caller of a namespace.
    #[must_use]
    pub(crate) fn find_for(
        &self,
        caller: Option<&str>,
        req: &Request,
        host: &str,
        (path, query): (&str, Option<&str>),
    ) -> Option<Found<'_>> {
        let probe = Probe { req, path, query };
        // Of most there are none, and then nothing is looked up.
        let own = caller.filter(|_| !self.consumers.is_empty()).and_then(|caller| self.consumers.get(caller));
        own.unwrap_or(&self.hosts)
            .find(host, |table| table.find(&probe))
            .map(|(found, matched_prefix)| Found { rule: &found.rule, chain: &found.chain, matched_prefix })
    }
}

impl Keyed for ListenerTable {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.host.as_bytes()
    }
}
