//! Whole connections by the name in their ClientHello: TLSRoute, passed on and ended here, beside HTTPS on one port.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConnection, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::harness::{
    Mesh, Origin, Peer, backend, forward, parse, route_on, split, stream_listener, stream_route, within,
};
use crate::tls::{Identity, connect, identity, indented, secret};

fn passing(section: &str, hostname: &str) -> String {
    stream_listener(section, "TLS", 0, &format!(", hostname: \"{hostname}\""))
}

fn ending(section: &str, hostname: &str, certificate: &str) -> String {
    let more = format!(", hostname: \"{hostname}\", tls: {{certificates: [default/{certificate}]}}");
    stream_listener(section, "TLS", 0, &more)
}

fn tls_route(name: &str, section: &str, hostname: &str, backend: &str) -> String {
    stream_route("TlsRoute", name, section, hostname, &split(&[(backend, 1)]))
}

/// A backend that ends TLS itself, then echoes.
async fn secure_echo(identity: &Identity) -> Peer {
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.der.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Peer::start(move |tcp| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let (mut from, mut to) = tokio::io::split(tls);
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        }
    })
    .await
}

/// Says `text` over TLS, ends, and hears all that comes back.
async fn exchange(
    address: SocketAddr,
    name: &'static str,
    trusted: &Identity,
    text: &str,
) -> std::io::Result<String> {
    let mut tls = connect(address, name, trusted, &[b"h2"]).await?;
    assert_eq!(tls.get_ref().1.alpn_protocol(), None, "what is inside is not known");
    tls.write_all(text.as_bytes()).await?;
    tls.shutdown().await?;
    let mut heard = String::new();
    within(tls.read_to_string(&mut heard)).await?;
    Ok(heard)
}

#[tokio::test]
async fn a_name_is_passed_on_to_its_backend() {
    let (a, b) = (identity("a.test"), identity("x.b.test"));
    let (to_a, to_b) = (secure_echo(&a).await, secure_echo(&b).await);
    let yaml = stream_listener("tls", "TLS", 0, "")
        + &backend("a", "http", &[to_a.address])
        + &backend("b", "http", &[to_b.address])
        + &tls_route("a", "tls", "a.test", "a")
        + &tls_route("b", "tls", "*.b.test", "b");
    let mesh = Mesh::start(&yaml).await;
    assert_eq!(exchange(mesh.address(), "a.test", &a, "to a").await.unwrap(), "to a");
    assert_eq!(exchange(mesh.address(), "x.b.test", &b, "to b").await.unwrap(), "to b");
    let connections = to_a.connections() + to_b.connections();
    for unknown in ["b.test", "y.a.test", "c.test"] {
        connect(mesh.address(), unknown, &a, &[]).await.unwrap_err();
    }
    assert_eq!(to_a.connections() + to_b.connections(), connections);
}

fn client_hello(name: &str) -> Vec<u8> {
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

/// A backend that tells what it reads.
async fn listening() -> (Peer, mpsc::Receiver<Vec<u8>>) {
    let (heard, hears) = mpsc::channel(4);
    let peer = Peer::start(move |mut tcp| {
        let heard = heard.clone();
        async move {
            let mut all = Vec::new();
            let _ = tcp.read_to_end(&mut all).await;
            heard.send(all).await.unwrap();
        }
    })
    .await;
    (peer, hears)
}

#[tokio::test]
async fn what_is_passed_on_is_what_was_sent_however_the_hello_was_cut() {
    let (peer, mut hears) = listening().await;
    let yaml = passing("tls", "a.test")
        + &backend("a", "http", &[peer.address])
        + &tls_route("a", "tls", "a.test", "a");
    let mesh = Mesh::start(&yaml).await;
    let whole = client_hello("a.test");
    // The same message in records of 60 bytes.
    let records: Vec<u8> = whole[5..]
        .chunks(60)
        .flat_map(|part| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat())
        .collect();
    for (bytes, piece) in [(&whole, 3), (&whole, 200), (&records, 7), (&records, 100_000)] {
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        for piece in bytes.chunks(piece) {
            tcp.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        tcp.write_all(b"and early data").await.unwrap();
        tcp.shutdown().await.unwrap();
        let heard = within(hears.recv()).await.unwrap();
        assert!(heard == [&**bytes, b"and early data"].concat(), "{} bytes", heard.len());
    }
}

#[tokio::test]
async fn what_is_no_hello_is_closed_and_reaches_nobody() {
    let (peer, _hears) = listening().await;
    let yaml = stream_listener("tls", "TLS", 0, "")
        + &backend("a", "http", &[peer.address])
        + &tls_route("a", "tls", "*", "a");
    let mesh = Mesh::start(&yaml).await;
    let endless = [22, 3, 1, 0, 4, 1, 0, 63, 255].repeat(4000);
    for bytes in [b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), vec![0; 100], endless] {
        let mut tcp = TcpStream::connect(mesh.address()).await.unwrap();
        let _ = tcp.write_all(&bytes).await;
        let mut heard = Vec::new();
        let _ = within(tcp.read_to_end(&mut heard)).await;
        assert_eq!(heard, b"");
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn tls_ends_here_and_its_bytes_go_on_both_ways() {
    let (a, peer) = (identity("a.test"), Peer::echo("plain:").await);
    let listener = secret("a", &a) + &ending("tls", "a.test", "a") + &backend("a", "http", &[peer.address]);
    let mut mesh = Mesh::start(&(listener.clone() + &tls_route("a", "tls", "a.test", "a"))).await;
    let text = "0123456789".repeat(50_000);
    assert_eq!(exchange(mesh.address(), "a.test", &a, &text).await.unwrap(), "plain:".to_owned() + &text);
    connect(mesh.address(), "b.test", &a, &[]).await.unwrap_err();
    // Gateway API: a TLS listener that terminates takes TCPRoutes too.
    let tcp_route = stream_route("TcpRoute", "r", "tls", "*", &split(&[("a", 1)]));
    mesh.serve(&(listener + &tcp_route)).await;
    assert_eq!(exchange(mesh.address(), "a.test", &a, "x").await.unwrap(), "plain:x");
}

#[tokio::test]
async fn a_name_no_listener_has_is_reset_where_only_whole_connections_are_served() {
    let (a, origin) = (identity("a.test"), Origin::named("http").await);
    let passing = passing("pass", "*.b.test") + &ending("end", "c.test", "a") + &secret("a", &a);
    let mut mesh = Mesh::start(&passing).await;
    // The first two have a listener and no route.
    for name in ["x.b.test", "c.test", "d.test"] {
        let refused = connect(mesh.address(), name, &a, &[]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionReset, "{name}: {refused}");
    }
    // Beside HTTPS, TLS is what clients of the port expect to hear.
    let https = "---\nkey: Listener/default/gw/https\nresource: {kind: Listener, port: 0, protocol: HTTPS, hostname: \
                 \"a.test\", tls: {certificates: [default/a]}, scope: gateway}\n";
    let route = route_on("ra", "https", "a.test", &format!("  - action: {}", forward("a")));
    mesh.serve(&(passing + https + &backend("a", "http", &[origin.address]) + &route)).await;
    let refused = connect(mesh.address(), "d.test", &a, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
}

#[tokio::test]
async fn one_port_passes_on_ends_and_serves_by_name() {
    let (a, b, c) = (identity("a.test"), identity("b.test"), identity("c.test"));
    let (origin, secure, plain) = (Origin::named("http").await, secure_echo(&b).await, Peer::echo("c").await);
    let https = "---\nkey: Listener/default/gw/https\nresource: {kind: Listener, port: 0, protocol: HTTPS, hostname: \
                 \"a.test\", tls: {certificates: [default/a]}, scope: gateway}\n";
    let yaml = secret("a", &a)
        + &secret("c", &c)
        + https
        + &passing("pass", "b.test")
        + &ending("end", "c.test", "c")
        + &backend("a", "http", &[origin.address])
        + &backend("b", "http", &[secure.address])
        + &backend("c", "http", &[plain.address])
        + &route_on("ra", "https", "a.test", &format!("  - action: {}", forward("a")))
        + &tls_route("rb", "pass", "b.test", "b")
        + &tls_route("rc", "end", "c.test", "c");
    let mesh = Mesh::start(&yaml).await;
    assert_eq!(exchange(mesh.address(), "b.test", &b, "x").await.unwrap(), "x");
    assert_eq!(exchange(mesh.address(), "c.test", &c, "x").await.unwrap(), "cx");
    for (host, status) in [("a.test", 200), ("b.test", 421), ("c.test", 421), ("d.test", 404)] {
        let mut tls = connect(mesh.address(), "a.test", &a, &[b"http/1.1"]).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        within(tls.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(parse(&bytes).status, status, "{host}");
    }
    connect(mesh.address(), "d.test", &a, &[]).await.unwrap_err();
}

#[tokio::test]
async fn a_backend_with_tls_is_verified_or_not_used() {
    let (a, right, wrong) = (identity("a.test"), identity("backend.test"), identity("other.test"));
    let (good, bad) = (secure_echo(&right).await, secure_echo(&wrong).await);
    let base = secret("a", &a) + &ending("tls", "a.test", "a") + &tls_route("a", "tls", "a.test", "a");
    let to = |peer: &Peer, ca: &Identity, names: &str| {
        let pem = indented(&ca.chain).replace("    ", "        ");
        let tls = format!("\n  tls:\n    hostname: backend.test\n{names}    ca:\n      pem: |\n{pem}");
        let inline = "resource: {kind: Backend, protocol: http}";
        let spelled = format!("resource:\n  kind: Backend\n  protocol: http{tls}");
        base.clone() + &backend("a", "http", &[peer.address]).replace(inline, &spelled)
    };
    let mut mesh = Mesh::start(&to(&good, &right, "")).await;
    assert_eq!(exchange(mesh.address(), "a.test", &a, "x").await.unwrap(), "x");
    let names = "    subjectAltNames: [{hostname: backend.test}]\n";
    mesh.serve(&to(&good, &right, names)).await;
    assert_eq!(exchange(mesh.address(), "a.test", &a, "x").await.unwrap(), "x");
    let others = "    subjectAltNames: [{uri: \"spiffe://x/y\"}]\n";
    for (what, yaml) in [
        ("signed by another", to(&good, &wrong, "")),
        ("another name", to(&bad, &wrong, "")),
        ("no such subject alternative name", to(&good, &right, others)),
    ] {
        assert_eq!(mesh.serve(&yaml).await.rejections, [], "{what}");
        let heard = exchange(mesh.address(), "a.test", &a, "x").await;
        assert!(heard.as_ref().is_err() || heard.as_ref().is_ok_and(String::is_empty), "{what}: {heard:?}");
    }
}

#[tokio::test]
async fn connections_of_a_listener_that_leaves_its_port_end_in_time_and_others_stay() {
    let (a, b) = (identity("a.test"), identity("b.test"));
    let (to_a, to_b) = (secure_echo(&a).await, secure_echo(&b).await);
    let stays =
        passing("a", "a.test") + &backend("a", "http", &[to_a.address]) + &tls_route("a", "a", "a.test", "a");
    let leaves =
        passing("b", "b.test") + &backend("b", "http", &[to_b.address]) + &tls_route("b", "b", "b.test", "b");
    let options = fairway_proxy::Options {
        drain: Duration::from_millis(300),
        ..fairway_proxy::Options::new("gateway")
    };
    let mut mesh = Mesh::with(options, &(stays.clone() + &leaves)).await;
    let mut of_a = connect(mesh.address(), "a.test", &a, &[]).await.unwrap();
    let mut of_b = connect(mesh.address(), "b.test", &b, &[]).await.unwrap();
    mesh.serve(&stays).await;
    connect(mesh.address(), "b.test", &b, &[]).await.unwrap_err();
    let cut = within(of_b.read(&mut [0])).await.unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
    of_a.write_all(b"x").await.unwrap();
    assert_eq!(within(of_a.read_u8()).await.unwrap(), b'x');
}
