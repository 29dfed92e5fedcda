//! A change costs what it touches: everything else in the next snapshot is what was in the one before.

use std::sync::Arc;

use config::{Endpoint, Endpoints, Key, Parent, Resource};
use fairway_proxy::rule::Rule;
use fairway_proxy::snapshot::{Port, Snapshot};

use super::support::{
    backend, backend_ref, bind, captured, compiler, get, listener, parent, prefix, removes, request, route,
    rule, upserts,
};

fn port(snapshot: &Snapshot, port: u16) -> &Arc<Port> {
    &snapshot.ports[&bind(port)]
}

fn found(snapshot: &Snapshot, host: &str, path: &str) -> Arc<Rule> {
    let req = request("GET", path, &[]);
    port(snapshot, 80).routes.find(&req, host, path, None).unwrap().rule.clone()
}

fn of(section: &str, host: &str, name: &str, backend: &str) -> (Key, Resource) {
    let path = format!("/{name}");
    route(name, vec![parent(section, &[host])], vec![rule(vec![prefix(&path)], backend)])
}

#[test]
fn a_changed_route_leaves_the_rules_of_others_alone() {
    let mut compiler = compiler();
    let (before, _) = compiler.apply(upserts([
        backend("a"),
        backend("b"),
        listener("one", 80, None),
        listener("two", 81, None),
        of("one", "x.test", "same", "a"),
        of("one", "x.test", "changed", "a"),
        of("one", "y.test", "far", "a"),
        of("two", "x.test", "other-port", "a"),
    ]));
    let (after, _) = compiler.apply(upserts([of("one", "x.test", "changed", "b")]));
    assert!(!Arc::ptr_eq(&found(&before, "x.test", "/changed"), &found(&after, "x.test", "/changed")));
    assert!(Arc::ptr_eq(&found(&before, "x.test", "/same"), &found(&after, "x.test", "/same")));
    assert!(Arc::ptr_eq(&found(&before, "y.test", "/far"), &found(&after, "y.test", "/far")));
    assert!(Arc::ptr_eq(port(&before, 81), port(&after, 81)));
    assert_eq!(get(&before, 80, "x.test", "/changed"), "infra/gw/one HTTPRoute/ns/changed#0 ns/a:80");
    assert_eq!(get(&after, 80, "x.test", "/changed"), "infra/gw/one HTTPRoute/ns/changed#0 ns/b:80");
}

#[test]
fn a_rule_that_did_not_change_keeps_its_place_in_its_split() {
    let rules = |path: &str| vec![rule(vec![prefix("/same")], "a"), rule(vec![prefix(path)], "a")];
    let parents = || vec![parent("one", &["*"])];
    let mut compiler = compiler();
    let (before, _) = compiler.apply(upserts([
        backend("a"),
        listener("one", 80, None),
        route("r", parents(), rules("/old")),
    ]));
    let (after, _) = compiler.apply(upserts([route("r", parents(), rules("/new"))]));
    assert!(Arc::ptr_eq(&found(&before, "x", "/same"), &found(&after, "x", "/same")));
    assert_eq!(get(&after, 80, "x", "/old"), "infra/gw/one no rule");
    assert_eq!(get(&after, 80, "x", "/new"), "infra/gw/one HTTPRoute/ns/r#1 ns/a:80");
}

#[test]
fn endpoints_swap_inside_the_cluster_and_compile_nothing() {
    let endpoints = |address: &str| {
        let endpoints =
            Endpoints { endpoints: vec![Endpoint { address: address.parse().unwrap(), zone: None }] };
        (Key::endpoints(&backend_ref("a")), Resource::Endpoints(endpoints))
    };
    let picked = |snapshot: &Snapshot| {
        let cluster = snapshot.clusters.get(&backend_ref("a")).unwrap();
        cluster.pick(0, &[]).map(|picked| picked.address().to_string())
    };
    let mut compiler = compiler();
    // Told before their backend, as on a start.
    let (_, _) = compiler.apply(upserts([endpoints("127.0.0.1:1")]));
    let (before, _) =
        compiler.apply(upserts([backend("a"), listener("one", 80, None), of("one", "*", "r", "a")]));
    assert_eq!(picked(&before).unwrap(), "127.0.0.1:1");
    let (after, _) = compiler.apply(upserts([endpoints("127.0.0.1:2")]));
    assert!(Arc::ptr_eq(port(&before, 80), port(&after, 80)));
    assert_eq!(picked(&before).unwrap(), "127.0.0.1:2", "the cluster of the older snapshot is the same");
    let (after, _) = compiler.apply(removes([Key::endpoints(&backend_ref("a"))]));
    assert!(picked(&after).is_err());
}

#[test]
fn what_is_told_again_is_no_change() {
    let resources = [backend("a"), listener("one", 80, None), of("one", "*", "r", "a")];
    let mut compiler = compiler();
    let (before, _) = compiler.apply(upserts(resources.clone()));
    let (after, _) = compiler.apply(upserts(resources));
    assert!(Arc::ptr_eq(port(&before, 80), port(&after, 80)));
}

#[test]
fn a_captured_service_goes_from_its_routes_back_to_itself() {
    let (key, listener) = {
        let (_, Resource::Listener(mut spec)) = listener("x", 15001, None) else {
            unreachable!("a listener")
        };
        spec.scope = config::Scope::Service(captured("a"));
        (Key::new(config::Kind::Listener, "ns", "a:80"), Resource::Listener(spec))
    };
    let attached = route("r", vec![Parent::Service(captured("a"))], vec![rule(vec![prefix("/r")], "b")]);
    let mut compiler = compiler();
    let (itself, _) = compiler.apply(upserts([backend("a"), backend("b"), (key, listener)]));
    assert_eq!(get(&itself, 15001, "any", "/r"), "ns/a:80 Service/ns/a#80 ns/a:80");
    let (routed, _) = compiler.apply(upserts([attached.clone()]));
    assert_eq!(get(&routed, 15001, "any", "/r"), "ns/a:80 HTTPRoute/ns/r#0 ns/b:80");
    assert_eq!(get(&routed, 15001, "any", "/"), "ns/a:80 no rule");
    let (back, _) = compiler.apply(removes([attached.0]));
    assert_eq!(get(&back, 15001, "any", "/"), "ns/a:80 Service/ns/a#80 ns/a:80");
    let (gone, _) = compiler.apply(removes([Key::backend(&backend_ref("a"))]));
    assert!(get(&gone, 15001, "any", "/").ends_with("does not exist)"));
}
