//! TLS to backends: the names in their certificates, the certificate they are shown, and HTTP/2 or nothing.

use std::fmt::Write as _;

use http::Request;

use crate::certs::{Authority, Issued, TlsOrigin, indented};
use crate::harness::{Http2, Mesh, Origin, forward, full, get, route_on};

const H1: &[&[u8]] = &[b"http/1.1"];
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A backend `default/a:80` behind TLS with SNI `a.test`.
fn secure(ca: &Authority, names: &[&str], protocol: &str, origins: &[&TlsOrigin]) -> String {
    let mut endpoints = String::new();
    for origin in origins {
        write!(endpoints, "{{address: \"{}\"}}, ", origin.address).unwrap();
    }
    let mut list = String::new();
    for name in names {
        let kind = if name.contains("://") { "uri" } else { "hostname" };
        write!(list, "{{{kind}: \"{name}\"}}, ").unwrap();
    }
    format!(
        "---\nkey: Backend/default/a:80\nresource:\n  kind: Backend\n  protocol: {protocol}\n  tls:\n    hostname: a.test\n    \
         subjectAltNames: [{list}]\n    ca:\n      pem: |\n{}---\nkey: Endpoints/default/a:80\nresource: {{kind: Endpoints, \
         endpoints: [{endpoints}]}}\n",
        indented(&ca.pem(), 8)
    )
}

fn listener(section: &str, hostname: &str, certificate: Option<&str>) -> String {
    let certificate =
        certificate.map_or(String::new(), |name| format!("backendCertificate: default/{name}, "));
    format!(
        "---\nkey: Listener/default/gw/{section}\nresource: {{kind: Listener, port: 0, protocol: HTTP, hostname: {hostname}, \
         {certificate}scope: gateway}}\n"
    )
}

fn one(backend: &str) -> String {
    listener("http", "a.test", None)
        + backend
        + &route_on("r", "http", "a.test", &format!("  - action: {}", forward("a")))
}

#[tokio::test]
async fn one_of_the_names_must_be_in_the_certificate() {
    let (ca, other) = (Authority::new("ours"), Authority::new("theirs"));
    let spiffe = "spiffe://example.com/ns/demo/sa/a";
    let cases: &[(&[&str], &[&str], u16)] = &[
        (&["b.test"], &["b.test"], 200),
        (&["b.test"], &["a.test"], 502),
        (&[spiffe], &[spiffe], 200),
        (&[spiffe], &["spiffe://example.com/ns/demo/sa/b"], 502),
        (&["b.test", spiffe], &["x.test", "spiffe://example.com/x", "b.test"], 200),
        (&["b.test", spiffe], &["x.test", "spiffe://example.com/x"], 502),
        (&["x.b.test"], &["*.b.test"], 200),
        (&["b.test"], &["*.b.test"], 502),
        (&["*.b.test"], &["x.b.test"], 200),
        // The name for SNI is none for authentication once others are given.
        (&["a.test"], &["b.test"], 502),
    ];
    // HTTP/1 is verified by the connection itself, HTTP/2 beside it.
    for (protocol, alpn) in [("http", H1), ("h2c", BOTH)] {
        for (shown, wanted, status) in cases {
            let origin = TlsOrigin::start(&ca.issue(shown), None, alpn).await;
            let mesh = Mesh::start(&one(&secure(&ca, wanted, protocol, &[&origin]))).await;
            let what = format!("{shown:?} for {wanted:?}, {protocol}");
            assert_eq!(get(mesh.address(), "/x").await.status, *status, "{what}");
            assert_eq!(origin.requests(), usize::from(*status == 200), "{what}");
        }
    }
    let origin = TlsOrigin::start(&other.issue(&["b.test"]), None, H1).await;
    let mesh = Mesh::start(&one(&secure(&ca, &["b.test"], "http", &[&origin]))).await;
    assert_eq!(get(mesh.address(), "/x").await.status, 502, "the right name, of another authority");
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn names_cost_one_more_handshake_over_http2_and_connections_are_shared() {
    let ca = Authority::new("ours");
    for (protocol, alpn, version, handshakes) in [("http", H1, "HTTP/1.1", 1), ("h2c", BOTH, "HTTP/2.0", 2)] {
        let origin = TlsOrigin::start(&ca.issue(&["b.test"]), None, alpn).await;
        let mesh = Mesh::start(&one(&secure(&ca, &["b.test"], protocol, &[&origin]))).await;
        for _ in 0..20 {
            let response = get(mesh.address(), "/x").await;
            assert_eq!(response.status, 200);
            assert_eq!(response.field("version"), Some(version));
        }
        assert_eq!(origin.handshakes(), handshakes, "{protocol}: of them one carried all requests");
    }
}

#[tokio::test]
async fn a_rotated_certificate_is_verified_without_a_failed_request() {
    let ca = Authority::new("ours");
    for (protocol, alpn) in [("http", H1), ("h2c", BOTH)] {
        let origin = TlsOrigin::start(&ca.issue(&["b.test"]), None, alpn).await;
        let mesh = Mesh::start(&one(&secure(&ca, &["b.test"], protocol, &[&origin]))).await;
        assert_eq!(get(mesh.address(), "/x").await.status, 200);
        origin.close_connections();
        for nth in 0..5 {
            origin.show(&ca.issue(&["b.test"]), None, alpn);
            assert_eq!(get(mesh.address(), "/x").await.status, 200, "{protocol}: rotation {nth}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_becomes_somebody_else_gets_no_further_request() {
    let ca = Authority::new("ours");
    let origin = TlsOrigin::start(&ca.issue(&["b.test"]), None, H1).await;
    let mesh = Mesh::start(&one(&secure(&ca, &["b.test"], "http", &[&origin]))).await;
    origin.close_connections();
    assert_eq!(get(mesh.address(), "/x").await.status, 200);
    let before = origin.requests();
    origin.show(&ca.issue(&["c.test"]), None, H1);
    // The first may still meet the connection of before; it ends with its answer.
    get(mesh.address(), "/x").await;
    let after = origin.requests();
    assert!(after <= before + 1);
    for _ in 0..3 {
        assert_eq!(get(mesh.address(), "/x").await.status, 502);
    }
    assert_eq!(origin.requests(), after);
}

#[tokio::test]
async fn a_changed_list_of_names_holds_for_pooled_connections() {
    let ca = Authority::new("ours");
    for (protocol, alpn) in [("http", H1), ("h2c", BOTH)] {
        let origin = TlsOrigin::start(&ca.issue(&["b.test"]), None, alpn).await;
        let mut mesh = Mesh::start(&one(&secure(&ca, &["b.test"], protocol, &[&origin]))).await;
        assert_eq!(get(mesh.address(), "/x").await.status, 200);
        mesh.serve(&one(&secure(&ca, &["c.test"], protocol, &[&origin]))).await;
        assert_eq!(get(mesh.address(), "/x").await.status, 502);
        mesh.serve(&one(&secure(&ca, &["b.test"], protocol, &[&origin]))).await;
        assert_eq!(get(mesh.address(), "/x").await.status, 200);
    }
}

/// Two listeners by host name, `with.test` of which shows a certificate, to one backend.
fn shown(own: &Issued, backend: &str) -> String {
    let rule = format!("  - action: {}", forward("a"));
    own.resource("mine")
        + &listener("with", "with.test", Some("mine"))
        + &listener("without", "without.test", None)
        + backend
        + &route_on("rw", "with", "with.test", &rule)
        + &route_on("ro", "without", "without.test", &rule)
}

async fn asked(mesh: &Mesh, host: &str) -> (u16, Option<String>, Option<String>) {
    let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let response = crate::harness::raw(mesh.address(), &request).await;
    let field = |name: &str| response.field(name).map(str::to_owned);
    (response.status, field("client-certificate"), field("connection-number"))
}

#[tokio::test]
async fn a_certificate_is_shown_to_backends_and_its_connections_are_its_own() {
    let (ca, clients) = (Authority::new("ours"), Authority::new("clients"));
    for (names, protocol, alpn) in [(&[][..], "http", H1), (&[], "h2c", BOTH), (&["b.test"], "http", H1)] {
        let origin = TlsOrigin::start(&ca.issue(&["a.test", "b.test"]), Some(&clients), alpn).await;
        let own = clients.issue(&["gateway"]);
        let yaml = shown(&own, &secure(&ca, names, protocol, &[&origin]));
        let mut mesh = Mesh::start(&yaml).await;
        let mut numbers = [Vec::new(), Vec::new()];
        for _ in 0..4 {
            for (at, (host, has)) in [("with.test", "yes"), ("without.test", "no")].into_iter().enumerate() {
                let (status, certificate, number) = asked(&mesh, host).await;
                assert_eq!((status, certificate.as_deref()), (200, Some(has)), "{host}");
                numbers[at].push(number.unwrap());
            }
        }
        numbers.iter_mut().for_each(Vec::dedup);
        assert!(numbers.iter().all(|own| own.len() == 1), "each pooled: {numbers:?}");
        assert_ne!(numbers[0], numbers[1], "never shared");

        // Another certificate, another connection.
        mesh.serve(&shown(&clients.issue(&["gateway"]), &secure(&ca, names, protocol, &[&origin]))).await;
        let (status, certificate, number) = asked(&mesh, "with.test").await;
        assert_eq!((status, certificate.as_deref()), (200, Some("yes")));
        assert_ne!(Some(&numbers[0][0]), number.as_ref());
    }
}

#[tokio::test]
async fn a_certificate_that_is_gone_or_broken_is_not_shown() {
    let (ca, clients) = (Authority::new("ours"), Authority::new("clients"));
    let origin = TlsOrigin::start(&ca.issue(&["a.test"]), Some(&clients), H1).await;
    let own = clients.issue(&["gateway"]);
    let yaml = shown(&own, &secure(&ca, &[], "http", &[&origin]));
    let mut mesh = Mesh::start(&yaml).await;
    assert_eq!(asked(&mesh, "with.test").await.1.as_deref(), Some("yes"));
    let answer = mesh.serve(&yaml.replace(&own.resource("mine"), "")).await;
    assert!(answer.rejections.iter().any(|r| r.message.contains("backendCertificate")), "{answer:?}");
    assert_eq!(asked(&mesh, "with.test").await.1.as_deref(), Some("no"));
}

#[tokio::test]
async fn plain_backends_are_not_asked_for_tls_by_a_certificate() {
    let origin = Origin::named("o").await;
    let own = Authority::new("clients").issue(&["gateway"]);
    let yaml = shown(&own, &crate::harness::backend("a", "http", &[origin.address]));
    let mesh = Mesh::start(&yaml).await;
    assert_eq!(asked(&mesh, "with.test").await.0, 200);
    assert_eq!(asked(&mesh, "without.test").await.0, 200);
}

#[tokio::test]
async fn http2_that_a_backend_does_not_take_is_refused_and_not_lowered() {
    let ca = Authority::new("ours");
    let grpc = || {
        Request::post("http://a.test/echo.Echo/Say")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(full("message"))
            .unwrap()
    };
    // By ALPN it takes HTTP/1.1 only, or says nothing at all.
    for alpn in [H1, &[]] {
        for names in [&[][..], &["a.test"]] {
            let origin = TlsOrigin::start(&ca.issue(&["a.test"]), None, alpn).await;
            let mesh = Mesh::start(&one(&secure(&ca, names, "h2c", &[&origin]))).await;
            assert_eq!(get(mesh.address(), "/x").await.status, 502, "appProtocol h2c, {alpn:?}");
            let mesh = Mesh::start(&one(&secure(&ca, names, "http", &[&origin]))).await;
            let mut client = Http2::plain(mesh.address()).await;
            let response = client.send(grpc()).await.unwrap();
            assert_eq!(response.headers()["grpc-status"], "14", "gRPC, {alpn:?}");
            assert_eq!(origin.requests(), 0, "{alpn:?}");
        }
    }
    let origin = TlsOrigin::start(&ca.issue(&["a.test"]), None, BOTH).await;
    let mesh = Mesh::start(&one(&secure(&ca, &[], "http", &[&origin]))).await;
    let response = Http2::plain(mesh.address()).await.send(grpc()).await.unwrap();
    assert_eq!(response.headers()["version"], "HTTP/2.0");
    assert_eq!(response.headers()["grpc-status"], "0");
}
