use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion, version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Mesh, Origin, backend, forward, route_on, stream_listener, within};
use crate::tls::{Identity, identity, secret};

fn client(
    trusted: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// What a handshake and a request settle: version, suite, ALPN, whether it was resumed.
async fn shake(
    mesh: &Mesh,
    config: &Arc<ClientConfig>,
) -> std::io::Result<(ProtocolVersion, String, Option<Vec<u8>>, HandshakeKind)> {
    let tcp = TcpStream::connect(mesh.address()).await?;
    let name = ServerName::try_from("a.test").unwrap();
    let mut tls = within(TlsConnector::from(config.clone()).connect(name, tcp)).await?;
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        // Tickets of TLS 1.3 come after the handshake.
        tls.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").await?;
        within(tls.read_to_end(&mut Vec::new())).await?;
    }
    let session = tls.get_ref().1;
    Ok((
        session.protocol_version().unwrap(),
        format!("{:?}", session.negotiated_cipher_suite().unwrap().suite()),
        session.alpn_protocol().map(<[u8]>::to_vec),
        session.handshake_kind().unwrap(),
    ))
}

async fn mesh(traffic: &str) -> (Mesh, Identity, Origin) {
    let (identity, origin) = (identity("a.test"), Origin::named("a").await);
    let more = format!(", tls: {{certificates: [default/a]}}, traffic: {{tls: {traffic}}}");
    let yaml = secret("a", &identity)
        + &stream_listener("https", "HTTPS", 0, &more)
        + &backend("a", "http", &[origin.address])
        + &route_on("r", "https", "*", &format!("  - action: {}", forward("a")));
    (Mesh::start(&yaml).await, identity, origin)
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

#[tokio::test]
async fn versions_outside_of_the_range_are_refused() {
    for (rules, refused, taken) in [
        ("{minVersion: \"1.3\"}", &version::TLS12, ProtocolVersion::TLSv1_3),
        ("{maxVersion: \"1.2\"}", &version::TLS13, ProtocolVersion::TLSv1_2),
    ] {
        let (mesh, identity, _origin) = mesh(rules).await;
        assert!(shake(&mesh, &client(&identity, &[refused], &[])).await.is_err(), "{rules}");
        assert_eq!(shake(&mesh, &client(&identity, BOTH, &[])).await.unwrap().0, taken);
    }
}

#[tokio::test]
async fn suites_and_groups_are_those_that_are_named() {
    let (mesh, identity, _origin) =
        mesh("{ciphers: [ECDHE-ECDSA-CHACHA20-POLY1305], ecdhCurves: [P-384]}").await;
    let old = shake(&mesh, &client(&identity, &[&version::TLS12], &[])).await.unwrap();
    assert_eq!(old.1, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
    // The client guesses another group first.
    assert_eq!(
        shake(&mesh, &client(&identity, BOTH, &[])).await.unwrap().3,
        HandshakeKind::FullWithHelloRetryRequest
    );
}

#[tokio::test]
async fn only_what_is_wanted_is_offered_by_alpn() {
    let (mesh, identity, _origin) = mesh("{alpnProtocols: [http/1.1]}").await;
    let settled = shake(&mesh, &client(&identity, BOTH, &[b"h2", b"http/1.1"])).await.unwrap();
    assert_eq!(settled.2.as_deref(), Some(&b"http/1.1"[..]));
    assert!(shake(&mesh, &client(&identity, BOTH, &[b"h2"])).await.is_err());
}

#[tokio::test]
async fn clients_resume_in_the_ways_that_are_on() {
    for (rules, resumes) in [
        ("{}", true),
        ("{session: {resumption: {stateless: {}}}}", true),
        ("{session: {resumption: {stateful: {}}}}", true),
        ("{session: {resumption: {}}}", false),
    ] {
        for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
            let (mesh, identity, _origin) = mesh(rules).await;
            let config = client(&identity, versions, &[]);
            assert_eq!(shake(&mesh, &config).await.unwrap().3, HandshakeKind::Full);
            let again = shake(&mesh, &config).await.unwrap().3;
            assert_eq!(again == HandshakeKind::Resumed, resumes, "{rules} {versions:?}");
        }
    }
}
