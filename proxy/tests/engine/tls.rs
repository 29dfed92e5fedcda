//! TLS by SNI, HTTP/2 by ALPN, certificates that change while serving.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Http2, Mesh, Origin, backend, forward, parse, route_on, within};

pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

pub(crate) fn identity(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Identity { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
}

pub(crate) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

pub(crate) fn secret(name: &str, identity: &Identity) -> String {
    format!(
        "---\nkey: Certificate/default/{name}\nresource:\n  kind: Certificate\n  chain: |\n{}  key: |\n{}",
        indented(&identity.chain),
        indented(&identity.key)
    )
}

fn listener(section: &str, hostname: &str, certificate: &str) -> String {
    format!(
        "---\nkey: Listener/default/gw/{section}\nresource: {{kind: Listener, port: 0, protocol: HTTPS, hostname: \
         \"{hostname}\", tls: {{certificates: [default/{certificate}]}}, scope: gateway}}\n"
    )
}

fn two_names(a: &Identity, b: &Identity, origin: SocketAddr) -> String {
    let rule = format!("  - action: {}", forward("a"));
    secret("a", a)
        + &secret("b", b)
        + &listener("a", "a.test", "a")
        + &listener("b", "b.test", "b")
        + &backend("a", "http", &[origin])
        + &route_on("ra", "a", "a.test", &rule)
        + &route_on("rb", "b", "b.test", &rule)
}

pub(crate) async fn connect(
    address: SocketAddr,
    name: &'static str,
    trusted: &Identity,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    over(TcpStream::connect(address).await?, name, trusted, alpn).await
}

pub(crate) async fn over(
    tcp: TcpStream,
    name: &'static str,
    trusted: &Identity,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    over_by(rustls::crypto::ring::default_provider(), tcp, name, trusted, alpn).await
}

async fn over_by(
    provider: CryptoProvider,
    tcp: TcpStream,
    name: &'static str,
    trusted: &Identity,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name).unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

async fn exchange(mut tls: TlsStream<TcpStream>, host: &str) -> crate::harness::Raw {
    let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    within(tls.read_to_end(&mut bytes)).await.unwrap();
    parse(&bytes)
}

#[tokio::test]
async fn sni_picks_the_certificate_and_an_unknown_name_is_refused() {
    let (a, b, origin) = (identity("a.test"), identity("b.test"), Origin::named("o").await);
    let mesh = Mesh::start(&two_names(&a, &b, origin.address)).await;
    for (name, trusted) in [("a.test", &a), ("b.test", &b)] {
        let tls = connect(mesh.address(), name, trusted, &[]).await.unwrap();
        let response = exchange(tls, name).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.field("seen-x-forwarded-proto"), Some("https"));
    }
    let refused = connect(mesh.address(), "c.test", &a, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
}

/// Found by sslyze, which takes `access_denied` for a server that is broken.
#[tokio::test]
async fn a_client_that_can_verify_no_certificate_is_told_handshake_failure() {
    let (a, b, origin) = (identity("a.test"), identity("b.test"), Origin::named("o").await);
    let mesh = Mesh::start(&two_names(&a, &b, origin.address)).await;
    let mut provider = rustls::crypto::ring::default_provider();
    // RSA alone; ours are ECDSA.
    let schemes = provider.signature_verification_algorithms.mapping.iter().copied();
    let rsa = schemes.filter(|(scheme, _)| format!("{scheme:?}").starts_with("RSA")).collect::<Vec<_>>();
    provider.signature_verification_algorithms.mapping = rsa.leak();
    let tcp = TcpStream::connect(mesh.address()).await.unwrap();
    let refused = over_by(provider, tcp, "a.test", &a, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("HandshakeFailure"), "{refused}");
}

#[tokio::test]
async fn alpn_gives_http2() {
    let (a, b, origin) = (identity("a.test"), identity("b.test"), Origin::named("o").await);
    let mesh = Mesh::start(&two_names(&a, &b, origin.address)).await;
    let tls = connect(mesh.address(), "a.test", &a, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Http2::over(tls).await;
    let response = client.get("https://a.test/x").await.unwrap();
    assert_eq!(response.headers()["seen-x-forwarded-proto"], "https");
    let other = client.get("https://b.test/x").await.unwrap();
    assert_eq!(other.status(), 421, "a connection for one listener must not reach another");
}

#[tokio::test]
async fn a_changed_certificate_holds_for_the_next_handshake() {
    let (old, new, b) = (identity("a.test"), identity("a.test"), identity("b.test"));
    let origin = Origin::named("o").await;
    let mut mesh = Mesh::start(&two_names(&old, &b, origin.address)).await;
    let before = connect(mesh.address(), "a.test", &old, &[]).await.unwrap();
    mesh.serve(&two_names(&new, &b, origin.address)).await;
    assert!(connect(mesh.address(), "a.test", &old, &[]).await.is_err());
    let after = connect(mesh.address(), "a.test", &new, &[]).await.unwrap();
    assert_eq!(exchange(after, "a.test").await.status, 200);
    assert_eq!(exchange(before, "a.test").await.status, 200, "an open connection is not touched");
}

#[tokio::test]
async fn a_response_larger_than_any_buffer_arrives_whole_over_tls() {
    let (a, b) = (identity("a.test"), identity("b.test"));
    let origin = Origin::start(|_| async {
        let body: Vec<u8> = (0..3_000_000u32).map(|at| at.to_le_bytes()[0]).collect();
        http::Response::new(crate::harness::full(body))
    })
    .await;
    let mesh = Mesh::start(&two_names(&a, &b, origin.address)).await;
    let mut tls = connect(mesh.address(), "a.test", &a, &[]).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    within(tls.read_to_end(&mut bytes)).await.unwrap();
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = &bytes[head..];
    assert_eq!(body.len(), 3_000_000);
    assert!(body.iter().zip(0u32..).all(|(byte, at)| *byte == at.to_le_bytes()[0]));
}

/// One port with a listener for every host, one for `b.test` and one for `*.w.test`.
fn misdirected(a: &Identity, b: &Identity, origin: SocketAddr) -> String {
    let rule = format!("  - action: {}", forward("a"));
    let any = "---\nkey: Listener/default/gw/any\nresource: {kind: Listener, port: 0, protocol: HTTPS, tls: {certificates: \
               [default/a]}, scope: gateway}\n";
    secret("a", a)
        + &secret("b", b)
        + any
        + &listener("b", "b.test", "b")
        + &listener("w", "*.w.test", "b")
        + &listener("x", "x.w.test", "b")
        + &backend("a", "http", &[origin])
        + &route_on("ra", "any", "a.test", &rule)
        + &route_on("rb", "b", "b.test", &rule)
        + &route_on("rw", "w", "*.w.test", &rule)
        + &route_on("rx", "x", "x.w.test", &rule)
}

/// As the suite has it (HTTPRouteHTTPSListenerDetectMisdirectedRequests), over both versions of HTTP.
#[tokio::test]
async fn a_connection_for_one_listener_carries_no_request_for_another() {
    let params = |names: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Identity { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    };
    let (a, b) = (params(&["a.test", "unknown.test"]), params(&["b.test", "*.w.test"]));
    let origin = Origin::named("o").await;
    let mesh = Mesh::start(&misdirected(&a, &b, origin.address)).await;
    let cases = [
        ("a.test", "a.test", 200),
        ("a.test", "b.test", 421),
        ("a.test", "unknown.test", 404),
        ("b.test", "b.test", 200),
        ("b.test", "a.test", 421),
        ("b.test", "unknown.test", 421),
        ("y.w.test", "y.w.test", 200),
        ("y.w.test", "z.w.test", 200),
        ("y.w.test", "x.w.test", 421),
        ("y.w.test", "b.test", 421),
        ("y.w.test", "unknown.test", 421),
        ("x.w.test", "x.w.test", 200),
        ("x.w.test", "z.w.test", 421),
        ("unknown.test", "a.test", 200),
        ("unknown.test", "unknown.test", 404),
    ];
    for (sni, host, status) in cases {
        let trusted = if sni == "a.test" || sni == "unknown.test" { &a } else { &b };
        let tls = connect(mesh.address(), sni, trusted, &[]).await.unwrap();
        assert_eq!(exchange(tls, host).await.status, status, "HTTP/1, {sni} for {host}");
        let tls = connect(mesh.address(), sni, trusted, &[b"h2"]).await.unwrap();
        let mut client = Http2::over(tls).await;
        let response = client.get(&format!("https://{host}/x")).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "HTTP/2, {sni} for {host}");
        // A refused request is no reason to give the connection up.
        let own = client.get(&format!("https://{sni}/x")).await.unwrap();
        assert_eq!(own.status().as_u16(), if sni == "unknown.test" { 404 } else { 200 }, "{sni} for itself");
    }
}
