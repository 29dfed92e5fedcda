use http::Request;

use super::*;
use crate::traffic::Traffic;

fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn by(rules: &RequestRules, head: &mut Parts) -> Result<Checked, Reply> {
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    let mut host = host(head)?;
    check(head, &mut host, &Setting { rules, peer, trusts_clients: false, is_upgrade: false })
}

fn checked(head: &mut Parts) -> Result<Checked, Reply> {
    by(&RequestRules::default(), head)
}

fn reason(result: Result<Checked, Reply>) -> &'static str {
    result.map_or_else(|reply| reply.reason, |_| "ok")
}

#[test]
fn a_host_is_lowered_and_loses_port_and_trailing_dot() {
    for (sent, name) in [
        ("a.test", "a.test"),
        ("A.Test:8080", "a.test"),
        ("a.test.", "a.test"),
        ("a.test.:80", "a.test"),
        ("[::1]:80", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("127.0.0.1", "127.0.0.1"),
    ] {
        let host = host(&mut parts("/", &[("host", sent)])).unwrap();
        assert_eq!(host.as_str(), name, "{sent}");
    }
}

#[test]
fn a_host_that_is_no_authority_is_refused() {
    for sent in [
        "",
        ".",
        "a.test, b.test",
        "a.test/b",
        "a b",
        "a.test:x",
        "a.test:999999",
        "u@a.test",
        "[::1",
        "[x]",
        "a:1:2",
        "a:65536",
        "a..test",
        ".a.test",
    ] {
        assert_eq!(reason(checked(&mut parts("/", &[("host", sent)]))), "bad_host", "{sent:?}");
    }
    assert_eq!(reason(checked(&mut parts("/", &[]))), "bad_host");
    assert_eq!(reason(checked(&mut parts("/", &[("host", "a"), ("host", "a")]))), "bad_host");
}

/// Found by fuzzing: `a.test.` would have matched `*.` patterns, and no exact ones.
#[test]
fn a_host_ends_with_one_dot_at_most() {
    for sent in ["a.test..", "a..:80"] {
        assert_eq!(reason(checked(&mut parts("/", &[("host", sent)]))), "bad_host", "{sent:?}");
    }
}

#[test]
fn http_1_0_needs_no_host() {
    let mut head = parts("/", &[]);
    head.version = Version::HTTP_10;
    assert_eq!(host(&mut head).unwrap().as_str(), "");
}

#[test]
fn an_authority_becomes_the_host() {
    let mut head = parts("https://A.test:444/x?y", &[("cookie", "a=1"), ("cookie", "b=2")]);
    head.version = Version::HTTP_2;
    assert_eq!(host(&mut head.clone()).unwrap().as_str(), "a.test");
    checked(&mut head).unwrap();
    assert_eq!(head.uri, "/x?y");
    assert_eq!(head.headers["host"], "A.test:444");
    assert_eq!(head.headers["cookie"], "a=1; b=2");
}

#[test]
fn framing_must_be_plain() {
    for (name, value, want) in [
        ("content-length", "5", "ok"),
        ("content-length", "0", "ok"),
        ("content-length", "5, 5", "bad_framing"),
        ("content-length", "010", "bad_framing"),
        ("transfer-encoding", "Chunked", "ok"),
        ("transfer-encoding", "gzip, chunked", "bad_transfer_encoding"),
        ("transfer-encoding", "identity", "bad_transfer_encoding"),
        ("expect", "100-continue", "ok"),
        ("expect", "y", "expectation_failed"),
    ] {
        let mut head = parts("/", &[("host", "a"), (name, value)]);
        assert_eq!(reason(checked(&mut head)), want, "{name}: {value}");
    }
}

#[test]
fn a_path_has_one_form_and_a_query_is_left_alone() {
    for (target, want) in [
        ("/pub/../admin?/../", "/admin?/../"),
        ("//a/./b", "/a/b"),
        ("https://a.test//x?y", "/x?y"),
        ("https://a.test", "/"),
    ] {
        let mut head = parts(target, &[("host", "a.test")]);
        checked(&mut head).unwrap();
        assert_eq!(head.uri, want, "{target}");
    }
    assert_eq!(reason(checked(&mut parts("/a%00b", &[("host", "a")]))), "bad_path");
    assert_eq!(reason(checked(&mut parts("/a%2fb", &[("host", "a")]))), "bad_path");
    assert_eq!(reason(checked(&mut parts("*", &[("host", "a")]))), "bad_target");
    assert_eq!(reason(checked(&mut parts("ftp://a/", &[]))), "bad_target");
}

#[test]
fn an_expectation_is_taken_off_and_only_http_1_1_waits_for_it() {
    let mut head = parts("/", &[("host", "a"), ("expect", "100-continue")]);
    assert!(checked(&mut head).unwrap().waits);
    assert!(!head.headers.contains_key("expect"));
    let mut head = parts("/", &[("host", "a"), ("expect", "100-continue")]);
    head.version = Version::HTTP_10;
    assert!(!checked(&mut head).unwrap().waits);
}

#[test]
fn a_target_must_have_a_form_that_means_something() {
    for (method, target, fits) in [
        ("GET", "/", true),
        ("GET", "/a?b", true),
        ("GET", "http://a.test/", true),
        ("GET", "HTTP://a.test", true),
        ("GET", "https://a.test/", false),
        ("OPTIONS", "*", true),
        ("GET", "*", false),
        ("GET", "a.test/", false),
        ("GET", "@a.test/", false),
        ("GET", "%20/x", false),
        ("GET", "?x", false),
        ("GET", "ftp://a.test/", false),
        ("GET", "http:/a", false),
    ] {
        let req = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        assert_eq!(check_form(&req, Scheme::Http).is_ok(), fits, "{method} {target}");
    }
    let req = RequestHeader::build("GET", b"/\xff", None).unwrap();
    assert!(check_form(&req, Scheme::Http).is_err());
}

#[test]
fn escaped_slashes_are_kept_refused_decoded_or_sent_back() {
    let read = |action, merge_slashes, target: &str, fields: &[(&str, &str)]| {
        let paths = PathRules { escaped_slashes: action, merge_slashes };
        let rules = RequestRules { paths, ..RequestRules::default() };
        let mut head = parts(target, &[&[("host", "a.test")], fields].concat());
        match by(&rules, &mut head) {
            Ok(Checked { answer: None, .. }) => head.uri.to_string(),
            Ok(Checked { answer: Some(reply), .. }) => {
                let (name, location) = &reply.headers[0];
                assert_eq!((name, reply.reason), (&LOCATION, "escaped_slashes"));
                format!("{} {}", reply.status.as_u16(), location.to_str().unwrap())
            }
            Err(reply) => reply.reason.to_owned(),
        }
    };
    use EscapedSlashes::{KeepUnchanged, RejectRequest, UnescapeAndForward, UnescapeAndRedirect};
    let target = "/a%2Fb//c?d=%2F";
    assert_eq!(read(RejectRequest, true, target, &[]), "bad_path");
    assert_eq!(read(KeepUnchanged, true, target, &[]), "/a%2Fb/c?d=%2F");
    assert_eq!(read(UnescapeAndForward, true, target, &[]), "/a/b/c?d=%2F");
    assert_eq!(read(UnescapeAndRedirect, true, target, &[]), "307 /a/b/c?d=%2F");
    assert_eq!(read(UnescapeAndForward, false, target, &[]), "/a/b//c?d=%2F");
    let grpc = [("content-type", "application/grpc")];
    assert_eq!(read(UnescapeAndRedirect, true, target, &grpc), "bad_path");
    assert_eq!(read(UnescapeAndRedirect, true, "/a//b/%41", &[]), "/a/b/A", "no slash was escaped");
    // A client must not be sent to a host of somebody's choice.
    assert_eq!(read(UnescapeAndRedirect, false, "/%2Fevil.test/%2e", &[]), "307 /.//evil.test/");
    assert_eq!(read(UnescapeAndRedirect, true, "/%5cevil.test", &[]), "307 /evil.test");
}

#[test]
fn a_host_loses_its_dot_where_that_is_said() {
    for (sent, want) in [
        ("A.test.", "A.test"),
        ("a.test.:80", "a.test:80"),
        ("a.test:80", "a.test:80"),
        ("[::1]:80", "[::1]:80"),
    ] {
        for strips_dot in [false, true] {
            let rules = RequestRules { strips_dot, ..RequestRules::default() };
            let mut head = parts("/", &[("host", sent)]);
            by(&rules, &mut head).unwrap();
            assert_eq!(head.headers["host"], if strips_dot { want } else { sent });
        }
    }
}

#[test]
fn a_client_that_must_be_known_and_is_not_is_403() {
    let spec = "{clientIPDetection: {customHeader: {name: x-real-ip, failClosed: true}}}";
    let rules = Traffic::compile(Some(&serde_saphyr::from_str(spec).unwrap())).unwrap();
    let known = |fields: &[(&str, &str)]| {
        let checked = by(&rules.request, &mut parts("/", fields)).unwrap();
        (checked.client.address.ip().to_string(), checked.answer.map(|reply| reply.reason))
    };
    let sent = [("host", "a"), ("x-real-ip", "9.9.9.9")];
    assert_eq!(known(&sent), ("9.9.9.9".to_owned(), None));
    // What the client takes away by `Connection` counts all the same.
    assert_eq!(known(&[&sent[..], &[("connection", "x-real-ip")]].concat()), ("9.9.9.9".to_owned(), None));
    assert_eq!(known(&sent[..1]), ("192.0.2.1".to_owned(), Some("client_unknown")));
}

#[test]
fn the_word_of_a_trusted_proxy_on_its_client_holds() {
    let spec = "{clientIPDetection: {xForwardedFor: {trustedCIDRs: [192.0.2.0/24]}}}";
    let trusting = Traffic::compile(Some(&serde_saphyr::from_str(spec).unwrap())).unwrap();
    for (rules, forwarded, client) in
        [(&trusting.request, true, "9.9.9.9"), (&RequestRules::default(), false, "192.0.2.1")]
    {
        let fields = [
            ("host", "a"),
            ("x-forwarded-for", "9.9.9.9"),
            ("forwarded", "for=9.9.9.9"),
            ("x-real-ip", "8.8.8.8"),
        ];
        let mut head = parts("/", &fields);
        let checked = by(rules, &mut head).unwrap();
        assert_eq!(
            (checked.client.is_forwarded, checked.client.address.ip().to_string()),
            (forwarded, client.to_owned())
        );
        assert_eq!(head.headers.contains_key("forwarded"), forwarded);
        assert!(!head.headers.contains_key("x-real-ip"));
    }
}
