mod bodies;
mod kept;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use ::http::{HeaderMap, Version};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::decision::Decision;
use super::proto::{
    Allowed, Bool, CheckRequest, CheckResponse, Denied, Header, HeaderOption, HttpStatus, QueryParameter,
    Said, Status,
};
use super::*;
use crate::caller::PeerName;
use crate::grpc::Failed;
use crate::grpc::testing::{Backend, answer, framed};
use crate::{
    Answer, Call, Context, Filter, Incoming, Net, Reply, Request, Response, Scheme, Unanswered, Upstream,
    Verdict,
};

struct Scene;

impl Lookup for Scene {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        Some(Arc::new(Backend("authz/opa:9191")))
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<crate::Material>> {
        let material = [
            ("tenant".to_owned(), Bytes::from_static(b"a")),
            ("raw".to_owned(), Bytes::from_static(b"\xff")),
        ];
        (object.name == "tenants").then(|| Arc::new(crate::Material(material.into())))
    }
}

fn says(message: &CheckResponse) -> Result<Decision, Failed> {
    grpc::read(&answer(framed(message), "0"))
}

fn coded(code: i32, said: Option<Said>) -> CheckResponse {
    CheckResponse { status: Some(Status { code }), said }
}

fn option(key: &str, value: &str) -> HeaderOption {
    let header = Header { key: key.into(), value: value.to_owned().into(), raw_value: Bytes::new() };
    HeaderOption { header: Some(header), append: None, append_action: 0 }
}

fn refuses(decided: Result<Decision, Failed>) -> Reply {
    match decided {
        Ok(Decision::Deny(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_status_of_ok_admits_and_any_other_refuses() {
    assert!(matches!(says(&coded(0, None)), Ok(Decision::Allow(_))));
    let ok = || Some(Said::Ok(Allowed::default()));
    assert!(matches!(says(&coded(0, ok())), Ok(Decision::Allow(_))));
    assert!(matches!(says(&CheckResponse { status: None, said: ok() }), Ok(Decision::Allow(_))));
    for code in [1, 7, 16, -1, i32::MAX] {
        let reply = refuses(says(&coded(code, None)));
        assert_eq!((reply.status.as_u16(), reply.reason), (403, "ext_auth_denied"));
        assert_eq!(refuses(says(&coded(code, ok()))).status, 403, "{code} with what admits");
    }
}

#[test]
fn an_answer_that_says_nothing_or_two_things_admits_nobody() {
    let denied = || Some(Said::Denied(Denied::default()));
    for message in [CheckResponse::default(), coded(0, denied())] {
        assert!(matches!(says(&message), Err(Failed::Unusable)), "{message:?}");
    }
    assert_eq!(refuses(says(&CheckResponse { status: None, said: denied() })).status, 403);
}

#[test]
fn what_is_not_one_whole_message_admits_nobody() {
    let good = framed(&coded(0, None));
    let compressed = [&[1][..], &good[1..]].concat();
    let two = [&good[..], &good[..]].concat();
    // A part of a message, that is one by itself.
    let cut = [&[0, 0, 0, 0, good[4] + 1][..], &good[5..]].concat();
    for body in [
        &cut[..],
        b"",
        &good[..4],
        &good[..good.len() - 1],
        &compressed,
        &two,
        b"\0\0\0\0\x01\xff",
        b"\0\0\0\0\0",
    ] {
        let read = grpc::read(&answer(Bytes::copy_from_slice(body), "0"));
        assert!(matches!(read, Err(Failed::Unusable)), "{body:?}: {read:?}");
    }
}

#[test]
fn a_grpc_status_that_is_not_ok_is_a_failure_wherever_it_stands() {
    let good = framed(&coded(0, None));
    assert!(matches!(grpc::read(&answer(good.clone(), "14")), Err(Failed::Service)));
    let mut head = Response::build(200, None).unwrap();
    head.insert_header("grpc-status", "12").unwrap();
    assert!(matches!(grpc::read(&Answer { head, body: Bytes::new(), trailers: None }), Err(Failed::Service)));
    // No status at all: the stream broke.
    let head = Response::build(200, None).unwrap();
    assert!(matches!(grpc::read(&Answer { head, body: good.clone(), trailers: None }), Err(Failed::Service)));
    let mut failed = answer(good, "0");
    failed.head = Response::build(503, None).unwrap();
    assert!(matches!(grpc::read(&failed), Err(Failed::Service)));
}

#[test]
fn a_refusal_has_the_services_status_fields_and_body() {
    let raw = Header { key: "x-r".into(), value: Bytes::new(), raw_value: Bytes::from_static(b"raw") };
    let denied = Denied {
        status: Some(HttpStatus { code: 429 }),
        headers: vec![
            option("Retry-After", "7"),
            option("content-length", "9"),
            option("set-cookie", "a"),
            option("set-cookie", "b"),
            HeaderOption { header: Some(raw), append: None, append_action: 0 },
        ],
        body: Bytes::from_static(b"slow down"),
    };
    let reply = refuses(says(&coded(7, Some(Said::Denied(denied)))));
    assert_eq!(reply.status, 429);
    let fields: Vec<_> =
        reply.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(fields, [("retry-after", "7"), ("set-cookie", "a"), ("set-cookie", "b"), ("x-r", "raw")]);
    assert_eq!(reply.body, "slow down");
    for code in [300, 599] {
        let denied = Denied { status: Some(HttpStatus { code }), ..Denied::default() };
        assert_eq!(i32::from(refuses(says(&coded(7, Some(Said::Denied(denied))))).status.as_u16()), code);
    }
    for code in [0, 100, 200, 204, 299, 600, 1 << 20, -1] {
        let denied = Denied { status: Some(HttpStatus { code }), ..Denied::default() };
        assert_eq!(refuses(says(&coded(7, Some(Said::Denied(denied))))).status, 403, "{code}");
    }
}

/// An admitted request with these fields, and the response, after what was said.
fn admitted(allowed: Allowed) -> Result<(Request, Response), Failed> {
    let Decision::Allow(changes) = says(&coded(0, Some(Said::Ok(allowed))))? else { panic!("refused") };
    let mut req = Request::build("GET", b"/", None).unwrap();
    req.insert_header("Host", "a.test").unwrap();
    let mut rsp = Response::build(200, None).unwrap();
    for value in ["1", "2"] {
        req.append_header("X-A", value).unwrap();
        rsp.append_header("X-A", value).unwrap();
    }
    changes.apply(&mut req);
    changes.apply_to_response(&mut rsp);
    req.map(|_, _| Ok(())).unwrap();
    rsp.map(|_, _| Ok(())).unwrap();
    Ok((req, rsp))
}

fn values(fields: &HeaderMap, name: &str) -> Vec<String> {
    fields.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn fields_are_set_appended_and_removed_as_envoy_does() {
    let how = |append: Option<bool>, action, key| HeaderOption {
        append: append.map(|value| Bool { value }),
        append_action: action,
        ..option(key, "new")
    };
    for (append, action, there, absent, unsaid) in [
        (Some(true), 0, &["1", "2", "new"][..], &["new"][..], false),
        (Some(false), 0, &["new"], &["new"], false),
        (None, 1, &["1", "2"], &["new"], false),
        (None, 2, &["new"], &["new"], false),
        (None, 3, &["new"], &[], false),
        (None, 0, &["new"], &["new"], true),
    ] {
        let options = vec![how(append, action, "x-a"), how(append, action, "x-b")];
        let (req, rsp) = admitted(Allowed {
            headers: options.clone(),
            response_headers_to_add: options,
            ..Allowed::default()
        })
        .unwrap();
        assert_eq!((values(&req.headers, "x-a"), values(&req.headers, "x-b")), (owned(there), owned(absent)));
        // What is not said sets in requests and appends in responses.
        let there = if unsaid { &["1", "2", "new"][..] } else { there };
        assert_eq!((values(&rsp.headers, "x-a"), values(&rsp.headers, "x-b")), (owned(there), owned(absent)));
    }
    let remove = ["X-A", "host", ":path", "content-length", "b a d"].map(String::from).to_vec();
    let (req, rsp) = admitted(Allowed { headers_to_remove: remove, ..Allowed::default() }).unwrap();
    assert!(values(&req.headers, "x-a").is_empty());
    assert_eq!(values(&req.headers, "host"), ["a.test"]);
    assert_eq!(values(&rsp.headers, "x-a"), ["1", "2"]);
    let raw = Header { key: "x-r".into(), value: Bytes::new(), raw_value: Bytes::from_static(b"raw") };
    let raw = HeaderOption { header: Some(raw), append: None, append_action: 0 };
    let (req, _) = admitted(Allowed { headers: vec![raw], ..Allowed::default() }).unwrap();
    assert_eq!(values(&req.headers, "x-r"), ["raw"]);
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_frames_a_message_or_cannot_be_sent_makes_an_answer_unusable() {
    for (key, value) in [
        ("host", "b.test"),
        (":authority", "b.test"),
        (":path", "/admin"),
        (":method", "DELETE"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "x-a"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
        ("x-a\r\nx-b", "c"),
        ("x a", "b"),
        ("", "b"),
        ("x-a", "b\r\nx-c: d"),
        ("x-a", "b\0"),
    ] {
        let refused = |allowed| matches!(admitted(allowed), Err(Failed::Unusable));
        assert!(refused(Allowed { headers: vec![option(key, value)], ..Allowed::default() }), "{key}");
        let response = vec![option(key, value)];
        assert!(refused(Allowed { response_headers_to_add: response, ..Allowed::default() }), "{key}");
    }
    let refused = |allowed| matches!(admitted(allowed), Err(Failed::Unusable));
    assert!(!refused(Allowed { headers: vec![option("x-a", "b"); 128], ..Allowed::default() }));
    assert!(refused(Allowed { headers: vec![option("x-a", "b"); 129], ..Allowed::default() }));
    assert!(refused(Allowed { headers: vec![HeaderOption::default()], ..Allowed::default() }));
    let unknown = HeaderOption { append_action: 4, ..option("x-a", "b") };
    assert!(refused(Allowed { headers: vec![unknown], ..Allowed::default() }));
    assert!(refused(Allowed { query_parameters_to_set: vec![QueryParameter {}], ..Allowed::default() }));
    assert!(refused(Allowed { query_parameters_to_remove: vec!["a".into()], ..Allowed::default() }));
}

/// Keeps what it was asked, and admits whoever it was.
#[derive(Debug, Default)]
struct Admits {
    asked: AtomicUsize,
    message: parking_lot::Mutex<Vec<(Request, CheckRequest)>>,
    fails: bool,
    /// What it says of the request and its response.
    allowed: Allowed,
}

impl Net for Admits {
    fn call<'a>(
        &'a self,
        _: &'a Arc<dyn Upstream>,
        call: Call,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send + 'a>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(call.is_grpc);
        let body = call.body.unwrap();
        assert_eq!(body[0], 0, "it is not compressed");
        assert_eq!(usize::try_from(u32::from_be_bytes(body[1..5].try_into().unwrap())), Ok(body.len() - 5));
        self.message.lock().push((call.head, CheckRequest::decode(body.slice(5..)).unwrap()));
        let admits = Ok(answer(framed(&coded(0, Some(Said::Ok(self.allowed.clone())))), "0"));
        Box::pin(std::future::ready(if self.fails { Err(Unanswered::Failed) } else { admits }))
    }
}

fn policy() -> ExtAuth {
    let backend_ref = BackendRef { namespace: "authz".into(), name: "opa".into(), port: 9191 };
    ExtAuth {
        grpc: Some(GrpcService { backend_ref: Some(backend_ref), backend_refs: Vec::new() }),
        http: None,
        headers_to_ext_auth: None,
        body_to_ext_auth: None,
        context_extensions: serde_json::from_value(serde_json::json!([
            { "name": "route", "type": "Value", "value": "cart" },
            { "name": "tenant", "valueRef": { "kind": "ConfigMap", "name": "tenants", "key": "tenant" } },
        ]))
        .unwrap(),
        timeout: default_timeout(),
        fail_open: false,
        status_on_error: default_status(),
        cache: None,
        mode: Mode::Enforce,
    }
}

#[test]
fn a_constant_has_to_be_there_as_text() {
    for (key, says) in [
        ("none", "contextExtensions[1].valueRef.key: ConfigMap /tenants has no key \"none\""),
        ("raw", "contextExtensions[1].valueRef.key: \"raw\" in ConfigMap /tenants is no text"),
    ] {
        let mut policy = policy();
        policy.context_extensions[1].value_ref.as_mut().unwrap().key = key.into();
        assert_eq!(policy.compile(&Scene).unwrap_err().to_string(), says);
        assert_eq!(policy.objects().len(), 1);
    }
}

fn ask(filter: &ExtAuthFilter, req: &mut Request, net: &Arc<Admits>) -> Result<(), Reply> {
    ask_with(filter, req, net, None)
}

fn ask_with(
    filter: &ExtAuthFilter,
    req: &mut Request,
    net: &Arc<Admits>,
    incoming: Option<Arc<dyn Incoming>>,
) -> Result<(), Reply> {
    let mut ctx = Context {
        net: Some(net.clone()),
        incoming,
        client: "192.0.2.1".parse().ok(),
        scheme: Scheme::Https,
        port: 443,
        ..Context::default()
    };
    decide(filter, req, &mut ctx, &mut Default::default())
}

fn decide(
    filter: &ExtAuthFilter,
    req: &mut Request,
    ctx: &mut Context,
    state: &mut filter::Told,
) -> Result<(), Reply> {
    match filter.request(req, ctx, state) {
        Verdict::Continue => Ok(()),
        Verdict::Reply(reply) => Err(reply),
        Verdict::Wait(decision) => {
            match pin!(decision).poll(&mut std::task::Context::from_waker(Waker::noop())) {
                Poll::Ready(decided) => decided,
                Poll::Pending => panic!("nothing waits here"),
            }
        }
    }
}

fn request(target: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut req = Request::build("POST", target.as_bytes(), None).unwrap();
    req.insert_header("Host", "a.test").unwrap();
    for (name, value) in fields {
        req.append_header(*name, *value).unwrap();
    }
    req
}

#[test]
fn the_response_is_changed_as_the_service_says_whether_it_was_asked_or_remembered() {
    let allowed = Allowed { response_headers_to_add: vec![option("X-Told", "a")], ..Allowed::default() };
    let net = Arc::new(Admits { allowed, ..Admits::default() });
    let filter = kept::kept(policy(), &["Cookie"]).compile(&Scene).unwrap();
    for _ in 0..2 {
        let mut ctx = Context { net: Some(net.clone()), ..Context::default() };
        let mut state = filter::Told::default();
        let mut rsp = Response::build(200, None).unwrap();
        decide(&filter, &mut request("/", &[]), &mut ctx, &mut state).unwrap();
        filter.response(&mut rsp, &ctx, &state);
        assert_eq!(values(&rsp.headers, "x-told"), ["a"]);
    }
    assert_eq!(net.asked.load(Ordering::Relaxed), 1);
    // Who was not admitted gets nothing of it.
    let mut rsp = Response::build(200, None).unwrap();
    filter.response(&mut rsp, &Context::default(), &filter::Told::default());
    assert!(values(&rsp.headers, "x-told").is_empty());
}

#[test]
fn the_service_is_told_what_envoy_tells() {
    let (filter, net) = (policy().compile(&Scene).unwrap(), Arc::new(Admits::default()));
    let mut req = request(
        "/a?b=c",
        &[("X-Request-Id", "id-1"), ("Cookie", "a=b"), ("Cookie", "c=d"), ("Content-Length", "12")],
    );
    ask(&filter, &mut req, &net).unwrap();
    let (head, message) = net.message.lock().pop().unwrap();
    assert_eq!(head.uri, "/envoy.service.auth.v3.Authorization/Check");
    assert_eq!(head.headers["host"], "opa.authz:9191");
    assert_eq!(head.version, Version::HTTP_2);
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["grpc-timeout"], "200m");
    let attributes = message.attributes.unwrap();
    let source = attributes.source.unwrap().address.unwrap().socket_address.unwrap();
    assert_eq!((&*source.address, source.port), ("192.0.2.1", 0));
    assert_eq!(attributes.destination.unwrap().address.unwrap().socket_address.unwrap().port, 443);
    assert_eq!(attributes.context_extensions["route"], "cart");
    assert_eq!(attributes.context_extensions["tenant"], "a");
    let asked = attributes.request.unwrap();
    assert!(asked.time.unwrap().seconds > 1_700_000_000);
    let http = asked.http.unwrap();
    assert_eq!((&*http.id, &*http.method, &*http.path), ("id-1", "POST", "/a?b=c"));
    assert_eq!((&*http.host, &*http.scheme, &*http.protocol, http.size), ("a.test", "https", "HTTP/1.1", 12));
    assert_eq!(http.headers["cookie"], "a=b,c=d");
    assert_eq!(http.headers[":path"], "/a?b=c");
    assert_eq!(http.headers[":authority"], "a.test");
}

#[test]
fn the_service_is_told_the_version_and_the_first_uri_of_the_certificate_or_its_first_name() {
    let (filter, net) = (policy().compile(&Scene).unwrap(), Arc::new(Admits::default()));
    let told = |names: Option<Vec<PeerName>>, version| {
        let peer = names.map(|names| Arc::new(crate::caller::Peer { names, ..Default::default() }));
        let mut ctx = Context { net: Some(net.clone()), ..Context::default() };
        ctx.caller.peer = peer;
        let mut req = request("/", &[]);
        req.set_version(version);
        decide(&filter, &mut req, &mut ctx, &mut Default::default()).unwrap();
        let attributes = net.message.lock().pop().unwrap().1.attributes.unwrap();
        let protocol = attributes.request.unwrap().http.unwrap().protocol;
        (attributes.source.unwrap().principal, protocol)
    };
    let principal = |names: Vec<PeerName>| told(Some(names), Version::HTTP_11).0;
    let uri = |name: &str| PeerName::Uri(name.into());
    let dns = |name: &str| PeerName::Dns(name.into());
    assert_eq!(principal(vec![dns("a.test"), uri("spiffe://td/a"), uri("spiffe://td/b")]), "spiffe://td/a");
    assert_eq!(principal(vec![PeerName::Email("a@a.test".into()), dns("a.test"), dns("b.test")]), "a.test");
    assert_eq!(principal(vec![PeerName::Email("a@a.test".into())]), "");
    assert_eq!(told(None, Version::HTTP_11), (String::new(), "HTTP/1.1".into()));
    assert_eq!(told(None, Version::HTTP_2), (String::new(), "HTTP/2".into()));
}

#[test]
fn lists_are_as_long_as_they_may_be_and_no_longer() {
    let said = |policy: ExtAuth| policy.compile(&Scene).map(drop).map_err(|invalid| invalid.to_string());
    let names = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>();
    let extension =
        |name: String| ContextExtension { name, kind: None, value: Some("a".into()), value_ref: None };
    let extensions = |count| names(count).into_iter().map(extension).collect();
    assert!(said(ExtAuth { context_extensions: extensions(32), ..policy() }).is_ok());
    let refused = said(ExtAuth { context_extensions: extensions(33), ..policy() }).unwrap_err();
    assert_eq!(refused, "contextExtensions: has more than 32 entries");
    let long = |bytes: usize| ContextExtension { value: Some("a".repeat(bytes)), ..extension("a".into()) };
    assert!(said(ExtAuth { context_extensions: vec![long(4_096)], ..policy() }).is_ok());
    let refused = said(ExtAuth { context_extensions: vec![long(4_097)], ..policy() }).unwrap_err();
    assert_eq!(refused, "contextExtensions[0].value: is longer than 4096 bytes; shorten it");
    assert!(said(ExtAuth { headers_to_ext_auth: Some(names(64)), ..policy() }).is_ok());
    let refused = said(ExtAuth { headers_to_ext_auth: Some(names(65)), ..policy() }).unwrap_err();
    assert_eq!(refused, "headersToExtAuth: has more than 64 names");
    let entries = |max_entries| {
        let mut policy = kept::kept(policy(), &["Cookie"]);
        policy.cache.as_mut().unwrap().max_entries = max_entries;
        said(policy)
    };
    assert!(entries(1).is_ok() && entries(65_536).is_ok());
    assert!(entries(0).is_err() && entries(65_537).is_err());
    for (status, fits) in [(399, false), (400, true), (599, true), (600, false)] {
        assert_eq!(said(ExtAuth { status_on_error: status, ..policy() }).is_ok(), fits, "{status}");
    }
}

#[test]
fn the_service_is_told_no_field_that_is_not_listed() {
    let listed = ExtAuth { headers_to_ext_auth: Some(vec!["X-Tenant".into()]), ..policy() };
    let (filter, net) = (listed.compile(&Scene).unwrap(), Arc::new(Admits::default()));
    let mut req = request("/", &[("Authorization", "secret"), ("X-Tenant", "b")]);
    ask(&filter, &mut req, &net).unwrap();
    let (_, message) = net.message.lock().pop().unwrap();
    let headers = message.attributes.unwrap().request.unwrap().http.unwrap().headers;
    assert_eq!(headers.into_iter().collect::<Vec<_>>(), [("x-tenant".to_owned(), "b".to_owned())]);
}

proptest! {
    /// Whatever bytes a service answers, there is no panic, and what is admitted can be written.
    #[test]
    fn no_answer_makes_reading_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&body);
        let _ = grpc::read(&answer(frame.into(), "0"));
    }

    #[test]
    fn what_is_admitted_forges_no_line(key in ".{0,8}", value in ".{0,8}", how in 0i32..5) {
        let option = HeaderOption { append_action: how, ..option(&key, &value) };
        if let Ok((req, _)) = admitted(Allowed { headers: vec![option], ..Allowed::default() }) {
            let mut wire = Vec::new();
            req.header_to_h1_wire(&mut wire);
            prop_assert_eq!(wire.iter().filter(|byte| **byte == b'\n').count(), req.headers.len());
        }
    }
}
