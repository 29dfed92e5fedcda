//! Match order: where each match of a route stands among all that a listener and host name have.

use std::cmp::Reverse;
use std::fmt;

use config::{HttpMatch, HttpRoute, Key, Parent, PathMatch, Resources};
use serde::Serialize;

use super::parent_name;
use crate::view::route_of;

/// Where a match stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    /// Listener or Service.
    parent: String,
    /// Host name; `*`: any.
    hostname: String,
    /// From 1: the first whose conditions hold serves the request.
    position: usize,
    of: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} on {} for host {}", self.position, self.of, self.parent, self.hostname)
    }
}

/// Places of a route's matches.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<(usize, usize, Place)>);

impl Places {
    /// Of one match.
    pub(super) fn of(&self, rule: usize, index: usize) -> Vec<Place> {
        let places = self.0.iter().filter(|(r, i, _)| (*r, *i) == (rule, index));
        places.map(|(_, _, place)| place.clone()).collect()
    }
}

/// As the routing table sorts (`proxy::route`), which Gateway API defines for each host name of a listener.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order<'a> {
    path: PathOrder,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    created: i64,
    route: (&'a str, &'a str),
    kind: config::Kind,
    rule: usize,
    index: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathOrder {
    Exact,
    Regex(Reverse<usize>),
    Prefix(Reverse<usize>),
    GrpcMethod,
}

fn order<'a>(key: &'a Key, created: i64, rule: usize, index: usize, one: &HttpMatch) -> Order<'a> {
    Order {
        path: match &one.path {
            PathMatch::Exact(_) => PathOrder::Exact,
            PathMatch::Regex(pattern) => PathOrder::Regex(Reverse(pattern.len())),
            PathMatch::Prefix(prefix) => PathOrder::Prefix(Reverse(prefix.trim_end_matches('/').len())),
            PathMatch::GrpcMethod(_) => PathOrder::GrpcMethod,
        },
        method: Reverse(one.method.is_some()),
        headers: Reverse(one.headers.len()),
        query: Reverse(one.query.len()),
        created,
        route: (&key.namespace, &key.name),
        kind: key.kind,
        rule,
        index,
    }
}

/// The parents of a route, each with one of its host names.
fn attachments(route: &HttpRoute) -> Vec<(String, &str)> {
    let mut all = Vec::new();
    for parent in &route.parents {
        match parent {
            Parent::Listener { hostnames, .. } => {
                all.extend(hostnames.iter().map(|host| (parent_name(parent), host.as_str())));
            }
            Parent::Service(_) | Parent::Consumer { .. } => all.push((parent_name(parent), "*")),
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Where the matches of the route `key` stand.
pub(super) fn places(resources: &Resources, key: &Key) -> Places {
    let routes: Vec<(&Key, &HttpRoute)> =
        resources.iter().filter_map(|(key, resource)| route_of(resource).map(|route| (key, route))).collect();
    let Some((_, mine)) = routes.iter().find(|(other, _)| *other == key) else { return Places::default() };
    let mut places = Places::default();
    for (parent, hostname) in attachments(mine) {
        let mut orders: Vec<Order<'_>> = Vec::new();
        for (key, route) in &routes {
            if attachments(route).iter().any(|(p, h)| *p == parent && *h == hostname) {
                for (rule, spec) in route.rules.iter().enumerate() {
                    let every = [HttpMatch::default()];
                    let matches = if spec.matches.is_empty() { &every[..] } else { &spec.matches };
                    let all = matches.iter().enumerate();
                    orders.extend(all.map(|(index, one)| order(key, route.created, rule, index, one)));
                }
            }
        }
        orders.sort();
        let of = orders.len();
        for (at, order) in orders.iter().enumerate() {
            if order.route == (&*key.namespace, &*key.name) && order.kind == key.kind {
                let place =
                    Place { parent: parent.clone(), hostname: hostname.to_owned(), position: at + 1, of };
                places.0.push((order.rule, order.index, place));
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(order: &[HttpMatch]) -> Vec<usize> {
        let key = Key::new(config::Kind::HttpRoute, "a", "b");
        let mut orders: Vec<_> =
            order.iter().enumerate().map(|(i, m)| (super::order(&key, 0, 0, i, m), i)).collect();
        orders.sort();
        orders.into_iter().map(|(_, i)| i).collect()
    }

    #[test]
    fn the_more_specific_match_goes_first() {
        let path = |path| HttpMatch { path, ..HttpMatch::default() };
        let prefix = |p: &str| path(PathMatch::Prefix(p.into()));
        let matches = [
            prefix("/"),
            prefix("/a"),
            HttpMatch { method: Some("GET".into()), ..prefix("/a/") },
            path(PathMatch::Regex("/a.*".into())),
            path(PathMatch::Exact("/a".into())),
            prefix("/a/b"),
        ];
        assert_eq!(position(&matches), [4, 3, 5, 2, 1, 0]);
    }
}
