use config::{AppProtocol, BackendTls, TrustedCa};
use pingora_core::upstreams::peer::{ALPN, Peer};

use super::*;

fn authority(name: &str) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&rcgen::KeyPair::generate().expect("key")).expect("certificate").pem()
}

fn spec(protocol: AppProtocol, tls: Option<(&str, &str)>) -> Backend {
    let tls = tls.map(|(hostname, pem)| BackendTls {
        hostname: hostname.into(),
        subject_alt_names: Vec::new(),
        ca: TrustedCa::Pem(pem.into()),
    });
    Backend { protocol, tls, ..Backend::default() }
}

fn peer(spec: &Backend, h2: bool) -> Box<HttpPeer> {
    cluster(spec, &addresses(1)).pick(1, &[]).expect("one").peer(h2, None)
}

#[test]
fn a_peer_has_every_limit_set() {
    let peer = peer(&Backend::default(), false);
    let options = &peer.options;
    assert_eq!(options.connection_timeout, Some(Duration::from_secs(2)));
    assert_eq!(options.total_connection_timeout, Some(Duration::from_secs(5)));
    assert_eq!(options.idle_timeout, Some(Duration::from_secs(60)));
    assert!(options.write_timeout.is_some() && options.read_timeout.is_none());
    assert!(options.tcp_keepalive.is_some() && options.h2_ping_interval.is_some());
    assert!(options.max_h2_streams >= 100);
    assert!(options.verify_cert && options.verify_hostname);
    assert!(!peer.is_tls() && peer.sni.is_empty());
}

#[test]
fn the_protocol_follows_the_backend_and_grpc_needs_http2() {
    let alpn = |protocol, h2| peer(&spec(protocol, None), h2).options.alpn;
    assert!(matches!(alpn(AppProtocol::Http, false), ALPN::Custom(_)), "connected by us");
    assert!(matches!(alpn(AppProtocol::Ws, false), ALPN::Custom(_)));
    assert!(matches!(alpn(AppProtocol::H2c, false), ALPN::H2));
    assert!(matches!(alpn(AppProtocol::Http, true), ALPN::H2));
}

#[test]
fn peers_share_connections_exactly_when_policy_and_protocol_are_the_same() {
    let (one, other) = (authority("one"), authority("other"));
    let hash = |spec: &Backend, h2| peer(spec, h2).reuse_hash();
    let plain = spec(AppProtocol::Http, None);
    let tls = spec(AppProtocol::Http, Some(("a.test", &one)));
    assert_eq!(hash(&tls, false), hash(&tls.clone(), false), "the same policy again");
    let limited = Backend { max_connections: Some(3), ..plain.clone() };
    assert_eq!(hash(&plain, false), hash(&limited, false), "a limit is no reason for new connections");
    let different = [
        hash(&plain, false),
        hash(&plain, true),
        hash(&tls, false),
        hash(&tls, true),
        hash(&spec(AppProtocol::Http, Some(("b.test", &one))), false),
        hash(&spec(AppProtocol::Http, Some(("a.test", &other))), false),
    ];
    let unique: std::collections::BTreeSet<u64> = different.into_iter().collect();
    assert_eq!(unique.len(), different.len());
    assert_eq!(hash(&spec(AppProtocol::H2c, None), false), hash(&plain, true), "HTTP/2 is HTTP/2");
}

#[test]
fn an_endpoint_of_another_address_has_other_connections() {
    let cluster = cluster(&Backend::default(), &addresses(2));
    let hashes: std::collections::BTreeSet<u64> = (0..50)
        .map(|entropy| cluster.pick(entropy, &[]).expect("one").peer(false, None).reuse_hash())
        .collect();
    assert_eq!(hashes.len(), 2);
}

#[test]
fn settings_that_cannot_verify_are_refused_with_the_field_and_a_remedy() {
    let ca = authority("one");
    let key = rcgen::KeyPair::generate().expect("key").serialize_pem();
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let cut = &ca[..ca.len() / 2];
    for (hostname, pem, field) in [
        ("", &*ca, "tls.hostname"),
        ("*.test", &ca, "tls.hostname"),
        ("10.0.0.1", &ca, "tls.hostname"),
        ("a_b.example.test", &ca, "tls.hostname"),
        ("a b", &ca, "tls.hostname"),
        ("a.test", "", "tls.ca"),
        ("a.test", "hello", "tls.ca"),
        ("a.test", &key, "tls.ca"),
        ("a.test", garbage, "tls.ca"),
        ("a.test", cut, "tls.ca"),
        ("a.test", &format!("{ca}{garbage}"), "tls.ca"),
    ] {
        let error = Cluster::new(backend(), &spec(AppProtocol::Http, Some((hostname, pem))), Arc::default())
            .expect_err(&format!("{hostname:?} {pem:?}"));
        assert!(error.to_string().starts_with(field), "{error}");
    }
}

fn identity(name: &str) -> ClientIdentity {
    let key = rcgen::KeyPair::generate().expect("key");
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("params");
    // Pingora tells certificates apart by this number alone.
    params.serial_number = Some(7u64.into());
    let certificate = params.self_signed(&key).expect("certificate");
    let key = config::Redacted::new(key.serialize_pem());
    ClientIdentity::read(&config::Certificate { chain: certificate.pem(), key }).expect("readable")
}

#[test]
fn what_a_backend_is_shown_and_must_show_is_part_of_what_is_shared() {
    let ca = authority("one");
    let with = |names: &[&str]| {
        let mut spec = spec(AppProtocol::Http, Some(("a.test", &ca)));
        let names = names.iter().map(|name| config::SubjectAltName::Hostname((*name).to_owned()));
        spec.tls.as_mut().expect("tls").subject_alt_names = names.collect();
        spec
    };
    let hash = |spec: &Backend, identity: Option<&ClientIdentity>| {
        cluster(spec, &addresses(1)).pick(1, &[]).expect("one").peer(false, identity).reuse_hash()
    };
    let (mine, yours) = (identity("mine"), identity("yours"));
    let (plain, named) = (with(&[]), with(&["b.test"]));
    assert_eq!(hash(&named, Some(&mine)), hash(&named.clone(), Some(&mine)));
    let different = [
        hash(&plain, None),
        hash(&plain, Some(&mine)),
        hash(&plain, Some(&yours)),
        hash(&named, None),
        hash(&named, Some(&mine)),
        hash(&with(&["c.test"]), None),
    ];
    for (at, one) in different.iter().enumerate() {
        assert!(!different[..at].contains(one), "{at}");
    }
    let clear = Backend::default();
    assert_eq!(hash(&clear, None), hash(&clear, Some(&mine)), "without TLS nothing is shown");
}

#[test]
fn a_certificate_that_pingora_would_panic_on_is_refused() {
    let key = rcgen::KeyPair::generate().expect("key").serialize_pem();
    let read = |chain: &str, key: &str| {
        let (chain, key) = (chain.to_owned(), config::Redacted::new(key));
        ClientIdentity::read(&config::Certificate { chain, key }).map(drop)
    };
    for chain in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(read(chain, &key).is_err(), "{chain:?}");
    }
    assert!(read(&authority("one"), "no key").is_err());
    assert!(read(&authority("one"), &key).is_err(), "the key of another certificate");
}
