//! What is wrong is told, stays told until it is right, and hurts nobody else.

use config::{
    Backend, BackendTls, HttpRoute, Key, Kind, Listener, Parent, PathMatch, Protocol, Resource, Scope,
    TrustedCa,
};

use super::support::{
    backend, backend_ref, bind, captured, compile, compiler, get, key, listener, messages, parent, path,
    prefix, removes, route, rule, upserts,
};

fn broken_route(name: &str) -> (Key, Resource) {
    let rules =
        vec![rule(vec![path(PathMatch::Regex("(".to_owned()))], "a"), rule(vec![prefix("/fine")], "a")];
    route(name, vec![parent("http", &["*"])], rules)
}

fn good_route(name: &str, at: &str) -> (Key, Resource) {
    route(name, vec![parent("http", &["*"])], vec![rule(vec![prefix(at)], "a")])
}

const BROKEN: &str = "HttpRoute/ns/broken Degraded rules[0].matches[0].path: not a regular expression (RE2 syntax): \
                      unclosed group";

#[test]
fn a_rejection_is_told_with_every_update_until_it_is_mended() {
    let mut compiler = compiler();
    let (snapshot, rejections) =
        compiler.apply(upserts([backend("a"), listener("http", 80, None), broken_route("broken")]));
    assert_eq!(messages(&rejections), [BROKEN]);
    assert_eq!(get(&snapshot, 80, "x", "/fine"), "infra/gw/http HTTPRoute/ns/broken#1 ns/a:80");

    let (snapshot, rejections) = compiler.apply(upserts([good_route("other", "/other")]));
    assert_eq!(messages(&rejections), [BROKEN], "an update that has nothing to do with it");
    assert_eq!(get(&snapshot, 80, "x", "/other"), "infra/gw/http HTTPRoute/ns/other#0 ns/a:80");

    let (_, rejections) = compiler.apply(upserts([good_route("broken", "/now")]));
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    let (_, rejections) = compiler.apply(upserts([broken_route("broken")]));
    assert_eq!(messages(&rejections), [BROKEN]);
    let (_, rejections) = compiler.apply(removes([key("HttpRoute/ns/broken")]));
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
}

#[test]
fn a_backend_that_comes_later_mends_the_rules_that_point_at_it() {
    let mut compiler = compiler();
    let (snapshot, rejections) = compiler.apply(upserts([
        listener("http", 80, None),
        good_route("one", "/1"),
        good_route("two", "/2"),
    ]));
    let missing = "Degraded rules[0].action.forward[0].target: backend ns/a:80 does not exist";
    assert_eq!(
        messages(&rejections),
        [format!("HttpRoute/ns/one {missing}"), format!("HttpRoute/ns/two {missing}")]
    );
    assert_eq!(
        get(&snapshot, 80, "x", "/1"),
        "infra/gw/http HTTPRoute/ns/one#0 (target: backend ns/a:80 does not exist)"
    );

    let (snapshot, rejections) = compiler.apply(upserts([backend("a")]));
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    assert_eq!(get(&snapshot, 80, "x", "/1"), "infra/gw/http HTTPRoute/ns/one#0 ns/a:80");

    let (snapshot, rejections) = compiler.apply(removes([Key::backend(&backend_ref("a"))]));
    assert_eq!(rejections.len(), 2);
    assert!(get(&snapshot, 80, "x", "/2").ends_with("does not exist)"));
}

#[test]
fn a_refused_backend_keeps_its_last_good_version() {
    let broken = Backend {
        tls: Some(BackendTls {
            hostname: "a.test".to_owned(),
            subject_alt_names: Vec::new(),
            ca: TrustedCa::Pem("no PEM".to_owned()),
        }),
        ..Backend::default()
    };
    let broken = (Key::backend(&backend_ref("a")), Resource::Backend(broken));
    let mut compiler = compiler();
    let first = upserts([backend("a"), listener("http", 80, None), good_route("one", "/")]);
    let (before, _) = compiler.apply(first);
    let (after, rejections) = compiler.apply(upserts([broken.clone()]));
    assert_eq!(rejections.len(), 1);
    assert!(messages(&rejections)[0].starts_with("Backend/ns/a:80 Refused tls"), "{rejections:?}");
    assert!(std::sync::Arc::ptr_eq(
        before.clusters.get(&backend_ref("a")).unwrap(),
        after.clusters.get(&backend_ref("a")).unwrap()
    ));

    let (snapshot, rejections) = compile([broken, listener("http", 80, None), good_route("one", "/")]);
    assert_eq!(rejections.len(), 2, "without a last good version its users are told too: {rejections:?}");
    assert!(get(&snapshot, 80, "x", "/").ends_with("does not exist)"));
}

#[test]
fn a_refused_listener_keeps_its_last_good_version() {
    let mut compiler = compiler();
    let (_, rejections) =
        compiler.apply(upserts([backend("a"), listener("http", 80, None), good_route("one", "/")]));
    assert!(rejections.is_empty());
    let (snapshot, rejections) = compiler.apply(upserts([listener("http", 81, Some("a.*.test"))]));
    assert_eq!(
        messages(&rejections),
        [
            "Listener/infra/gw/http Refused hostname: \"a.*.test\" is not a host name: write example.com or *.example.com"
        ]
    );
    assert_eq!(get(&snapshot, 80, "x", "/"), "infra/gw/http HTTPRoute/ns/one#0 ns/a:80");
    assert!(!snapshot.ports.contains_key(&bind(81)));

    let (snapshot, rejections) = compiler.apply(upserts([listener("http", 81, None)]));
    assert!(rejections.is_empty());
    assert!(!snapshot.ports.contains_key(&bind(80)) && snapshot.ports.contains_key(&bind(81)));
}

#[test]
fn listeners_that_cannot_share_a_port_are_told_and_the_first_is_served() {
    let service = |name: &str, port| {
        let listener = Listener {
            address: None,
            port,
            protocol: Protocol::Http,
            hostname: None,
            tls: None,
            backend_certificate: None,
            traffic: None,
            attached: Vec::new(),
            scope: Scope::Service(captured(name)),
        };
        (Key::new(Kind::Listener, "ns", format!("{name}:80")), Resource::Listener(listener))
    };
    let mut https = listener("c", 80, Some("c.test"));
    if let Resource::Listener(listener) = &mut https.1 {
        listener.protocol = Protocol::Https;
        listener.tls =
            Some(config::ListenerTls { certificates: vec!["ns/cert".to_owned()], client_validation: None });
    }
    let mut compiler = compiler();
    let (snapshot, rejections) = compiler.apply(upserts([
        listener("a", 80, Some("a.test")),
        listener("b", 80, Some("A.test")),
        listener("z", 80, Some("*.test")),
        https,
        service("s", 80),
        service("t", 81),
        service("u", 81),
    ]));
    let told: Vec<String> =
        messages(&rejections).into_iter().filter(|message| !message.contains("certificate")).collect();
    assert_eq!(
        told,
        [
            "Listener/infra/gw/b Refused hostname: Listener/infra/gw/a has it on port 80: choose another",
            "Listener/infra/gw/c Refused protocol: Listener/infra/gw/a has port 80 for another protocol: choose another port",
            "Listener/ns/s:80 Refused port: Listener/infra/gw/a has port 80, and a Service cannot share one",
            "Listener/ns/u:80 Refused port: Listener/ns/t:80 has port 81, and a Service cannot share one",
        ]
    );
    assert_eq!(get(&snapshot, 80, "a.test", "/"), "infra/gw/a no rule");
    assert_eq!(get(&snapshot, 80, "b.test", "/"), "infra/gw/z no rule");
    assert_eq!(snapshot.ports[&bind(80)].listeners.len(), 2);

    // When the first goes, the next has the place.
    let (snapshot, _) = compiler.apply(removes([key("Listener/infra/gw/a")]));
    assert_eq!(get(&snapshot, 80, "a.test", "/"), "infra/gw/b no rule");
}

#[test]
fn a_route_that_names_nothing_here_is_no_rejection() {
    let nowhere = HttpRoute {
        created: 0,
        parents: vec![parent("elsewhere", &["*"]), Parent::Service(captured("other"))],
        attached: Vec::new(),
        rules: vec![rule(Vec::new(), "a")],
    };
    let (snapshot, rejections) =
        compile([backend("a"), (Key::new(Kind::HttpRoute, "ns", "r"), Resource::HttpRoute(nowhere))]);
    assert!(rejections.is_empty() && snapshot.ports.is_empty());
}

#[test]
fn a_backend_whose_name_has_no_port_is_refused_until_it_is_gone() {
    let odd = key("Backend/ns/a");
    let mut compiler = compiler();
    let (_, rejections) = compiler.apply(upserts([(odd.clone(), Resource::Backend(Backend::default()))]));
    assert_eq!(
        messages(&rejections),
        ["Backend/ns/a Refused key: the name must be service:port or service:port:udp"]
    );
    let (_, rejections) = compiler.apply(removes([odd]));
    assert!(rejections.is_empty());
}
