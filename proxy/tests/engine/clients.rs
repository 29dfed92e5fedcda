//! Client certificates: who is let in, by HTTP/1 and HTTP/2, and what resuming or reusing a connection cannot do.

use std::net::SocketAddr;

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::certs::{Authority, Issued, client, connect, indented};
use crate::harness::{Http2, Mesh, Origin, Raw, backend, forward, parse, route_on, within};

const H1: &[&[u8]] = &[b"http/1.1"];

/// A listener `a.test` that asks for certificates of `clients`, in this mode.
fn served(own: &Issued, clients: Option<(&Authority, &str)>, origin: SocketAddr) -> String {
    let validation = clients.map_or(String::new(), |(ca, mode)| {
        format!("    clientValidation:\n      mode: {mode}\n      ca: |\n{}", indented(&ca.pem(), 8))
    });
    own.resource("a")
        + "---\nkey: Listener/default/gw/a\nresource:\n  kind: Listener\n  port: 0\n  protocol: HTTPS\n  hostname: a.test\n  \
           scope: gateway\n  tls:\n    certificates: [default/a]\n"
        + &validation
        + &backend("a", "http", &[origin])
        + &route_on("ra", "a", "a.test", &format!("  - action: {}", forward("a")))
}

/// One request over a stream that may fail late: a client that is refused in TLS 1.3 learns it when it reads.
async fn ask(mut tls: TlsStream<TcpStream>) -> Option<Raw> {
    tls.write_all(b"GET /x HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut bytes = Vec::new();
    within(tls.read_to_end(&mut bytes)).await.ok()?;
    Some(parse(&bytes))
}

#[tokio::test]
async fn only_clients_with_a_valid_certificate_are_served() {
    let (ca, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let origin = Origin::named("o").await;
    let mesh =
        Mesh::start(&served(&ca.issue(&["a.test"]), Some((&clients, "AllowValidOnly")), origin.address))
            .await;
    let good = client(&ca, Some(&clients.issue(&["me"])), H1);
    let tls = connect(&good, mesh.address(), "a.test").await.unwrap();
    assert_eq!(ask(tls).await.unwrap().status, 200);

    let (foreign, late) = (others.issue(&["me"]), clients.expired("me"));
    for own in [None, Some(&foreign), Some(&late)] {
        let refused = match connect(&client(&ca, own, H1), mesh.address(), "a.test").await {
            Ok(tls) => ask(tls).await.is_none(),
            Err(_) => true,
        };
        assert!(refused, "without a valid certificate nobody is served");
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_valid_certificate_serves_over_http2_too() {
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let origin = Origin::named("o").await;
    let mesh =
        Mesh::start(&served(&ca.issue(&["a.test"]), Some((&clients, "AllowValidOnly")), origin.address))
            .await;
    let good = client(&ca, Some(&clients.issue(&["me"])), &[b"h2"]);
    let mut http2 = Http2::over(connect(&good, mesh.address(), "a.test").await.unwrap()).await;
    assert_eq!(http2.get("https://a.test/x").await.unwrap().status(), 200);
    let without = connect(&client(&ca, None, &[b"h2"]), mesh.address(), "a.test").await;
    if let Ok(tls) = without {
        let mut http2 = Http2::over(tls).await;
        assert!(http2.get("https://a.test/x").await.is_err());
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn the_insecure_fallback_serves_everybody() {
    let (ca, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let origin = Origin::named("o").await;
    let yaml = served(&ca.issue(&["a.test"]), Some((&clients, "AllowInsecureFallback")), origin.address);
    let mesh = Mesh::start(&yaml).await;
    let (good, foreign, late) = (clients.issue(&["me"]), others.issue(&["me"]), clients.expired("me"));
    for own in [None, Some(&good), Some(&foreign), Some(&late)] {
        for alpn in [H1, &[]] {
            let tls = connect(&client(&ca, own, alpn), mesh.address(), "a.test").await.unwrap();
            assert_eq!(ask(tls).await.unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_where_nobody_is_verified_and_nowhere_else() {
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (own, origin) = (ca.issue(&["a.test"]), Origin::named("o").await);
    let mut mesh = Mesh::start(&served(&own, None, origin.address)).await;
    let me = client(&ca, Some(&clients.issue(&["me"])), H1);
    let kind = |tls: &TlsStream<TcpStream>| tls.get_ref().1.handshake_kind().unwrap();
    for (nth, want) in [(1, HandshakeKind::Full), (2, HandshakeKind::Resumed)] {
        let tls = connect(&me, mesh.address(), "a.test").await.unwrap();
        assert_eq!(kind(&tls), want, "connection {nth}");
        assert_eq!(ask(tls).await.unwrap().status, 200);
    }
    // The session of before must not stand for a certificate.
    mesh.serve(&served(&own, Some((&clients, "AllowValidOnly")), origin.address)).await;
    for nth in 1..=2 {
        let tls = connect(&me, mesh.address(), "a.test").await.unwrap();
        assert_eq!(kind(&tls), HandshakeKind::Full, "verified connection {nth}");
        assert_eq!(ask(tls).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn an_open_connection_does_not_outlive_the_trust_it_was_made_with() {
    let (ca, old, new) = (Authority::new("servers"), Authority::new("old"), Authority::new("new"));
    let (own, origin) = (ca.issue(&["a.test"]), Origin::named("o").await);
    let mut mesh = Mesh::start(&served(&own, None, origin.address)).await;
    let anybody = connect(&client(&ca, None, H1), mesh.address(), "a.test").await.unwrap();
    mesh.serve(&served(&own, Some((&old, "AllowValidOnly")), origin.address)).await;
    assert_eq!(ask(anybody).await.unwrap().status, 421, "nobody verified this client");

    let me = client(&ca, Some(&old.issue(&["me"])), &[b"h2"]);
    let mut mine = Http2::over(connect(&me, mesh.address(), "a.test").await.unwrap()).await;
    assert_eq!(mine.get("https://a.test/x").await.unwrap().status(), 200);
    mesh.serve(&served(&own, Some((&new, "AllowValidOnly")), origin.address)).await;
    assert_eq!(mine.get("https://a.test/x").await.unwrap().status(), 421, "verified by somebody else");
    mesh.serve(&served(&own, Some((&old, "AllowValidOnly")), origin.address)).await;
    assert_eq!(mine.get("https://a.test/x").await.unwrap().status(), 200);
}

#[tokio::test]
async fn authorities_that_cannot_be_read_close_the_listener() {
    let (ca, origin) = (Authority::new("servers"), Origin::named("o").await);
    let own = ca.issue(&["a.test"]);
    let mut mesh = Mesh::start(&served(&own, None, origin.address)).await;
    let broken = served(&own, Some((&ca, "AllowValidOnly")), origin.address)
        .replace("-----BEGIN CERTIFICATE-----\n        M", "-----BEGIN CERTIFICATE-----\n        !");
    let answer = mesh.serve(&broken).await;
    assert_eq!(answer.rejections.len(), 1, "{:?}", answer.rejections);
    assert!(answer.rejections[0].message.contains("clientValidation.ca"), "{:?}", answer.rejections);
    assert!(connect(&client(&ca, None, H1), mesh.address(), "a.test").await.is_err());
}

/// `served`, to which only the ServiceAccount `web/bff` may come; `domains`: whose SPIFFE IDs are believed.
fn guarded(own: &Issued, clients: (&Authority, &str), origin: SocketAddr, domains: &str) -> String {
    let listener = format!(
        "  scope: gateway\n  attached: [SecurityPolicy/default/authz]\n  traffic:\n    tls:\n      trustDomains: [{domains}]\n"
    );
    let rule = "{name: bff, action: Allow, principal: {serviceAccounts: [{namespace: web, name: bff}], minAssurance: Certificate}}";
    served(own, Some(clients), origin).replace("  scope: gateway\n", &listener)
        + &format!(
            "---\nkey: SecurityPolicy/default/authz\nresource:\n  kind: SecurityPolicy\n  defaults:\n    authorization:\n      \
             rules:\n      - {rule}\n"
        )
}

async fn status(mesh: &Mesh, ca: &Authority, own: Option<&Issued>) -> u16 {
    ask(connect(&client(ca, own, H1), mesh.address(), "a.test").await.unwrap()).await.unwrap().status
}

#[tokio::test]
async fn a_verified_certificate_says_which_workload_a_client_is() {
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (own, origin) = (ca.issue(&["a.test"]), Origin::named("o").await);
    let valid = (&clients, "AllowValidOnly");
    let mut mesh = Mesh::start(&guarded(&own, valid, origin.address, "other, td")).await;
    let bff = clients.issue(&["spiffe://td/ns/web/sa/bff"]);
    assert_eq!(status(&mesh, &ca, Some(&bff)).await, 200);
    for names in [
        &["spiffe://td/ns/web/sa/x"][..],
        &["spiffe://evil/ns/web/sa/bff"],
        &["spiffe://td/ns/web/sa/bff", "spiffe://td/ns/web/sa/x"],
        &["bff.web"],
    ] {
        assert_eq!(status(&mesh, &ca, Some(&clients.issue(names))).await, 403, "{names:?}");
    }

    let mut http2 =
        Http2::over(connect(&client(&ca, Some(&bff), &[b"h2"]), mesh.address(), "a.test").await.unwrap())
            .await;
    assert_eq!(http2.get("https://a.test/x").await.unwrap().status(), 200);
    mesh.serve(&guarded(&own, valid, origin.address, "other")).await;
    assert_eq!(
        http2.get("https://a.test/x").await.unwrap().status(),
        421,
        "an open connection does not outlive the trust domain it was made with"
    );
    assert_eq!(status(&mesh, &ca, Some(&bff)).await, 403, "nobody believes its trust domain");
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_certificate_that_nobody_verified_says_nothing() {
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (own, origin) = (ca.issue(&["a.test"]), Origin::named("o").await);
    let fallback = (&clients, "AllowInsecureFallback");
    let mesh = Mesh::start(&guarded(&own, fallback, origin.address, "td")).await;
    let bff = clients.issue(&["spiffe://td/ns/web/sa/bff"]);
    let forged = Authority::new("others").issue(&["spiffe://td/ns/web/sa/bff"]);
    for own in [Some(&bff), Some(&forged), None] {
        assert_eq!(status(&mesh, &ca, own).await, 403);
    }
    assert_eq!(origin.requests(), 0);
}
