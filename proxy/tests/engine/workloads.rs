//! Callers known by the address they come from: 127.0.0.x are pods.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fairway_proxy::Options;
use fairway_proxy::telemetry::{AccessLog, Format, Settings, Telemetry, render};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::certs::{Authority, client, connect, indented};
use crate::harness::{Http2, Mesh, Origin, backend, forward, parse, read_one, route, within};

/// Pod, uid, address: the ServiceAccount `web/POD`.
type Pod = (&'static str, &'static str, &'static str);

const BFF: Pod = ("bff", "1", "127.0.0.2");
const BATCH: Pod = ("batch", "2", "127.0.0.3");
/// Only the ServiceAccount `web/bff` may come.
const ONLY_BFF: &str =
    "{name: bff, action: Allow, principal: {serviceAccounts: [{namespace: web, name: bff}]}}";

/// The captured Service `default/a:80`, to which this rule lets; `listener`: further fields of it (YAML, two blanks ahead).
fn served(origin: SocketAddr, rule: &str, listener: &str, pods: &[Pod]) -> String {
    let mut yaml = format!(
        "---\nkey: Listener/default/a:80\nresource:\n  kind: Listener\n  port: 0\n  protocol: HTTP\n  attached: \
         [SecurityPolicy/default/p]\n  scope: {{service: {{backend: {{namespace: default, name: a, port: 80}}, waypoint: default/w}}}}\n{listener}\
         ---\nkey: SecurityPolicy/default/p\nresource: {{kind: SecurityPolicy, defaults: {{authorization: {{rules: [{rule}]}}}}}}\n"
    ) + &backend("a", "http", &[origin]);
    for (name, uid, address) in pods {
        write!(
            yaml,
            "---\nkey: Workload/web/{name}\nresource: {{kind: Workload, addresses: [\"{address}\"], serviceAccount: {name}, \
             uid: \"{uid}\"}}\n"
        )
        .unwrap();
    }
    yaml
}

async fn mesh(origin: &Origin, rule: &str, pods: &[Pod]) -> Mesh {
    Mesh::with(Options::new("waypoint"), &served(origin.address, rule, "", pods)).await
}

/// A connection that comes from this address.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// One request over a connection that may stay open: its status, and whether it closes.
async fn ask(tcp: &mut TcpStream) -> (u16, bool) {
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    let answer = read_one(tcp).await;
    (answer.status, answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")))
}

async fn status(address: &str, mesh: &Mesh) -> u16 {
    ask(&mut from(address, mesh.address()).await).await.0
}

async fn is_closed(tcp: &mut TcpStream) -> bool {
    matches!(within(tcp.read(&mut [0; 64])).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_service_lets_in_the_service_account_it_names_and_nobody_else() {
    let origin = Origin::named("a").await;
    let mesh = mesh(&origin, ONLY_BFF, &[BFF, BATCH]).await;
    assert_eq!(status("127.0.0.2", &mesh).await, 200);
    assert_eq!(status("127.0.0.3", &mesh).await, 403, "another pod");
    assert_eq!(status("127.0.0.4", &mesh).await, 403, "nobody's address");
    let mut http2 = Http2::over(from("127.0.0.2", mesh.address()).await).await;
    assert_eq!(http2.get("http://a.test/").await.unwrap().status(), 200);
    let mut http2 = Http2::over(from("127.0.0.3", mesh.address()).await).await;
    assert_eq!(http2.get("http://a.test/").await.unwrap().status(), 403);
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn an_address_is_not_as_sure_as_a_token() {
    let origin = Origin::named("a").await;
    let rule = |assurance: &str| {
        format!("{{action: Allow, principal: {{namespaces: [web], minAssurance: {assurance}}}}}")
    };
    let token = mesh(&origin, &rule("Token"), &[BFF]).await;
    assert_eq!(status("127.0.0.2", &token).await, 403);
    let network = mesh(&origin, &rule("Network"), &[BFF]).await;
    assert_eq!(status("127.0.0.2", &network).await, 200);
    let said = r#"{action: Allow, when: "source.assurance == 'Network' && source.workload.serviceAccount == 'bff'"}"#;
    let said = mesh(&origin, said, &[BFF, BATCH]).await;
    assert_eq!(status("127.0.0.2", &said).await, 200);
    assert_eq!(status("127.0.0.3", &said).await, 403);
}

#[tokio::test]
async fn the_connections_of_a_pod_that_is_gone_are_nobodys_and_end() {
    let origin = Origin::named("a").await;
    let mut mesh = mesh(&origin, ONLY_BFF, &[BFF]).await;
    let (mut http1, mut other) =
        (from("127.0.0.2", mesh.address()).await, from("127.0.0.2", mesh.address()).await);
    let mut http2 = Http2::over(from("127.0.0.2", mesh.address()).await).await;
    assert_eq!(ask(&mut http1).await, (200, false));
    assert_eq!(ask(&mut other).await, (200, false));
    assert_eq!(http2.get("http://a.test/").await.unwrap().status(), 200);

    mesh.serve(&served(origin.address, ONLY_BFF, "", &[])).await;
    assert_eq!(ask(&mut http1).await, (403, true));
    assert!(is_closed(&mut http1).await);
    assert_eq!(http2.get("http://a.test/").await.unwrap().status(), 403);
    within(&mut http2.connection).await.unwrap().unwrap();
    // A pod of the same name and account is another pod.
    mesh.serve(&served(origin.address, ONLY_BFF, "", &[("bff", "3", "127.0.0.2")])).await;
    assert_eq!(ask(&mut other).await, (403, true));
    assert!(is_closed(&mut other).await);
    assert_eq!(status("127.0.0.2", &mesh).await, 200, "which comes by connections of its own");
}

#[tokio::test]
async fn a_connection_is_not_the_next_pods_that_has_its_address() {
    let origin = Origin::named("a").await;
    let mut mesh = mesh(&origin, ONLY_BFF, &[("batch", "2", "127.0.0.2")]).await;
    // Bound when it comes, before its first request.
    let mut tcp = from("127.0.0.2", mesh.address()).await;
    assert_eq!(status("127.0.0.2", &mesh).await, 403, "so that the proxy has taken the first as well");
    mesh.serve(&served(origin.address, ONLY_BFF, "", &[BFF])).await;
    assert_eq!(ask(&mut tcp).await, (403, true));
    assert_eq!(status("127.0.0.2", &mesh).await, 200);
}

#[tokio::test]
async fn a_pod_that_calls_before_it_is_known_is_known_by_the_same_connection_later() {
    let origin = Origin::named("a").await;
    let mut mesh = mesh(&origin, ONLY_BFF, &[]).await;
    let mut tcp = from("127.0.0.2", mesh.address()).await;
    assert_eq!(ask(&mut tcp).await, (403, false));
    mesh.serve(&served(origin.address, ONLY_BFF, "", &[BFF])).await;
    assert_eq!(ask(&mut tcp).await, (200, false));
    mesh.serve(&served(origin.address, ONLY_BFF, "", &[BFF, BATCH])).await;
    assert_eq!(ask(&mut tcp).await, (200, false), "another pod is nothing to it");
}

#[tokio::test]
async fn who_a_client_says_to_be_is_not_who_is_connected() {
    let origin = Origin::named("a").await;
    let behind_proxy = served(origin.address, ONLY_BFF, "  traffic: {proxyProtocol: {}}\n", &[BFF, BATCH]);
    let mesh = Mesh::with(Options::new("waypoint"), &behind_proxy).await;
    for (address, said, want) in [("127.0.0.3", "127.0.0.2", 403), ("127.0.0.2", "127.0.0.3", 200)] {
        let mut tcp = from(address, mesh.address()).await;
        tcp.write_all(format!("PROXY TCP4 {said} 198.51.100.1 1 2\r\n").as_bytes()).await.unwrap();
        assert_eq!(ask(&mut tcp).await.0, want, "{address} says {said}");
    }
    let traffic = "  traffic: {clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}}\n";
    let forwarded = served(origin.address, ONLY_BFF, traffic, &[BFF, BATCH]);
    let mesh = Mesh::with(Options::new("waypoint"), &forwarded).await;
    for (address, said, want) in [("127.0.0.3", "127.0.0.2", 403), ("127.0.0.2", "127.0.0.3", 200)] {
        let mut tcp = from(address, mesh.address()).await;
        let request = format!("GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: {said}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_one(&mut tcp).await.status, want, "{address} says {said}");
    }
}

#[tokio::test]
async fn a_gateway_does_not_ask_for_addresses() {
    let origin = Origin::named("a").await;
    let scope = "scope: {service: {backend: {namespace: default, name: a, port: 80}, waypoint: default/w}}";
    let yaml = served(origin.address, ONLY_BFF, "", &[BFF])
        .replace(scope, "scope: gateway")
        .replace("Listener/default/a:80", "Listener/default/gw/http")
        + &route("r", &format!("  - action: {}", forward("a")));
    let mesh = Mesh::start(&yaml).await;
    assert_eq!(status("127.0.0.2", &mesh).await, 403);
}

#[tokio::test]
async fn a_certificate_with_a_spiffe_id_says_more_than_an_address_and_one_without_as_much() {
    let (ca, clients, origin) =
        (Authority::new("servers"), Authority::new("clients"), Origin::named("a").await);
    let own = ca.issue(&["a.test"]);
    let tls = format!(
        "  tls:\n    certificates: [default/a]\n    clientValidation:\n      ca: |\n{}  traffic: {{tls: {{trustDomains: [td]}}}}\n",
        indented(&clients.pem(), 8)
    );
    let pods = [("bff", "1", "127.0.0.1")];
    let yaml = own.resource("a")
        + &served(origin.address, ONLY_BFF, &tls, &pods).replace("protocol: HTTP\n", "protocol: HTTPS\n");
    let mesh = Mesh::with(Options::new("waypoint"), &yaml).await;
    for (name, want) in [
        ("me.test", 200),
        ("spiffe://td/ns/web/sa/batch", 403),
        ("spiffe://td/ns/web/sa/bff", 200),
        // Who says to be somebody that nobody believes is not who he is by his address either.
        ("spiffe://evil/ns/web/sa/batch", 403),
    ] {
        let config = client(&ca, Some(&clients.issue(&[name])), &[b"http/1.1"]);
        let mut tls = connect(&config, mesh.address(), "a.test").await.unwrap();
        tls.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut bytes = Vec::new();
        within(tls.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(parse(&bytes).status, want, "{name}");
    }
}

#[tokio::test]
async fn log_and_metrics_tell_who_came_and_how_sure_that_is() {
    let (origin, dir) = (Origin::named("a").await, tempfile::tempdir().unwrap());
    let path = dir.path().join("access.log");
    let settings = Settings { access_log: AccessLog::File(path.clone()), ..Settings::default() };
    let telemetry = Telemetry::new("waypoint", &settings).unwrap();
    let yaml = served(origin.address, ONLY_BFF, "", &[BFF, BATCH]);
    let mesh = Mesh::told(Options::new("waypoint"), telemetry.clone(), &yaml).await;
    assert_eq!(status("127.0.0.3", &mesh).await, 403);
    assert_eq!(status("127.0.0.4", &mesh).await, 403);
    // A line is written when the answer is with the client already.
    let lines = within(async {
        loop {
            telemetry.flush();
            let log = std::fs::read_to_string(&path).unwrap();
            if log.lines().count() == 2 {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let of = |client: &str| {
        let line = lines.lines().find(|line| line.contains(&format!("\"client\":\"{client}:"))).unwrap();
        line.split_once(r#","source_workload":"#).unwrap().1.to_owned()
    };
    assert_eq!(of("127.0.0.3"), r#""web/batch","source_assurance":"Network"}"#);
    assert_eq!(of("127.0.0.4"), r#"null,"source_assurance":null}"#);
    let mut metrics = String::new();
    render(&[Arc::clone(&telemetry)], Format::OpenMetrics, &mut metrics).unwrap();
    assert!(metrics.contains("fairway_workloads{role=\"waypoint\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn callers_of_a_namespace_with_routes_of_its_own_have_those_and_nobody_else_has() {
    let (origin, other) = (Origin::named("a").await, Origin::named("b").await);
    let captured = "{backend: {namespace: default, name: a, port: 80}, waypoint: default/w}";
    let parent = |namespace: &str| format!("consumer: {{of: {captured}, namespace: {namespace}}}");
    let route = |name: &str, parent: &str, path: &str, to: &str| {
        format!(
            "---\nkey: HttpRoute/default/{name}\nresource:\n  kind: HttpRoute\n  parents:\n  - {parent}\n  rules:\n  \
             - matches: [{{path: {{prefix: {path}}}}}]\n    action: {}\n",
            forward(to)
        )
    };
    let everybody = "{action: Allow, operation: {methods: [GET]}}";
    let base = served(origin.address, everybody, "", &[BFF, BATCH])
        .replace("Workload/web/batch", "Workload/shop/batch")
        + &backend("b", "http", &[other.address]);
    let mut mesh = Mesh::with(Options::new("waypoint"), &base).await;
    let asked = async |mesh: &Mesh, address: &str| {
        let before = (origin.requests(), other.requests());
        let status = status(address, mesh).await;
        (status, origin.requests() - before.0, other.requests() - before.1)
    };
    assert_eq!(asked(&mesh, "127.0.0.2").await, (200, 1, 0), "no routes: the Service itself");
    mesh.serve(&(base.clone() + &route("mine", &parent("web"), "/", "b"))).await;
    assert_eq!(asked(&mesh, "127.0.0.2").await, (200, 0, 1), "a caller of web");
    assert_eq!(asked(&mesh, "127.0.0.3").await, (200, 1, 0), "a caller of shop");
    assert_eq!(asked(&mesh, "127.0.0.4").await, (200, 1, 0), "nobody");
    // They stand in place of the Service's own, also where they match nothing.
    let own = route("own", &format!("service: {captured}"), "/", "a");
    mesh.serve(&(base.clone() + &own + &route("mine", &parent("web"), "/elsewhere", "b"))).await;
    assert_eq!(asked(&mesh, "127.0.0.2").await, (404, 0, 0));
    assert_eq!(asked(&mesh, "127.0.0.3").await, (200, 1, 0));
    mesh.serve(&(base.clone() + &own)).await;
    assert_eq!(asked(&mesh, "127.0.0.2").await, (200, 1, 0), "its routes are gone");
    // The Service's policies hold for all callers.
    let closed = base.replace("{action: Allow, ", "{action: Deny, ");
    mesh.serve(&(closed + &route("mine", &parent("web"), "/", "b"))).await;
    assert_eq!(asked(&mesh, "127.0.0.2").await, (403, 0, 0));
    assert_eq!(asked(&mesh, "127.0.0.3").await, (403, 0, 0));
}

/// The metrics of a waypoint, once they have this line: a request is counted when its answer is with the client already.
async fn counted(telemetry: &Arc<Telemetry>, line: &str) -> String {
    within(async {
        loop {
            let mut metrics = String::new();
            render(&[Arc::clone(telemetry)], Format::OpenMetrics, &mut metrics).unwrap();
            if metrics.lines().any(|found| found == line) {
                return metrics;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_waypoint_counts_who_asks_which_service() {
    let origin = Origin::named("a").await;
    let telemetry = Telemetry::new("waypoint", &Settings::default()).unwrap();
    let yaml = served(origin.address, ONLY_BFF, "", &[BFF]);
    let mut mesh = Mesh::told(Options::new("waypoint"), telemetry.clone(), &yaml).await;
    let mut bff = from("127.0.0.2", mesh.address()).await;
    assert_eq!(ask(&mut bff).await.0, 200);
    assert_eq!(ask(&mut bff).await.0, 200);
    let line = |source: &str, code: &str, count: u32| {
        format!(
            "fairway_service_requests_total{{role=\"waypoint\",source=\"{source}\",service=\"default/a:80\",code=\"{code}\"}} {count}"
        )
    };
    counted(&telemetry, &line("web/bff", "2xx", 2)).await;
    // One connection, first of nobody and then of somebody.
    let mut batch = from("127.0.0.3", mesh.address()).await;
    assert_eq!(ask(&mut batch).await.0, 403);
    counted(&telemetry, &line("unknown", "4xx", 1)).await;
    mesh.serve(&served(origin.address, ONLY_BFF, "", &[BFF, BATCH])).await;
    assert_eq!(ask(&mut batch).await.0, 403);
    assert_eq!(ask(&mut batch).await.0, 403);
    let metrics = counted(&telemetry, &line("web/batch", "4xx", 2)).await;
    assert!(metrics.contains(&line("unknown", "4xx", 1)), "{metrics}");
    let durations = "fairway_service_request_duration_seconds_count{role=\"waypoint\",source=\"web/bff\",service=\"default/a:80\"} 2\n";
    assert!(metrics.contains(durations), "{metrics}");
}

#[tokio::test]
async fn a_waypoint_counts_connections_that_carry_no_requests() {
    let origin = Origin::named("a").await;
    let telemetry = Telemetry::new("waypoint", &Settings::default()).unwrap();
    let yaml = served(origin.address, ONLY_BFF, "", &[BFF])
        .replace("protocol: HTTP\n", "protocol: TCP\n")
        .replace("  attached: [SecurityPolicy/default/p]\n", "");
    let mesh = Mesh::told(Options::new("waypoint"), telemetry.clone(), &yaml).await;
    assert_eq!(status("127.0.0.2", &mesh).await, 200);
    let labels = "role=\"waypoint\",source=\"web/bff\",service=\"default/a:80\"";
    let metrics = counted(&telemetry, &format!("fairway_service_connections_total{{{labels}}} 1")).await;
    let sent = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n".len();
    let bytes = format!("fairway_service_connection_bytes_total{{{labels},direction=\"in\"}} {sent}\n");
    assert!(metrics.contains(&bytes), "{metrics}");
}
