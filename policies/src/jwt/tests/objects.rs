//! Key sets and lists that are in ConfigMaps and Secrets.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::signer::{Signer, set};
use super::{Fault, ISSUER, Jwt, JwtFilter, Material, Policy, World, bearer, claims, decide};

fn compile(policy: &Value, held: &[(&str, &str)]) -> Result<JwtFilter, String> {
    let held: BTreeMap<_, _> =
        held.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from((*value).to_owned()))).collect();
    let world = World { material: Material(held), ..World::default() };
    let policy: Jwt = serde_json::from_value(policy.clone()).unwrap();
    policy.compile(&world).map_err(|invalid| invalid.to_string())
}

fn there(name: &str) -> Value {
    json!({ "kind": "ConfigMap", "namespace": "ns", "name": name })
}

#[test]
fn a_key_set_is_found_by_its_key_by_the_usual_one_or_alone() {
    let signer = Signer::ed(Some("k"));
    let (good, req) = (set(&[&signer]), bearer(&signer.token(&claims(&json!({})))));
    let policy =
        |local: Value| json!({ "providers": [{ "name": "p", "issuer": ISSUER, "localJWKS": local }] });
    for (local, held) in [
        (json!({ "valueRef": there("there") }), vec![("jwks", &*good), ("other", "x")]),
        (json!({ "valueRef": there("there"), "type": "ValueRef" }), vec![("any.json", &*good)]),
        (json!({ "valueRef": there("there"), "key": "b" }), vec![("jwks", "x"), ("b", &*good)]),
    ] {
        assert_eq!(decide(&compile(&policy(local), &held).unwrap(), &req), Ok(1), "{held:?}");
    }
    for (local, held, says) in [
        (json!({ "valueRef": there("gone") }), vec![], "ConfigMap ns/gone does not exist"),
        (
            json!({ "valueRef": there("there") }),
            vec![("a", "{}"), ("b", "{}")],
            "providers[0].localJWKS: ConfigMap ns/there has no key \"jwks\": name the one that holds the set",
        ),
        (
            json!({ "valueRef": there("there"), "key": "x" }),
            vec![("jwks", &*good)],
            "providers[0].localJWKS: ConfigMap ns/there has no key \"x\": name the one that holds the set",
        ),
        (
            json!({ "valueRef": there("there") }),
            vec![("jwks", "[]")],
            "providers[0].localJWKS: not a JSON object, or a name is twice in one, or nested too deeply",
        ),
    ] {
        assert_eq!(compile(&policy(local), &held).unwrap_err(), says);
    }
}

#[test]
fn revoked_tokens_are_lines_of_all_keys_or_of_one() {
    let signer = Signer::ed(Some("k"));
    let mut policy = super::policy(&[&signer], &json!({}));
    let held = [("mon", "one\r\n\n  two  \n"), ("tue", "three")];
    let revoked = |policy: &Value| -> Vec<&str> {
        let filter = compile(policy, &held).unwrap();
        let is_revoked = |jti: &&str| {
            decide(&filter, &bearer(&signer.token(&claims(&json!({ "jti": jti }))))) == Err(Fault::Revoked)
        };
        ["one", "two", "three", "four", ""].into_iter().filter(is_revoked).collect()
    };
    policy["revocation"] = json!([{ "valueRef": there("there") }]);
    assert_eq!(revoked(&policy), ["one", "two", "three"]);
    policy["revocation"] = json!([{ "valueRef": there("there"), "key": "tue" }, { "jtis": ["four"] }]);
    assert_eq!(revoked(&policy), ["three", "four"]);
    policy["revocation"] = json!([{ "valueRef": there("there"), "key": "wed" }]);
    assert_eq!(
        compile(&policy, &held).unwrap_err(),
        "revocation[0].key: ConfigMap ns/there has no key \"wed\""
    );
    let many = |count: u32| -> String { (0..count).map(|number| format!("{number}\n")).collect() };
    policy["revocation"] = json!([{ "valueRef": there("there") }]);
    assert!(compile(&policy, &[("all", &many(100_000))]).is_ok());
    let many = many(100_001);
    assert!(compile(&policy, &[("all", &many)]).unwrap_err().starts_with("revocation: lists 100001 tokens"));
}

#[test]
fn a_policy_names_everything_it_needs() {
    let backend = |name: &str| json!({ "namespace": "ns", "name": name, "port": 443 });
    let policy: Jwt = serde_json::from_value(json!({
        "providers": [
            { "name": "a", "issuer": "a", "localJWKS": { "valueRef": there("keys") } },
            { "name": "b", "issuer": "b", "remoteJWKS": { "uri": "https://b/", "backendRefs": [backend("one"), backend("two")] } },
            { "name": "c", "issuer": "c", "remoteJWKS": { "uri": "https://c/", "backendRef": backend("three") } },
        ],
        "revocation": [{ "valueRef": there("list") }],
    }))
    .unwrap();
    let objects: Vec<String> = policy.objects().iter().map(ToString::to_string).collect();
    assert_eq!(objects, ["ConfigMap ns/keys", "ConfigMap ns/list"]);
    let backends: Vec<String> = policy.backends().iter().map(ToString::to_string).collect();
    assert_eq!(backends, ["ns/one:443", "ns/two:443", "ns/three:443"]);
}

#[test]
fn one_issuer_may_have_two_providers_if_their_tokens_are_in_different_places() {
    let signer = Signer::ed(Some("k"));
    let keys = set(&[&signer]);
    let provider = |name: &str, headers: &[&str]| {
        let headers: Vec<Value> = headers.iter().map(|name| json!({ "name": name })).collect();
        json!({ "name": name, "issuer": ISSUER, "localJWKS": { "inline": keys }, "extractFrom": { "headers": headers } })
    };
    let both = |one: &[&str], two: &[&str]| {
        compile(&json!({ "providers": [provider("one", one), provider("two", two)] }), &[]).map(drop)
    };
    assert_eq!(both(&["x-a"], &["x-b"]), Ok(()));
    for (one, two) in [(&["x-a"][..], &["x-a"][..]), (&["x-a"], &["x-b", "x-a"]), (&["x-b", "x-a"], &["x-a"])]
    {
        assert!(both(one, two).unwrap_err().starts_with("providers[1].issuer: is that of one too"));
    }
}

#[test]
fn keys_are_fetched_from_four_backends_at_most_and_an_inline_set_has_no_key() {
    let backends = |count: usize| {
        let refs: Vec<Value> =
            (0..count).map(|n| json!({ "namespace": "ns", "name": format!("b{n}"), "port": 443 })).collect();
        let remote = json!({ "uri": "https://a.test/", "backendRefs": refs });
        compile(&json!({ "providers": [{ "name": "p", "issuer": ISSUER, "remoteJWKS": remote }] }), &[])
            .map(drop)
    };
    assert_eq!(backends(4), Ok(()));
    assert_eq!(
        backends(5),
        Err("providers[0].remoteJWKS.backendRefs: names more than 4: keep up to 4".to_owned())
    );
    let local = json!({ "inline": set(&[&Signer::ed(None)]), "key": "a" });
    let refused =
        compile(&json!({ "providers": [{ "name": "p", "issuer": ISSUER, "localJWKS": local }] }), &[]);
    assert_eq!(
        refused.unwrap_err(),
        "providers[0].localJWKS: needs either inline (alone) or valueRef, as type says"
    );
}

#[test]
fn keys_are_used_for_five_minutes_asked_for_again_after_a_second_and_kept_for_a_day() {
    let remote: super::RemoteJwks = serde_json::from_value(json!({ "uri": "https://a.test/" })).unwrap();
    let seconds = [remote.cached(), remote.failed(), remote.stale()].map(|time| time.as_secs());
    assert_eq!(seconds, [300, 1, 86_400]);
}

#[test]
fn a_policy_is_written_without_what_is_the_default() {
    let written = |text: &Value| {
        let policy: Jwt = serde_json::from_value(text.clone()).unwrap();
        serde_json::to_value(policy).unwrap()
    };
    let provider = json!({ "name": "p", "issuer": ISSUER, "localJWKS": { "inline": "{}" } });
    let plain = json!({ "providers": [provider] });
    assert_eq!(written(&plain), plain);
    let mut other = plain.clone();
    other["mode"] = json!("Shadow");
    other["providers"][0]["type"] = json!("ServiceAccount");
    assert_eq!(written(&other), other);
    other["mode"] = json!("Enforce");
    other["providers"][0]["type"] = json!("JWT");
    assert_eq!(written(&other), plain);
}
