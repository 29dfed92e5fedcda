//! What the proxies answer becomes conditions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use config::{Key, Rejection, Severity};
use fairway_controller::status::{Condition, ConditionStatus, Status};
use fairway_controller::{
    ObjectKey, ObjectKind, Options, Resources, Statuses, Translation, program, translate,
};

mod golden;

const CASE: &str = r#"
kind: Gateway
metadata: {name: two, namespace: infra, generation: 9}
spec:
  gatewayClassName: fairway
  listeners:
  - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: example-com}]}}
  - {name: raw, port: 1, protocol: example.com/raw}
---
kind: Gateway
metadata: {name: streams, namespace: shop, generation: 2}
spec:
  gatewayClassName: fairway
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: tcp, port: 53, protocol: TCP}
---
kind: ListenerSet
metadata: {name: more, namespace: shop}
spec:
  parentRef: {name: streams}
  listeners: [{name: udp, port: 53, protocol: UDP}]
---
kind: TLSRoute
metadata: {name: route, namespace: shop}
spec: {parentRefs: [{name: streams}], hostnames: [a.example.com], rules: [{backendRefs: [{name: dns, port: 53}]}]}
---
kind: TCPRoute
metadata: {name: route, namespace: shop}
spec: {parentRefs: [{name: streams}], rules: [{backendRefs: [{name: cart, port: 80}, {name: dns, port: 53}]}]}
---
kind: UDPRoute
metadata: {name: route, namespace: shop}
spec: {parentRefs: [{kind: ListenerSet, name: more}], rules: [{backendRefs: [{name: dns, port: 53}]}]}
---
kind: Service
metadata: {name: dns, namespace: shop}
spec: {ports: [{name: tcp, port: 53}, {name: udp, port: 53, protocol: UDP}]}
---
kind: HTTPRoute
metadata: {name: route, namespace: shop, generation: 4}
spec:
  parentRefs: [{name: two, namespace: infra}]
  rules:
  - backendRefs: [{name: cart, port: 80}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: catalog, port: 80}}}]
---
kind: Service
metadata: {name: echo, namespace: shop, labels: {fairway.dev/use-waypoint: w}}
spec: {ports: [{name: http, port: 80}, {name: alt, port: 81}]}
"#;

fn translation() -> Translation {
    let base = std::fs::read_to_string(golden::roots()[1].join("base.yaml")).unwrap();
    let objects = golden::objects(&base).unwrap().into_iter().chain(golden::objects(CASE).unwrap());
    let options = golden::options("").unwrap();
    translate(&Resources::collect(objects), &options)
}

fn rejected(key: &str, severity: Severity) -> Rejection {
    Rejection { key: key.parse::<Key>().unwrap(), severity, message: "because".to_owned() }
}

fn answer(rejections: &[Rejection]) -> Statuses {
    program(&translation(), rejections, true)
}

fn condition(
    statuses: &Statuses,
    (kind, namespace, name): (ObjectKind, &str, &str),
    place: &str,
    of: &str,
) -> Condition {
    let status = &statuses.0[&ObjectKey::new(kind, namespace, name)];
    let conditions = status.conditions();
    let (_, conditions) = conditions.iter().find(|(at, _)| at == place).unwrap();
    conditions
        .iter()
        .find(|condition| condition.r#type == of)
        .unwrap_or_else(|| panic!("{conditions:?}"))
        .clone()
}

fn says(condition: &Condition) -> (ConditionStatus, &str) {
    (condition.status, condition.reason)
}

const GATEWAY: (ObjectKind, &str, &str) = (ObjectKind::Gateway, "infra", "two");
const ROUTE: (ObjectKind, &str, &str) = (ObjectKind::HttpRoute, "shop", "route");
const PARENT: &str = "parent Gateway/infra/two";
use ConditionStatus::{False, True, Unknown};

#[test]
fn nothing_is_programmed_before_the_proxies_answer() {
    let statuses = program(&translation(), &[], false);
    assert_eq!(says(&condition(&statuses, GATEWAY, "", "Programmed")), (Unknown, "Pending"));
    assert_eq!(says(&condition(&statuses, GATEWAY, "listener http", "Programmed")), (Unknown, "Pending"));
}

#[test]
fn everything_is_programmed_when_nothing_is_rejected() {
    let statuses = answer(&[]);
    let gateway = condition(&statuses, GATEWAY, "", "Programmed");
    assert_eq!((says(&gateway), gateway.observed_generation), ((True, "Programmed"), Some(9)));
    for listener in ["listener http", "listener https"] {
        assert_eq!(says(&condition(&statuses, GATEWAY, listener, "Programmed")), (True, "Programmed"));
    }
    assert_eq!(says(&condition(&statuses, GATEWAY, "listener raw", "Programmed")), (False, "Invalid"));
    let service =
        condition(&statuses, (ObjectKind::Service, "shop", "echo"), "", "fairway.dev/WaypointBound");
    assert_eq!(says(&service), (True, "Bound"));
    assert!(service.message.starts_with("Listeners: port 80 on waypoint port"), "{}", service.message);
    let Status::Gateway(edge) = &*statuses.0[&ObjectKey::new(ObjectKind::Gateway, "infra", "edge")] else {
        panic!()
    };
    assert_eq!(says(&edge.conditions[1]), (True, "Programmed"));
}

#[test]
fn a_refused_listener_is_not_programmed_and_its_gateway_says_so() {
    let statuses = answer(&[rejected("Listener/infra/two/http", Severity::Refused)]);
    let listener = condition(&statuses, GATEWAY, "listener http", "Programmed");
    assert_eq!((says(&listener), &*listener.message), ((False, "Invalid"), "because"));
    assert_eq!(says(&condition(&statuses, GATEWAY, "listener https", "Programmed")), (True, "Programmed"));
    let gateway = condition(&statuses, GATEWAY, "", "Programmed");
    assert_eq!(says(&gateway), (True, "Programmed"));
    assert!(gateway.message.contains("listener http: because"), "{}", gateway.message);
}

#[test]
fn a_gateway_without_any_listener_is_not_programmed() {
    let refused =
        ["Listener/infra/two/http", "Listener/infra/two/https"].map(|key| rejected(key, Severity::Refused));
    assert_eq!(says(&condition(&answer(&refused), GATEWAY, "", "Programmed")), (False, "Invalid"));
}

#[test]
fn a_refused_certificate_shows_where_it_would_have_been_shown() {
    let statuses = answer(&[rejected("Certificate/infra/example-com", Severity::Refused)]);
    let at = "listener https";
    assert_eq!(says(&condition(&statuses, GATEWAY, at, "ResolvedRefs")), (False, "InvalidCertificateRef"));
    assert_eq!(says(&condition(&statuses, GATEWAY, at, "Programmed")), (False, "Invalid"));
    assert_eq!(says(&condition(&statuses, GATEWAY, "listener http", "Programmed")), (True, "Programmed"));
}

const STREAMS: [(ObjectKind, &str, &str); 3] = [
    (ObjectKind::TlsRoute, "Gateway/streams", "TlsRoute/shop/route"),
    (ObjectKind::TcpRoute, "Gateway/streams", "TcpRoute/shop/route"),
    (ObjectKind::UdpRoute, "ListenerSet/more", "UdpRoute/shop/route"),
];

#[test]
fn a_refused_route_of_connections_or_datagrams_is_told_and_its_namesakes_are_not() {
    for (_, _, key) in STREAMS {
        let statuses = answer(&[rejected(key, Severity::Refused)]);
        for (kind, parent, other) in STREAMS {
            let place = format!("parent {parent}");
            let accepted = condition(&statuses, (kind, "shop", "route"), &place, "Accepted");
            let want = if other == key { (False, "UnsupportedValue") } else { (True, "Accepted") };
            assert_eq!(says(&accepted), want, "{key}: {kind:?}");
        }
        assert_eq!(says(&condition(&statuses, ROUTE, PARENT, "Accepted")), (True, "Accepted"));
    }
}

#[test]
fn a_refused_backend_concerns_those_who_use_its_transport() {
    for (backend, concerned) in [
        ("Backend/shop/dns:53", [ObjectKind::TlsRoute, ObjectKind::TcpRoute].as_slice()),
        ("Backend/shop/dns:53:udp", &[ObjectKind::UdpRoute]),
        ("Endpoints/shop/dns:53:udp", &[ObjectKind::UdpRoute]),
    ] {
        let statuses = answer(&[rejected(backend, Severity::Refused)]);
        for (kind, parent, _) in STREAMS {
            let place = format!("parent {parent}");
            let resolved = condition(&statuses, (kind, "shop", "route"), &place, "ResolvedRefs");
            let is_told = resolved.status == False;
            assert_eq!(is_told, concerned.contains(&kind), "{backend}: {kind:?}: {}", resolved.message);
        }
    }
}

#[test]
fn a_refused_udp_listener_of_a_set_is_told_on_the_set() {
    let statuses = answer(&[rejected("Listener/shop/streams/shop/more/udp", Severity::Refused)]);
    let set = (ObjectKind::ListenerSet, "shop", "more");
    assert_eq!(says(&condition(&statuses, set, "listener udp", "Programmed")), (False, "Invalid"));
    let gateway = (ObjectKind::Gateway, "shop", "streams");
    assert_eq!(says(&condition(&statuses, gateway, "listener tcp", "Programmed")), (True, "Programmed"));
    assert_eq!(says(&condition(&statuses, gateway, "listener tls", "Programmed")), (True, "Programmed"));
}

#[test]
fn a_degraded_route_is_partially_invalid_and_a_refused_one_not_accepted() {
    let statuses = answer(&[rejected("HttpRoute/shop/route", Severity::Degraded)]);
    let partially = condition(&statuses, ROUTE, PARENT, "PartiallyInvalid");
    assert_eq!(says(&partially), (True, "UnsupportedValue"));
    assert_eq!((&*partially.message, partially.observed_generation), ("Dropped Rule: because", Some(4)));
    assert_eq!(says(&condition(&statuses, ROUTE, PARENT, "Accepted")), (True, "Accepted"));

    let statuses = answer(&[rejected("HttpRoute/shop/route", Severity::Refused)]);
    assert_eq!(says(&condition(&statuses, ROUTE, PARENT, "Accepted")), (False, "UnsupportedValue"));
}

#[test]
fn a_refused_backend_shows_on_the_routes_that_use_it() {
    for backend in ["Backend/shop/cart:80", "Backend/shop/catalog:80"] {
        let statuses = answer(&[rejected(backend, Severity::Refused)]);
        assert_eq!(says(&condition(&statuses, ROUTE, PARENT, "ResolvedRefs")), (False, "InvalidBackend"));
    }
    let statuses = answer(&[rejected("Backend/shop/echo:80", Severity::Refused)]);
    assert_eq!(says(&condition(&statuses, ROUTE, PARENT, "ResolvedRefs")), (True, "ResolvedRefs"));
}

#[test]
fn a_refused_waypoint_listener_unbinds_its_service() {
    let statuses = answer(&[rejected("Listener/shop/echo:81", Severity::Refused)]);
    let service =
        condition(&statuses, (ObjectKind::Service, "shop", "echo"), "", "fairway.dev/WaypointBound");
    assert_eq!((says(&service), &*service.message), ((False, "Invalid"), "echo:81: because"));
}

#[test]
fn a_gateway_without_address_is_not_programmed_by_an_answer() {
    let objects =
        golden::objects(&std::fs::read_to_string(golden::roots()[1].join("base.yaml")).unwrap()).unwrap();
    let translation = translate(&Resources::collect(objects), &Options::default());
    let statuses = program(&translation, &[], true);
    let edge = (ObjectKind::Gateway, "infra", "edge");
    assert_eq!(says(&condition(&statuses, edge, "", "Programmed")), (False, "AddressNotAssigned"));
    assert_eq!(says(&condition(&statuses, edge, "listener http", "Programmed")), (True, "Programmed"));
}

const SETS: &str = r#"
kind: Gateway
metadata: {name: two, namespace: infra}
spec:
  gatewayClassName: fairway
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
kind: ListenerSet
metadata: {name: set, namespace: infra, generation: 6}
spec:
  parentRef: {name: two}
  listeners:
  - {name: http, port: 81, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: example-com}]}}
---
kind: ListenerSet
metadata: {name: other, namespace: shop}
spec:
  parentRef: {name: two, namespace: infra}
  listeners: [{name: http, port: 82, protocol: HTTP}]
"#;

fn answer_about_sets(rejections: &[Rejection], options: &Options) -> Statuses {
    let base = std::fs::read_to_string(golden::roots()[1].join("base.yaml")).unwrap();
    let objects = golden::objects(&base).unwrap().into_iter().chain(golden::objects(SETS).unwrap());
    program(&translate(&Resources::collect(objects), options), rejections, true)
}

const SET: (ObjectKind, &str, &str) = (ObjectKind::ListenerSet, "infra", "set");
const OTHER: (ObjectKind, &str, &str) = (ObjectKind::ListenerSet, "shop", "other");

#[test]
fn a_listener_set_is_programmed_by_its_own_listeners() {
    let options = golden::options("").unwrap();
    let statuses = answer_about_sets(&[], &options);
    let set = condition(&statuses, SET, "", "Programmed");
    assert_eq!((says(&set), set.observed_generation), ((True, "Programmed"), Some(6)));
    assert_eq!(says(&condition(&statuses, SET, "listener https", "Programmed")), (True, "Programmed"));

    let statuses =
        answer_about_sets(&[rejected("Certificate/infra/example-com", Severity::Refused)], &options);
    let https = "listener https";
    assert_eq!(says(&condition(&statuses, SET, https, "ResolvedRefs")), (False, "InvalidCertificateRef"));
    assert_eq!(says(&condition(&statuses, SET, https, "Programmed")), (False, "Invalid"));
    let set = condition(&statuses, SET, "", "Programmed");
    assert_eq!(says(&set), (True, "Programmed"));
    assert!(set.message.contains("listener https: because"), "{}", set.message);

    // The same name on the Gateway is another listener.
    let refused = rejected("Listener/infra/two/shop/other/http", Severity::Refused);
    let statuses = answer_about_sets(&[refused], &options);
    assert_eq!(says(&condition(&statuses, OTHER, "", "Programmed")), (False, "Invalid"));
    assert_eq!(says(&condition(&statuses, SET, "", "Programmed")), (True, "Programmed"));
    assert_eq!(says(&condition(&statuses, GATEWAY, "listener http", "Programmed")), (True, "Programmed"));
}

#[test]
fn a_gateway_is_programmed_by_listeners_of_its_sets_too() {
    let options = golden::options("").unwrap();
    let own = rejected("Listener/infra/two/http", Severity::Refused);
    let statuses = answer_about_sets(std::slice::from_ref(&own), &options);
    let gateway = condition(&statuses, GATEWAY, "", "Programmed");
    assert_eq!(says(&gateway), (True, "Programmed"));
    assert!(gateway.message.contains("listener http: because"), "{}", gateway.message);

    let all = ["infra/set/http", "infra/set/https", "shop/other/http"]
        .map(|section| rejected(&format!("Listener/infra/two/{section}"), Severity::Refused));
    let statuses = answer_about_sets(&[&[own][..], &all].concat(), &options);
    assert_eq!(says(&condition(&statuses, GATEWAY, "", "Programmed")), (False, "Invalid"));
}

#[test]
fn a_set_of_a_gateway_without_address_waits_for_it() {
    let statuses = answer_about_sets(&[], &Options::default());
    assert_eq!(says(&condition(&statuses, SET, "", "Accepted")), (True, "Accepted"));
    assert_eq!(says(&condition(&statuses, SET, "", "Programmed")), (False, "ParentNotProgrammed"));
}

#[test]
fn a_policy_is_enforced_once_proxies_have_answered_unless_they_say_otherwise() {
    let policy = r#"
kind: SecurityPolicy
metadata: {name: policy, namespace: shop, generation: 7}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: route}]
  cors: {allowOrigins: ['https://a.example']}
"#;
    let base = std::fs::read_to_string(golden::roots()[1].join("base.yaml")).unwrap();
    let objects = [&*base, CASE, policy].into_iter().flat_map(|text| golden::objects(text).unwrap());
    let translation = translate(&Resources::collect(objects), &Options::default());
    let enforced = |rejections: &[Rejection], applied| {
        let statuses = program(&translation, rejections, applied);
        let of = (ObjectKind::SecurityPolicy, "shop", "policy");
        condition(&statuses, of, "ancestor Gateway/infra/two", "Enforced")
    };
    assert_eq!(says(&enforced(&[], false)), (ConditionStatus::Unknown, "Pending"));
    let done = enforced(&[], true);
    assert_eq!((says(&done), done.observed_generation), ((True, "Enforced"), Some(7)));
    let refused = enforced(&[rejected("SecurityPolicy/shop/policy", Severity::Degraded)], true);
    assert_eq!((says(&refused), &*refused.message), ((False, "Invalid"), "because"));
    assert_eq!(
        says(&enforced(&[rejected("SecurityPolicy/shop/other", Severity::Degraded)], true)),
        (True, "Enforced")
    );
}
