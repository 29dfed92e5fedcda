use http::Request;

use super::*;

fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn reason(result: Result<Host, Reply>) -> &'static str {
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
        let host = check(&mut parts("/", &[("host", sent)]), None).unwrap();
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
    ] {
        assert_eq!(reason(check(&mut parts("/", &[("host", sent)]), None)), "bad_host", "{sent:?}");
    }
    assert_eq!(reason(check(&mut parts("/", &[]), None)), "bad_host");
    assert_eq!(reason(check(&mut parts("/", &[("host", "a"), ("host", "a")]), None)), "bad_host");
}

#[test]
fn http_1_0_needs_no_host() {
    let mut head = parts("/", &[]);
    head.version = Version::HTTP_10;
    assert_eq!(check(&mut head, None).unwrap().as_str(), "");
}

#[test]
fn an_authority_becomes_the_host() {
    let mut head = parts("https://A.test:444/x?y", &[("cookie", "a=1"), ("cookie", "b=2")]);
    head.version = Version::HTTP_2;
    assert_eq!(check(&mut head, None).unwrap().as_str(), "a.test");
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
        assert_eq!(reason(check(&mut head, None)), want, "{name}: {value}");
    }
}

#[test]
fn a_request_line_is_looked_at_as_it_was_sent() {
    for (line, want) in [
        ("GET / HTTP/1.1", "ok"),
        ("GET /a#b HTTP/1.1", "bad_target"),
        ("GET /a b HTTP/1.1", "bad_target"),
        ("GET  / HTTP/1.1", "bad_target"),
        ("GET /\u{e9} HTTP/1.1", "bad_target"),
    ] {
        let raw = format!("{line}\r\nhost: a\r\n\r\n");
        let mut head = parts("/", &[("host", "a")]);
        assert_eq!(reason(check(&mut head, Some(raw.as_bytes()))), want, "{line}");
    }
    let mut head = parts("/", &[("host", "a"), ("transfer-encoding", "chunked")]);
    let raw = b"POST / HTTP/1.1\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(reason(check(&mut head, Some(raw))), "bad_framing");
    assert_eq!(reason(check(&mut parts("/a%00b", &[("host", "a")]), None)), "bad_target");
    assert_eq!(reason(check(&mut parts("*", &[("host", "a")]), None)), "bad_target");
}

#[test]
fn a_target_must_have_a_form_that_means_something() {
    for (method, target, fits) in [
        ("GET", "/", true),
        ("GET", "/a?b", true),
        ("GET", "http://a.test/", true),
        ("GET", "HTTPS://a.test", true),
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
        assert_eq!(check_form(&req).is_ok(), fits, "{method} {target}");
    }
    let req = RequestHeader::build("GET", b"/\xff", None).unwrap();
    assert!(check_form(&req).is_err());
}
