#![allow(clippy::needless_pass_by_value, reason = "what a row says is made where it is said")]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};

use crate::grpc::testing::{Backend, answer, framed};
use crate::rate_limit::{RateLimit, RateLimitFilter, Unit};
use crate::rls::{self, Code, DescriptorStatus, Entry, Span};
use crate::{
    Answer, BackendRef, Call, Context, Filter, Lookup, Net, Policy, Reply, Request, Response, Unanswered,
    Upstream, Verdict,
};

struct Scene;

impl Lookup for Scene {
    fn backend(&self, backend: &BackendRef) -> Option<Arc<dyn Upstream>> {
        (backend.name == "rls").then(|| Arc::new(Backend("limits/rls:8081")) as Arc<dyn Upstream>)
    }
}

/// A service that answers everything alike, and keeps what it is asked.
#[derive(Debug)]
struct Service {
    answer: Result<rls::Response, Unanswered>,
    asked: Mutex<Vec<rls::Request>>,
}

impl Service {
    fn says(answer: Result<rls::Response, Unanswered>) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }
}

impl Net for Service {
    fn call<'a>(
        &'a self,
        _: &'a Arc<dyn Upstream>,
        call: Call,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>> {
        assert_eq!(call.head.uri.path(), "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
        assert_eq!(call.head.headers["host"], "rls.limits:8081");
        let message = rls::Request::decode(call.body.unwrap().slice(5..)).unwrap();
        self.asked.lock().push(message);
        let answer = self.answer.clone().map(|message| answer(framed(&message), "0"));
        Box::pin(std::future::ready(answer))
    }
}

fn says(code: Code, statuses: &[(Code, u32, u64)]) -> rls::Response {
    let status = |&(code, left, reset): &(Code, u32, u64)| DescriptorStatus {
        code: code.into(),
        current_limit: Some(rls::RateLimit { requests_per_unit: 9, unit: 1, name: String::new() }),
        limit_remaining: left,
        duration_until_reset: Some(Span::of(reset * 1_000_000_000)),
    };
    let statuses = statuses.iter().map(status).collect();
    rls::Response { overall_code: code.into(), statuses, ..rls::Response::default() }
}

fn spec(rules: Value) -> Value {
    json!({ "exact": { "backendRefs": [{ "name": "rls", "port": 8081 }], "rules": rules } })
}

fn filter(spec: Value) -> RateLimitFilter {
    serde_json::from_value::<RateLimit>(spec).unwrap().compile(&Scene).unwrap()
}

fn invalid(spec: Value) -> String {
    serde_json::from_value::<RateLimit>(spec).unwrap().compile(&Scene).unwrap_err().to_string()
}

/// What became of a request.
struct Seen {
    refusal: Option<Reply>,
    req: Request,
    rsp: Response,
    would_deny: Vec<&'static str>,
    waited: bool,
}

fn send(
    filter: &RateLimitFilter,
    service: &Arc<Service>,
    target: &str,
    fields: &[(&'static str, &str)],
) -> Seen {
    let mut req = Request::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in fields {
        req.append_header(*name, *value).unwrap();
    }
    let mut ctx = Context {
        client: "192.0.2.7".parse().ok(),
        route: Some(("HTTPRoute", "a/b".into())),
        net: Some(service.clone()),
        ..Context::default()
    };
    let mut state = Default::default();
    let (waited, decided) = match filter.request(&mut req, &mut ctx, &mut state) {
        Verdict::Continue => (false, Ok(())),
        Verdict::Reply(reply) => (false, Err(reply)),
        Verdict::Wait(decision) => {
            match pin!(decision).poll(&mut std::task::Context::from_waker(Waker::noop())) {
                Poll::Ready(decided) => (true, decided),
                Poll::Pending => panic!("waits for more"),
            }
        }
    };
    let mut rsp = Response::build(200, None).unwrap();
    filter.response(&mut rsp, &ctx, &state);
    Seen { refusal: decided.err(), req, rsp, would_deny: ctx.would_deny.to_vec(), waited }
}

fn entries(of: &[(&str, &str)]) -> Vec<Entry> {
    of.iter().map(|(key, value)| Entry { key: (*key).into(), value: (*value).into() }).collect()
}

#[test]
fn a_service_is_asked_once_for_all_limits_with_what_tells_requests_apart() {
    let filter = filter(spec(json!([
        { "limit": { "requests": 5, "unit": "Minute" } },
        { "name": "user", "shared": true, "limit": { "requests": 7, "unit": "Week" },
          "clientSelectors": [{ "headers": [{ "type": "Distinct", "name": "X-User" }],
                                "sourceCIDR": { "type": "Distinct", "value": "0.0.0.0/0" },
                                "queryParams": [{ "type": "Distinct", "name": "q" }] }],
          "cost": { "request": { "from": "Header", "header": "x-cost" } } },
        { "name": "other", "limit": { "requests": 1, "unit": "Day" }, "clientSelectors": [{ "methods": [{ "value": "POST" }] }] },
    ])));
    assert!(filter.calls());
    let service = Service::says(Ok(says(Code::Ok, &[(Code::Ok, 4, 30), (Code::Ok, 6, 90)])));
    let seen = send(&filter, &service, "/?q=%20a", &[("x-user", "alice"), ("x-cost", "3")]);
    assert!(seen.waited && seen.refusal.is_none());
    let asked = service.asked.lock().pop().unwrap();
    assert_eq!((asked.domain.as_str(), asked.hits_addend), ("fairway", 0));
    let told: Vec<_> = asked
        .descriptors
        .iter()
        .map(|told| (told.entries.clone(), told.limit.unwrap(), told.hits_addend))
        .collect();
    let limit = |requests_per_unit, unit: Unit| rls::Override { requests_per_unit, unit: unit.number() };
    let user = [("rule", "user"), ("x-user", "alice"), ("remote_address", "192.0.2.7"), ("query.q", " a")];
    assert_eq!(
        told,
        [
            (entries(&[("rule", "exact-0"), ("route", "HTTPRoute/a/b")]), limit(5, Unit::Minute), None),
            (entries(&user), limit(7, Unit::Week), Some(3)),
        ]
    );
    assert_eq!(seen.rsp.headers["ratelimit"], r#""exact-0";r=4;t=30, "user";r=6;t=90"#);
    assert_eq!(seen.rsp.headers["ratelimit-policy"], r#""exact-0";q=5;w=60, "user";q=7;w=604800"#);
}

#[test]
fn long_values_and_bytes_are_told_by_their_digest() {
    let rule = json!([{ "name": "a", "shared": true, "limit": { "requests": 5, "unit": "Minute" },
                        "clientSelectors": [{ "headers": [{ "type": "Distinct", "name": "k" }] }] }]);
    let (filter, service) = (filter(spec(rule)), Service::says(Ok(says(Code::Ok, &[(Code::Ok, 1, 1)]))));
    let forged = format!("sha256:{}", "0".repeat(64));
    for (value, told) in [
        ("x".repeat(256), None),
        ("x".repeat(257), Some(71)),
        ("\u{e9}".to_owned(), None),
        (forged.clone(), Some(71)),
    ] {
        send(&filter, &service, "/", &[("k", &value)]);
        let said = service.asked.lock().pop().unwrap().descriptors[0].entries[1].value.clone();
        match told {
            None => assert_eq!(said, value),
            Some(length) => {
                assert!(said.starts_with("sha256:") && said.len() == length && said != forged, "{said}")
            }
        }
    }
}

#[test]
fn requests_that_no_rule_is_about_do_not_wait() {
    let rule = json!([{ "limit": { "requests": 5, "unit": "Minute" }, "clientSelectors": [{ "methods": [{ "value": "PUT" }] }] }]);
    let service = Service::says(Err(Unanswered::Failed));
    let seen = send(&filter(spec(rule)), &service, "/", &[]);
    assert!(!seen.waited && seen.refusal.is_none() && service.asked.lock().is_empty());
}

#[test]
fn what_is_over_is_refused_in_the_words_of_the_service() {
    let rules = json!([
        { "name": "a", "limit": { "requests": 5, "unit": "Minute" } },
        { "name": "b", "limit": { "requests": 5, "unit": "Minute" } },
    ]);
    let mut response = says(Code::OverLimit, &[(Code::Ok, 4, 30), (Code::OverLimit, 0, 17)]);
    let filter = filter(spec(rules));
    let seen = send(&filter, &Service::says(Ok(response.clone())), "/", &[]);
    let reply = seen.refusal.unwrap();
    assert_eq!((reply.status.as_u16(), reply.reason), (429, "rate_limited"));
    let field = |reply: &Reply, name: &str| {
        reply.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    assert_eq!(field(&reply, "retry-after").unwrap(), "17");
    assert!(String::from_utf8_lossy(&reply.body).contains(r#""violated-policies":["b"]"#));
    assert_eq!(seen.rsp.headers["ratelimit"], r#""a";r=4;t=30, "b";r=0;t=17"#);

    let header = |key: &str, value: &'static str, raw_value: &'static str| rls::HeaderValue {
        key: key.into(),
        value: value.into(),
        raw_value: raw_value.into(),
    };
    response.response_headers_to_add = vec![header("x-why", "tier", "")];
    response.raw_body = Bytes::from_static(b"slow down");
    let reply = send(&filter, &Service::says(Ok(response)), "/", &[]).refusal.unwrap();
    assert_eq!(
        (field(&reply, "x-why").unwrap(), &reply.body[..]),
        ("tier".parse().unwrap(), &b"slow down"[..])
    );
    assert_eq!(field(&reply, "content-type"), None, "it is not the problem that it was");

    let mut response = says(Code::Ok, &[(Code::Ok, 4, 30), (Code::Ok, 1, 17)]);
    response.response_headers_to_add = vec![header("x-left", "1", "")];
    response.request_headers_to_add = vec![header("x-tier", "", "gold")];
    let seen = send(&filter, &Service::says(Ok(response.clone())), "/", &[]);
    assert_eq!(
        (&seen.rsp.headers["x-left"], &seen.req.headers["x-tier"]),
        (&"1".parse().unwrap(), &"gold".parse().unwrap())
    );
    response.request_headers_to_add = vec![header("transfer-encoding", "chunked", "")];
    let seen = send(&filter, &Service::says(Ok(response)), "/", &[]);
    assert!(seen.refusal.is_none() && !seen.req.headers.contains_key("transfer-encoding"));
    assert_eq!(seen.would_deny, ["rate_limit_error"], "an answer that cannot be done is none");
}

/// Limitador says only yes or no.
#[test]
fn a_service_that_does_not_say_what_is_over_refuses_all_the_same() {
    let rules = json!([
        { "name": "a", "shadowMode": true, "limit": { "requests": 5, "unit": "Minute" } },
        { "name": "b", "limit": { "requests": 5, "unit": "Minute" } },
    ]);
    let filter = filter(spec(rules));
    let seen = send(&filter, &Service::says(Ok(says(Code::OverLimit, &[]))), "/", &[]);
    let reply = seen.refusal.unwrap();
    assert!(String::from_utf8_lossy(&reply.body).contains(r#"["b"]"#));
    assert!(reply.headers.iter().any(|(name, value)| name == "retry-after" && value == "1"));
    assert!(!seen.rsp.headers.contains_key("ratelimit"), "nothing is known of them");
    let seen = send(&filter, &Service::says(Ok(says(Code::Ok, &[]))), "/", &[]);
    assert!(seen.refusal.is_none());
}

#[test]
fn rules_in_shadow_mode_are_noted_and_refuse_nobody() {
    let rules = json!([
        { "name": "a", "shadowMode": true, "limit": { "requests": 5, "unit": "Minute" } },
        { "name": "b", "limit": { "requests": 5, "unit": "Minute" } },
    ]);
    let filter = filter(spec(rules));
    let over = says(Code::OverLimit, &[(Code::OverLimit, 0, 9), (Code::Ok, 1, 9)]);
    let seen = send(&filter, &Service::says(Ok(over)), "/", &[]);
    assert_eq!((seen.refusal, seen.would_deny), (None, vec!["rate_limited"]));
}

#[test]
fn without_an_answer_requests_go_on_or_are_refused_as_the_policy_says() {
    let unknown = says(Code::Unknown, &[]);
    for (answer, reason) in [
        (Err(Unanswered::Timeout), "rate_limit_timeout"),
        (Err(Unanswered::Failed), "rate_limit_error"),
        (Err(Unanswered::TooLarge), "rate_limit_error"),
        (Ok(unknown), "rate_limit_error"),
    ] {
        for closed in [false, true] {
            let mut spec = spec(json!([{ "limit": { "requests": 5, "unit": "Minute" } }]));
            spec["exact"]["failClosed"] = closed.into();
            let seen = send(&filter(spec), &Service::says(answer.clone()), "/", &[]);
            match seen.refusal {
                Some(reply) => assert_eq!((closed, reply.status.as_u16(), reply.reason), (true, 503, reason)),
                None => assert_eq!((closed, seen.would_deny), (false, vec![reason])),
            }
        }
    }
}

#[test]
fn a_service_that_does_not_answer_is_not_asked_for_ever() {
    let filter = filter(spec(json!([{ "limit": { "requests": 5, "unit": "Minute" } }])));
    let service = Service::says(Err(Unanswered::Timeout));
    let refused = (0..50).filter(|_| send(&filter, &service, "/", &[]).refusal.is_some()).count();
    assert_eq!((refused, service.asked.lock().len()), (0, 10));
}

#[test]
fn limits_of_this_proxy_come_first_and_get_back_what_a_refused_request_took() {
    let mut spec = spec(json!([{ "limit": { "requests": 5, "unit": "Minute" } }]));
    spec["local"] = json!({ "rules": [{ "limit": { "requests": 2, "unit": "Year" } }] });
    let filter = filter(spec);
    let over = Service::says(Ok(says(Code::OverLimit, &[(Code::OverLimit, 0, 9)])));
    for _ in 0..5 {
        assert!(send(&filter, &over, "/", &[]).waited, "nothing was taken");
    }
    let ok = Service::says(Ok(says(Code::Ok, &[(Code::Ok, 1, 9)])));
    let passed: Vec<_> = (0..3).map(|_| send(&filter, &ok, "/", &[])).collect();
    assert!(passed[1].refusal.is_none() && passed[2].refusal.is_some() && !passed[2].waited);
    assert_eq!(ok.asked.lock().len(), 2, "what this proxy refuses is nobody's business");
}

#[test]
fn what_cannot_be_asked_for_is_refused_by_its_field() {
    let rule = json!({ "limit": { "requests": 5, "unit": "Minute" } });
    let with = |pointer: &str, value: Value| {
        let mut spec = spec(json!([rule]));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[name] = value;
        invalid(spec)
    };
    for (pointer, value, wanted) in [
        ("/exact/rules/0/limit/burst", json!(3), "exact.rules[0].limit.burst: is not for rules of `exact`"),
        ("/exact/rules/0/limit/algorithm", json!("SlidingWindow"), "exact.rules[0].limit.algorithm: is not"),
        (
            "/exact/rules/0/cost",
            json!({ "response": { "from": "Number", "number": 1 } }),
            "exact.rules[0].cost.response: is not",
        ),
        ("/exact/rules", json!([]), "exact.rules: holds 0 rules"),
        ("/exact/backendRefs", json!([]), "exact.backendRefs: names 0 Services"),
        ("/exact/backendRefs", json!([{ "name": "gone", "port": 1 }]), "backend /gone:1 does not exist"),
        ("/exact/domain", json!(""), "exact.domain: is empty"),
        ("/exact/timeout", json!("0s"), "exact.timeout"),
    ] {
        let said = with(pointer, value);
        assert!(said.contains(wanted), "{pointer}: {said}");
    }
    let spec = json!({ "type": "Local", "exact": spec(json!([rule]))["exact"] });
    assert!(invalid(spec).contains("type: is Local"));
}
