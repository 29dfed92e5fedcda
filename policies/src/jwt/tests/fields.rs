//! Header fields of tokens that several policies share, because their keys are the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Value, json};

use super::signer::{Signer, set};
use super::{ISSUER, Jwt, JwtFilter, KeySet, Keys, Policy, Request, World, bearer, claims, run};

#[derive(Debug)]
struct Always(Arc<KeySet>);

impl Keys for Always {
    fn current(&self) -> Option<Arc<KeySet>> {
        Some(self.0.clone())
    }

    fn wanted(self: Arc<Self>, _: Option<&Arc<KeySet>>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

fn keys(signer: &Signer) -> Arc<Always> {
    Arc::new(Always(Arc::new(KeySet::parse(set(&[signer]).as_bytes()).unwrap())))
}

/// Claims, by the field they go to.
fn filter(keys: &Arc<Always>, fields: &[(&str, &str)]) -> JwtFilter {
    let fields: Vec<Value> =
        fields.iter().map(|(header, claim)| json!({ "header": header, "claim": claim })).collect();
    let remote = json!({ "uri": "https://issuer.test/keys" });
    let provider = json!({ "name": "p", "issuer": ISSUER, "remoteJWKS": remote, "claimToHeaders": fields });
    let policy: Jwt = serde_json::from_value(json!({ "providers": [provider] })).unwrap();
    policy.compile(&World { keys: Some(keys.clone()), ..World::default() }).unwrap()
}

fn request(signer: &Signer, changes: &Value) -> Request {
    let mut changes = changes.clone();
    changes["exp"] = 4_102_444_800_i64.into();
    bearer(&signer.token(&claims(&changes)))
}

/// All fields beside the token.
fn told(filter: &JwtFilter, req: &Request) -> Vec<(String, String)> {
    let mut req = req.clone();
    assert_eq!(run(filter, &mut req).0, None);
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let all = req.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    all.filter(|(name, _)| name != "authorization").collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_policy_sets_its_own_fields_whoever_saw_the_token_first() {
    let signer = Signer::ed(Some("k"));
    let keys = keys(&signer);
    let req = request(&signer, &json!({ "sub": "ann", "team": "blue" }));
    let (one, other) = (&[("X-User", "sub")][..], &[("X-User", "team"), ("X-Name", "sub")][..]);
    let (want_one, want_other) =
        (pairs(&[("x-user", "ann")]), pairs(&[("x-user", "blue"), ("x-name", "ann")]));
    let (first, second) = (filter(&keys, one), filter(&keys, other));
    for _ in 0..3 {
        assert_eq!(told(&first, &req), want_one);
        assert_eq!(told(&second, &req), want_other);
    }
    // The first one changes: what was worked out for it is not the new one's.
    drop(first);
    let third = filter(&keys, &[("X-Team", "team")]);
    for _ in 0..3 {
        assert_eq!(told(&second, &req), want_other);
        assert_eq!(told(&third, &req), pairs(&[("x-team", "blue")]));
        assert_eq!(told(&filter(&keys, one), &req), want_one);
        assert_eq!(told(&filter(&keys, other), &req), want_other);
    }
}

#[test]
fn fields_that_are_too_long_to_be_kept_are_set_all_the_same() {
    let signer = Signer::ed(Some("k"));
    let keys = keys(&signer);
    let text = "x".repeat(4_000);
    let req = request(&signer, &json!({ "sub": text }));
    let filter = filter(&keys, &[("X-A", "sub"), ("X-B", "sub"), ("X-C", "sub")]);
    for _ in 0..3 {
        assert_eq!(told(&filter, &req), pairs(&[("x-a", &text), ("x-b", &text), ("x-c", &text)]));
    }
}
