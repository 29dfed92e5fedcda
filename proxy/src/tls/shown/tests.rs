use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

use super::*;

fn shown(subject: &[(DnType, &str)], sans: Vec<SanType>) -> Shown {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    params.subject_alt_names = sans;
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    *Shown::new(Some(&[certificate.der().clone()])).unwrap()
}

fn ia5(text: &str) -> rcgen::string::Ia5String {
    text.try_into().unwrap()
}

fn told(shown: &Shown, details: Details) -> String {
    let told = shown.element(details).to_str().unwrap().to_owned();
    let (hash, rest) = told.split_once(';').unwrap_or((&told, ""));
    let hex = hash.strip_prefix("Hash=").unwrap();
    assert!(
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()),
        "{told}"
    );
    rest.to_owned()
}

const NAMES: Details = Details { cert: false, chain: false, subject: true, uri: true, dns: true };

#[test]
fn names_are_told_in_the_form_of_envoy() {
    let sans = vec![
        SanType::DnsName(ia5("a.test")),
        SanType::URI(ia5("spiffe://a.test/ns/x/sa/y")),
        SanType::DnsName(ia5("b.test")),
    ];
    let shown = shown(
        &[(DnType::CountryName, "DE"), (DnType::OrganizationName, "Shop"), (DnType::CommonName, "me")],
        sans,
    );
    assert_eq!(
        told(&shown, NAMES),
        r#"Subject="CN=me,O=Shop,C=DE";URI=spiffe://a.test/ns/x/sa/y;DNS=a.test;DNS=b.test"#
    );
    assert_eq!(told(&shown, Details::default()), "", "and the first answer does not stick");
    assert_eq!(told(&shown, Details { dns: true, ..Details::default() }), "DNS=a.test;DNS=b.test");
}

#[test]
fn what_is_missing_is_empty() {
    assert_eq!(told(&shown(&[], Vec::new()), NAMES), r#"Subject="";URI="#);
}

/// Who may choose names in a certificate must not choose what is said of it.
#[test]
fn names_cannot_forge_other_keys() {
    let evil = "x\";Subject=\"CN=root\",By=\\\r\n\u{e9}\0 ";
    let shown = shown(
        &[(DnType::CommonName, evil), (DnType::CustomDnType(vec![1, 2, 3]), "#y")],
        vec![SanType::URI(ia5("spiffe://a;By=b,c\"\\ \0\n")), SanType::DnsName(ia5("a;Hash=00"))],
    );
    let subject = r##"Subject="1.2.3=#2379,CN=x\"\;Subject=\"CN=root\"\,By=\\\0D\0A\C3\A9\00\ ""##;
    assert_eq!(
        told(&shown, NAMES),
        format!(r##"{subject};URI="spiffe://a;By=b,c\"\\%20%00%0A";DNS="a;Hash=00""##)
    );
}

#[test]
fn certificates_are_told_as_pem_in_url_encoding() {
    let shown = shown(&[(DnType::CommonName, "me")], Vec::new());
    let told = told(&shown, Details { cert: true, chain: true, ..Details::default() });
    let (cert, chain) = told.split_once(';').unwrap();
    let pem = cert.strip_prefix("Cert=\"").unwrap().strip_suffix('"').unwrap();
    assert_eq!(chain, format!("Chain=\"{pem}\""), "one certificate is a chain");
    let mut plain = pem.to_owned();
    for (code, text) in [("%0A", "\n"), ("%20", " "), ("%2B", "+"), ("%2F", "/"), ("%3D", "=")] {
        plain = plain.replace(code, text);
    }
    assert!(plain.lines().all(|line| line.len() <= 64), "{plain}");
    use rustls::pki_types::pem::PemObject;
    let read = CertificateDer::from_pem_slice(plain.as_bytes()).unwrap();
    assert_eq!(read, shown.chain[0]);
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (bytes, want) in
        [(&b"f"[..], "Zg%3D%3D"), (b"fo", "Zm8%3D"), (b"foo", "Zm9v"), (&[0xfb, 0xff, 0xfe], "%2B%2F%2F%2B")]
    {
        let mut out = String::new();
        base64(&mut out, bytes);
        assert_eq!(out, want);
    }
}

#[test]
fn the_hash_is_sha_256() {
    let hex: String = sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_certificate_that_cannot_be_read_is_told_by_its_hash_alone() {
    let shown = Shown::new(Some(&[CertificateDer::from(vec![1, 2, 3])])).unwrap();
    assert_eq!(told(&shown, NAMES), "");
    assert!(Shown::new(Some(&[])).is_none() && Shown::new(None).is_none());
}
