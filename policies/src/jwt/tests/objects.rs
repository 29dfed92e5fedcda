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
    let many: String = (0..100_001).map(|number| format!("{number}\n")).collect();
    policy["revocation"] = json!([{ "valueRef": there("there") }]);
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
