use http::Request;

use super::*;

fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn checked(head: &mut Parts) -> Result<Checked, Reply> {
    check(head, &Setting { trusted: false, is_upgrade: false, paths: &PathRules::DEFAULT })
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
        let host = checked(&mut parts("/", &[("host", sent)])).unwrap().host;
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
    assert_eq!(checked(&mut head).unwrap().host.as_str(), "");
}

#[test]
fn an_authority_becomes_the_host() {
    let mut head = parts("https://A.test:444/x?y", &[("cookie", "a=1"), ("cookie", "b=2")]);
    head.version = Version::HTTP_2;
    assert_eq!(checked(&mut head).unwrap().host.as_str(), "a.test");
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
