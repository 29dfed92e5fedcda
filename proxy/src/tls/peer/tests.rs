use rcgen::string::Ia5String;
use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};

use super::*;

fn signed(params: &CertificateParams) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().to_vec(), rcgen::PublicKeyData::subject_public_key_info(&key))
}

fn of(names: Vec<SanType>, domains: &[&str]) -> Option<Peer> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let domains: Vec<Box<str>> = domains.iter().map(|domain| (*domain).into()).collect();
    peer(&signed(&params).0, &domains)
}

fn text(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

/// Subject alternative names as bytes: a tag and what it holds, each.
fn raw(names: &[(u8, &[u8])]) -> Option<Peer> {
    let mut content = Vec::new();
    for (tag, bytes) in names {
        content.extend([0x80 | tag, u8::try_from(bytes.len()).unwrap()]);
        content.extend_from_slice(bytes);
    }
    let mut der = vec![0x30, u8::try_from(content.len()).unwrap()];
    der.extend(content);
    let mut params = CertificateParams::default();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], der)];
    peer(&signed(&params).0, &[])
}

#[test]
fn all_names_that_are_asked_for_are_told() {
    let names = vec![
        SanType::DnsName(text("A.test")),
        SanType::URI(text("spiffe://td/ns/web/sa/bff")),
        SanType::Rfc822Name(text("ann@a.test")),
        SanType::IpAddress("192.0.2.1".parse().unwrap()),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
        SanType::DnsName(text("*.b_c.test")),
    ];
    let peer = of(names, &[]).unwrap();
    let want = [
        PeerName::Dns("a.test".to_owned()),
        PeerName::Uri("spiffe://td/ns/web/sa/bff".to_owned()),
        PeerName::Email("ann@a.test".to_owned()),
        PeerName::Ip("192.0.2.1".parse().unwrap()),
        PeerName::Ip("2001:db8::1".parse().unwrap()),
        PeerName::Dns("*.b_c.test".to_owned()),
    ];
    assert_eq!(peer.names, want);
    assert_eq!(peer.workload, None, "no trust domain is believed unless somebody says so");
}

#[test]
fn the_digests_are_those_of_the_certificate_and_its_key() {
    let (leaf, key) = signed(&CertificateParams::default());
    let peer = peer(&leaf, &[]).unwrap();
    let (certificate, public) = peer.digests.unwrap();
    assert_eq!(certificate.to_vec(), sha256(&leaf));
    assert_eq!(public.to_vec(), sha256(&key));
    assert_eq!(peer.names, []);
}

#[test]
fn a_workload_is_named_by_an_id_of_a_domain_that_is_believed() {
    let id = |id: &str| vec![SanType::URI(text(id))];
    let workload = |names, domains: &[&str]| of(names, domains).unwrap().workload;
    let bff = "spiffe://td/ns/web/sa/bff";
    let want = Workload {
        namespace: "web".to_owned(),
        service_account: "bff".to_owned(),
        assurance: Assurance::Certificate,
    };
    assert_eq!(workload(id(bff), &["other", "td"]), Some(want));
    assert_eq!(workload(id(bff), &["other", "t", "tdx"]), None);
    assert_eq!(workload(id("spiffe://td/web/bff"), &["td"]), None);
    assert_eq!(workload([id(bff), id(bff)].concat(), &["td"]), None, "an SVID has one URI");
    assert_eq!(workload(vec![SanType::DnsName(text("td"))], &["td"]), None);
}

#[test]
fn a_certificate_with_one_bad_name_is_nobodys() {
    assert!(raw(&[(2, b"a.test"), (6, b"urn:a"), (1, b"a@b"), (7, &[1, 2, 3, 4])]).is_some());
    let long = [b'a'; 64];
    for bad in [
        (2, &b"a.test\0.evil.test"[..]),
        (2, b""),
        (2, b"a..test"),
        (2, b"a.test."),
        (2, b"a test"),
        (2, b"a.*.test"),
        (2, b"b*.test"),
        (2, b"\xc3\xa9.test"),
        (2, &long),
        (6, b"spiffe://td/a\0"),
        (6, b"spiffe://td/a\n"),
        (6, b"spiffe://td/\xc3\xa9"),
        (6, b"no-scheme"),
        (6, b""),
        (1, b"ann@a.test\0"),
        (1, b"ann"),
        (1, b"ann@"),
        (1, b"a@b@c"),
        (7, &[1, 2, 3]),
        (7, &[1, 2, 3, 4, 5]),
        (7, &[0; 17]),
        (2, b"\xff"),
        (31, b"a"),
    ] {
        assert_eq!(raw(&[bad]), None, "{bad:?}");
        assert_eq!(raw(&[(2, b"good.test"), bad]), None, "beside a good one: {bad:?}");
    }
}

#[test]
fn names_of_other_kinds_are_left_out() {
    // registeredID 1.2.3
    let peer = raw(&[(8, &[0x2a, 3]), (2, b"a.test")]).unwrap();
    assert_eq!(peer.names, [PeerName::Dns("a.test".to_owned())]);
}

#[test]
fn what_is_no_certificate_is_nobodys() {
    assert_eq!(peer(b"", &[]), None);
    assert_eq!(peer(&[0x30, 0x80], &[]), None);
    let mut params = CertificateParams::default();
    let san = || CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0]);
    params.custom_extensions = vec![san(), san()];
    assert_eq!(peer(&signed(&params).0, &[]), None, "names come once");
}
