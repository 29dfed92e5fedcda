//! Whole connections: TLSRoute and TCPRoute.
//!
//! | # | where | in → out |
//! |---|---|---|
//! | 1 | `accept`, `hello` | socket → ClientHello, read and kept → HTTPS, or TLS ended here, or passed on |
//! | 2 | [`StreamTable::find`] | name → [`StreamRule`] |
//! | 3 | [`crate::split`], [`crate::upstream`] | weight → cluster → endpoint → connection, or another endpoint |
//! | 4 | `relay` | bytes both ways until both sides have ended |
//! | 5 | `account` | one access-log line, metrics |
//!
//! A connection keeps the rule and the endpoint it began with, whatever changes meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::route::hosts::{HostPattern, Hosts};
use crate::route::map::{Keyed, Vacant};
use crate::route::name::Name;
use crate::route::precedence::RouteAge;
use crate::rule::StreamRule;
use crate::upstream::ClientIdentity;

mod accept;
pub(crate) mod account;
pub(crate) mod hello;
mod relay;
mod serve;
mod side;
pub(crate) mod way;

pub(crate) use self::accept::{Accepted, Opaque, accept_tcp, accept_tls};
pub(crate) use self::serve::serve;
pub(crate) use self::side::Side;

/// The routes of one listener.
#[derive(Debug)]
pub struct StreamTable {
    /// `namespace/gateway/section`, or `namespace/service:port`.
    pub(crate) name: Arc<str>,
    /// It serves a Service inside the cluster.
    pub(crate) is_captured: bool,
    /// What is shown to backends over TLS.
    pub(crate) identity: Option<Arc<ClientIdentity>>,
    /// Kinds of routes it serves.
    pub(crate) kinds: &'static [&'static str],
    pub(crate) hosts: Hosts<StreamHost>,
}

/// The routes of one host name, in order of precedence; the first is served.
#[derive(Debug, Clone)]
pub(crate) struct StreamHost {
    host: Name,
    rules: BTreeMap<RouteAge, Arc<StreamRule>>,
}

impl StreamTable {
    /// For logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rule of a connection. `sni`: the name in its ClientHello, lower-case; `None`: there is none, or it is not TLS.
    #[must_use]
    pub fn find(&self, sni: Option<&str>) -> Option<&Arc<StreamRule>> {
        match sni {
            Some(sni) => self.hosts.find(sni, |host| host.first(self.kinds)),
            None => self.hosts.get(HostPattern::Any)?.first(self.kinds),
        }
    }
}

impl StreamHost {
    pub(crate) fn new(host: &str) -> Self {
        Self { host: Name::new(host), rules: BTreeMap::new() }
    }

    /// Puts the rule of a route in, or takes it out.
    pub(crate) fn put(&mut self, age: &RouteAge, rule: Option<&Arc<StreamRule>>) {
        match rule {
            Some(rule) => drop(self.rules.insert(age.clone(), rule.clone())),
            None => drop(self.rules.remove(age)),
        }
    }

    fn first(&self, kinds: &[&str]) -> Option<&Arc<StreamRule>> {
        self.rules.values().find(|rule| kinds.contains(&rule.name.kind))
    }
}

impl Keyed for StreamHost {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.host.as_bytes()
    }
}

impl Vacant for StreamHost {
    fn is_vacant(&self) -> bool {
        self.rules.is_empty()
    }
}
