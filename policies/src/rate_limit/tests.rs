#![allow(clippy::needless_pass_by_value, reason = "what a row says is made where it is said")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use parking_lot::Mutex;
use serde_json::json;

use super::*;

mod global;
use crate::{BackendRef, Context, Filter as _, Lookup, Reply, Request, Response, Upstream, Verdict};

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::from_secs(100)) };
}

/// Keeps buckets as a proxy does, and time stands still.
#[derive(Debug, Default)]
struct Scene(Mutex<HashMap<String, Arc<Counters>>>, Mutex<HashMap<String, Arc<Leased>>>);

impl Lookup for Scene {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }

    fn counters(&self, limit: &str, keys: usize) -> Arc<Counters> {
        let mut all = self.0.lock();
        Arc::clone(all.entry(limit.to_owned()).or_insert_with(|| Arc::new(Counters::new(keys))))
    }

    fn leased(&self, limit: &str, is_keyed: bool, terms: crate::lease::Terms) -> Arc<Leased> {
        let mut all = self.1.lock();
        let new = || Arc::new(Leased::new(nanos(NOW.get()), is_keyed, terms));
        Arc::clone(all.entry(limit.to_owned()).or_insert_with(new))
    }

    fn clock(&self) -> fn() -> Duration {
        || NOW.get()
    }
}

fn wait(time: Duration) {
    NOW.set(NOW.get() + time);
}

fn policy(spec: serde_json::Value) -> RateLimit {
    serde_json::from_value(spec).unwrap()
}

/// One rule, compiled.
fn rule(rule: serde_json::Value) -> RateLimitFilter {
    policy(json!({ "local": { "rules": [rule] } })).compile(&Scene::default()).unwrap()
}

fn invalid(rule: serde_json::Value) -> String {
    let policy = policy(json!({ "local": { "rules": [rule] } }));
    policy.compile(&Scene::default()).unwrap_err().to_string()
}

fn get(target: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut req = Request::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in fields {
        req.append_header(*name, *value).unwrap();
    }
    req
}

fn context() -> Context {
    Context {
        client: "192.0.2.7".parse().ok(),
        route: Some(("HTTPRoute", "a/b".into())),
        ..Context::default()
    }
}

/// Sends a request: the refusal, if it is one, and the fields of the response.
fn send(filter: &RateLimitFilter, mut req: Request, mut ctx: Context) -> (Option<Reply>, Response) {
    let mut shares = filter::Shares::default();
    let refusal = match filter.request(&mut req, &mut ctx, &mut shares) {
        Verdict::Continue => None,
        Verdict::Reply(reply) => Some(reply),
        Verdict::Wait(_) => panic!("nothing waits here"),
    };
    let mut rsp = Response::build(200, None).unwrap();
    rsp.insert_header("x-cost", "3").unwrap();
    filter.response(&mut rsp, &ctx, &shares);
    (refusal, rsp)
}

fn passes(filter: &RateLimitFilter, req: Request) -> bool {
    send(filter, req, context()).0.is_none()
}

fn field<'r>(rsp: &'r Response, name: &str) -> Option<&'r str> {
    rsp.headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_limit_holds_and_time_restores_it() {
    let filter = rule(json!({ "limit": { "requests": 3, "unit": "Second" } }));
    let passed: Vec<bool> = (0..5).map(|_| passes(&filter, get("/", &[]))).collect();
    assert_eq!(passed, [true, true, true, false, false]);
    wait(Duration::from_millis(334));
    assert!(passes(&filter, get("/", &[])));
    assert!(!passes(&filter, get("/", &[])));
    wait(Duration::from_secs(1));
    assert_eq!((0..5).filter(|_| passes(&filter, get("/", &[]))).count(), 3);
}

#[test]
fn clients_are_told_what_is_left_and_when_there_is_more() {
    let limit = json!({ "name": "all", "limit": { "requests": 2, "unit": "Minute" }, "xRateLimitHeaders": "DraftVersion03" });
    let filter = rule(limit);
    let (_, rsp) = send(&filter, get("/", &[]), context());
    assert_eq!(field(&rsp, "ratelimit-policy"), Some(r#""all";q=2;w=60"#));
    assert_eq!(field(&rsp, "ratelimit"), Some(r#""all";r=1;t=30"#));
    send(&filter, get("/", &[]), context());
    let (refusal, rsp) = send(&filter, get("/", &[]), context());
    assert_eq!(field(&rsp, "ratelimit"), Some(r#""all";r=0;t=30"#));
    let older =
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| field(&rsp, name));
    assert_eq!(older, [Some("2"), Some("0"), Some("30")]);
    let refusal = refusal.unwrap();
    assert_eq!((refusal.status.as_u16(), refusal.reason), (429, "rate_limited"));
    let named: HashMap<&str, &str> =
        refusal.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(named["retry-after"], "30");
    let problem: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!(["all"]));
    assert_eq!(problem["status"], 429);
    wait(Duration::from_secs(30));
    assert!(passes(&filter, get("/", &[])), "as told");
}

#[test]
fn whoever_does_not_want_to_tell_does_not() {
    let spec =
        json!({ "headers": "Off", "local": { "rules": [{ "limit": { "requests": 0, "unit": "Hour" } }] } });
    let filter = policy(spec).compile(&Scene::default()).unwrap();
    let (refusal, rsp) = send(&filter, get("/", &[]), context());
    assert_eq!(field(&rsp, "ratelimit"), None);
    assert_eq!(field(&rsp, "ratelimit-policy"), None);
    let refusal = refusal.unwrap();
    assert!(refusal.body.is_empty(), "the names of limits are not told either");
    assert_eq!(refusal.headers[0].1, "3600");
}

#[test]
fn a_burst_is_its_own_number() {
    let filter = rule(json!({ "limit": { "requests": 60, "unit": "Minute", "burst": 5 } }));
    assert_eq!((0..50).filter(|_| passes(&filter, get("/", &[]))).count(), 5);
    wait(Duration::from_secs(2));
    assert_eq!((0..50).filter(|_| passes(&filter, get("/", &[]))).count(), 2);
    let (_, rsp) = send(&filter, get("/", &[]), context());
    assert_eq!(field(&rsp, "ratelimit-policy"), Some(r#""rule-0";q=5;w=5"#));
}

#[test]
fn every_limit_that_matches_has_to_have_room_and_a_refusal_takes_nothing() {
    let rules = json!([
        { "name": "wide", "limit": { "requests": 10, "unit": "Hour" } },
        { "name": "narrow", "limit": { "requests": 2, "unit": "Hour" },
          "clientSelectors": [{ "path": { "value": "/costly" } }] },
    ]);
    let filter = policy(json!({ "local": { "rules": rules } })).compile(&Scene::default()).unwrap();
    let passed = (0..20).filter(|_| passes(&filter, get("/costly/thing", &[]))).count();
    assert_eq!(passed, 2);
    let (_, rsp) = send(&filter, get("/costly", &[]), context());
    assert_eq!(field(&rsp, "ratelimit"), Some(r#""wide";r=8;t=360, "narrow";r=0;t=1800"#));
    assert_eq!((0..20).filter(|_| passes(&filter, get("/other", &[]))).count(), 8);
}

#[test]
fn a_limit_in_shadow_counts_and_refuses_nobody() {
    let filter = rule(json!({ "name": "s", "limit": { "requests": 1, "unit": "Hour" }, "shadowMode": true }));
    for expected in [&[][..], &["rate_limited"], &["rate_limited"]] {
        let (mut req, mut ctx, mut shares) = (get("/", &[]), context(), filter::Shares::default());
        let passes = matches!(filter.request(&mut req, &mut ctx, &mut shares), Verdict::Continue);
        assert!(passes);
        assert_eq!(ctx.would_deny.as_slice(), expected);
    }
}

#[test]
fn costs_come_from_numbers_and_fields_and_later_with_the_response() {
    let filter = rule(
        json!({ "limit": { "requests": 10, "unit": "Hour" }, "cost": { "request": { "from": "Number", "number": 4 } } }),
    );
    assert_eq!((0..9).filter(|_| passes(&filter, get("/", &[]))).count(), 2);

    let limit = json!({ "limit": { "requests": 10, "unit": "Hour" }, "cost": { "request": { "from": "Header", "header": "X-Units" } } });
    let filter = rule(limit);
    assert!(!passes(&filter, get("/", &[("x-units", "11")])));
    assert!(passes(&filter, get("/", &[("x-units", "7")])));
    assert!(!passes(&filter, get("/", &[("x-units", "4")])));
    for odd in [&[("x-units", "-1")][..], &[("x-units", "1e9")], &[("x-units", "2"), ("x-units", "3")]] {
        assert!(passes(&filter, get("/", odd)), "{odd:?} costs 1");
    }
    assert!(!passes(&filter, get("/", &[])));

    // The request looks, its response takes 3, as the backend says.
    let filter = rule(json!({ "limit": { "requests": 7, "unit": "Hour" }, "cost": {
        "request": { "from": "Number", "number": 1 },
        "response": { "from": "Header", "header": "x-cost" },
    } }));
    let passed: Vec<bool> = (0..4).map(|_| passes(&filter, get("/", &[]))).collect();
    assert_eq!(passed, [true, true, false, false], "4 each, and 7 there are: the second owes one");
}

/// Whether a request with this selector counts, by a limit of none.
fn counts(selector: serde_json::Value, req: Request, ctx: Context) -> bool {
    let limit = json!({ "limit": { "requests": 0, "unit": "Second" }, "clientSelectors": [selector] });
    send(&rule(limit), req, ctx).0.is_some()
}

#[test]
fn conditions_say_which_requests_count() {
    let header = |kind: &str, value: &str, invert: bool| json!({ "headers": [{ "type": kind, "name": "X-A", "value": value, "invert": invert }] });
    let query = |kind: &str, value: &str, invert: bool| json!({ "queryParams": [{ "type": kind, "name": "a", "value": value, "invert": invert }] });
    let path = |kind: &str, value: &str, invert: bool| json!({ "path": { "type": kind, "value": value, "invert": invert } });
    let source = |value: &str, invert: bool| json!({ "sourceCIDR": { "value": value, "invert": invert } });
    let method = |value: &str, invert: bool| json!({ "methods": [{ "value": value, "invert": invert }] });
    for (selector, target, fields, expected) in [
        (header("Exact", "b", false), "/", &[("x-a", "b")][..], true),
        (header("Exact", "b", false), "/", &[("x-a", "B")], false),
        (header("Exact", "b", false), "/", &[], false),
        (header("Exact", "b", true), "/", &[("x-a", "b")], false),
        (header("Exact", "b", true), "/", &[("x-a", "c")], true),
        (header("Exact", "b", true), "/", &[], true),
        (header("Exact", "b,c", false), "/", &[("x-a", "b"), ("x-a", "c")], true),
        (header("RegularExpression", "b|c+", false), "/", &[("x-a", "ccc")], true),
        (header("RegularExpression", "b|c+", false), "/", &[("x-a", "bc")], false),
        (header("RegularExpression", "b", true), "/", &[("x-a", "c")], true),
        (query("Exact", "b c", false), "/?a=b%20c", &[], true),
        (query("Exact", "b", false), "/?x=1&%61=b&a=c", &[], true),
        (query("Exact", "b", false), "/?a=c", &[], false),
        (query("Exact", "", false), "/?a", &[], true),
        (query("RegularExpression", "[0-9]+", false), "/?a=12", &[], true),
        (query("Exact", "b", true), "/", &[], true),
        (path("PathPrefix", "/a", false), "/a/b?c", &[], true),
        (path("PathPrefix", "/a/", false), "/a", &[], true),
        (path("PathPrefix", "/a", false), "/ab", &[], false),
        (path("PathPrefix", "/", false), "/x", &[], true),
        (path("Exact", "/a", false), "/a?b", &[], true),
        (path("Exact", "/a", false), "/a/", &[], false),
        (path("RegularExpression", "/a/[0-9]+", false), "/a/12", &[], true),
        (path("RegularExpression", "/a/[0-9]+", true), "/a/12/", &[], true),
        (source("192.0.2.0/24", false), "/", &[], true),
        (source("192.0.2.0/24", true), "/", &[], false),
        (source("198.51.100.0/24", false), "/", &[], false),
        (source("198.51.100.0/24", true), "/", &[], true),
        (method("GET", false), "/", &[], true),
        (method("GET", true), "/", &[], false),
        (method("POST", true), "/", &[], true),
        (json!({ "when": "request.path == '/a'" }), "/a", &[], true),
        (json!({ "when": "request.path == '/a'" }), "/b", &[], false),
        (json!({ "when": "request.headers['x-a'] == 'b'" }), "/", &[], true),
    ] {
        let got = counts(selector.clone(), get(target, fields), context());
        assert_eq!(got, expected, "{selector} {target} {fields:?}");
    }
    let mut selector = header("Exact", "b", false);
    selector["methods"] = json!([{ "value": "POST" }, { "value": "GET" }]);
    assert!(counts(selector.clone(), get("/", &[("x-a", "b")]), context()));
    selector["methods"] = json!([{ "value": "POST" }]);
    assert!(!counts(selector, get("/", &[("x-a", "b")]), context()), "all have to hold");
}

/// How many of these requests pass a limit of one an hour.
fn distinct(selector: serde_json::Value, requests: Vec<(Request, Context)>) -> usize {
    let limit = json!({ "limit": { "requests": 1, "unit": "Hour" }, "clientSelectors": [selector] });
    let filter = rule(limit);
    requests.into_iter().filter_map(|(req, ctx)| send(&filter, req, ctx).0.is_none().then_some(())).count()
}

#[test]
fn each_distinct_value_has_a_limit_of_its_own() {
    let by_user = json!({ "headers": [{ "type": "Distinct", "name": "x-user" }] });
    let users = ["a", "b", "a", "c", "b", "a"].map(|user| (get("/", &[("x-user", user)]), context()));
    assert_eq!(distinct(by_user.clone(), users.into()), 3);
    let nobody = (0..3).map(|_| (get("/", &[]), context())).collect();
    assert_eq!(distinct(by_user, nobody), 3, "who has no value is not limited, as with Envoy");
    let from = |address: &str| Context { client: address.parse().ok(), ..context() };
    let addresses =
        ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
    let all = |range: Option<&str>| {
        let requests = addresses.map(|address| (get("/", &[]), from(address))).into();
        distinct(json!({ "sourceCIDR": { "type": "Distinct", "value": range } }), requests)
    };
    assert_eq!(all(Some("0.0.0.0/0")), 2 + 3, "three are of IPv6 and not limited");
    assert_eq!(all(Some("::/0")), 3 + 2, "an IPv6 network is one client");
    assert_eq!(all(None), 2 + 2);
    let both =
        json!({ "headers": [{ "type": "Distinct", "name": "x-a" }, { "type": "Distinct", "name": "x-b" }] });
    let pairs = [("ab", "c"), ("a", "bc"), ("ab", "c")];
    let requests = pairs.map(|(a, b)| (get("/", &[("x-a", a), ("x-b", b)]), context())).into();
    assert_eq!(distinct(both, requests), 2);
}

#[test]
fn callers_are_told_apart_by_what_was_found_out_of_them() {
    let client = |name: &str| {
        let mut ctx = context();
        ctx.caller.api_client = Some(name.into());
        (get("/", &[]), ctx)
    };
    let by_client = json!({ "apiClient": { "type": "Distinct" } });
    assert_eq!(distinct(by_client, vec![client("a"), client("b"), client("a")]), 2);
    assert!(counts(json!({ "apiClient": { "value": "a" } }), client("a").0, client("a").1));
    assert!(!counts(json!({ "apiClient": { "value": "b" } }), client("a").0, client("a").1));
    assert!(counts(json!({ "apiClient": { "value": "b", "invert": true } }), get("/", &[]), context()));
    let token = |claims: serde_json::Value| {
        let mut ctx = context();
        let serde_json::Value::Object(claims) = claims else { panic!() };
        ctx.caller.tokens.push(crate::caller::Token { provider: "idp".into(), claims: Arc::new(claims) });
        (get("/", &[]), ctx)
    };
    let by_tenant = json!({ "claims": [{ "type": "Distinct", "name": "org.id" }] });
    let tenants = [1, 2, 1].map(|id| token(json!({ "org": { "id": id } }))).into();
    assert_eq!(distinct(by_tenant, tenants), 2);
    let (req, ctx) = token(json!({ "plan": "free", "beta": true }));
    assert!(counts(
        json!({ "claims": [{ "name": "plan", "value": "free" }, { "name": "beta", "value": "true" }] }),
        req,
        ctx
    ));
    let (req, ctx) = token(json!({ "plan": "free" }));
    assert!(!counts(
        json!({ "claims": [{ "provider": "other", "name": "plan", "value": "free" }] }),
        req,
        ctx
    ));
}

#[test]
fn routes_have_limits_of_their_own_unless_they_share_one() {
    for (shared, expected) in [(false, 2), (true, 1)] {
        let filter = rule(json!({ "limit": { "requests": 1, "unit": "Hour" }, "shared": shared }));
        let routes = ["a/b", "a/c", "a/b"];
        let passed = routes.iter().filter(|route| {
            let ctx = Context { route: Some(("HTTPRoute", (**route).into())), ..context() };
            send(&filter, get("/", &[]), ctx).0.is_none()
        });
        assert_eq!(passed.count(), expected);
    }
}

#[test]
fn what_was_counted_is_still_counted_when_the_policy_changes() {
    let scene = Scene::default();
    let with = |requests: u32| {
        let rules = json!([{ "name": "a", "limit": { "requests": requests, "unit": "Hour" } }]);
        policy(json!({ "local": { "rules": rules } })).compile(&scene).unwrap()
    };
    let before = with(10);
    assert_eq!((0..20).filter(|_| passes(&before, get("/", &[]))).count(), 10);
    assert_eq!((0..20).filter(|_| passes(&with(10), get("/", &[]))).count(), 0);
    // A bucket is empty by time: what twice the rate fills in it is there at once.
    wait(Duration::from_mins(30));
    assert_eq!((0..20).filter(|_| passes(&with(20), get("/", &[]))).count(), 10);
}

#[test]
fn what_cannot_be_followed_is_refused_with_its_field() {
    let limit = json!({ "requests": 1, "unit": "Second" });
    for (rule, says) in [
        (
            json!({ "limit": { "requests": 1, "unit": "Second", "burst": 0 } }),
            "local.rules[0].limit.burst: is 0",
        ),
        (json!({ "limit": limit, "name": "a b" }), "local.rules[0].name: \"a b\" is not"),
        (json!({ "limit": limit, "clientSelectors": [{}] }), "clientSelectors[0]: has no condition"),
        (
            json!({ "limit": limit, "clientSelectors": [{ "path": { "value": "a" } }] }),
            "path.value: \"a\" does not begin",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "headers": [{ "name": "a b", "value": "c" }] }] }),
            "headers[0].name",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "headers": [{ "name": "a" }] }] }),
            "headers[0].value: is missing",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "headers": [{ "type": "Distinct", "name": "a", "value": "c" }] }] }),
            "headers[0]: is Distinct",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "headers": [{ "type": "RegularExpression", "name": "a", "value": "(" }] }] }),
            "headers[0].value: \"(\" is no regular expression",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "path": { "type": "RegularExpression", "value": "a)|(b" } }] }),
            "path.value: \"a)|(b\" is no regular expression",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "sourceCIDR": { "value": "10.0.0.1" } }] }),
            "is no range",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "methods": [{ "value": "get" }] }] }),
            "in upper case",
        ),
        (
            json!({ "limit": limit, "clientSelectors": [{ "when": "request.nothing" }] }),
            "clientSelectors[0].when",
        ),
        (
            json!({ "limit": limit, "cost": { "request": { "from": "Number" } } }),
            "cost.request: is from Number",
        ),
        (
            json!({ "limit": limit, "cost": { "response": { "from": "Header", "number": 1 } } }),
            "cost.response: is from Header",
        ),
        (
            json!({ "limit": limit, "cost": { "request": { "from": "Number", "number": 1_000_000_001u64 } } }),
            "is more than",
        ),
    ] {
        let message = invalid(rule.clone());
        assert!(message.contains(says), "{rule}: {message}");
    }
    let twice = json!({ "local": { "rules": [{ "limit": limit, "name": "rule-1" }, { "limit": limit }] } });
    assert!(policy(twice).compile(&Scene::default()).unwrap_err().to_string().contains("is taken"));
    assert!(policy(json!({})).compile(&Scene::default()).unwrap_err().to_string().contains("is missing"));
    let empty = policy(json!({ "local": { "rules": [] } }));
    assert!(empty.compile(&Scene::default()).unwrap_err().to_string().contains("holds 0 rules"));
}

#[test]
fn units_are_what_they_say() {
    for (unit, seconds) in [
        (Unit::Second, 1),
        (Unit::Minute, 60),
        (Unit::Hour, 3_600),
        (Unit::Day, 86_400),
        (Unit::Week, 604_800),
        (Unit::Month, 2_592_000),
        (Unit::Year, 31_536_000),
    ] {
        assert_eq!(unit.duration(), Duration::from_secs(seconds));
    }
}

#[test]
fn a_field_of_a_backend_about_its_own_limit_stays() {
    let filter = rule(json!({ "name": "ours", "limit": { "requests": 2, "unit": "Hour" } }));
    let (mut req, mut ctx, mut shares) = (get("/", &[]), context(), filter::Shares::default());
    let _ = filter.request(&mut req, &mut ctx, &mut shares);
    let mut rsp = Response::build(200, None).unwrap();
    rsp.insert_header("RateLimit", r#""theirs";r=5"#).unwrap();
    filter.response(&mut rsp, &ctx, &shares);
    let all: Vec<_> = rsp.headers.get_all(HeaderName::from_static("ratelimit")).iter().collect();
    assert_eq!(all, [r#""theirs";r=5"#, r#""ours";r=1;t=1800"#]);
}
