use super::*;
use crate::identity::{GatewayRef, Role};
use crate::{
    Backend, BackendRef, Certificate, Endpoints, HttpRule, Listener, ListenerTls, PolicySet, Protocol,
    Redacted, WeightedBackend,
};

fn backend(name: &str) -> BackendRef {
    BackendRef { namespace: "n".into(), name: name.into(), port: 80 }
}

fn captured(name: &str) -> Captured {
    Captured { backend: backend(name), waypoint: "n/waypoint".into() }
}

fn attached(gateway: &str) -> Parent {
    let (namespace, section) = ("n".into(), "l".into());
    Parent::Listener { namespace, gateway: gateway.into(), section, hostnames: vec!["*".into()] }
}

fn route(parents: Vec<Parent>, backends: &[&str]) -> Resource {
    let forward = backends.iter().map(|name| WeightedBackend {
        target: Target::Backend(backend(name)),
        weight: 1,
        policies: PolicySet::default(),
        attached: Vec::new(),
    });
    let action = Action::Forward(forward.collect());
    let rule = HttpRule {
        name: None,
        matches: Vec::new(),
        policies: PolicySet::default(),
        attached: Vec::new(),
        action,
    };
    Resource::HttpRoute(HttpRoute { created: 0, parents, attached: Vec::new(), rules: vec![rule] })
}

fn mirroring(parents: Vec<Parent>, to: &str) -> Resource {
    let Resource::HttpRoute(mut route) = route(parents, &[]) else { unreachable!() };
    let json = serde_json::json!({ "mirror": [{ "backend": backend(to) }] });
    route.rules[0].policies = serde_json::from_value(json).unwrap();
    Resource::HttpRoute(route)
}

fn listener(scope: Scope, certificate: Option<&str>) -> Resource {
    let tls =
        certificate.map(|name| ListenerTls { certificates: vec![name.to_owned()], client_validation: None });
    let protocol = if tls.is_some() { Protocol::Https } else { Protocol::Http };
    Resource::Listener(Listener {
        address: None,
        port: 80,
        protocol,
        hostname: None,
        tls,
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope,
    })
}

fn certificate() -> Resource {
    Resource::Certificate(Certificate { chain: String::new(), key: Redacted::new("secret") })
}

/// What a place sees, computed from scratch.
fn naive(all: &Resources, place: &GatewayRef) -> BTreeSet<Key> {
    let mut seen: BTreeSet<Key> = BTreeSet::new();
    let mut open: Vec<Key> =
        all.iter().filter(|(key, r)| places(key, r).contains(place)).map(|(key, _)| key.clone()).collect();
    if !open.is_empty() && place.role == Role::Waypoint {
        open.extend(all.keys().filter(|key| key.kind == Kind::Workload).cloned());
    }
    while let Some(key) = open.pop() {
        if let Some(resource) = all.get(&key)
            && seen.insert(key.clone())
        {
            open.extend(needs(&key, resource));
        }
    }
    seen
}

fn edge(name: &str) -> GatewayRef {
    gateway("n", name)
}

fn keys(scopes: &Scopes, place: &GatewayRef) -> BTreeSet<String> {
    scopes.seen(place).map(|(key, _)| key.to_string()).collect()
}

fn world() -> Resources {
    let insert = [
        ("Listener/n/a/l", listener(Scope::Gateway, Some("secrets/a"))),
        ("Listener/n/b/l", listener(Scope::Gateway, Some("secrets/b"))),
        ("Listener/n/s:80", listener(Scope::Service(captured("s")), None)),
        ("Certificate/secrets/a", certificate()),
        ("Certificate/secrets/b", certificate()),
        ("HttpRoute/n/a", route(vec![attached("a")], &["x", "x"])),
        ("HttpRoute/n/b", mirroring(vec![attached("b")], "y")),
        ("HttpRoute/n/mesh", route(vec![Parent::Service(captured("s"))], &["x"])),
        ("Backend/n/s:80", Resource::Backend(Backend::default())),
        ("Backend/n/x:80", Resource::Backend(Backend::default())),
        ("Backend/n/y:80", Resource::Backend(Backend::default())),
        ("Endpoints/n/x:80", Resource::Endpoints(Endpoints::default())),
        ("Endpoints/n/y:80", Resource::Endpoints(Endpoints::default())),
    ];
    insert.into_iter().map(|(key, resource)| (key.parse().unwrap(), Arc::new(resource))).collect()
}

#[test]
fn each_gateway_sees_its_own_and_what_that_needs() {
    let world = world();
    let mut scopes = Scopes::default();
    let changes = scopes.apply(&Update::between(1, &Resources::new(), &world), &world);
    assert_eq!(changes.len(), 3);
    let set = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        keys(&scopes, &edge("a")),
        set(&[
            "Listener/n/a/l",
            "Certificate/secrets/a",
            "HttpRoute/n/a",
            "Backend/n/x:80",
            "Endpoints/n/x:80"
        ])
    );
    assert_eq!(
        keys(&scopes, &edge("b")),
        set(&[
            "Listener/n/b/l",
            "Certificate/secrets/b",
            "HttpRoute/n/b",
            "Backend/n/y:80",
            "Endpoints/n/y:80"
        ])
    );
    let waypoint = GatewayRef::new(Role::Waypoint, "n", "waypoint");
    assert_eq!(
        keys(&scopes, &waypoint),
        set(&["Listener/n/s:80", "HttpRoute/n/mesh", "Backend/n/s:80", "Backend/n/x:80", "Endpoints/n/x:80"])
    );
    assert_eq!(keys(&scopes, &edge("c")), BTreeSet::new());
}

#[test]
fn a_change_of_endpoints_reaches_only_those_who_use_them() {
    let old = world();
    let mut scopes = Scopes::default();
    scopes.apply(&Update::between(1, &Resources::new(), &old), &old);
    let mut new = old.clone();
    let endpoint = crate::Endpoint { address: "10.0.0.1:80".parse().unwrap(), zone: None };
    let endpoints = Endpoints { endpoints: vec![endpoint] };
    let key: Key = "Endpoints/n/y:80".parse().unwrap();
    new.insert(key.clone(), Arc::new(Resource::Endpoints(endpoints)));
    let changes = scopes.apply(&Update::between(2, &old, &new), &new);
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&edge("b")]);
    assert_eq!(changes[&edge("b")].keys().collect::<Vec<_>>(), [&key]);
}

#[test]
fn a_certificate_goes_with_the_last_listener_that_shows_it() {
    let old = world();
    let mut scopes = Scopes::default();
    scopes.apply(&Update::between(1, &Resources::new(), &old), &old);
    let mut new = old.clone();
    new.insert("Listener/n/a/l".parse().unwrap(), Arc::new(listener(Scope::Gateway, None)));
    let changes = scopes.apply(&Update::between(2, &old, &new), &new);
    let gone = &changes[&edge("a")][&"Certificate/secrets/a".parse().unwrap()];
    assert!(gone.is_none());
}

/// A small random number below `below`.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

#[test]
fn scoping_changes_is_scoping_the_whole() {
    let candidates: Vec<(Key, Vec<Resource>)> = vec![
        (
            "Listener/n/a/l",
            vec![listener(Scope::Gateway, Some("s/c")), listener(Scope::Gateway, Some("s/d"))],
        ),
        (
            "Listener/n/b/l",
            vec![listener(Scope::Gateway, Some("s/c")), listener(Scope::Service(captured("x")), None)],
        ),
        (
            "HttpRoute/n/r",
            vec![
                route(vec![attached("a"), attached("b")], &["x", "y"]),
                route(vec![attached("a")], &["y"]),
                mirroring(vec![attached("b")], "x"),
                route(vec![Parent::Service(captured("x"))], &["y"]),
            ],
        ),
        ("HttpRoute/n/s", vec![route(vec![attached("b")], &["x", "x"]), mirroring(vec![attached("a")], "y")]),
        ("Certificate/s/c", vec![certificate()]),
        ("Certificate/s/d", vec![certificate()]),
        ("Backend/n/x:80", vec![Resource::Backend(Backend::default())]),
        (
            "Backend/n/y:80",
            vec![
                Resource::Backend(Backend::default()),
                Resource::Backend(Backend { max_connections: Some(1), ..Backend::default() }),
            ],
        ),
        ("Endpoints/n/x:80", vec![Resource::Endpoints(Endpoints::default())]),
        ("Workload/web/bff-1", vec![workload("10.0.0.1"), workload("10.0.0.2")]),
        ("Workload/n/x-1", vec![workload("10.0.0.2")]),
    ]
    .into_iter()
    .map(|(key, resources)| (key.parse().unwrap(), resources))
    .collect();
    let seen_from = [edge("a"), edge("b"), GatewayRef::new(Role::Waypoint, "n", "waypoint")];
    let (mut random, mut scopes, mut old) = (Random(11), Scopes::default(), Resources::new());
    let mut told: BTreeMap<GatewayRef, BTreeMap<Key, Arc<Resource>>> = BTreeMap::new();
    for version in 1..1000 {
        let mut new = Resources::new();
        for (key, variants) in &candidates {
            if let Some(resource) = variants.get(random.below(variants.len() + 1)) {
                // Half of the time the same `Arc` as before, if it was that.
                let same = old.get(key).filter(|old| ***old == *resource && random.below(2) == 0).cloned();
                new.insert(key.clone(), same.unwrap_or_else(|| Arc::new(resource.clone())));
            }
        }
        let update = Update::between(version, &old, &new);
        // As in the hub: what is equal stays the same `Arc`.
        for key in new.keys().cloned().collect::<Vec<_>>() {
            if !update.upserts.contains_key(&key) {
                new.insert(key.clone(), old[&key].clone());
            }
        }
        for (place, change) in scopes.apply(&update, &new) {
            let told = told.entry(place).or_default();
            for (key, resource) in change {
                match resource {
                    Some(resource) => drop(told.insert(key, resource)),
                    None => assert!(told.remove(&key).is_some(), "{key} was never told"),
                }
            }
        }
        for place in &seen_from {
            let told = told.entry(place.clone()).or_default();
            assert_eq!(
                told.keys().cloned().collect::<BTreeSet<_>>(),
                naive(&new, place),
                "{place:?} at {version}"
            );
            assert!(told.iter().all(|(key, resource)| new[key] == *resource));
            assert_eq!(keys(&scopes, place).len(), told.len());
        }
        old = new;
    }
}

fn workload(address: &str) -> Resource {
    Resource::Workload(crate::Workload {
        addresses: vec![address.parse().unwrap()],
        service_account: "default".into(),
        uid: "1".into(),
    })
}

fn of_waypoint(namespace: &str) -> GatewayRef {
    GatewayRef::new(Role::Waypoint, namespace, "waypoint")
}

#[test]
fn a_waypoint_that_comes_later_sees_the_workloads_that_were_there_and_a_gateway_sees_none() {
    let mut world = world();
    world.insert("Workload/web/bff-1".parse().unwrap(), Arc::new(workload("10.0.0.1")));
    let mut scopes = Scopes::default();
    scopes.apply(&Update::between(1, &Resources::new(), &world), &world);
    let of = |scopes: &Scopes, place: &GatewayRef| {
        let seen = keys(scopes, place).into_iter();
        seen.filter(|key| key.starts_with("Workload/")).collect::<Vec<_>>()
    };
    assert_eq!(of(&scopes, &of_waypoint("n")), ["Workload/web/bff-1"]);
    assert!(of(&scopes, &edge("a")).is_empty() && of(&scopes, &of_waypoint("later")).is_empty());
    assert!(!scopes.sees(&edge("a"), &"Workload/web/bff-1".parse().unwrap()));

    let mut new = world.clone();
    let later = Captured { waypoint: "later/waypoint".into(), ..captured("s") };
    let key: Key = "Listener/later/s:80".parse().unwrap();
    new.insert(key, Arc::new(listener(Scope::Service(later), None)));
    let changes = scopes.apply(&Update::between(2, &world, &new), &new);
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&of_waypoint("later")]);
    let told: Vec<String> = changes[&of_waypoint("later")].keys().map(ToString::to_string).collect();
    assert_eq!(told, ["Backend/n/s:80", "Workload/web/bff-1", "Listener/later/s:80"]);
    assert_eq!(scopes.count(&of_waypoint("later")), 3);

    // And loses them with its last listener.
    let changes = scopes.apply(&Update::between(3, &new, &world), &world);
    assert_eq!(changes[&of_waypoint("later")].values().filter(|now| now.is_none()).count(), 3);
    assert_eq!(scopes.count(&of_waypoint("later")), 0);
}

#[test]
fn a_change_of_a_workload_is_told_to_waypoints_and_costs_nobody_else() {
    let old = world();
    let mut scopes = Scopes::default();
    scopes.apply(&Update::between(1, &Resources::new(), &old), &old);
    let mut new = old.clone();
    let key: Key = "Workload/web/bff-1".parse().unwrap();
    new.insert(key.clone(), Arc::new(workload("10.0.0.1")));
    let changes = scopes.apply(&Update::between(2, &old, &new), &new);
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&of_waypoint("n")]);
    assert_eq!(changes[&of_waypoint("n")].keys().collect::<Vec<_>>(), [&key]);
    let changes = scopes.apply(&Update::between(3, &new, &old), &old);
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&of_waypoint("n")]);
    assert!(changes[&of_waypoint("n")][&key].is_none());
}

fn stream(backends: &[&str]) -> StreamRoute {
    let Resource::HttpRoute(mut route) = route(vec![attached("a")], backends) else { unreachable!() };
    StreamRoute { created: 0, parents: route.parents, rule: None, action: route.rules.remove(0).action }
}

#[test]
fn a_udp_route_needs_the_datagram_side_of_a_port_and_other_routes_the_connection_side() {
    let world = |route: Resource| -> Resources {
        let udp = route.kind();
        let insert = [
            ("Listener/n/a/l".to_owned(), listener(Scope::Gateway, None)),
            (format!("{}/n/r", udp.as_str()), route),
            ("Backend/n/dns:80".to_owned(), Resource::Backend(Backend::default())),
            ("Endpoints/n/dns:80".to_owned(), Resource::Endpoints(Endpoints::default())),
            ("Backend/n/dns:80:udp".to_owned(), Resource::Backend(Backend::default())),
            ("Endpoints/n/dns:80:udp".to_owned(), Resource::Endpoints(Endpoints::default())),
        ];
        insert.into_iter().map(|(key, resource)| (key.parse().unwrap(), Arc::new(resource))).collect()
    };
    let seen = |route: Resource| {
        let world = world(route);
        let mut scopes = Scopes::default();
        scopes.apply(&Update::between(1, &Resources::new(), &world), &world);
        keys(&scopes, &edge("a"))
    };
    let set = |kind: &str, keys: [&str; 2]| -> BTreeSet<String> {
        let common = ["Listener/n/a/l".to_owned(), format!("{kind}/n/r")];
        common.into_iter().chain(keys.map(str::to_owned)).collect()
    };
    let connections = ["Backend/n/dns:80", "Endpoints/n/dns:80"];
    let datagrams = ["Backend/n/dns:80:udp", "Endpoints/n/dns:80:udp"];
    assert_eq!(seen(Resource::TlsRoute(stream(&["dns"]))), set("TlsRoute", connections));
    assert_eq!(seen(Resource::TcpRoute(stream(&["dns"]))), set("TcpRoute", connections));
    assert_eq!(seen(Resource::UdpRoute(stream(&["dns"]))), set("UdpRoute", datagrams));
}

#[test]
fn a_policy_is_seen_where_something_names_it_and_nowhere_else() {
    let names = |name: &str| {
        let policy = |kind: &str| format!("{kind}/n/{name}").parse().unwrap();
        vec![policy("SecurityPolicy"), policy("BackendTrafficPolicy")]
    };
    let Resource::Listener(mut of_listener) = listener(Scope::Gateway, None) else { unreachable!() };
    of_listener.attached = names("of-listener");
    let Resource::HttpRoute(mut of_route) = route(vec![attached("a")], &["x"]) else { unreachable!() };
    of_route.attached = names("of-route");
    of_route.rules[0].attached = names("of-rule");
    if let Action::Forward(shares) = &mut of_route.rules[0].action {
        shares[0].attached = names("of-service");
    }
    let insert = [
        ("Listener/n/a/l".to_owned(), Resource::Listener(of_listener)),
        ("Listener/n/b/l".to_owned(), listener(Scope::Gateway, None)),
        ("HttpRoute/n/r".to_owned(), Resource::HttpRoute(of_route)),
        ("HttpRoute/n/s".to_owned(), route(vec![attached("b")], &[])),
    ];
    let policies =
        ["of-listener", "of-route", "of-rule", "of-service", "of-nobody"].into_iter().flat_map(|name| {
            let security = Resource::SecurityPolicy(Box::default());
            let traffic = Resource::BackendTrafficPolicy(Box::default());
            [security, traffic].map(|policy| (format!("{}/n/{name}", policy.kind().as_str()), policy))
        });
    let world: Resources = insert
        .into_iter()
        .chain(policies)
        .map(|(key, resource)| (key.parse().unwrap(), Arc::new(resource)))
        .collect();
    let mut scopes = Scopes::default();
    scopes.apply(&Update::between(1, &Resources::new(), &world), &world);
    let seen = |gateway: &str| {
        let seen = keys(&scopes, &edge(gateway)).into_iter();
        seen.filter(|key| key.contains("Policy/")).collect::<Vec<_>>()
    };
    let wanted = ["BackendTrafficPolicy", "SecurityPolicy"].into_iter().flat_map(|kind| {
        ["of-listener", "of-route", "of-rule", "of-service"].map(|name| format!("{kind}/n/{name}"))
    });
    assert_eq!(seen("a"), wanted.collect::<Vec<_>>());
    assert!(seen("b").is_empty());
}
