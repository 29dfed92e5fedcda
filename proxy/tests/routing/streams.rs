//! Listeners and routes of whole connections and datagrams: who shares a port, who is served, what is refused.

use config::{
    Action, Backend, BackendTls, Key, Kind, Listener, ListenerTls, PolicySet, Protocol, Resource, Scope,
    StreamRoute, Target, TrustedCa, WeightedBackend,
};
use fairway_proxy::snapshot::{Bind, Snapshot, Transport};

use super::support::{
    backend, backend_ref, bind, captured, compile, compiler, key, listener, messages, parent, removes,
    upserts,
};

fn stream(section: &str, port: u16, protocol: Protocol, hostname: Option<&str>) -> (Key, Resource) {
    let (key, resource) = listener(section, port, hostname);
    let Resource::Listener(listener) = resource else { panic!("a listener") };
    (key, Resource::Listener(Listener { protocol, ..listener }))
}

fn with_tls((key, resource): (Key, Resource)) -> (Key, Resource) {
    let Resource::Listener(listener) = resource else { panic!("a listener") };
    let tls = Some(ListenerTls { certificates: vec!["ns/none".to_owned()], client_validation: None });
    (key, Resource::Listener(Listener { tls, ..listener }))
}

fn route(kind: Kind, name: &str, created: i64, section: &str, hosts: &[&str], to: &str) -> (Key, Resource) {
    let target = Target::Backend(backend_ref(to));
    let share = WeightedBackend { target, weight: 1, policies: PolicySet::default(), attached: Vec::new() };
    let action = Action::Forward(vec![share]);
    let route = StreamRoute { created, parents: vec![parent(section, hosts)], rule: None, action };
    let resource = match kind {
        Kind::TlsRoute => Resource::TlsRoute(route),
        Kind::UdpRoute => Resource::UdpRoute(route),
        _ => Resource::TcpRoute(route),
    };
    (Key::new(kind, "ns", name), resource)
}

fn tcp_route(name: &str, created: i64, to: &str) -> (Key, Resource) {
    route(Kind::TcpRoute, name, created, "tcp", &["*"], to)
}

/// Which route a connection of a TCP port belongs to.
fn served(snapshot: &Snapshot, bind: Bind) -> Option<String> {
    let streams = snapshot.ports.get(&bind)?.streams.as_ref()?;
    Some(streams.find(None)?.name.to_string())
}

const UDP: Bind = Bind { transport: Transport::Udp, address: None, port: 53 };

#[test]
fn the_oldest_route_is_served_and_the_next_when_it_goes() {
    let mut compiler = compiler();
    let routes = [tcp_route("c", 5, "a"), tcp_route("b", 5, "a"), tcp_route("z", 1, "a")];
    let listener = stream("tcp", 9, Protocol::Tcp, None);
    let (snapshot, rejections) = compiler.apply(upserts([backend("a"), listener].into_iter().chain(routes)));
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    assert_eq!(served(&snapshot, bind(9)).unwrap(), "TCPRoute/ns/z#0");
    let (snapshot, _) = compiler.apply(removes([key("TcpRoute/ns/z")]));
    assert_eq!(served(&snapshot, bind(9)).unwrap(), "TCPRoute/ns/b#0");
    let (snapshot, _) = compiler.apply(upserts([tcp_route("c", 4, "a")]));
    assert_eq!(served(&snapshot, bind(9)).unwrap(), "TCPRoute/ns/c#0");
    let (snapshot, _) = compiler.apply(removes([key("TcpRoute/ns/b"), key("TcpRoute/ns/c")]));
    assert_eq!(served(&snapshot, bind(9)), None);
}

#[test]
fn a_route_that_only_moves_keeps_its_place_in_the_split() {
    let mut compiler = compiler();
    let listeners =
        ["tcp", "other"].map(|name| stream(name, if name == "tcp" { 9 } else { 10 }, Protocol::Tcp, None));
    let (one, _) =
        compiler.apply(upserts([backend("a"), tcp_route("r", 0, "a")].into_iter().chain(listeners)));
    let moved = route(Kind::TcpRoute, "r", 0, "other", &["*"], "a");
    let (two, _) = compiler.apply(upserts([moved]));
    let rule =
        |snapshot: &Snapshot, port| snapshot.ports[&bind(port)].streams.as_ref().unwrap().find(None).cloned();
    assert!(std::sync::Arc::ptr_eq(&rule(&one, 9).unwrap(), &rule(&two, 10).unwrap()));
    assert!(rule(&two, 9).is_none());
}

#[test]
fn a_backend_that_comes_later_mends_a_route_of_its_transport() {
    let mut compiler = compiler();
    let (_, rejections) = compiler.apply(upserts([
        stream("udp", 53, Protocol::Udp, None),
        backend("a"),
        route(Kind::UdpRoute, "r", 0, "udp", &["*"], "a"),
    ]));
    let missing = "UdpRoute/ns/r Degraded action.forward[0].target: backend ns/a:80 does not exist";
    assert_eq!(messages(&rejections), [missing], "a backend for connections takes no datagrams");
    let there = (Key::udp_backend(&backend_ref("a")), Resource::Backend(Backend::default()));
    let (snapshot, rejections) = compiler.apply(upserts([there]));
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    assert_eq!(served(&snapshot, UDP).unwrap(), "UDPRoute/ns/r#0");
    let (_, rejections) = compiler.apply(removes([Key::udp_backend(&backend_ref("a"))]));
    assert_eq!(messages(&rejections), [missing]);
}

#[test]
fn a_number_is_two_ports() {
    let (snapshot, rejections) = compile([
        stream("tcp", 53, Protocol::Tcp, None),
        stream("udp", 53, Protocol::Udp, None),
        backend("a"),
        (Key::udp_backend(&backend_ref("a")), Resource::Backend(Backend::default())),
        tcp_route("r", 0, "a"),
        route(Kind::UdpRoute, "r", 0, "udp", &["*"], "a"),
    ]);
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    assert_eq!(served(&snapshot, bind(53)).unwrap(), "TCPRoute/ns/r#0");
    assert_eq!(served(&snapshot, UDP).unwrap(), "UDPRoute/ns/r#0");
}

#[test]
fn who_cannot_share_a_port_is_told_who_has_it() {
    let (_, rejections) = compile([
        stream("a", 1, Protocol::Tcp, None),
        stream("b", 1, Protocol::Tcp, None),
        stream("c", 1, Protocol::Http, None),
        stream("d", 2, Protocol::Tls, Some("x.test")),
        stream("e", 2, Protocol::Tls, Some("x.test")),
        stream("f", 2, Protocol::Tcp, None),
    ]);
    assert_eq!(
        messages(&rejections),
        [
            "Listener/infra/gw/b Refused port: Listener/infra/gw/a has port 1: choose another port",
            "Listener/infra/gw/c Refused protocol: Listener/infra/gw/a has port 1 for another protocol: choose another \
             port",
            "Listener/infra/gw/e Refused hostname: Listener/infra/gw/d has it on port 2: choose another",
            "Listener/infra/gw/f Refused protocol: Listener/infra/gw/d has port 2 for another protocol: choose another \
             port",
        ]
    );
}

#[test]
fn https_and_tls_listeners_share_a_port_by_name_whoever_comes_first() {
    let https = with_tls(stream("https", 443, Protocol::Https, Some("a.test")));
    let passing = stream("pass", 443, Protocol::Tls, Some("b.test"));
    let ending = with_tls(stream("end", 443, Protocol::Tls, Some("c.test")));
    for order in [[&https, &passing, &ending], [&ending, &passing, &https]] {
        let mut compiler = compiler();
        let mut last = None;
        for one in order {
            last = Some(compiler.apply(upserts([one.clone()])));
        }
        let (snapshot, rejections) = last.unwrap();
        assert!(rejections.iter().all(|r| r.message.starts_with("tls.certificates")), "{rejections:?}");
        assert_eq!(snapshot.ports[&bind(443)].listeners.len(), 3);
        assert_eq!(snapshot.ports[&bind(443)].protocol, Protocol::Tls);
        let (snapshot, _) = compiler.apply(removes([passing.0.clone(), ending.0.clone()]));
        assert_eq!(snapshot.ports[&bind(443)].protocol, Protocol::Https);
    }
}

#[test]
fn what_a_listener_cannot_use_is_refused() {
    let (_, rejections) = compile([
        with_tls(stream("a", 1, Protocol::Tcp, None)),
        with_tls(stream("b", 2, Protocol::Udp, None)),
        stream("c", 3, Protocol::Tcp, Some("x.test")),
        stream("d", 4, Protocol::Https, None),
    ]);
    assert_eq!(
        messages(&rejections),
        [
            "Listener/infra/gw/a Refused tls: a TCP listener has none: write TLS",
            "Listener/infra/gw/b Refused tls: a UDP listener has none",
            "Listener/infra/gw/c Refused hostname: a TCP or UDP listener is told none: leave it out",
            "Listener/infra/gw/d Refused tls: an HTTPS listener needs a certificate",
        ]
    );
}

#[test]
fn a_backend_for_datagrams_has_no_tls() {
    let ca = TrustedCa::System;
    let tls = Some(BackendTls { hostname: "a.test".to_owned(), subject_alt_names: Vec::new(), ca });
    let backend = Resource::Backend(Backend { tls, ..Backend::default() });
    let (_, rejections) = compile([(Key::udp_backend(&backend_ref("a")), backend)]);
    let refused = "Backend/ns/a:80:udp Refused tls: datagrams have none: leave it out";
    assert_eq!(messages(&rejections), [refused]);
}

#[test]
fn a_captured_service_is_served_without_routes() {
    let service = |name: &str, port, protocol| {
        let (_, resource) = stream("x", port, protocol, None);
        let Resource::Listener(listener) = resource else { panic!("a listener") };
        let listener = Listener { scope: Scope::Service(captured(name)), ..listener };
        (Key::new(Kind::Listener, "ns", format!("{name}:{port}")), Resource::Listener(listener))
    };
    let (snapshot, rejections) = compile([
        service("a", 80, Protocol::Tcp),
        service("a", 53, Protocol::Udp),
        backend("a"),
        (Key::udp_backend(&backend_ref("a")), Resource::Backend(Backend::default())),
    ]);
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    assert_eq!(served(&snapshot, bind(80)).unwrap(), "Service/ns/a#80");
    assert_eq!(served(&snapshot, UDP).unwrap(), "Service/ns/a#80");
}
