//! Key sets as issuers, and attackers, publish them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::KeySet;
use super::super::jws::encode;
use super::signer::Signer;

fn parse(keys: &Value) -> Result<usize, String> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
        .map(|set| set.len())
        .map_err(|bad| bad.to_string())
}

fn changed(signer: &Signer, changes: &Value) -> Value {
    let mut jwk = signer.jwk();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk
}

#[test]
fn a_set_that_holds_a_secret_says_nothing() {
    let signer = Signer::es256(Some("a"));
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let leaked = changed(&signer, &json!({ member: "AQAB", "kid": "b" }));
        let said = parse(&json!([signer.jwk(), leaked])).unwrap_err();
        assert!(said.starts_with("keys[1] holds a secret"), "{said}");
    }
    let symmetric = json!({ "kty": "oct", "kid": "b", "alg": "HS256", "k": "c2VjcmV0" });
    assert!(parse(&json!([signer.jwk(), symmetric])).is_err());
}

#[test]
fn two_keys_of_one_name_are_refused_whatever_they_are() {
    let (first, second) = (Signer::es256(Some("a")), Signer::ed(Some("a")));
    assert_eq!(parse(&json!([first.jwk(), second.jwk()])), Err("keys[1].kid stands there twice".into()));
    assert!(parse(&json!([first.jwk(), { "kty": "new", "kid": "a" }])).is_err());
    assert_eq!(parse(&json!([first.jwk(), changed(&second, &json!({ "kid": null }))])), Ok(2));
}

#[test]
fn what_cannot_verify_is_left_out() {
    let (good, other) = (Signer::es256(Some("a")), Signer::es256(Some("b")));
    let rsa = Signer::rsa("RS256", Some("b"));
    for useless in [
        json!({ "kty": "unknown", "kid": "b" }),
        json!({ "kid": "b" }),
        changed(&other, &json!({ "use": "enc" })),
        changed(&other, &json!({ "key_ops": ["encrypt"] })),
        changed(&other, &json!({ "key_ops": "verify" })),
        changed(&other, &json!({ "alg": "ES384" })),
        changed(&other, &json!({ "alg": "HS256" })),
        changed(&other, &json!({ "alg": "none" })),
        changed(&other, &json!({ "alg": "RS256" })),
        changed(&other, &json!({ "alg": 1 })),
        changed(&other, &json!({ "crv": "P-521" })),
        changed(&other, &json!({ "crv": "P-384", "alg": null })),
        changed(&other, &json!({ "crv": "secp256k1", "alg": "ES256K" })),
        changed(&other, &json!({ "x": "AAAA" })),
        changed(&other, &json!({ "y": null })),
        changed(&rsa, &json!({ "alg": "ES256" })),
        changed(&rsa, &json!({ "e": "AQ" })),
        changed(&rsa, &json!({ "e": "Aw" })),
        changed(&rsa, &json!({ "e": "AAAD" })),
        changed(&rsa, &json!({ "e": "AQAC" })),
        changed(&rsa, &json!({ "n": "AQAB" })),
        changed(&rsa, &json!({ "n": format!("{}", "A".repeat(344)) })),
        changed(&rsa, &json!({ "n": format!("{}", "_".repeat(1400)) })),
        changed(&Signer::ed(Some("b")), &json!({ "crv": "X25519" })),
        changed(&Signer::ed(Some("b")), &json!({ "crv": "Ed448" })),
        changed(&Signer::ed(Some("b")), &json!({ "x": "AAAA" })),
    ] {
        assert_eq!(parse(&json!([good.jwk(), useless])), Ok(1), "{useless}");
        assert!(parse(&json!([useless])).unwrap_err().starts_with("no key that can verify"), "{useless}");
    }
    for useful in [
        changed(&other, &json!({ "alg": null, "use": null })),
        changed(&other, &json!({ "use": null, "key_ops": ["sign", "verify"] })),
        changed(&rsa, &json!({ "alg": "PS512" })),
        changed(&rsa, &json!({ "alg": null, "x5c": ["MIIB"], "x5t": "AA" })),
    ] {
        assert_eq!(parse(&json!([good.jwk(), useful])), Ok(2), "{useful}");
    }
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits_and_an_odd_exponent_of_17_to_32() {
    let rsa = Signer::rsa("RS256", Some("a"));
    let read = |n: usize, e: &[u8]| {
        parse(&json!([changed(&rsa, &json!({ "n": encode(&vec![0xff; n]), "e": encode(e) }))])).is_ok()
    };
    assert!(read(256, &[1, 0, 1]) && read(1024, &[1, 0, 1]));
    assert!(!read(255, &[1, 0, 1]) && !read(1025, &[1, 0, 1]));
    assert!(read(256, &[0, 0, 1, 0, 1]) && read(256, &[0xff, 0xff, 0xff, 0xff]));
    assert!(!read(256, &[0xff, 0xff]) && !read(256, &[1, 0, 4]) && !read(256, &[1, 0, 0, 0, 1]));
}

#[test]
fn a_set_of_nothing_usable_says_why_of_the_first() {
    let rsa = Signer::rsa("RS256", Some("a"));
    let (no_modulus, unknown) = (changed(&rsa, &json!({ "n": "" })), json!({ "kty": "new" }));
    assert_eq!(
        parse(&json!([no_modulus, unknown])),
        Err("no key that can verify signatures: keys[0] has no n in base64url".into())
    );
    assert_eq!(parse(&json!([])), Err("no key that can verify signatures".into()));
    assert!(!KeySet::parse(json!({ "keys": [rsa.jwk()] }).to_string().as_bytes()).unwrap().is_empty());
}

/// RFC 8725 section 3.1: a key is used with one algorithm.
#[test]
fn an_rsa_key_that_does_not_say_is_for_rs256() {
    let signers =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|alg| Signer::rsa(alg, Some("k")));
    let key = changed(&signers[0], &json!({ "alg": null }));
    let mut policy = super::policy(&[&signers[0]], &json!({}));
    policy["providers"][0]["localJWKS"] = json!({ "inline": json!({ "keys": [key] }).to_string() });
    let filter = super::compile(&policy);
    for (at, signer) in signers.iter().enumerate() {
        let taken = super::decide(&filter, &super::bearer(&signer.token(&super::claims(&json!({}))))).is_ok();
        assert_eq!(taken, at == 0, "{}", signer.alg);
    }
}

#[test]
fn a_set_is_limited_and_strict() {
    let signer = Signer::ed(None);
    let many = |count: usize| Value::from(vec![signer.jwk(); count]);
    assert_eq!(parse(&many(100)), Ok(100));
    assert!(parse(&many(101)).is_err());
    assert!(parse(&json!([])).is_err());
    assert!(parse(&json!(["key"])).is_err());
    assert!(parse(&json!([{ "kty": "OKP", "kid": 1 }])).is_err());
    let jwk = signer.jwk().to_string();
    for text in [
        String::new(),
        "null".into(),
        "{}".into(),
        format!("[{jwk}]"),
        jwk.clone(),
        format!(r#"{{"keys":{jwk}}}"#),
        format!(r#"{{"keys":[{jwk}],"keys":[{jwk}]}}"#),
        format!(r#"{{"keys":[{}]}}"#, jwk.replacen('{', r#"{"kty":"OKP","#, 1)),
        format!(r#"{{"keys":[{jwk}]}} x"#),
        format!(r#"{{"keys":[{jwk}],"a":{}{}}}"#, "[".repeat(64), "]".repeat(64)),
        "<html>".into(),
    ] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let padded = |size: usize| {
        let text = format!(r#"{{"keys":[{jwk}]}}"#);
        text.clone() + &" ".repeat(size - text.len())
    };
    assert!(KeySet::parse(padded(1 << 20).as_bytes()).is_ok());
    assert!(KeySet::parse(padded((1 << 20) + 1).as_bytes()).is_err());
}

#[test]
fn sets_are_the_same_when_their_keys_are() {
    let (a, b) = (Signer::ed(Some("a")), Signer::ed(Some("b")));
    let set = |signers: &[&Signer]| KeySet::parse(super::signer::set(signers).as_bytes()).unwrap();
    assert_eq!(set(&[&a, &b]), set(&[&a, &b]));
    assert_ne!(set(&[&a]), set(&[&a, &b]));
    assert_ne!(set(&[&a]), set(&[&b]));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_a_set_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = KeySet::parse(&bytes);
    }

    #[test]
    fn no_members_make_reading_a_key_panic(kty in "RSA|EC|OKP|oct", crv in "P-256|P-384|Ed25519|x", x in "[A-Za-z0-9_-]{0,90}", n in "[A-Za-z0-9_-]{0,400}", e in "[A-Za-z0-9_-]{0,12}") {
        let _ = parse(&json!([{ "kty": kty, "crv": crv, "x": x, "y": x, "n": n, "e": e }]));
    }
}
