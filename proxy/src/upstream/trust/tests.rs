use super::*;

#[test]
fn a_bundle_that_would_make_pingora_panic_is_passed_over() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let ca = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("certificate");
    std::fs::write(path("good"), ca.cert.pem()).expect("written");
    std::fs::write(path("key"), ca.signing_key.serialize_pem()).expect("written");
    std::fs::write(path("empty"), "").expect("written");
    std::fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")
        .expect("written");
    let files = ["absent", "key", "empty", "broken", "good"].map(path);
    assert_eq!(first_readable(files.iter().map(String::as_str)), Some(path("good")));
    assert_eq!(first_readable(files.iter().take(4).map(String::as_str)), None);
}

#[test]
fn every_trust_file_is_one_pingora_reads() {
    for file in [trust_file(), EMPTY] {
        let mut options = pingora_core::connectors::ConnectorOptions::new(1);
        options.ca_file = Some(file.to_owned());
        // Panics when it cannot.
        let _connector = pingora_core::connectors::TransportConnector::new(Some(options));
    }
}
