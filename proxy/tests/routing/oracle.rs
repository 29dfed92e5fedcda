//! A matcher written from the specification's words, one request against every match of every route: slow, and sharing
//! no code with the table.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use config::{HttpMatch, HttpRoute, Key, Listener, Parent, PathMatch, Resource, ValueKind, ValueMatch};
use regex::Regex;

use super::support::Plain;

/// A request as the specification sees it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
}

/// The answer: the listener and, if one matches, the route and the place of the rule.
pub(super) type Answer<'a> = Option<(&'a Key, Option<(&'a Key, usize)>)>;

/// "Exact matches MUST be processed before wildcard matches, and wildcard matches MUST be processed before fallback";
/// "the wildcard character will match any number of characters and dots to the left". How specific the name is, if it
/// serves the host at all: characters of a non-wildcard name, then characters of any.
fn serves(name: &str, host: &str) -> Option<(usize, usize)> {
    if name == "*" {
        return Some((0, 0));
    }
    match name.strip_prefix('*') {
        Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some((0, name.len())),
        None => (name == host).then_some((name.len(), name.len())),
    }
}

fn elements(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

/// "Matches based on a URL path prefix split by `/` … element by element … a trailing `/` is ignored".
fn has_prefix(path: &str, prefix: &str) -> bool {
    let mut wanted = elements(prefix);
    if wanted.last() == Some(&"") {
        wanted.pop();
    }
    elements(path).starts_with(&wanted)
}

fn whole(pattern: &str, value: &str) -> bool {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        let compile = || Regex::new(&format!("^(?:{pattern})$")).unwrap();
        known.entry(pattern.to_owned()).or_insert_with(compile).is_match(value)
    })
}

fn path_matches(spec: &PathMatch, path: &str) -> bool {
    match spec {
        PathMatch::Exact(exact) => exact == path,
        PathMatch::Prefix(prefix) => has_prefix(path, prefix),
        PathMatch::Regex(pattern) => whole(pattern, path),
        PathMatch::GrpcMethod(method) => {
            matches!(elements(path)[..], [service, name] if !service.is_empty() && name == method)
        }
    }
}

fn value_matches(spec: &ValueMatch, value: &str) -> bool {
    match spec.kind {
        ValueKind::Exact => spec.value == value,
        ValueKind::Regex => whole(&spec.value, value),
    }
}

fn holds(spec: &HttpMatch, asked: &Asked) -> bool {
    let header = |wanted: &ValueMatch| {
        let mut values: Vec<&str> = asked
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(&wanted.name))
            .map(|(_, value)| value.as_str())
            .collect();
        let joined = values.join(", ");
        if values.len() > 1 {
            values.push(&joined);
        }
        values.iter().any(|value| value_matches(wanted, value))
    };
    // "match against the first value of the param"
    let query = |wanted: &ValueMatch| {
        let first = asked.query.iter().find(|(name, _)| *name == wanted.name);
        first.is_some_and(|(_, value)| value_matches(wanted, value))
    };
    path_matches(&spec.path, &asked.path)
        && spec.method.as_ref().is_none_or(|method| *method == asked.method)
        && spec.headers.iter().all(header)
        && spec.query.iter().all(query)
}

/// Exact, ours: regex, prefix by length; of GRPCRoute a method of any service goes before a match of everything.
fn path_rank(spec: &PathMatch) -> (u8, usize) {
    match spec {
        PathMatch::Exact(_) => (4, 0),
        PathMatch::Regex(pattern) => (3, pattern.len()),
        PathMatch::Prefix(prefix) if prefix != "/" => (2, prefix.trim_end_matches('/').len()),
        PathMatch::GrpcMethod(_) => (1, 0),
        PathMatch::Prefix(_) => (0, 0),
    }
}

struct Candidate<'a> {
    host: (usize, usize),
    spec: HttpMatch,
    route: &'a HttpRoute,
    key: &'a Key,
    rule: usize,
    index: usize,
}

impl Candidate<'_> {
    /// `Less` goes first. The order of the paragraphs in HTTPRouteSpec.hostnames and HTTPRouteRule.matches.
    fn precedence(&self, other: &Self) -> Ordering {
        let name = |key: &Key| format!("{}/{}", key.namespace, key.name);
        let more = |a: usize, b: usize| b.cmp(&a);
        other
            .host
            .cmp(&self.host)
            .then(path_rank(&other.spec.path).cmp(&path_rank(&self.spec.path)))
            .then(other.spec.method.is_some().cmp(&self.spec.method.is_some()))
            .then(more(self.spec.headers.len(), other.spec.headers.len()))
            .then(more(self.spec.query.len(), other.spec.query.len()))
            .then(self.route.created.cmp(&other.route.created))
            .then(name(self.key).cmp(&name(other.key)))
            .then(self.key.kind.cmp(&other.key.kind))
            .then(self.rule.cmp(&other.rule))
            .then(self.index.cmp(&other.index))
    }
}

fn listeners(resources: &Plain, port: u16) -> impl Iterator<Item = (&Key, &Listener)> {
    resources.iter().filter_map(move |(key, resource)| match resource {
        Resource::Listener(listener) if listener.port == port => Some((key, listener)),
        _ => None,
    })
}

/// Every way in which a route's matches are attached to a listener for a host.
fn candidates<'a>(resources: &'a Plain, listener: &'a Key, host: &'a str) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for (key, resource) in resources {
        let (Resource::HttpRoute(route) | Resource::GrpcRoute(route)) = resource else { continue };
        for parent in &route.parents {
            let Parent::Listener { namespace, gateway, section, hostnames } = parent else { continue };
            if *namespace != listener.namespace || format!("{gateway}/{section}") != listener.name {
                continue;
            }
            for host in hostnames.iter().filter_map(|name| serves(name, host)) {
                for (rule, spec) in route.rules.iter().enumerate() {
                    // "If no matches are specified, the default is a prefix path match on "/""
                    let default = vec![HttpMatch::default()];
                    let specs = if spec.matches.is_empty() { default } else { spec.matches.clone() };
                    candidates.extend(specs.into_iter().enumerate().map(|(index, spec)| Candidate {
                        host,
                        spec,
                        route,
                        key,
                        rule,
                        index,
                    }));
                }
            }
        }
    }
    candidates
}

/// Who answers.
pub(super) fn answer<'a>(resources: &'a Plain, port: u16, asked: &'a Asked) -> Answer<'a> {
    // GEP-3567: "requests SHOULD match at most one Listener", the one with the most specific name.
    let (_, listener) = listeners(resources, port)
        .filter_map(|(key, listener)| {
            Some((serves(listener.hostname.as_deref().unwrap_or("*"), &asked.host)?, key))
        })
        .max_by(|a, b| a.0.cmp(&b.0))?;
    let mut candidates = candidates(resources, listener, &asked.host);
    candidates.retain(|candidate| holds(&candidate.spec, asked));
    candidates.sort_by(|a, b| a.precedence(b));
    Some((listener, candidates.first().map(|candidate| (candidate.key, candidate.rule))))
}
