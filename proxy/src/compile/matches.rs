//! Matches of the IR to matches of the table.

use std::cmp::Reverse;
use std::sync::{Arc, Weak};

use config::{HttpMatch, PathMatch, ValueKind, ValueMatch};
use http::{HeaderName, Method};
use policies::Chain;
use rustc_hash::FxHashMap;

use crate::route::condition::{Conditions, ValueCondition};
use crate::route::matches::{Match, MatchPath};
use crate::route::pattern::Pattern;
use crate::route::precedence::{PathOrder, Precedence, RouteAge};
use crate::rule::Rule;

/// Longest exact path or prefix, in bytes (Gateway API: MaxLength). It bounds the depth of the tree.
const LONGEST_PATH: usize = 1024;

/// Patterns in use: routes that write the same share one, and a recompile finds it again.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: FxHashMap<Box<str>, Weak<Pattern>>,
    /// Sweep what nobody uses any more at this size.
    sweep: usize,
}

impl Patterns {
    fn get(&mut self, text: &str) -> Result<Arc<Pattern>, String> {
        if let Some(known) = self.known.get(text).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let pattern = Arc::new(Pattern::compile(text)?);
        self.known.insert(text.into(), Arc::downgrade(&pattern));
        if self.known.len() > self.sweep {
            self.known.retain(|_, pattern| pattern.strong_count() > 0);
            self.sweep = (2 * self.known.len()).max(64);
        }
        Ok(pattern)
    }
}

/// A match before it knows its rule.
pub(super) struct Unruled {
    path: MatchPath,
    order: PathOrder,
    conditions: Conditions,
    index: usize,
}

impl Unruled {
    /// The match, of a rule with its chain at one parent, and its place in a route.
    pub(super) fn of(self, rule: Arc<Rule>, chain: Chain, route: Arc<RouteAge>, at: usize) -> Match {
        let conditions = self.conditions;
        let precedence = Precedence {
            path: self.order,
            method: Reverse(conditions.method.is_some()),
            headers: Reverse(conditions.headers.len()),
            query: Reverse(conditions.query.len()),
            route,
            rule: at,
            index: self.index,
        };
        let conditions = (!conditions.is_empty()).then(|| Box::new(conditions));
        Match { rule, chain, conditions, precedence, path: self.path }
    }
}

/// Compiles the matches of a rule; none means every request. Beside those that are fine, what is wrong with the others:
/// field, reason and remedy.
pub(super) fn compile_all(specs: &[HttpMatch], patterns: &mut Patterns) -> (Vec<Unruled>, Vec<String>) {
    let all = [HttpMatch::default()];
    let specs = if specs.is_empty() { &all } else { specs };
    let (mut compiled, mut problems) = (Vec::with_capacity(specs.len()), Vec::new());
    for (index, spec) in specs.iter().enumerate() {
        match compile(spec, index, patterns) {
            Ok(one) => compiled.push(one),
            Err(problem) => problems.push(format!("matches[{index}].{problem}")),
        }
    }
    (compiled, problems)
}

fn compile(spec: &HttpMatch, index: usize, patterns: &mut Patterns) -> Result<Unruled, String> {
    let (path, order) = path(&spec.path, patterns).map_err(|e| format!("path: {e}"))?;
    let method = spec
        .method
        .as_ref()
        .map(|method| Method::from_bytes(method.as_bytes()))
        .transpose()
        .map_err(|_| "method: not an HTTP method")?;
    let mut headers: Vec<(HeaderName, ValueCondition)> = Vec::with_capacity(spec.headers.len());
    for (at, header) in spec.headers.iter().enumerate() {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| format!("headers[{at}].name: {:?} is not a header name", header.name))?;
        // Gateway API: "only the first entry with an equivalent name MUST be considered for a match".
        if headers.iter().all(|(other, _)| *other != name) {
            headers.push((name, value(header, patterns).map_err(|e| format!("headers[{at}].value: {e}"))?));
        }
    }
    let mut query: Vec<(Box<str>, ValueCondition)> = Vec::with_capacity(spec.query.len());
    for (at, parameter) in spec.query.iter().enumerate() {
        if query.iter().all(|(other, _)| **other != parameter.name) {
            let value = value(parameter, patterns).map_err(|e| format!("query[{at}].value: {e}"))?;
            query.push((parameter.name.as_str().into(), value));
        }
    }
    let conditions = Conditions { method, headers: headers.into(), query: query.into() };
    Ok(Unruled { path, order, conditions, index })
}

fn path(spec: &PathMatch, patterns: &mut Patterns) -> Result<(MatchPath, PathOrder), String> {
    Ok(match spec {
        PathMatch::Exact(path) => (MatchPath::Exact(absolute(path)?.into()), PathOrder::Exact),
        PathMatch::Prefix(path) => {
            // Gateway API: "When specified, a trailing `/` is ignored."
            let path = absolute(path)?;
            let path = path.strip_suffix('/').unwrap_or(path);
            let order = match path.len() {
                0 => PathOrder::Everything,
                length => PathOrder::Prefix(Reverse(length)),
            };
            (MatchPath::Prefix(path.into()), order)
        }
        PathMatch::Regex(text) => {
            let pattern = patterns.get(text)?;
            let prefix = pattern.literal_prefix();
            // Deeper than any path this long: nothing is gained by going further down.
            let prefix = if prefix.len() > LONGEST_PATH { String::new() } else { prefix };
            (MatchPath::Regex(pattern, prefix.into()), PathOrder::Regex(Reverse(text.len())))
        }
        PathMatch::GrpcMethod(name) => {
            if name.is_empty() || name.contains('/') {
                return Err(format!("{name:?} is not the name of a gRPC method"));
            }
            (MatchPath::GrpcMethod(name.as_str().into()), PathOrder::GrpcMethod)
        }
    })
}

fn absolute(path: &str) -> Result<&str, String> {
    if path.len() > LONGEST_PATH {
        return Err(format!("longer than {LONGEST_PATH} bytes"));
    }
    if !path.starts_with('/') {
        return Err(format!("{path:?} does not begin with a slash"));
    }
    if path.contains("//") {
        return Err(format!("{path:?} has consecutive slashes, which no request has once it is normalised"));
    }
    Ok(path)
}

fn value(spec: &ValueMatch, patterns: &mut Patterns) -> Result<ValueCondition, String> {
    Ok(match spec.kind {
        ValueKind::Exact => ValueCondition::Exact(spec.value.as_str().into()),
        ValueKind::Regex => ValueCondition::Regex(patterns.get(&spec.value)?),
    })
}
