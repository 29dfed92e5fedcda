//! A translator that remembers says what one that does not would say, whatever changed in between.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use fairway_controller::{NAMESPACE, Object, Options, Resources, Translator, translate};
use proptest::prelude::*;
use serde_json::{Value, json};

mod golden;

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-02T00:00:00Z";

fn gateway(name: &str, created: &str, listeners: &Value) -> Value {
    json!({"kind": "Gateway", "metadata": {"name": name, "namespace": "infra", "creationTimestamp": created}, "spec": {
        "gatewayClassName": "fairway", "listeners": listeners,
        "allowedListeners": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}},
        "tls": {"frontend": {"default": {"validation": {"caCertificateRefs":
            [{"group": "", "kind": "ConfigMap", "name": "ca"}]}}}},
    }})
}

fn listener(name: &str, port: u16, hostname: Option<&str>, allowed: &Value) -> Value {
    json!({"name": name, "port": port, "protocol": "HTTP", "hostname": hostname,
        "allowedRoutes": {"namespaces": allowed}})
}

fn secure(secret: &str) -> Value {
    json!({"name": "https", "port": 443, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": secret, "namespace": "shop"}]}})
}

fn route(kind: &str, name: &str, created: &str, hosts: &[&str], backend: &str) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created}, "spec": {
        "parentRefs": [
            {"name": "edge", "namespace": "infra"},
            {"group": "", "kind": "Service", "name": "cart"},
            {"kind": "ListenerSet", "name": "set"},
            {"name": "inner", "namespace": "infra", "sectionName": "all"},
        ],
        "hostnames": hosts,
        "rules": [{"backendRefs": [{"name": backend, "port": 80}, {"name": "other", "namespace": "infra", "port": 80}]}],
    }})
}

fn service(app_protocol: Option<&str>, waypoint: Option<&str>) -> Value {
    json!({"kind": "Service", "metadata": {"name": "cart", "namespace": "shop",
        "labels": waypoint.map(|waypoint| json!({"fairway.dev/use-waypoint": waypoint}))},
        "spec": {"ports": [{"name": "http", "port": 80, "appProtocol": app_protocol}, {"name": "two", "port": 81},
            {"name": "quic", "port": 80, "protocol": "UDP"}]}})
}

/// A Service that is captured in a cluster, or was.
fn captured(labels: &Value, node_port: bool) -> Value {
    json!({"kind": "Service", "metadata": {"name": "pay", "namespace": "shop", "labels": labels}, "spec": {
        "type": if node_port { "NodePort" } else { "ClusterIP" }, "selector": {"app": "pay"},
        "ports": [{"name": "http", "port": 80, "appProtocol": "http"}, {"name": "raw", "port": 90}]}})
}

/// Its EndpointSlices: Kubernetes', its shadow's, and those that lead to a waypoint.
fn steered(name: &str, labels: &Value, port: u16) -> Value {
    json!({"kind": "EndpointSlice", "metadata": {"name": name, "namespace": "shop", "labels": labels,
        "annotations": {"fairway.dev/waypoint": "shop/w"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}], "endpoints": [{"addresses": ["10.0.0.9"]}]})
}

/// What waypoints of a cluster are made of.
fn waypoints() -> Vec<Vec<Option<Value>>> {
    let waypoint = |from: &str| {
        json!({"kind": "Gateway", "metadata": {"name": "w", "namespace": "shop"}, "spec": {
            "gatewayClassName": "fairway-waypoint", "listeners": [{"name": "mesh", "port": 15008,
            "protocol": "fairway.dev/CAPTURE", "allowedRoutes": {"namespaces": {"from": from}}}]}})
    };
    let kubernetes = "endpointslice-controller.k8s.io";
    let labels = |service: &str, manager: &str| json!({"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": manager});
    let with = |mut labels: Value, name: &str, value: &str| {
        labels[name] = value.into();
        labels
    };
    let route = |kind: &str, port: Option<u16>| {
        json!({"kind": kind, "metadata": {"name": "pay", "namespace": "shop"}, "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "pay", "port": port}],
            "rules": [{"backendRefs": [{"name": "pay", "port": 80}]}]}})
    };
    let asked = json!({"fairway.dev/use-waypoint": "w"});
    vec![
        vec![
            Some(json!({"kind": "GatewayClass", "metadata": {"name": "fairway-waypoint"},
            "spec": {"controllerName": "fairway.dev/controller"}})),
            None,
        ],
        vec![Some(waypoint("Same")), Some(waypoint("Selector")), None],
        vec![
            None,
            Some(captured(&json!({}), false)),
            Some(captured(&json!({"fairway.dev/captured": "shop.w"}), false)),
            Some(captured(&asked, false)),
            Some(captured(&asked, true)),
        ],
        vec![
            None,
            Some(steered("pay-1", &labels("pay", kubernetes), 8080)),
            Some(steered("pay-1", &with(labels("pay", kubernetes), "fairway.dev/captured", "shop.w"), 8080)),
            Some(steered("pay-1", &labels("pay", "somebody"), 8080)),
        ],
        vec![
            None,
            Some(steered(
                "pay-s-1",
                &with(labels("pay-s", kubernetes), "fairway.dev/shadow-of", "pay"),
                8080,
            )),
        ],
        vec![
            None,
            Some(steered("pay-wp-4", &labels("pay", "waypoint.fairway.dev"), 20_001)),
            Some(steered("pay-wp-4", &labels("pay", "waypoint.fairway.dev"), 20_002)),
        ],
        vec![
            None,
            Some(json!({"kind": "NetworkPolicy", "metadata": {"name": "np", "namespace": "shop"}, "spec": {
                "podSelector": {"matchLabels": {"app": "pay"}}}})),
            Some(json!({"kind": "NetworkPolicy", "metadata": {"name": "np", "namespace": "shop"}, "spec": {
                "podSelector": {"matchLabels": {"app": "else"}}}})),
        ],
        vec![None, Some(route("HTTPRoute", None)), Some(route("HTTPRoute", Some(90)))],
        vec![None, Some(route("TCPRoute", Some(90))), Some(route("TCPRoute", None))],
    ]
}

fn policy(name: &str, hostname: &str, section: Option<&str>) -> Value {
    json!({"kind": "BackendTLSPolicy", "metadata": {"name": name, "namespace": "shop"}, "spec": {
        "targetRefs": [{"group": "", "kind": "Service", "name": "cart", "sectionName": section}],
        "validation": {"hostname": hostname, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}}})
}

fn traffic(
    (namespace, name, created): (&str, &str, &str),
    target: (&str, &str, Option<&str>),
    fields: &Value,
) -> Value {
    let mut policy = json!({"kind": "ClientTrafficPolicy",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": target.0, "name": target.1,
            "sectionName": target.2}]}});
    policy["spec"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    policy
}

/// ClientTrafficPolicies for the whole Gateway, a listener of it, and a ListenerSet.
fn traffics() -> Vec<Vec<Option<Value>>> {
    let idle = |time: &str| json!({"timeout": {"http": {"idleTimeout": time}}});
    let versions = json!({"tls": {"minVersion": "1.3"}, "path": {"disableMergeSlashes": true}});
    let (all, one) = (("Gateway", "edge", None), ("Gateway", "edge", Some("http")));
    let of_set = ("ListenerSet", "set", None);
    vec![
        vec![
            None,
            Some(traffic(("infra", "all", EARLY), all, &idle("10s"))),
            Some(traffic(("infra", "all", LATE), all, &versions)),
            Some(traffic(("infra", "all", LATE), all, &idle("never"))),
        ],
        vec![
            None,
            Some(traffic(("infra", "one", LATE), one, &idle("20s"))),
            Some(traffic(("infra", "one", EARLY), all, &json!({"http3": {}}))),
            Some(traffic(
                ("infra", "one", EARLY),
                ("Gateway", "edge", Some("https")),
                &json!({"tls": {"maxVersion": "1.2"}}),
            )),
        ],
        vec![
            None,
            Some(traffic(("shop", "set", EARLY), of_set, &idle("30s"))),
            Some(traffic(
                ("shop", "set", LATE),
                of_set,
                &json!({"proxyProtocol": {}, "limits": {"requestHeadersCount": 5}}),
            )),
        ],
    ]
}

fn security(
    (namespace, name, created): (&str, &str, &str),
    (group, kind, target, section): (&str, &str, &str, Option<&str>),
    fields: &Value,
) -> Value {
    let mut policy = json!({"kind": "SecurityPolicy",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": {"targetRefs": [{"group": group, "kind": kind, "name": target, "sectionName": section}]}});
    policy["spec"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    policy
}

/// SecurityPolicies of every level.
fn securities() -> Vec<Vec<Option<Value>>> {
    let cors = |origin: &str| json!({"cors": {"allowOrigins": [format!("https://{origin}.example")]}});
    let over = |origin: &str| json!({"overrides": cors(origin)});
    let broken = json!({"ofTomorrow": {}});
    let gateway_api = "gateway.networking.k8s.io";
    let (all, one) = ((gateway_api, "Gateway", "edge", None), (gateway_api, "Gateway", "edge", Some("http")));
    let of_set = (gateway_api, "ListenerSet", "set", Some("own"));
    let (route_a, route_b) = ((gateway_api, "HTTPRoute", "a", None), (gateway_api, "GRPCRoute", "b", None));
    let of_class = (gateway_api, "GatewayClass", "fairway", None);
    let of_other = (gateway_api, "GatewayClass", "other", None);
    let (of_service, of_all) = (("", "Service", "cart", None), ("", "Namespace", "shop", None));
    let s = |at: (&str, &str, &str), target, fields: &Value| Some(security(at, target, fields));
    vec![
        vec![
            None,
            s(("infra", "s", EARLY), all, &cors("gateway")),
            s(("infra", "s", LATE), one, &over("listener")),
            s(("infra", "s", LATE), all, &broken),
        ],
        vec![
            None,
            s(("infra", "t", LATE), all, &over("second")),
            s(("infra", "t", EARLY), one, &cors("first")),
        ],
        vec![
            None,
            s(("shop", "s", EARLY), route_a, &cors("route")),
            s(("shop", "s", LATE), route_b, &cors("grpc")),
            s(("shop", "s", LATE), of_set, &over("set")),
        ],
        vec![
            None,
            s(("shop", "t", EARLY), of_service, &cors("service")),
            s(("shop", "t", LATE), of_service, &broken),
            s(("shop", "t", LATE), route_a, &broken),
        ],
        vec![
            None,
            s(("shop", "u", LATE), of_all, &cors("all")),
            s(("shop", "u", LATE), of_service, &over("u")),
            s(("shop", "u", LATE), of_class, &over("u")),
        ],
        vec![
            None,
            s((NAMESPACE, "c", LATE), of_class, &cors("class")),
            s((NAMESPACE, "c", EARLY), of_class, &over("class")),
            s((NAMESPACE, "c", LATE), of_other, &cors("other")),
        ],
        vec![
            None,
            s((NAMESPACE, "d", EARLY), of_class, &over("second")),
            s((NAMESPACE, "d", LATE), of_class, &broken),
        ],
    ]
}

fn namespaced(kind: &str, namespace: &str, name: &str, rest: &Value) -> Value {
    let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}});
    let fields = rest.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(fields);
    object
}

fn grant(kind: &str, to: &str) -> Value {
    namespaced(
        "ReferenceGrant",
        to,
        "grant",
        &json!({"spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": if to == "shop" { "infra" } else { "shop" }}],
        "to": [{"group": "", "kind": if to == "shop" { "Secret" } else { "Service" }}]}}),
    )
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn gateways() -> Vec<Vec<Option<Value>>> {
    let (all, same) = (json!({"from": "All"}), json!({"from": "Same"}));
    let chosen = json!({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}});
    let one = listener("all", 81, None, &all);
    let stream = |name: &str, port: u16, protocol: &str, allowed: &Value| {
        let tls = (protocol == "TLS").then(|| json!({"mode": "Passthrough"}));
        json!({"name": name, "port": port, "protocol": protocol, "tls": tls, "allowedRoutes": {"namespaces": allowed}})
    };
    let (tcp, udp) = (stream("tcp", 53, "TCP", &all), stream("udp", 53, "UDP", &same));
    let tls = stream("tls", 8443, "TLS", &chosen);
    let edge = |listeners: Value| Some(gateway("edge", EARLY, &listeners));
    let class = |name: &str, controller: &str| {
        Some(
            json!({"kind": "GatewayClass", "metadata": {"name": name}, "spec": {"controllerName": controller}}),
        )
    };
    let mut of_other = gateway("inner", LATE, &json!([one]));
    of_other["spec"]["gatewayClassName"] = json!("other");
    let set = |created: &str, hostname: &str| {
        json!({"kind": "ListenerSet", "metadata": {"name": "set", "namespace": "shop", "creationTimestamp": created},
            "spec": {"parentRef": {"name": "edge", "namespace": "infra"},
                "listeners": [{"name": "own", "port": 80, "protocol": "HTTP", "hostname": hostname}]}})
    };
    vec![
        vec![
            class("fairway", "fairway.dev/controller"),
            class("fairway", "fairway.dev/controller"),
            class("fairway", "example.com/other"),
            None,
        ],
        vec![class("other", "fairway.dev/controller"), None],
        vec![
            None,
            edge(json!([listener("http", 80, Some("*.example.com"), &all), one, tcp, tls])),
            edge(json!([listener("http", 80, Some("a.example.com"), &same), one])),
            edge(json!([
                one,
                listener("http", 80, Some("*.example.com"), &chosen),
                stream("udp", 53, "UDP", &all),
                tls
            ])),
            edge(json!([one, secure("edge"), udp, tcp])),
        ],
        vec![
            None,
            Some(gateway("inner", LATE, &json!([one]))),
            Some(gateway("inner", LATE, &json!([listener("all", 82, None, &all), secure("edge")]))),
            Some(of_other),
        ],
        vec![None, Some(set(LATE, "b.example.com")), Some(set(EARLY, "*.example.com"))],
        vec![
            None,
            Some(namespace("shop", &json!({"team": "shop"}))),
            Some(namespace("shop", &json!({"fairway.dev/use-waypoint": "w"}))),
            Some(namespace("shop", &json!({"fairway.dev/use-waypoint": "w", "fairway.dev/capture": "all"}))),
        ],
        vec![None, Some(grant("Gateway", "shop"))],
    ]
}

fn routes() -> Vec<Vec<Option<Value>>> {
    let (a, b, any) = (["a.example.com"], ["b.example.com"], ["*.example.com"]);
    let both = ["a.example.com", "b.example.com"];
    vec![
        vec![
            None,
            Some(route("HTTPRoute", "a", EARLY, &a, "cart")),
            Some(route("HTTPRoute", "a", LATE, &a, "cart")),
            Some(route("HTTPRoute", "a", LATE, &b, "nowhere")),
            Some(route("HTTPRoute", "a", LATE, &["NOT A HOST"], "cart")),
        ],
        vec![
            None,
            Some(route("GRPCRoute", "b", EARLY, &any, "cart")),
            Some(route("GRPCRoute", "b", LATE, &a, "cart")),
            Some(route("GRPCRoute", "b", LATE, &["NOT A HOST"], "cart")),
        ],
        vec![
            None,
            Some(route("HTTPRoute", "c", LATE, &b, "cart")),
            Some(route("HTTPRoute", "c", EARLY, &[], "cart")),
        ],
        vec![
            None,
            Some(route("GRPCRoute", "d", LATE, &both, "cart")),
            Some(route("GRPCRoute", "d", EARLY, &b, "other")),
        ],
        vec![
            None,
            Some(route("HTTPRoute", "e", EARLY, &both, "other")),
            Some(route("HTTPRoute", "e", LATE, &any, "cart")),
        ],
    ]
}

/// One of a few objects of one name, or its absence.
fn variants() -> Vec<Vec<Option<Value>>> {
    let slice = |service: &str, address: &str| {
        let mut slice = namespaced(
            "EndpointSlice",
            "shop",
            "cart",
            &json!({
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [address]}]}),
        );
        slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": service});
        slice
    };
    let other = |app_protocol: Option<&str>| {
        namespaced(
            "Service",
            "infra",
            "other",
            &json!({"spec": {"ports": [{"port": 80, "appProtocol": app_protocol}]}}),
        )
    };
    let made = certificate();
    let secret = |key: &str| {
        namespaced(
            "Secret",
            "shop",
            "edge",
            &json!({"type": "kubernetes.io/tls",
            "stringData": {"tls.crt": made.0, "tls.key": key}}),
        )
    };
    let ca = |namespace: &str, text: &str| {
        namespaced("ConfigMap", namespace, "ca", &json!({"data": {"ca.crt": text}}))
    };
    let mut all = gateways();
    all.extend(routes());
    all.extend(traffics());
    all.extend(securities());
    all.extend(waypoints());
    all.extend(pods());
    all.extend([
        vec![
            None,
            Some(service(None, Some("w"))),
            Some(service(Some("kubernetes.io/ws"), Some("w"))),
            Some(service(None, Some("none"))),
            Some(service(None, None)),
        ],
        vec![
            None,
            Some(slice("cart", "10.0.0.1")),
            Some(slice("cart", "10.0.0.2")),
            Some(slice("else", "10.0.0.2")),
        ],
        vec![None, Some(policy("p", "cart.example.com", None)), Some(policy("p", "CART", None))],
        vec![
            None,
            Some(policy("q", "cart.example.com", Some("two"))),
            Some(policy("q", "cart.example.com", None)),
        ],
        vec![None, Some(ca("shop", &made.0)), Some(ca("shop", "nonsense"))],
        vec![None, Some(ca("infra", &made.0))],
        vec![None, Some(secret(&made.1)), Some(secret("nonsense"))],
        vec![None, Some(other(None)), Some(other(Some("kubernetes.io/h2c")))],
        vec![None, Some(grant("HTTPRoute", "infra")), Some(grant("GRPCRoute", "infra"))],
    ]);
    all
}

/// Pods that come, go and claim each other's addresses.
fn pods() -> Vec<Vec<Option<Value>>> {
    let pod = |name: &str, created: &str, phase: &str, addresses: &[&str]| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        Some(json!({"kind": "Pod",
            "metadata": {"name": name, "namespace": "web", "uid": format!("{name}-{created}"), "creationTimestamp": created},
            "spec": {"serviceAccountName": name}, "status": {"phase": phase, "podIPs": addresses}}))
    };
    vec![
        vec![
            None,
            pod("p", EARLY, "Running", &["10.1.0.1"]),
            pod("p", LATE, "Running", &["10.1.0.1", "fd00::1"]),
            pod("p", LATE, "Succeeded", &["10.1.0.1"]),
        ],
        vec![
            None,
            pod("q", EARLY, "Running", &["10.1.0.1"]),
            pod("q", LATE, "Running", &["10.1.0.2", "fd00::1"]),
            pod("q", EARLY, "Pending", &[]),
        ],
        vec![None, pod("r", EARLY, "Running", &["10.1.0.1", "10.1.0.2"])],
    ]
}

fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["edge.example.com".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The same choice is the same object, as from a watch or an unchanged file.
fn pool() -> Vec<Vec<Option<Object>>> {
    let object = |value: Value| golden::object(&value).unwrap();
    variants().into_iter().map(|of| of.into_iter().map(|v| v.map(object)).collect()).collect()
}

/// Which variant of which object is next; several at once, as a burst of events.
fn steps() -> impl Strategy<Value = Vec<Vec<(prop::sample::Index, prop::sample::Index)>>> {
    let choice = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let few = prop::collection::vec(choice.clone(), 1..4);
    let many = prop::collection::vec(choice, 20..60);
    (many, prop::collection::vec(few, 1..25)).prop_map(|(first, mut steps)| {
        steps.insert(0, first);
        steps
    })
}

/// A copy is what a watch delivers after somebody wrote a status: another object with the same spec.
fn as_is_or_copy(object: Object, copies: bool) -> Object {
    if copies { golden::copy(&object) } else { object }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn memory_changes_nothing_but_the_cost(
        steps in steps(), copies in any::<bool>(), shared_host in any::<bool>(), anew in any::<bool>(),
        in_cluster in any::<bool>(),
    ) {
        let pool = pool();
        let options = Options { shared_host, is_cluster: in_cluster && !shared_host, ..Options::default() };
        let mut translator = Translator::new(options.clone());
        let (mut objects, mut resources) = (BTreeMap::new(), Resources::default());
        for step in steps {
            for (which, variant) in step {
                let which = which.index(pool.len());
                let key = pool[which].iter().flatten().next().unwrap().key();
                match variant.get(&pool[which]).clone().map(|object| as_is_or_copy(object, copies)) {
                    Some(object) => {
                        resources.change(key.kind, &[], vec![object.clone()]);
                        objects.insert(which, object);
                    }
                    None => {
                        resources.change(key.kind, &[key], Vec::new());
                        objects.remove(&which);
                    }
                }
            }
            // As standalone, which makes the lists anew each time, or as in a cluster.
            let now = if anew { Resources::collect(objects.values().cloned()) } else { resources.clone() };
            let remembered = translator.translate(&now);
            let alone = translate(&now, &options);
            prop_assert_eq!(&remembered.resources, &alone.resources);
            prop_assert_eq!(&remembered.statuses, &alone.statuses);
            prop_assert_eq!(&remembered, &alone, "plans");
            let again = translator.translate(&now);
            prop_assert!(again.resources.is_identical(&remembered.resources), "nothing changed");
            prop_assert!(again.statuses.0.is_identical(&remembered.statuses.0), "nothing changed");
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
    assert_eq!(changed, ["HttpRoute/shop/b"]);
}
