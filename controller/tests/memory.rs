//! A translator that remembers says what one that does not would say, whatever changed in between.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use fairway_controller::{Object, Options, Resources, Translator, translate};
use proptest::prelude::*;
use serde_json::{Value, json};

mod golden;

/// One of a few objects of one name, or its absence.
fn variants() -> Vec<Vec<Option<Value>>> {
    let gateway = |hostname: &str, from: &str| {
        json!({"kind": "Gateway", "metadata": {"name": "edge", "namespace": "infra"}, "spec": {
            "gatewayClassName": "fairway",
            "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP", "hostname": hostname,
                 "allowedRoutes": {"namespaces": {"from": from}}},
                {"name": "tcp", "port": 53, "protocol": "TCP", "allowedRoutes": {"namespaces": {"from": from}}},
                {"name": "udp", "port": 53, "protocol": "UDP", "allowedRoutes": {"namespaces": {"from": "All"}}},
                {"name": "tls", "port": 443, "protocol": "TLS", "hostname": hostname, "tls": {"mode": "Passthrough"},
                 "allowedRoutes": {"namespaces": {"from": from}}},
                {"name": "all", "port": 81, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}},
            ],
        }})
    };
    let route = |kind: &str, name: &str, created: &str, host: &str, backend: &str| {
        json!({"kind": kind, "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created}, "spec": {
            "parentRefs": [{"name": "edge", "namespace": "infra"}, {"group": "", "kind": "Service", "name": "cart"}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": backend, "port": 80}, {"name": "other", "namespace": "infra", "port": 80}]}],
        }})
    };
    let service = |app_protocol: Option<&str>, waypoint: &str| {
        json!({"kind": "Service", "metadata": {"name": "cart", "namespace": "shop",
            "labels": {"fairway.dev/use-waypoint": waypoint}},
            "spec": {"ports": [{"name": "http", "port": 80, "appProtocol": app_protocol},
                {"name": "quic", "port": 80, "protocol": "UDP"}]}})
    };
    let slice = |address: &str| {
        json!({"kind": "EndpointSlice", "metadata": {"name": "cart", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "cart"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [address]}]})
    };
    let policy = |hostname: &str| {
        json!({"kind": "BackendTLSPolicy", "metadata": {"name": "cart", "namespace": "shop"}, "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "cart"}],
            "validation": {"hostname": hostname, "wellKnownCACertificates": "System"}}})
    };
    let other = json!({"kind": "Service", "metadata": {"name": "other", "namespace": "infra"},
        "spec": {"ports": [{"port": 80}]}});
    let grant = json!({"kind": "ReferenceGrant", "metadata": {"name": "shop", "namespace": "infra"}, "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
        "to": [{"group": "", "kind": "Service"}]}});
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    vec![
        vec![None, Some(gateway("*.example.com", "All")), Some(gateway("a.example.com", "Same"))],
        vec![
            None,
            Some(route("HTTPRoute", "a", early, "a.example.com", "cart")),
            Some(route("HTTPRoute", "a", late, "a.example.com", "cart")),
            Some(route("HTTPRoute", "a", late, "b.example.com", "nowhere")),
            Some(route("HTTPRoute", "a", late, "NOT A HOST", "cart")),
        ],
        vec![
            None,
            Some(route("GRPCRoute", "b", early, "*.example.com", "cart")),
            Some(route("GRPCRoute", "b", late, "a.example.com", "cart")),
        ],
        vec![None, Some(route("HTTPRoute", "c", late, "b.example.com", "cart"))],
        vec![
            None,
            Some(service(None, "w")),
            Some(service(Some("kubernetes.io/ws"), "w")),
            Some(service(None, "none")),
        ],
        vec![None, Some(slice("10.0.0.1")), Some(slice("10.0.0.2"))],
        vec![None, Some(policy("cart.example.com")), Some(policy("CART"))],
        vec![None, Some(other)],
        vec![None, Some(grant)],
        vec![
            None,
            Some(route("TLSRoute", "d", early, "a.example.com", "cart")),
            Some(route("TLSRoute", "d", late, "*.example.com", "cart")),
        ],
        vec![None, Some(route("TLSRoute", "e", early, "a.example.com", "nowhere"))],
        vec![None, Some(route("TCPRoute", "f", late, "-", "cart"))],
        vec![
            None,
            Some(route("TCPRoute", "g", early, "-", "cart")),
            Some(route("TCPRoute", "g", late, "-", "cart")),
        ],
        vec![
            None,
            Some(route("UDPRoute", "h", early, "-", "cart")),
            Some(route("UDPRoute", "h", late, "-", "other")),
        ],
    ]
}

/// The same choice is the same object, as from a watch or an unchanged file.
fn pool() -> Vec<Vec<Option<Object>>> {
    let object = |value: Value| golden::object(&value).unwrap();
    variants().into_iter().map(|of| of.into_iter().map(|v| v.map(object)).collect()).collect()
}

fn choices() -> impl Strategy<Value = Vec<Vec<prop::sample::Index>>> {
    prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 14), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn memory_changes_nothing_but_the_cost(steps in choices(), copies in any::<bool>()) {
        let pool = pool();
        let class = json!({"kind": "GatewayClass", "metadata": {"name": "fairway"},
            "spec": {"controllerName": "fairway.dev/controller"}});
        let class = golden::object(&class).unwrap();
        let options = Options::default();
        let mut translator = Translator::new(options.clone());
        for step in steps {
            let chosen = pool.iter().zip(&step).filter_map(|(of, index)| index.get(of).clone());
            // A copy is what a watch delivers after somebody wrote a status: another object with the same
            // spec.
            let chosen = chosen.map(|object| if copies { golden::copy(&object) } else { object });
            let resources = Resources::collect(chosen.chain([class.clone()]));
            prop_assert_eq!(translator.translate(&resources), translate(&resources, &options));
        }
    }
}

#[test]
fn what_did_not_change_is_the_same_arc() {
    let text = std::fs::read_to_string(golden::roots()[1].join("base.yaml")).unwrap();
    let route = |name: &str, path: &str| {
        golden::object(&json!({"kind": "HTTPRoute", "metadata": {"name": name, "namespace": "shop"}, "spec": {
            "parentRefs": [{"name": "edge", "namespace": "infra"}],
            "rules": [{"matches": [{"path": {"value": path}}], "backendRefs": [{"name": "cart", "port": 80}]}]}}))
        .unwrap()
    };
    let objects = golden::objects(&text).unwrap();
    let with = |path| Resources::collect(objects.iter().cloned().chain([route("a", "/a"), route("b", path)]));
    let mut translator = Translator::new(Options::default());
    let before = translator.translate(&with("/b"));
    let after = translator.translate(&with("/c"));
    let changed: Vec<String> = after
        .resources
        .iter()
        .filter(|(key, resource)| !std::sync::Arc::ptr_eq(resource, &before.resources[*key]))
        .map(|(key, _)| key.to_string())
        .collect();
    assert_eq!(changed, ["Listener/infra/edge/http", "HttpRoute/shop/b"]);
}
