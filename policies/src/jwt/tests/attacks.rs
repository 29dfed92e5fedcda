//! Tokens that must not be taken, and those just beside them that must (RFC 8725; the table of
//! `docs/jwt.md`).

use ring::hmac;
use serde_json::{Value, json};

use super::super::alg::{Alg, PublicKey};
use super::super::jws::{decode, encode};
use super::signer::{Signer, set};
use super::{Fault, ISSUER, NOW, bearer, claims, compile, decide, filter, request};

/// Parts of a token.
fn parts(token: &str) -> (&str, &str, &str) {
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (head, payload) = rest.split_once('.').unwrap();
    (head, payload, signature)
}

fn with_head(signer: &Signer, changes: &Value) -> String {
    let mut head = signer.head();
    for (name, value) in changes.as_object().unwrap() {
        head[name] = value.clone();
    }
    signer.sign(&head.to_string(), &claims(&json!({})).to_string())
}

#[test]
fn each_accepted_algorithm_verifies_its_own_tokens_and_no_others() {
    let all: Vec<Signer> = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        .map(|alg| Signer::rsa(alg, Some("k")))
        .into_iter()
        .chain([Signer::es256(Some("k")), Signer::es384(Some("k")), Signer::ed(Some("k"))])
        .collect();
    for (at, holder) in all.iter().enumerate() {
        let filter = filter(&[holder], &json!({}));
        for (other, signer) in all.iter().enumerate() {
            let want = if at == other { Ok(1) } else { Err(Fault::Invalid) };
            let token = signer.token(&claims(&json!({})));
            assert_eq!(decide(&filter, &bearer(&token)), want, "{} by a key of {}", signer.alg, holder.alg);
        }
    }
}

#[test]
fn a_key_verifies_nothing_by_an_algorithm_that_is_not_of_its_kind() {
    let rsa = PublicKey::Rsa { n: vec![1; 256].into(), e: vec![1, 0, 1].into() };
    let point = PublicKey::Point(vec![4; 65].into());
    assert!(!rsa.verifies(Alg::Es256, b"message", b"signature"));
    assert!(!point.verifies(Alg::Rs256, b"message", b"signature"));
}

/// The signature is the key's, and the header says that it is by something else.
#[test]
fn a_token_that_names_another_algorithm_than_its_keys_is_refused() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    assert_eq!(decide(&filter, &bearer(&with_head(&signer, &json!({ "alg": "ES256" })))), Ok(1));
    for alg in ["ES384", "RS256", "EdDSA"] {
        let token = with_head(&signer, &json!({ "alg": alg }));
        assert_eq!(decide(&filter, &bearer(&token)), Err(Fault::Invalid), "{alg}");
    }
}

#[test]
fn json_is_read_as_it_is_written() {
    let text = r#"{"a":[-1,0,18446744073709551615,1.5,null,true,"b",{}]}"#;
    let read = super::super::json::object(text.as_bytes()).unwrap();
    assert_eq!(Value::Object(read).to_string(), text);
}

#[test]
fn an_unsigned_token_is_none() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let token = signer.token(&claims(&json!({})));
    let (head, payload, signature) = parts(&token);
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        let head = encode(json!({ "alg": alg, "kid": "k" }).to_string().as_bytes());
        for end in ["", signature] {
            assert_eq!(
                decide(&filter, &bearer(&format!("{head}.{payload}.{end}"))),
                Err(Fault::Invalid),
                "{alg}"
            );
        }
        assert_eq!(decide(&filter, &bearer(&format!("{head}.{payload}"))), Err(Fault::Invalid), "{alg}");
    }
    assert_eq!(decide(&filter, &bearer(&format!("{head}.{payload}."))), Err(Fault::Invalid), "stripped");
    assert_eq!(decide(&filter, &bearer(&format!("{head}.{payload}"))), Err(Fault::Invalid), "stripped");
}

/// Whoever knows a public key can compute these.
#[test]
fn a_public_key_is_no_hmac_secret() {
    for signer in [Signer::rsa("RS256", Some("k")), Signer::es256(Some("k"))] {
        let filter = filter(&[&signer], &json!({}));
        let jwk = signer.jwk();
        let member = |name: &str| jwk[name].as_str().and_then(decode).unwrap_or_default();
        let secrets = [
            jwk.to_string().into_bytes(),
            member("n"),
            [vec![4], member("x"), member("y")].concat(),
            set(&[&signer]).into_bytes(),
        ];
        for (alg, hash) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            for secret in &secrets {
                let head = encode(json!({ "alg": alg, "kid": "k" }).to_string().as_bytes());
                let message = format!("{head}.{}", encode(claims(&json!({})).to_string().as_bytes()));
                let tag = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
                let token = format!("{message}.{}", encode(tag.as_ref()));
                assert_eq!(decide(&filter, &bearer(&token)), Err(Fault::Invalid), "{alg}");
            }
        }
    }
}

/// The key in the token is the attacker's; the address would be fetched by nobody: there is nothing here that could.
#[test]
fn keys_a_token_brings_or_points_at_are_ignored() {
    let (signer, attacker) = (Signer::es256(Some("k")), Signer::es256(Some("k")));
    let filter = filter(&[&signer], &json!({}));
    for extra in [
        json!({ "jwk": attacker.jwk() }),
        json!({ "jku": "https://attacker.test/keys" }),
        json!({ "x5u": "file:///etc/passwd" }),
        json!({ "x5c": ["MIIB"] }),
    ] {
        assert_eq!(decide(&filter, &bearer(&with_head(&attacker, &extra))), Err(Fault::Invalid), "{extra}");
        assert_eq!(decide(&filter, &bearer(&with_head(&signer, &extra))), Ok(1), "{extra}");
    }
}

#[test]
fn a_key_id_is_looked_up_exactly() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let long = "k".repeat(7000);
    for kid in ["../../etc/passwd", "' OR 1=1 --", "K", "k ", "", "k\0", &long] {
        let found = decide(&filter, &bearer(&with_head(&signer, &json!({ "kid": kid }))));
        assert!(matches!(found, Err(Fault::UnknownKey | Fault::Invalid)), "{kid:?}: {found:?}");
    }
    for kid in [json!(1), json!(null), json!(["k"]), json!({})] {
        assert_eq!(
            decide(&filter, &bearer(&with_head(&signer, &json!({ "kid": kid })))),
            Err(Fault::Invalid)
        );
    }
}

#[test]
fn without_a_key_id_one_key_must_be_meant() {
    let (first, second, other) = (Signer::ed(Some("a")), Signer::ed(Some("b")), Signer::es256(Some("c")));
    let nameless = |signer: &Signer| {
        signer.sign(&json!({ "alg": signer.alg }).to_string(), &claims(&json!({})).to_string())
    };
    let several = filter(&[&first, &second, &other], &json!({}));
    assert_eq!(decide(&several, &bearer(&nameless(&first))), Err(Fault::Invalid), "two suit");
    assert_eq!(decide(&several, &bearer(&nameless(&other))), Ok(1), "one of its kind");
    let one = filter(&[&first], &json!({}));
    assert_eq!(decide(&one, &bearer(&nameless(&first))), Ok(1));
    // The key may have been replaced.
    assert_eq!(decide(&one, &bearer(&nameless(&second))), Err(Fault::UnknownKey));
}

#[test]
fn what_a_header_asks_for_and_we_do_not_do_is_refused() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    for extra in [
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "crit": [] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A128GCM" }),
        json!({ "alg": "RSA-OAEP", "enc": "A128GCM" }),
    ] {
        assert_eq!(decide(&filter, &bearer(&with_head(&signer, &extra))), Err(Fault::Invalid), "{extra}");
    }
    assert_eq!(decide(&filter, &bearer(&with_head(&signer, &json!({ "typ": "at+jwt", "cty": "x" })))), Ok(1));
}

#[test]
fn a_name_twice_is_refused_at_every_depth() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let good = claims(&json!({})).to_string();
    let head = signer.head().to_string();
    let exp = NOW + 300;
    for (head, payload) in [
        (r#"{"alg":"EdDSA","alg":"EdDSA","kid":"k"}"#.to_owned(), good.clone()),
        (r#"{"alg":"none","kid":"k","alg":"EdDSA"}"#.to_owned(), good.clone()),
        (r#"{"alg":"EdDSA","kid":"x","kid":"k"}"#.to_owned(), good.clone()),
        (head.clone(), format!(r#"{{"iss":"{ISSUER}","sub":"ann","sub":"bob","exp":{exp}}}"#)),
        (head.clone(), format!(r#"{{"iss":"{ISSUER}","s\u0075b":"ann","sub":"bob","exp":{exp}}}"#)),
        (head.clone(), format!(r#"{{"iss":"{ISSUER}","exp":{exp},"a":[{{"b":1,"b":2}}]}}"#)),
        (head.clone(), good.clone() + " x"),
        (head.clone(), good.clone() + "{}"),
        (head.clone(), format!("[{good}]")),
        (head.clone(), "\"text\"".to_owned()),
        (head.clone(), String::new()),
        (head.clone(), format!("\u{feff}{good}")),
        (head.clone(), good.replace("\"ann\"", r#""\ud800""#)),
        ("[]".to_owned(), good.clone()),
        (format!("{head}{head}"), good.clone()),
        // Nested: what is signed is a token again.
        (head.clone(), signer.token(&claims(&json!({})))),
    ] {
        assert_eq!(
            decide(&filter, &bearer(&signer.sign(&head, &payload))),
            Err(Fault::Invalid),
            "{head} {payload}"
        );
    }
    assert_eq!(decide(&filter, &bearer(&signer.sign(&head, &good))), Ok(1));
    assert_eq!(
        decide(&filter, &bearer(&signer.sign(&head, &format!(" {good}\n")))),
        Ok(1),
        "white space is JSON's"
    );
}

#[test]
fn json_is_nested_64_levels_deep_at_most() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let deep = |levels: usize| {
        let exp = NOW + 300;
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"iss":"{ISSUER}","exp":{exp},"a":{open}{close}}}"#)
    };
    let head = signer.head().to_string();
    assert_eq!(decide(&filter, &bearer(&signer.sign(&head, &deep(63)))), Ok(1));
    for levels in [64, 127, 128, 2500] {
        assert_eq!(
            decide(&filter, &bearer(&signer.sign(&head, &deep(levels)))),
            Err(Fault::Invalid),
            "{levels}"
        );
    }
}

#[test]
fn times_are_whole_seconds_and_a_minute_may_be_off() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let invalid = Err(Fault::Invalid);
    for (changes, want) in [
        (json!({ "exp": NOW - 59 }), Ok(1)),
        (json!({ "exp": NOW - 60 }), Err(Fault::Expired)),
        (json!({ "exp": 0 }), Err(Fault::Expired)),
        (json!({ "exp": null }), invalid),
        (json!({ "exp": i64::MAX }), Ok(1)),
        (json!({ "exp": u64::MAX }), invalid),
        (json!({ "exp": -1 }), invalid),
        (json!({ "exp": 1.9e9 }), invalid),
        (json!({ "exp": (NOW + 300).to_string() }), invalid),
        (json!({ "exp": [NOW + 300] }), invalid),
        (json!({ "exp": true }), invalid),
        (json!({ "nbf": NOW + 60 }), Ok(1)),
        (json!({ "nbf": NOW + 61 }), invalid),
        (json!({ "nbf": "0" }), invalid),
        (json!({ "nbf": 0.5 }), invalid),
        (json!({ "iat": NOW + 60 }), Ok(1)),
        (json!({ "iat": NOW + 61 }), invalid),
        (json!({ "iat": -5 }), invalid),
    ] {
        assert_eq!(decide(&filter, &bearer(&signer.token(&claims(&changes)))), want, "{changes}");
    }
    let payload = format!(r#"{{"iss":"{ISSUER}","exp":1e400}}"#);
    assert_eq!(decide(&filter, &bearer(&signer.sign(&signer.head().to_string(), &payload))), invalid);
}

#[test]
fn clock_skew_and_lifetime_are_the_policys() {
    let signer = Signer::ed(Some("k"));
    let strict = filter(&[&signer], &json!({ "clockSkew": "0s", "maxLifetime": "1h" }));
    for (changes, want) in [
        (json!({ "iat": NOW, "exp": NOW + 3600 }), Ok(1)),
        (json!({ "iat": NOW, "exp": NOW + 3601 }), Err(Fault::Invalid)),
        (json!({ "exp": NOW + 10 }), Err(Fault::Invalid)),
        (json!({ "iat": NOW - 10, "exp": NOW }), Err(Fault::Expired)),
        (json!({ "iat": NOW - 10, "exp": NOW + 1 }), Ok(1)),
        (json!({ "iat": NOW + 1, "exp": NOW + 2 }), Err(Fault::Invalid)),
    ] {
        assert_eq!(decide(&strict, &bearer(&signer.token(&claims(&changes)))), want, "{changes}");
    }
}

#[test]
fn issuer_and_audience_are_compared_byte_for_byte() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({ "audiences": ["shop", "https://api.test"] }));
    for (changes, want) in [
        (json!({ "aud": "shop" }), Ok(1)),
        (json!({ "aud": ["x", "https://api.test"] }), Ok(1)),
        (json!({}), Err(Fault::Audience)),
        (json!({ "aud": [] }), Err(Fault::Audience)),
        (json!({ "aud": "" }), Err(Fault::Audience)),
        (json!({ "aud": "Shop" }), Err(Fault::Audience)),
        (json!({ "aud": "shop " }), Err(Fault::Audience)),
        (json!({ "aud": "https://api.test/" }), Err(Fault::Audience)),
        (json!({ "aud": ["shop", 1] }), Err(Fault::Invalid)),
        (json!({ "aud": 1 }), Err(Fault::Invalid)),
        (json!({ "aud": { "shop": true } }), Err(Fault::Invalid)),
        (json!({ "aud": "shop", "iss": "https://issuer.test/" }), Err(Fault::Issuer)),
        (json!({ "aud": "shop", "iss": "https://Issuer.test" }), Err(Fault::Issuer)),
        (json!({ "aud": "shop", "iss": null }), Err(Fault::Issuer)),
        (json!({ "aud": "shop", "iss": [ISSUER] }), Err(Fault::Issuer)),
    ] {
        assert_eq!(decide(&filter, &bearer(&signer.token(&claims(&changes)))), want, "{changes}");
    }
}

/// Each issuer's keys sign for it alone, also when a token of the other was verified before.
#[test]
fn an_issuers_keys_verify_no_other_issuers_tokens() {
    let (ours, theirs) = (Signer::ed(Some("k")), Signer::ed(Some("k")));
    let provider = |name: &str, issuer: &str, signer: &Signer| json!({ "name": name, "issuer": issuer, "localJWKS": { "inline": set(&[signer]) } });
    let filter = compile(&json!({ "providers": [provider("a", "A", &ours), provider("b", "B", &theirs)] }));
    for _ in 0..2 {
        for (issuer, signer, want) in [
            ("A", &ours, Ok(1)),
            ("B", &theirs, Ok(1)),
            ("A", &theirs, Err(Fault::Invalid)),
            ("B", &ours, Err(Fault::Invalid)),
            ("C", &ours, Err(Fault::Issuer)),
        ] {
            assert_eq!(
                decide(&filter, &bearer(&signer.token(&claims(&json!({ "iss": issuer }))))),
                want,
                "{issuer}"
            );
        }
    }
}

#[test]
fn a_token_has_three_parts_in_canonical_base64url_and_8_kib_at_most() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let token = signer.token(&claims(&json!({})));
    let (head, payload, signature) = parts(&token);
    // Signatures of 64 bytes end in a character with four unused bits.
    let last = signature.chars().last().unwrap();
    let sibling = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars();
    let sibling = sibling.clone().nth(sibling.clone().position(|c| c == last).unwrap() + 1).unwrap();
    let mut bent = signature.to_owned();
    bent.pop();
    bent.push(sibling);
    for wrong in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}.{signature}.{signature}"),
        format!("{head}.{payload}.{bent}"),
        format!("{head}.{payload}.{signature}=="),
        format!("{head}=.{payload}.{signature}"),
        format!("{head}.{payload} .{signature}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{head}.{payload}.{}", signature.replace(['-', '_'], "+")) + "/",
        format!("\"{token}\""),
        format!("{token}, Bearer {token}"),
        ".".repeat(100),
        "a.".repeat(50),
    ] {
        assert_eq!(decide(&filter, &bearer(&wrong)), Err(Fault::Invalid), "{wrong:?}");
    }
    let padded = |length: usize| {
        let bare = signer.token(&claims(&json!({ "pad": "" }))).len();
        let mut pad = (length - bare) * 3 / 4;
        loop {
            let token = signer.token(&claims(&json!({ "pad": "x".repeat(pad) })));
            if token.len() <= length {
                return token;
            }
            pad -= 1;
        }
    };
    assert_eq!(decide(&filter, &bearer(&padded(8192))), Ok(1));
    assert_eq!(decide(&filter, &bearer(&padded(8192 + 4))), Err(Fault::Invalid));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    for signer in [Signer::ed(Some("k")), Signer::es256(Some("k")), Signer::rsa("PS256", Some("k"))] {
        let filter = filter(&[&signer], &json!({}));
        let token = signer.token(&claims(&json!({})));
        assert_eq!(decide(&filter, &bearer(&token)), Ok(1));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            if changed != token {
                assert!(decide(&filter, &bearer(&changed)).is_err(), "{} at {at}", signer.alg);
            }
        }
    }
}

#[test]
fn a_revoked_token_is_refused_though_it_was_verified() {
    let signer = Signer::ed(Some("k"));
    let mut policy = super::policy(&[&signer], &json!({}));
    let token = |jti: &str| signer.token(&claims(&json!({ "jti": jti })));
    assert_eq!(decide(&compile(&policy), &bearer(&token("one"))), Ok(1));
    policy["revocation"] = json!([{ "jtis": ["one"] }]);
    let filter = compile(&policy);
    for _ in 0..2 {
        assert_eq!(decide(&filter, &bearer(&token("one"))), Err(Fault::Revoked));
        assert_eq!(decide(&filter, &bearer(&token("two"))), Ok(1));
    }
    assert_eq!(decide(&filter, &bearer(&signer.token(&claims(&json!({ "jti": 1 }))))), Err(Fault::Invalid));
}

#[test]
fn no_token_is_missing_unless_it_is_optional_and_a_bad_one_never_passes() {
    let signer = Signer::ed(Some("k"));
    let mut policy = super::policy(&[&signer], &json!({}));
    assert_eq!(decide(&compile(&policy), &request(&[])), Err(Fault::Missing));
    assert_eq!(decide(&compile(&policy), &request(&[("authorization", "Basic YTpi")])), Err(Fault::Missing));
    policy["optional"] = true.into();
    let filter = compile(&policy);
    assert_eq!(decide(&filter, &request(&[])), Ok(0));
    assert_eq!(decide(&filter, &bearer("x")), Err(Fault::Invalid));
    assert_eq!(decide(&filter, &bearer("")), Err(Fault::Invalid));
}
