//! The table finds what a naive matcher finds, for any routes and requests.

use config::{HttpMatch, HttpRoute, Key, Kind, PathMatch, Resource, ValueKind, ValueMatch};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::oracle::{self, Asked};
use super::support::{Plain, backend, bind, compile, listener, parent, request, rule};

/// Few values, so that things meet.
const HOSTS: &[&str] = &["test", "a.test", "b.test", "x.a.test", "y.x.a.test", "a.b.test", "other"];
const PATTERNS: &[&str] =
    &["*", "*.test", "*.a.test", "*.x.a.test", "a.test", "b.test", "x.a.test", "y.x.a.test", "test"];
const SEGMENTS: &[&str] = &["a", "ab", "b", "c"];
const REGEXES: &[&str] = &[
    ".*",
    "/a.*",
    "/a/.*",
    "/a/b",
    "/a/[bc]",
    "/ab?/[a-z]+",
    "/(a|b)/c",
    "/a/b/c|/b",
    "(?i)/A/B",
    "/[^/]+",
    "/a/b/.*",
    "^/b/a(/.*)?$",
];
const METHODS: &[&str] = &["GET", "POST"];
const VALUES: &[&str] = &["1", "2", "1, 2", "x y"];
const VALUE_REGEXES: &[&str] = &["[0-9]", "1.*", "x y", ".*"];

fn path_text() -> impl Strategy<Value = String> {
    (vec(select(SEGMENTS), 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if slash || path.is_empty() { path + "/" } else { path }
    })
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        3 => path_text().prop_map(PathMatch::Exact),
        4 => path_text().prop_map(PathMatch::Prefix),
        3 => select(REGEXES).prop_map(|text| PathMatch::Regex(text.to_owned())),
        1 => select(SEGMENTS).prop_map(|name| PathMatch::GrpcMethod(name.to_owned())),
    ]
}

/// Conditions on different names, as the IR promises.
fn values(names: &'static [&'static str]) -> impl Strategy<Value = Vec<ValueMatch>> {
    let value = prop_oneof![
        3 => select(VALUES).prop_map(|value| (ValueKind::Exact, value)),
        1 => select(VALUE_REGEXES).prop_map(|value| (ValueKind::Regex, value)),
    ];
    vec(prop::option::weighted(0.3, value), names.len()).prop_map(|values| {
        let some = names.iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
        some.map(|(name, (kind, value))| ValueMatch {
            name: (*name).to_owned(),
            kind,
            value: value.to_owned(),
        })
        .collect()
    })
}

fn http_match() -> impl Strategy<Value = HttpMatch> {
    let method = prop::option::weighted(0.3, select(METHODS).prop_map(str::to_owned));
    (path_match(), method, values(&["X-One", "x-two"]), values(&["p", "q"]))
        .prop_map(|(path, method, headers, query)| HttpMatch { path, method, headers, query })
}

prop_compose! {
    pub(super) fn http_route()(
        created in 0i64..3,
        parents in vec((select(&["one", "two", "three"][..]), vec(select(PATTERNS), 1..4)), 1..3),
        rules in vec(vec(http_match(), 0..4), 1..4),
    ) -> HttpRoute {
        HttpRoute {
            created,
            parents: parents.iter().map(|(section, hosts)| parent(section, hosts)).collect(),
            attached: Vec::new(),
            rules: rules.into_iter().map(|matches| rule(matches, "a")).collect(),
        }
    }
}

prop_compose! {
    fn resources()(
        // Three listeners on a port, of different names.
        hostnames in subsequence(PATTERNS, 3).prop_shuffle(),
        routes in vec((any::<bool>(), select(&["ns", "ns-b"][..]), select(&["a", "b", "c"][..]), http_route()), 1..7),
    ) -> Plain {
        let mut resources = Plain::from([backend("a")]);
        for (section, hostname) in ["one", "two", "three"].into_iter().zip(hostnames) {
            resources.extend([listener(section, 80, (hostname != "*").then_some(hostname))]);
        }
        for (is_grpc, namespace, name, route) in routes {
            let (kind, resource): (_, fn(HttpRoute) -> Resource) = match is_grpc {
                true => (Kind::GrpcRoute, Resource::GrpcRoute),
                false => (Kind::HttpRoute, Resource::HttpRoute),
            };
            resources.insert(Key::new(kind, namespace, name), resource(route));
        }
        resources
    }
}

prop_compose! {
    pub(super) fn asked()(
        method in select(METHODS),
        host in select(HOSTS),
        path in path_text(),
        query in vec((select(&["p", "q"][..]), select(VALUES)), 0..4),
        headers in vec((select(&["x-one", "X-Two"][..]), select(VALUES)), 0..4),
    ) -> Asked {
        let own = |pairs: Vec<(&str, &str)>| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Asked { method: method.to_owned(), host: host.to_owned(), path, query: own(query), headers: own(headers) }
    }
}

/// As a client writes it: some of it escaped, one way or the other.
pub(super) fn to_request(asked: &Asked) -> policies::Request {
    let query: Vec<String> = asked
        .query
        .iter()
        .enumerate()
        .map(|(at, (name, value))| {
            let value = value.replace(',', "%2C").replace(' ', if at % 2 == 0 { "+" } else { "%20" });
            format!("{name}={value}")
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let headers: Vec<(&str, &str)> = asked.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    request(&asked.method, &format!("{}{mark}{}", asked.path, query.join("&")), &headers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1250, failure_persistence: None, ..ProptestConfig::default() })]

    /// 1,250 tables, 20,000 requests.
    #[test]
    fn find_equals_a_naive_matcher(resources in resources(), requests in vec(asked(), 16)) {
        let (snapshot, rejections) = compile(resources.clone());
        prop_assert_eq!(rejections, vec![]);
        let table = &snapshot.ports[&bind(80)].routes;
        for asked in &requests {
            let req = to_request(asked);
            let found = table.listener(&asked.host).map(|listener| {
                let found = listener.find(&req, &asked.host, req.uri.path(), req.uri.query());
                (listener.name().to_string(), found.map(|found| found.rule.name.to_string()))
            });
            let wanted = oracle::answer(&resources, 80, asked).map(|(listener, found)| {
                let found = found.map(|(route, rule)| {
                    let kind = if route.kind == Kind::GrpcRoute { "GRPCRoute" } else { "HTTPRoute" };
                    format!("{kind}/{}/{}#{rule}", route.namespace, route.name)
                });
                (format!("{}/{}", listener.namespace, listener.name), found)
            });
            prop_assert_eq!(found, wanted, "{:?}", asked);
        }
    }
}
