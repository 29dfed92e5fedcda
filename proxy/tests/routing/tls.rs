//! SNI to settings to certificate, by real handshakes in memory.

use std::sync::Arc;

use config::{Certificate, Key, Kind, Listener, ListenerTls, Protocol, Redacted, Resource, Scope};
use fairway_proxy::snapshot::{Port, Snapshot};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection, SignatureScheme,
};

use super::support::{bind, compile, compiler, key, messages, removes, upserts};

struct Made {
    chain: String,
    key: String,
    leaf: CertificateDer<'static>,
}

fn make(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Made {
    let pair = KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
    Made { chain: certificate.pem(), key: pair.serialize_pem(), leaf: certificate.der().clone() }
}

fn certificate(name: &str, chain: &str, key: &str) -> (Key, Resource) {
    let certificate = Certificate { chain: chain.to_owned(), key: Redacted::new(key) };
    (Key::new(Kind::Certificate, "ns", name), Resource::Certificate(certificate))
}

fn listener(section: &str, hostname: Option<&str>, certificates: &[&str]) -> (Key, Resource) {
    let certificates = certificates.iter().map(|name| format!("ns/{name}")).collect();
    let listener = Listener {
        address: None,
        port: 443,
        protocol: Protocol::Https,
        hostname: hostname.map(str::to_owned),
        tls: Some(ListenerTls { certificates, client_validation: None }),
        backend_certificate: None,
        traffic: None,
        attached: Vec::new(),
        scope: Scope::Gateway,
    };
    (Key::new(Kind::Listener, "infra", format!("gw/{section}")), Resource::Listener(listener))
}

/// Takes any certificate, and remembers nothing: what is tested is which one is shown.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>, Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.clone()
    }
}

fn client(
    versions: &[&'static rustls::SupportedProtocolVersion],
    schemes: Vec<SignatureScheme>,
) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider, schemes)))
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    client
}

fn any_client() -> Arc<ClientConfig> {
    let schemes = ring::default_provider().signature_verification_algorithms.supported_schemes();
    Arc::new(client(rustls::ALL_VERSIONS, schemes))
}

/// What a client saw.
struct Shaken {
    leaf: CertificateDer<'static>,
    version: ProtocolVersion,
    alpn: Vec<u8>,
    kind: HandshakeKind,
}

fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, sni: &str) -> Result<Shaken, rustls::Error> {
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    // Enough for a handshake and the tickets after it.
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Shaken {
        leaf: client.peer_certificates().unwrap()[0].clone().into_owned(),
        version: client.protocol_version().unwrap(),
        alpn: client.alpn_protocol().unwrap().to_vec(),
        kind: client.handshake_kind().unwrap(),
    })
}

fn port(snapshot: &Snapshot) -> &Arc<Port> {
    &snapshot.ports[&bind(443)]
}

fn pick<'s>(snapshot: &'s Snapshot, sni: &str) -> Option<&'s Arc<ServerConfig>> {
    port(snapshot).tls.as_ref().unwrap().pick(Some(sni))
}

#[test]
fn sni_picks_the_listener_and_an_unknown_name_is_refused() {
    let [exact, wild] = ["a.test", "*.b.test"].map(|name| make(&[name], &PKCS_ECDSA_P256_SHA256));
    let (snapshot, rejections) = compile([
        certificate("exact", &exact.chain, &exact.key),
        certificate("wild", &wild.chain, &wild.key),
        listener("exact", Some("a.test"), &["exact"]),
        listener("wild", Some("*.b.test"), &["wild"]),
    ]);
    assert_eq!(messages(&rejections), <[&str; 0]>::default());
    let leaf = |sni: &str| pick(&snapshot, sni).map(|server| shake(server, &any_client(), sni).unwrap().leaf);
    assert_eq!(leaf("a.test"), Some(exact.leaf));
    assert_eq!(leaf("x.b.test"), Some(wild.leaf.clone()));
    assert_eq!(leaf("y.x.b.test"), Some(wild.leaf.clone()), "a listener's wildcard is any number of labels");
    assert!(pick(&snapshot, "X.B.test").is_some(), "names are case-insensitive");
    for unknown in ["b.test", "c.test", "test", "xa.test", ""] {
        assert!(pick(&snapshot, unknown).is_none(), "{unknown}");
    }
    assert!(port(&snapshot).tls.as_ref().unwrap().pick(None).is_none());
}

#[test]
fn a_listener_without_a_name_takes_all_others_and_those_without_sni() {
    let [named, any] = ["a.test", "any.test"].map(|name| make(&[name], &PKCS_ECDSA_P256_SHA256));
    let (snapshot, _) = compile([
        certificate("named", &named.chain, &named.key),
        certificate("any", &any.chain, &any.key),
        listener("named", Some("a.test"), &["named"]),
        listener("any", None, &["any"]),
    ]);
    let leaf = |sni: &str| shake(pick(&snapshot, sni).unwrap(), &any_client(), sni).unwrap().leaf;
    assert_eq!((leaf("a.test"), leaf("else.test")), (named.leaf, any.leaf.clone()));
    let without = port(&snapshot).tls.as_ref().unwrap().pick(None).unwrap();
    assert_eq!(shake(without, &any_client(), "127.0.0.1").unwrap().leaf, any.leaf);
}

#[test]
fn both_versions_and_both_protocols_are_spoken() {
    let made = make(&["a.test"], &PKCS_ECDSA_P256_SHA256);
    let (snapshot, _) = compile([certificate("c", &made.chain, &made.key), listener("l", None, &["c"])]);
    let server = pick(&snapshot, "a.test").unwrap();
    let schemes = || ring::default_provider().signature_verification_algorithms.supported_schemes();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let shaken = shake(server, &Arc::new(client(&[version], schemes())), "a.test").unwrap();
        assert_eq!((shaken.version, &*shaken.alpn), (version.version, &b"h2"[..]));
    }
    let mut old = client(rustls::ALL_VERSIONS, schemes());
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(shake(server, &Arc::new(old), "a.test").unwrap().alpn, b"http/1.1");
}

#[test]
fn of_several_certificates_the_one_that_names_the_sni_best_is_shown() {
    let first = make(&["first.test"], &PKCS_ECDSA_P256_SHA256);
    let wild = make(&["other.test", "*.a.test"], &PKCS_ECDSA_P256_SHA256);
    let exact = make(&["WWW.a.test"], &PKCS_ECDSA_P256_SHA256);
    let (snapshot, _) = compile([
        certificate("first", &first.chain, &first.key),
        certificate("wild", &wild.chain, &wild.key),
        certificate("exact", &exact.chain, &exact.key),
        listener("l", None, &["first", "wild", "exact"]),
    ]);
    let leaf = |sni: &str| shake(pick(&snapshot, sni).unwrap(), &any_client(), sni).unwrap().leaf;
    assert_eq!(leaf("www.a.test"), exact.leaf);
    assert_eq!(leaf("b.a.test"), wild.leaf);
    assert_eq!(leaf("other.test"), wild.leaf);
    assert_eq!(leaf("c.b.a.test"), first.leaf, "in a certificate a wildcard is one label");
    assert_eq!(leaf("unknown.test"), first.leaf);
}

#[test]
fn among_equals_the_one_the_client_can_verify_is_shown() {
    let new = make(&["a.test"], &PKCS_ED25519);
    let old = make(&["a.test"], &PKCS_ECDSA_P256_SHA256);
    let (snapshot, _) = compile([
        certificate("new", &new.chain, &new.key),
        certificate("old", &old.chain, &old.key),
        listener("l", None, &["new", "old"]),
    ]);
    let server = pick(&snapshot, "a.test").unwrap();
    let leaf =
        |schemes| shake(server, &Arc::new(client(rustls::ALL_VERSIONS, schemes)), "a.test").map(|s| s.leaf);
    let (p256, ed) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519);
    assert_eq!(leaf(vec![p256, ed]).unwrap(), new.leaf);
    assert_eq!(leaf(vec![p256]).unwrap(), old.leaf);
    assert!(leaf(vec![SignatureScheme::RSA_PSS_SHA256]).is_err());
}

#[test]
fn clients_resume_across_a_change_of_certificate_and_never_under_another_name() {
    let [before, after, other] =
        ["a.test", "a.test", "b.test"].map(|name| make(&[name], &PKCS_ECDSA_P256_SHA256));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut compiler = compiler();
        let (first, _) = compiler.apply(upserts([
            certificate("c", &before.chain, &before.key),
            certificate("o", &other.chain, &other.key),
            listener("l", Some("a.test"), &["c"]),
            listener("o", Some("b.test"), &["o"]),
        ]));
        let schemes = ring::default_provider().signature_verification_algorithms.supported_schemes();
        let client = Arc::new(client(&[version], schemes));
        let full = shake(pick(&first, "a.test").unwrap(), &client, "a.test").unwrap();
        assert_eq!((full.kind, full.leaf), (HandshakeKind::Full, before.leaf.clone()));

        let (second, _) = compiler.apply(upserts([certificate("c", &after.chain, &after.key)]));
        assert!(Arc::ptr_eq(&port(&first).routes, &port(&second).routes), "only the TLS table is another");
        assert!(Arc::ptr_eq(pick(&first, "b.test").unwrap(), pick(&second, "b.test").unwrap()));
        let resumed = shake(pick(&second, "a.test").unwrap(), &client, "a.test").unwrap();
        assert_eq!(resumed.kind, HandshakeKind::Resumed, "{version:?}");
        let fresh = shake(pick(&second, "a.test").unwrap(), &any_client(), "a.test").unwrap();
        assert_eq!(fresh.leaf, after.leaf);
        let elsewhere = shake(pick(&second, "b.test").unwrap(), &client, "b.test").unwrap();
        assert_eq!((elsewhere.kind, elsewhere.leaf), (HandshakeKind::Full, other.leaf.clone()));
    }
}

#[test]
fn a_bad_certificate_is_told_and_its_last_good_version_shown() {
    let [good, other] = ["a.test", "a.test"].map(|name| make(&[name], &PKCS_ECDSA_P256_SHA256));
    let mut compiler = compiler();
    let (first, _) =
        compiler.apply(upserts([certificate("c", &good.chain, &good.key), listener("l", None, &["c"])]));
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (chain, key, told) in [
        (&*good.chain, &*other.key, "key: does not belong to the first certificate of the chain"),
        ("", &*good.key, "chain: no certificate in it: give the chain as PEM, leaf first"),
        (junk, &*good.key, "chain: the first certificate is not readable as X.509"),
        (&*good.chain, "", "key: no private key in it: give PKCS#8, PKCS#1 or SEC1 as PEM"),
        (&*good.chain, &*good.chain, "key: no private key in it: give PKCS#8, PKCS#1 or SEC1 as PEM"),
    ] {
        let (snapshot, rejections) = compiler.apply(upserts([certificate("c", chain, key)]));
        assert_eq!(messages(&rejections), [format!("Certificate/ns/c Refused {told}")]);
        assert!(Arc::ptr_eq(pick(&first, "a.test").unwrap(), pick(&snapshot, "a.test").unwrap()));
    }
    let (snapshot, rejections) = compiler.apply(upserts([certificate("c", &other.chain, &other.key)]));
    assert!(rejections.is_empty());
    assert_eq!(shake(pick(&snapshot, "a.test").unwrap(), &any_client(), "a.test").unwrap().leaf, other.leaf);
}

#[test]
fn a_listener_without_any_usable_certificate_refuses_its_names_and_only_those() {
    let made = make(&["any.test"], &PKCS_ECDSA_P256_SHA256);
    let mut compiler = compiler();
    let (snapshot, rejections) = compiler.apply(upserts([
        certificate("any", &made.chain, &made.key),
        listener("any", None, &["any", "gone"]),
        listener("none", Some("none.test"), &["late"]),
    ]));
    assert_eq!(
        messages(&rejections),
        [
            "Listener/infra/gw/any Degraded tls.certificates[1]: there is no usable certificate ns/gone",
            "Listener/infra/gw/none Degraded tls.certificates[0]: there is no usable certificate ns/late",
            "Listener/infra/gw/none Refused tls.certificates: none can be used, so that handshakes are refused",
        ]
    );
    assert!(pick(&snapshot, "none.test").is_none(), "not served with the certificate of another listener");
    assert!(pick(&snapshot, "else.test").is_some());

    let (snapshot, rejections) = compiler.apply(upserts([certificate("late", &made.chain, &made.key)]));
    assert_eq!(rejections.len(), 1);
    assert!(pick(&snapshot, "none.test").is_some());
    let (snapshot, rejections) = compiler.apply(removes([key("Certificate/ns/late")]));
    assert_eq!(rejections.len(), 3);
    assert!(pick(&snapshot, "none.test").is_none());
}

#[test]
fn tls_settings_and_protocol_belong_together() {
    let mut without = listener("without", None, &[]);
    let mut plain = listener("plain", None, &["c"]);
    if let (Resource::Listener(without), Resource::Listener(plain)) = (&mut without.1, &mut plain.1) {
        without.tls = None;
        plain.protocol = Protocol::Http;
    }
    let (snapshot, rejections) = compile([without, plain]);
    assert_eq!(
        messages(&rejections),
        [
            "Listener/infra/gw/plain Refused tls: an HTTP listener has none",
            "Listener/infra/gw/without Refused tls: an HTTPS listener needs a certificate",
        ]
    );
    assert!(snapshot.ports.is_empty());
}
