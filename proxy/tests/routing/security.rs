//! SecurityPolicies: who is held to what, and what refuses.

use config::{Key, Kind, Resource};

use super::support::{
    Plain, backend, bind, compile, compiler, get, listener, messages, parent, prefix, removes, request,
    route, rule, upserts,
};

fn policy(name: &str, json: serde_json::Value) -> (Key, Resource) {
    let mut fields = json;
    fields["kind"] = "SecurityPolicy".into();
    (Key::new(Kind::SecurityPolicy, "ns", name), serde_json::from_value(fields).unwrap())
}

fn cors(origin: &str) -> serde_json::Value {
    serde_json::json!({ "cors": { "allowOrigins": [format!("https://{origin}.test")] } })
}

fn guarded(mut resource: (Key, Resource), of_route: &[&str]) -> (Key, Resource) {
    let keys = of_route.iter().map(|name| format!("SecurityPolicy/{name}").parse().unwrap()).collect();
    match &mut resource.1 {
        Resource::HttpRoute(route) => route.attached = keys,
        Resource::Listener(listener) => listener.attached = keys,
        other => panic!("{other:?}"),
    }
    resource
}

const A: &str = " cors_preflight cors_origin_denied cors_origin_denied";
const B: &str = " cors_origin_denied cors_preflight cors_origin_denied";
const REFUSES: &str = " security_policy_invalid security_policy_invalid security_policy_invalid";

fn shop(of_route: &[&str]) -> Plain {
    let parents = || vec![parent("one", &["*"]), parent("two", &["*"])];
    Plain::from([
        backend("a"),
        listener("one", 81, None),
        guarded(listener("two", 82, None), &["ns/gateway"]),
        guarded(route("r", parents(), vec![rule(Vec::new(), "a")]), of_route),
        policy("gateway", serde_json::json!({ "overrides": cors("b") })),
        policy("route", serde_json::json!({ "defaults": cors("a") })),
    ])
}

#[test]
fn a_rule_is_held_to_the_policies_of_the_listener_a_request_came_by() {
    let (snapshot, rejections) = compile(shop(&["ns/route"]));
    assert!(rejections.is_empty(), "{rejections:?}");
    assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{A}"));
    assert_eq!(get(&snapshot, 82, "x.test", "/"), format!("infra/gw/two HTTPRoute/ns/r#0 ns/a:80{B}"));
}

#[test]
fn a_policy_that_is_named_and_not_there_refuses_until_it_comes() {
    let mut compiler = compiler();
    let mut all = shop(&["ns/route", "ns/late"]);
    let (snapshot, rejections) = compiler.apply(upserts(all.clone()));
    assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{REFUSES}"));
    assert_eq!(
        messages(&rejections),
        [
            "HttpRoute/ns/r Degraded attached: there is no SecurityPolicy ns/late here, so every request is refused"
        ]
    );
    let late = policy("late", serde_json::json!({}));
    let (snapshot, rejections) = compiler.apply(upserts([late.clone()]));
    assert!(rejections.is_empty());
    assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{A}"));
    // Changed and deleted: never open in between.
    let (snapshot, _) =
        compiler.apply(upserts([policy("late", serde_json::json!({ "defaults": cors("b") }))]));
    assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{B}"));
    let (snapshot, _) = compiler.apply(removes([late.0]));
    assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{REFUSES}"));
    // The route lets go of it.
    all.extend([guarded(
        route("r", vec![parent("one", &["*"])], vec![rule(Vec::new(), "a")]),
        &["ns/route"],
    )]);
    let (snapshot, rejections) = compiler.apply(upserts(all));
    assert!(rejections.is_empty());
    assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{A}"));
}

#[test]
fn a_policy_that_cannot_be_read_or_compiled_refuses_and_touches_nothing_else() {
    for (json, says) in [
        (serde_json::json!({ "invalid": "because" }), "because"),
        (serde_json::json!({ "defaults": { "ofTomorrow": {} } }), "ofTomorrow"),
        (serde_json::json!({ "defaults": { "cors": { "maxAge": 0 } } }), "cors.maxAge: is 0"),
        (serde_json::json!({ "overrides": { "cors": { "allowOrigins": ["*", "x"] } } }), "cors.allowOrigins"),
    ] {
        let mut all = shop(&["ns/route"]);
        let parents = vec![parent("one", &["*"])];
        all.extend([
            policy("bad", json),
            guarded(route("bad", parents, vec![rule(vec![prefix("/bad")], "a")]), &["ns/bad"]),
        ]);
        let (snapshot, rejections) = compile(all);
        assert_eq!(
            get(&snapshot, 81, "x.test", "/bad"),
            format!("infra/gw/one HTTPRoute/ns/bad#0 ns/a:80{REFUSES}")
        );
        assert_eq!(get(&snapshot, 81, "x.test", "/"), format!("infra/gw/one HTTPRoute/ns/r#0 ns/a:80{A}"));
        let messages = messages(&rejections);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with("SecurityPolicy/ns/bad Degraded refuses every request"),
            "{messages:?}"
        );
        assert!(messages[0].contains(says), "{messages:?}");
    }
}

#[test]
fn chains_are_shared_where_the_policies_are_the_same() {
    let (snapshot, _) = compile(shop(&["ns/route"]));
    let find = |port: u16| {
        let routes = &snapshot.ports[&bind(port)].routes;
        let req = request("GET", "/", &[]);
        routes.find(&req, "x.test", "/", None).unwrap().rule.clone()
    };
    // One rule, so one split and one set of counters, whatever the policies.
    assert!(std::sync::Arc::ptr_eq(&find(81), &find(82)));
}
