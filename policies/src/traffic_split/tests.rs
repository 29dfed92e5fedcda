use std::sync::Arc;

use super::*;
use crate::caller::Token;
use crate::{BackendRef, Scheme, Upstream};

struct Nothing;

impl Lookup for Nothing {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn filter(spec: &str) -> TrafficSplitFilter {
    serde_saphyr::from_str::<TrafficSplit>(spec).unwrap().compile(&Nothing).unwrap()
}

fn request(headers: &[(&'static str, &str)]) -> Request {
    let mut req = Request::build("GET", b"/", None).unwrap();
    for (name, value) in headers {
        req.append_header(*name, *value).unwrap();
    }
    req
}

fn decide(filter: &TrafficSplitFilter, req: &mut Request, ctx: &mut Context) -> (Preference, Option<String>) {
    let mut given = None;
    assert!(matches!(filter.request(req, ctx, &mut given), Verdict::Continue));
    let mut rsp = Response::build(200, None).unwrap();
    filter.response(&mut rsp, ctx, &given);
    let cookie = rsp.headers.get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
    (ctx.split.clone(), cookie)
}

fn key(filter: &TrafficSplitFilter, headers: &[(&'static str, &str)]) -> Option<u64> {
    decide(filter, &mut request(headers), &mut Context::default()).0.key
}

#[test]
fn one_value_is_one_key_in_every_proxy() {
    let by_header = || filter("{stickyBy: {header: X-User}}");
    let bea = key(&by_header(), &[("x-user", "bea")]);
    assert_eq!(bea, Some(stable::hash(b"bea")));
    assert_eq!(bea, key(&by_header(), &[("x-user", "bea"), ("x-other", "a")]));
    assert_ne!(bea, key(&by_header(), &[("x-user", "tom")]));
    assert_eq!(key(&by_header(), &[]), None);
}

#[test]
fn a_claim_is_a_key_where_its_token_was_verified() {
    let filter = filter("{stickyBy: {claim: {provider: idp, name: sub}}}");
    let token = |provider: &str| Token {
        provider: provider.into(),
        claims: Arc::new(serde_json::json!({ "sub": "bea" }).as_object().unwrap().clone()),
    };
    let mut ctx = Context::default();
    ctx.caller.tokens.push(token("other"));
    assert_eq!(decide(&filter, &mut request(&[]), &mut ctx).0.key, None);
    ctx.caller.tokens.push(token("idp"));
    assert_eq!(decide(&filter, &mut request(&[]), &mut ctx).0.key, Some(stable::hash(b"bea")));
}

#[test]
fn a_client_without_a_cookie_is_given_one_and_keeps_its_key() {
    let filter = filter("{stickyBy: {cookie: {name: who, ttl: 1h}}}");
    let mut ctx = Context { entropy: 7, scheme: Scheme::Https, ..Context::default() };
    let (first, cookie) = decide(&filter, &mut request(&[("cookie", "a=b")]), &mut ctx);
    let cookie = cookie.unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
    let (again, cookie) = decide(&filter, &mut request(&[("cookie", pair)]), &mut Context::default());
    assert_eq!((again.key, cookie), (first.key, None));
    let (other, _) = decide(&filter, &mut request(&[]), &mut Context { entropy: 8, ..Context::default() });
    assert_ne!(other.key, first.key);
}

#[test]
fn the_first_target_that_matches_decides() {
    let filter = filter(
        "{targets: [
            {clientSelectors: [{headers: [{name: x-tester, value: '1'}]}], backendRef: {name: v2, port: 80}},
            {clientSelectors: [{headers: [{name: x-tester, type: RegularExpression, value: '.*'}]}], backendRef: {name: v3}}]}",
    );
    let target = |headers: &[(&'static str, &str)]| {
        let (preference, _) = decide(&filter, &mut request(headers), &mut Context::default());
        preference.target.map(|target| target.name.clone())
    };
    assert_eq!(target(&[("x-tester", "1")]).as_deref(), Some("v2"));
    assert_eq!(target(&[("x-tester", "2")]).as_deref(), Some("v3"));
    assert_eq!(target(&[]), None);
}
