//! The filter against a naive reading of the same rules, on random claims and times.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::signer::Signer;
use super::{ISSUER, NOW, bearer, filter};

/// What the rules say, one after the other, of claims that a valid signature covers.
fn naive(claims: &Value, audiences: &[&str], skew: i64, longest: Option<i64>, now: i64) -> bool {
    let whole = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(Value::Number(number)) => number.as_i64().filter(|n| *n >= 0).map(Some),
        Some(_) => None,
    };
    let (Some(Some(exp)), Some(nbf), Some(iat)) = (whole("exp"), whole("nbf"), whole("iat")) else {
        return false;
    };
    let aud: Vec<&str> = match claims.get("aud") {
        None => vec![],
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect()
        }
        Some(_) => return false,
    };
    claims["iss"] == ISSUER
        && (audiences.is_empty() || audiences.iter().any(|one| aud.contains(one)))
        && now < exp + skew
        && nbf.is_none_or(|nbf| nbf <= now + skew)
        && iat.is_none_or(|iat| iat <= now + skew)
        && longest.is_none_or(|longest| iat.is_some_and(|iat| exp - iat <= longest))
}

fn time() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        6 => (NOW - 100..NOW + 100).prop_map(|at| Some(json!(at))),
        1 => Just(Some(json!("1"))),
        1 => Just(Some(json!(-1))),
        1 => Just(Some(json!(1.5e9))),
    ]
}

fn audience() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(json!("us"))),
        Just(Some(json!("them"))),
        Just(Some(json!(["them", "us"]))),
        Just(Some(json!(["us", 1]))),
        Just(Some(json!([]))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_token_is_taken_exactly_when_the_rules_say_so(
        exp in time(), nbf in time(), iat in time(), aud in audience(), right in prop::bool::weighted(0.9),
        checks in any::<bool>(), skew in 0i64..=60, longest in proptest::option::of(1i64..200), now in NOW - 100..NOW + 100,
    ) {
        let signer = Signer::ed(Some("k"));
        let mut claims = json!({ "iss": if right { ISSUER } else { "other" } });
        for (name, value) in [("exp", exp), ("nbf", nbf), ("iat", iat), ("aud", aud)] {
            if let Some(value) = value {
                claims[name] = value;
            }
        }
        let audiences: &[&str] = if checks { &["us", "you"] } else { &[] };
        let mut extra = json!({ "audiences": audiences, "clockSkew": format!("{skew}s") });
        if let Some(longest) = longest {
            extra["maxLifetime"] = format!("{longest}s").into();
        }
        let filter = filter(&[&signer], &extra);
        let want = naive(&claims, audiences, skew, longest, now);
        let req = bearer(&signer.token(&claims));
        // Twice: the second time it may come from the cache.
        for _ in 0..2 {
            prop_assert_eq!(filter.admit(&req, None, now).is_ok(), want, "{} at {}", claims, now);
        }
    }

    #[test]
    fn no_field_makes_the_filter_panic(token in "[A-Za-z0-9._=,; -]{0,80}", cookie in "[a-z=;, ]{0,40}", query in "[a-z=&]{0,40}") {
        let signer = Signer::ed(Some("k"));
        let filter = filter(&[&signer], &json!({ "extractFrom": { "headers": [{ "name": "authorization", "valuePrefix": "Bearer " }], "cookies": ["a"], "params": ["b"] }, "stripToken": true }));
        let mut req = super::request(&[("authorization", &format!("Bearer {token}")), ("cookie", &cookie)]);
        req.set_uri(format!("/?{query}").parse().unwrap());
        prop_assert!(super::run(&filter, &mut req).0.is_some());
    }
}
