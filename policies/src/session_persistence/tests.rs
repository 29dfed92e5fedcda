use std::sync::Arc;

use super::*;
use crate::{BackendRef, Scheme, Upstream};

struct Nothing;

impl Lookup for Nothing {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn policy(spec: &str) -> SessionPersistence {
    serde_saphyr::from_str(spec).unwrap()
}

fn filter(spec: &str) -> SessionFilter {
    policy(spec).compile(&Nothing).unwrap()
}

const COOKIE: &str = "{sessionName: s, scope: a}";
const HEADER: &str = "{sessionName: X-Session, scope: a, type: Header}";

/// What the endpoint's answer says, of a request that got `got`; and what the request wanted.
fn run(
    filter: &SessionFilter,
    sent: &[(&'static str, &str)],
    got: Option<u64>,
    scheme: Scheme,
) -> (Option<u64>, Option<String>) {
    let mut req = Request::build("GET", b"/cart/items", None).unwrap();
    for (name, value) in sent {
        req.append_header(*name, *value).unwrap();
    }
    let mut ctx = Context { matched_prefix: 5, scheme, ..Context::default() };
    let mut state = None;
    assert!(matches!(filter.request(&mut req, &mut ctx, &mut state), Verdict::Continue));
    let wanted = ctx.session.unwrap().wanted;
    ctx.session.as_mut().unwrap().got = got;
    let mut rsp = Response::build(200, None).unwrap();
    filter.response(&mut rsp, &ctx, &state);
    let said = rsp.headers.get("set-cookie").or_else(|| rsp.headers.get("x-session"));
    (wanted, said.map(|value| value.to_str().unwrap().to_owned()))
}

#[test]
fn a_session_comes_back_to_its_endpoint_and_is_told_once() {
    let one = tag("ns/cart:80", "10.0.0.1:8080".parse().unwrap());
    assert_ne!(one, tag("ns/cart:80", "10.0.0.2:8080".parse().unwrap()));
    assert_ne!(one, tag("ns/cart:81", "10.0.0.1:8080".parse().unwrap()));
    let filter = filter(COOKIE);
    let (wanted, said) = run(&filter, &[], Some(one), Scheme::Https);
    assert_eq!(wanted, None);
    let said = said.unwrap();
    let (pair, attributes) = said.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/cart; HttpOnly; SameSite=Strict; Secure");
    // Among other cookies, and after one of the name that is somebody else's.
    let sent = format!("a=b; s=other; {pair}; c=d");
    assert_eq!(run(&filter, &[("cookie", &sent)], Some(one), Scheme::Http), (Some(one), None));
    // The endpoint is gone: another one, which is told.
    let (wanted, said) = run(&filter, &[("cookie", &sent)], Some(7), Scheme::Http);
    assert_eq!(wanted, Some(one));
    assert!(said.unwrap().ends_with("; Path=/cart; HttpOnly; SameSite=Strict"));
    // Nobody answered but the proxy.
    assert_eq!(run(&filter, &[], None, Scheme::Http).1, None);
}

#[test]
fn a_header_field_does_the_same() {
    let filter = filter(HEADER);
    let (_, said) = run(&filter, &[], Some(9), Scheme::Http);
    let said = said.unwrap();
    assert_eq!(run(&filter, &[("x-session", &said)], Some(9), Scheme::Http), (Some(9), None));
}

#[test]
fn rules_do_not_share_sessions() {
    let (ours, theirs) = (filter(COOKIE), filter("{sessionName: s, scope: b}"));
    let said = run(&ours, &[], Some(9), Scheme::Http).1.unwrap();
    let pair = said.split_once(';').unwrap().0;
    assert_ne!(run(&theirs, &[("cookie", pair)], None, Scheme::Http).0, Some(9));
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let at = |now: fn() -> u64| SessionFilter {
        now,
        ..filter("{sessionName: X-Session, scope: a, type: Header, absoluteTimeout: 100s}")
    };
    let said = run(&at(|| 1_000), &[], Some(9), Scheme::Http).1.unwrap();
    for (filter, wanted) in [
        (at(|| 1_099), Some(9)),
        (at(|| 1_100), None),
        (at(|| 940), Some(9)),
        (at(|| 939), None),
        (filter(HEADER), Some(9)),
    ] {
        assert_eq!(run(&filter, &[("x-session", &said)], None, Scheme::Http).0, wanted, "{filter:?}");
    }
    // One that says nothing of its beginning.
    let said = run(&filter(HEADER), &[], Some(9), Scheme::Http).1.unwrap();
    assert_eq!(run(&at(|| 1_000), &[("x-session", &said)], None, Scheme::Http).0, None);
}

#[test]
fn what_is_no_session_is_none() {
    let filter = filter(HEADER);
    for value in
        ["", "a", "AAAAAAAAAA", "AAAAAAAAAAAAAAAAA", "!!!!!!!!!!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
    {
        assert_eq!(run(&filter, &[("x-session", value)], None, Scheme::Http).0, None, "{value}");
    }
}

#[test]
fn a_permanent_cookie_says_how_long() {
    let filter = filter("{sessionName: s, scope: a, absoluteTimeout: 1h, lifetimeType: Permanent}");
    let said = run(&filter, &[], Some(9), Scheme::Http).1.unwrap();
    assert!(said.ends_with("; Path=/cart; Max-Age=3600; HttpOnly; SameSite=Strict"), "{said}");
}

#[test]
fn what_cannot_be_a_session_is_refused() {
    for (spec, says) in [
        ("{sessionName: '', scope: a}", "sessionName: \"\" is no token of 1 to 128 letters, digits, - and _"),
        (
            "{sessionName: 'a b', scope: a}",
            "sessionName: \"a b\" is no token of 1 to 128 letters, digits, - and _",
        ),
        (
            "{sessionName: Host, scope: a, type: Header}",
            "sessionName: host is a field that means something else; choose another name",
        ),
        (
            "{sessionName: a, scope: a, absoluteTimeout: 999ms}",
            "absoluteTimeout: is shorter than 1s: leave it out for no end",
        ),
        (
            "{sessionName: a, scope: a, lifetimeType: Permanent}",
            "lifetimeType: is Permanent, which needs absoluteTimeout and type Cookie",
        ),
    ] {
        assert_eq!(policy(spec).compile(&Nothing).unwrap_err().to_string(), says);
    }
}
