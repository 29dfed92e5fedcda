//! Small texts of users that end in heads: durations, header edits, path modifiers.

use std::sync::{Arc, LazyLock};

use http::HeaderMap;
use policies::redirect::{PathModifier, Redirect};
use policies::request_headers::{HeaderEdits, HeaderField, RequestHeaders};
use policies::response_headers::ResponseHeaders;
use policies::url_rewrite::UrlRewrite;
use policies::{BackendRef, Context, Duration, Filter, Lookup, Policy, Request, Response, Upstream, Verdict};
use regex::Regex;

use crate::memory::bounded;

/// GEP-2257.
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^([0-9]{1,5}(h|m|s|ms)){1,4}$").expect("a constant"));
static GROUP: LazyLock<Regex> = LazyLock::new(|| Regex::new("([0-9]+)(ms|h|m|s)").expect("a constant"));

struct Nobody;

impl Lookup for Nobody {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

/// Lines: `=name:value` sets, `+name:value` adds, `-name` removes, `/` begins a path, any other is a duration or a host.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut edits = HeaderEdits::default();
    for line in text.lines().take(32) {
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            HeaderField { name: name.to_owned(), value: value.to_owned() }
        };
        match line.split_at_checked(1) {
            Some(("=", rest)) => edits.set.push(field(rest)),
            Some(("+", rest)) => edits.add.push(field(rest)),
            Some(("-", rest)) => edits.remove.push(rest.to_owned()),
            Some(("/", _)) => path(line),
            _ => {
                duration(line);
                host(line);
            }
        }
    }
    bounded(data.len(), 64 << 10, || {
        request(&edits);
        response(&edits);
    });
}

fn duration(text: &str) {
    let read = text.parse::<Duration>().ok();
    let wanted = DURATION.is_match(text).then(|| {
        let groups = GROUP.captures_iter(text).map(|group| {
            let unit = match &group[2] {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1000,
                _ => 1,
            };
            group[1].parse::<u128>().expect("digits") * unit
        });
        groups.sum::<u128>()
    });
    // The longest that the standard form can say.
    let wanted = wanted.filter(|millis| *millis < 100_000 * 3_600_000);
    assert_eq!(read.map(|duration| duration.0.as_millis()), wanted, "{text:?}");
    if let Some(read) = read {
        assert_eq!(read.to_string().parse(), Ok(read), "{text:?}");
    }
}

const SENT: [(&str, &str); 4] = [("X-A", "1"), ("x-a", "2"), ("X-B", "3"), ("cookie", "c")];

fn request(edits: &HeaderEdits) {
    let Ok(filter) = RequestHeaders(edits.clone()).compile(&Nobody) else { return };
    let mut head = Request::build("GET", b"/", None).expect("a request");
    head.append_header("host", "old.test").expect("a field");
    SENT.iter().for_each(|(name, value)| assert!(head.append_header(*name, *value).is_ok()));
    let before = head.headers.clone();
    let _ = filter.request(&mut head, &mut Context::default(), &mut ());
    let mut wire = b"GET / HTTP/1.1\r\n".to_vec();
    head.header_to_h1_wire(&mut wire);
    wire.extend_from_slice(b"\r\n");
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut read = httparse::Request::new(&mut fields);
    assert_eq!(read.parse(&wire), Ok(httparse::Status::Complete(wire.len())), "{}", wire.escape_ascii());
    same(read.headers, &head.headers);
    changed(edits, &before, &head.headers);
}

fn response(edits: &HeaderEdits) {
    let Ok(filter) = ResponseHeaders(edits.clone()).compile(&Nobody) else { return };
    let mut head = Response::build(200, None).expect("a response");
    SENT.iter().for_each(|(name, value)| assert!(head.append_header(*name, *value).is_ok()));
    let before = head.headers.clone();
    filter.response(&mut head, &Context::default(), &());
    let mut wire = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.header_to_h1_wire(&mut wire);
    wire.extend_from_slice(b"\r\n");
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut read = httparse::Response::new(&mut fields);
    assert_eq!(read.parse(&wire), Ok(httparse::Status::Complete(wire.len())), "{}", wire.escape_ascii());
    same(read.headers, &head.headers);
    changed(edits, &before, &head.headers);
}

/// What goes over the wire is what is in the head: nothing is forged.
fn same(wire: &[httparse::Header<'_>], head: &HeaderMap) {
    assert_eq!(wire.len(), head.len());
    for name in head.keys() {
        let sent = wire.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_str()));
        let sent = sent.map(|field| field.value.trim_ascii());
        assert!(sent.eq(head.get_all(name).iter().map(|value| value.as_bytes().trim_ascii())), "{name}");
    }
}

/// HTTPHeaderFilter: set replaces, add appends, remove removes, of several for one name the first; nothing else changes.
fn changed(edits: &HeaderEdits, before: &HeaderMap, after: &HeaderMap) {
    let names = before.keys().chain(after.keys()).map(http::HeaderName::as_str);
    for name in names.filter(|name| *name != "host") {
        let first = |fields: &[HeaderField]| {
            let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| field.value.trim_matches([' ', '\t']).as_bytes().to_vec())
        };
        let mut wanted: Vec<Vec<u8>> =
            before.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect();
        if let Some(value) = first(&edits.set) {
            wanted = vec![value];
        }
        wanted.extend(first(&edits.add));
        if edits.remove.iter().any(|removed| removed.eq_ignore_ascii_case(name)) {
            wanted.clear();
        }
        let is: Vec<_> = after.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
        assert_eq!(is, wanted, "{name}");
    }
}

fn path(text: &str) {
    for modifier in
        [PathModifier::ReplaceFullPath(text.to_owned()), PathModifier::ReplacePrefixMatch(text.to_owned())]
    {
        let mut head = Request::build("GET", b"/a/b?q=/../", None).expect("a request");
        head.append_header("host", "a.test").expect("a field");
        let mut context = Context { matched_prefix: 2, port: 80, ..Context::default() };
        if let Ok(filter) = (UrlRewrite { hostname: None, path: Some(modifier.clone()) }).compile(&Nobody) {
            let mut head = head.clone();
            let _ = filter.request(&mut head, &mut context, &mut ());
            assert_eq!(head.uri.query(), Some("q=/../"), "{text:?}");
            plain(head.uri.path());
        }
        let redirect =
            Redirect { scheme: None, hostname: None, path: Some(modifier), port: None, status_code: 302 };
        if let Ok(filter) = redirect.compile(&Nobody) {
            location(&filter.request(&mut head, &mut context, &mut ()), "a.test");
        }
    }
}

/// As a host name.
fn host(text: &str) {
    let redirect = Redirect {
        scheme: Some("https".to_owned()),
        hostname: Some(text.to_owned()),
        path: None,
        port: None,
        status_code: 301,
    };
    let Ok(filter) = redirect.compile(&Nobody) else { return };
    let mut head = Request::build("GET", b"/a", None).expect("a request");
    let mut context = Context::default();
    assert_eq!(
        proxy::fuzzing::host(text.as_bytes()).as_deref(),
        Some(text),
        "a host that nobody could ask for"
    );
    location(&filter.request(&mut head, &mut context, &mut ()), text);
}

fn location(verdict: &Verdict<'_>, host: &str) {
    let Verdict::Reply(reply) = verdict else { panic!("{verdict:?}") };
    let (_, value) = reply.headers.iter().find(|(name, _)| name == http::header::LOCATION).expect("a place");
    let uri: http::Uri = std::str::from_utf8(value.as_bytes()).expect("text").parse().expect("a URI");
    assert_eq!(uri.host(), Some(host), "{uri}");
    plain(uri.path());
}

/// RFC 3986 section 3.3, with a slash first.
fn plain(path: &str) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
    assert!(path.starts_with('/') && path.chars().all(fits), "{path:?}");
}
