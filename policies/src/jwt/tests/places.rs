//! Where tokens are found, and what becomes of the request.

use serde_json::{Value, json};

use super::signer::{Signer, set};
use super::{Fault, Policy as _, Request, bearer, claims, compile, decide, filter, policy, request, run};

/// Valid for ever, as far as this machine's clock is concerned.
fn lasting(signer: &Signer, changes: &Value) -> String {
    let mut claims = claims(changes);
    claims["exp"] = 4_102_444_800_i64.into();
    signer.token(&claims)
}

fn target(target: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut req = Request::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in fields {
        req.append_header(*name, *value).unwrap();
    }
    req
}

fn field<'r>(req: &'r Request, name: &str) -> Vec<&'r str> {
    req.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn by_default_only_a_bearer_field_is_looked_at() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let token = signer.token(&claims(&json!({})));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(decide(&filter, &request(&[("authorization", &format!("{scheme} {token}"))])), Ok(1));
    }
    for (fields, want) in [
        (vec![("authorization", token.clone())], Fault::Missing),
        (vec![("authorization", format!("Bearer{token}"))], Fault::Missing),
        (vec![("authorization", format!("Token Bearer {token}"))], Fault::Missing),
        (vec![("authorization", format!("Bearer  {token}"))], Fault::Invalid),
        (
            vec![("authorization", format!("Bearer {token}")), ("authorization", format!("Bearer {token}"))],
            Fault::Ambiguous,
        ),
        (
            vec![("authorization", format!("Bearer {token}")), ("authorization", "Basic YTpi".into())],
            Fault::Ambiguous,
        ),
        (
            vec![("authorization", "Basic YTpi".into()), ("authorization", format!("Bearer {token}"))],
            Fault::Ambiguous,
        ),
        (vec![("cookie", format!("access_token={token}"))], Fault::Missing),
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(decide(&filter, &request(&fields)), Err(want), "{fields:?}");
    }
    assert_eq!(decide(&filter, &target(&format!("/?access_token={token}"), &[])), Err(Fault::Missing));
}

#[test]
fn a_token_is_found_in_each_place_and_refused_in_two() {
    let signer = Signer::ed(Some("k"));
    let places = json!({ "headers": [{ "name": "x-jwt" }, { "name": "authorization", "valuePrefix": "Token " }], "cookies": ["session"], "params": ["jwt"] });
    let filter = filter(&[&signer], &json!({ "extractFrom": places }));
    let t = signer.token(&claims(&json!({})));
    let cookie = |text: &str| text.replace('$', &t);
    for (path, fields) in [
        ("/".to_owned(), vec![("x-jwt", t.clone())]),
        ("/".into(), vec![("authorization", format!("token {t}"))]),
        ("/".into(), vec![("authorization", format!("Bearer {t}")), ("x-jwt", t.clone())]),
        ("/".into(), vec![("cookie", cookie("a=b; session=$; c=d"))]),
        ("/".into(), vec![("cookie", cookie("session=$")), ("cookie", "a=b".into())]),
        (format!("/?jwt={t}"), vec![]),
        (format!("/?a=b&jwt={t}&c=%20"), vec![]),
        (format!("/?jwtx=1&xjwt=2&jwt={t}"), vec![]),
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(decide(&filter, &target(&path, &fields)), Ok(1), "{path} {fields:?}");
    }
    for (path, fields) in [
        (format!("/?jwt={t}"), vec![("x-jwt", t.clone())]),
        ("/".into(), vec![("x-jwt", t.clone()), ("cookie", cookie("session=$"))]),
        ("/".into(), vec![("x-jwt", t.clone()), ("x-jwt", t.clone())]),
        (format!("/?jwt={t}&jwt={t}"), vec![]),
        (format!("/?jwt={t}&jwt=x"), vec![]),
        ("/".into(), vec![("cookie", cookie("session=$; session=x"))]),
        ("/".into(), vec![("cookie", cookie("session=$")), ("cookie", "session=x".into())]),
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(decide(&filter, &target(&path, &fields)), Err(Fault::Ambiguous), "{path} {fields:?}");
    }
    assert_eq!(decide(&filter, &target("/?jwt=", &[])), Err(Fault::Invalid));
}

#[test]
fn providers_with_places_of_their_own_take_a_token_each() {
    let (user, service) = (Signer::ed(Some("k")), Signer::es256(Some("k")));
    let provider = |name: &str, signer: &Signer, header: &str| json!({ "name": name, "issuer": name, "localJWKS": { "inline": set(&[signer]) }, "extractFrom": { "headers": [{ "name": header }] } });
    let filter = compile(
        &json!({ "providers": [provider("user", &user, "x-user"), provider("service", &service, "x-service")] }),
    );
    let (u, s) = (lasting(&user, &json!({ "iss": "user" })), lasting(&service, &json!({ "iss": "service" })));
    let mut req = request(&[("x-service", &s), ("x-user", &u)]);
    let (reply, ctx) = run(&filter, &mut req);
    assert_eq!(reply, None);
    let names: Vec<&str> = ctx.caller.tokens.iter().map(|token| &*token.provider).collect();
    assert_eq!(names, ["user", "service"], "in the order of providers, not of fields");
    for (fields, want) in [
        ([("x-user", u.as_str()), ("x-service", "bad")], Fault::Invalid),
        ([("x-user", u.as_str()), ("x-service", u.as_str())], Fault::Issuer),
        ([("x-user", s.as_str()), ("x-service", s.as_str())], Fault::Issuer),
    ] {
        assert_eq!(decide(&filter, &request(&fields)), Err(want), "{fields:?}");
    }
    assert_eq!(decide(&filter, &request(&[("x-service", &s)])), Ok(1));
}

#[test]
fn claims_become_fields_and_what_clients_send_of_them_goes() {
    let signer = Signer::ed(Some("k"));
    let headers = json!({ "claimToHeaders": [
        { "claim": "sub", "header": "X-User" },
        { "claim": "realm.roles", "header": "X-Roles" },
        { "claim": "realm", "header": "X-Realm" },
        { "claim": "age", "header": "X-Age" },
        { "claim": "admin", "header": "X-Admin" },
        { "claim": "verified", "header": "X-Verified" },
        { "claim": "a.b.c", "header": "X-Dotted" },
        { "claim": "nothing", "header": "X-Nothing" },
        { "claim": "missing.at.all", "header": "X-Missing" },
    ] });
    let filter = filter(&[&signer], &headers);
    let token = lasting(
        &signer,
        &json!({
            "sub": "ann", "realm": { "roles": ["a", "b"] }, "age": 41.5, "admin": false, "verified": true, "a.b": { "c": "dots" }, "nothing": null,
        }),
    );
    let mut req = bearer(&token);
    for name in ["x-user", "X-Roles", "x-nothing", "X-MISSING", "x-admin"] {
        req.append_header(name, "forged").unwrap();
        req.append_header(name, "twice").unwrap();
    }
    assert_eq!(run(&filter, &mut req).0, None);
    for (name, want) in [
        ("x-user", vec!["ann"]),
        ("x-roles", vec!["WyJhIiwiYiJd"]),
        ("x-realm", vec!["eyJyb2xlcyI6WyJhIiwiYiJdfQ"]),
        ("x-age", vec!["41.5"]),
        ("x-admin", vec!["false"]),
        ("x-verified", vec!["true"]),
        ("x-dotted", vec!["dots"]),
        ("x-nothing", vec![]),
        ("x-missing", vec![]),
    ] {
        assert_eq!(field(&req, name), want, "{name}");
    }
    req.map(|_, _| Ok(())).unwrap();
}

#[test]
fn what_clients_send_of_our_fields_goes_also_without_a_token_and_in_shadow() {
    let signer = Signer::ed(Some("k"));
    let mut policy =
        policy(&[&signer], &json!({ "claimToHeaders": [{ "claim": "sub", "header": "X-User" }] }));
    for (name, value) in [("requirement", json!("Optional")), ("mode", json!("Shadow"))] {
        policy[name] = value;
        for token in ["", "Bearer bad"] {
            let mut req = request(&[("x-user", "root"), ("authorization", token)]);
            let (_, ctx) = run(&compile(&policy), &mut req);
            assert_eq!(field(&req, "x-user"), Vec::<&str>::new(), "{policy} {token}");
            assert!(ctx.caller.tokens.is_empty());
        }
    }
}

/// A claim is text of somebody who registered with the issuer: it must not become two fields, or two values.
#[test]
fn claims_cannot_forge_fields_or_values() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({ "claimToHeaders": [{ "claim": "sub", "header": "X-User" }] }));
    for (claim, want) in [
        ("ann", "ann"),
        ("read write", "read write"),
        ("a\r\nx-admin: 1", "a%0D%0Ax-admin: 1"),
        ("a,b", "a%2Cb"),
        ("100%", "100%25"),
        ("Zo\u{eb}", "Zo%C3%AB"),
        (" ann  ", "%20ann%20%20"),
        ("  ", "%20%20"),
        ("\0\t", "%00%09"),
        ("", ""),
    ] {
        let mut req = bearer(&lasting(&signer, &json!({ "sub": claim })));
        assert_eq!(run(&filter, &mut req).0, None);
        assert_eq!(field(&req, "x-user"), [want]);
    }
}

#[test]
fn a_token_can_be_taken_away_before_it_is_forwarded() {
    let signer = Signer::ed(Some("k"));
    let places = json!({ "headers": [{ "name": "authorization", "valuePrefix": "Bearer " }], "cookies": ["s"], "params": ["jwt"] });
    let token = lasting(&signer, &json!({}));
    let strips = |strips: bool| filter(&[&signer], &json!({ "stripToken": strips, "extractFrom": places }));

    let mut req = bearer(&token);
    assert_eq!(run(&strips(false), &mut req).0, None);
    assert_eq!(field(&req, "authorization").len(), 1);
    assert_eq!(run(&strips(true), &mut req).0, None);
    assert_eq!(field(&req, "authorization").len(), 0);

    let mut req = request(&[("authorization", "Basic YTpi"), ("cookie", &format!("a=b; s={token};c=d"))]);
    assert_eq!(run(&strips(true), &mut req).0, None);
    assert_eq!(field(&req, "cookie"), ["a=b; c=d"]);
    assert_eq!(field(&req, "authorization"), ["Basic YTpi"]);
    let mut req = request(&[("cookie", &format!("; a=b;; s={token};"))]);
    assert_eq!(run(&strips(true), &mut req).0, None);
    assert_eq!(field(&req, "cookie"), ["a=b"]);
    let mut req = request(&[("cookie", &format!("s={token}"))]);
    assert_eq!(run(&strips(true), &mut req).0, None);
    assert_eq!(field(&req, "cookie").len(), 0);

    for (before, after) in [("/p?a=b&jwt=$&c=d", "/p?a=b&c=d"), ("/p?jwt=$", "/p")] {
        let mut req = target(&before.replace('$', &token), &[]);
        assert_eq!(run(&strips(true), &mut req).0, None);
        assert_eq!(req.uri, after);
    }
}

#[test]
fn answers_say_that_a_token_is_wanted_and_no_more() {
    let signer = Signer::ed(Some("k"));
    let filter = filter(&[&signer], &json!({ "audiences": ["us"] }));
    let token = |changes: Value| lasting(&signer, &changes);
    for (fields, reason, challenge) in [
        (vec![], "jwt_missing", "Bearer"),
        (vec!["x".to_owned()], "jwt_invalid", "Bearer error=\"invalid_token\""),
        (vec!["x".to_owned(), "y".to_owned()], "jwt_invalid", "Bearer error=\"invalid_request\""),
        (
            vec![signer.token(&json!({ "iss": super::ISSUER, "aud": "us", "exp": 1 }))],
            "jwt_expired",
            "Bearer error=\"invalid_token\"",
        ),
        (vec![token(json!({ "aud": "them" }))], "jwt_audience", "Bearer error=\"invalid_token\""),
        (vec![token(json!({ "aud": "us", "iss": "x" }))], "jwt_issuer", "Bearer error=\"invalid_token\""),
    ] {
        let fields: Vec<_> = fields.iter().map(|token| format!("Bearer {token}")).collect();
        let fields: Vec<_> = fields.iter().map(|value| ("authorization", value.as_str())).collect();
        let reply = run(&filter, &mut request(&fields)).0.unwrap();
        assert_eq!((reply.status.as_u16(), reply.reason), (401, reason));
        assert_eq!(reply.headers, [(http::header::WWW_AUTHENTICATE, challenge.parse().unwrap())]);
        assert!(reply.body.is_empty());
    }
}

#[test]
fn names_of_places_and_what_stands_before_a_token_are_as_long_as_they_may_be() {
    let signer = Signer::ed(Some("k"));
    let read = |places: Value| {
        let policy = policy(&[&signer], &json!({ "extractFrom": places }));
        let policy: super::Jwt = serde_json::from_value(policy).unwrap();
        policy.compile(&super::World::default())
    };
    let prefix =
        |length: usize| read(json!({ "headers": [{ "name": "x-jwt", "valuePrefix": "p".repeat(length) }] }));
    assert!(prefix(64).is_ok() && prefix(65).is_err());
    for list in ["cookies", "params"] {
        let name = |length: usize| read(json!({ list: ["n".repeat(length)] }));
        assert!(name(1).is_ok() && name(128).is_ok());
        assert!(name(0).is_err() && name(129).is_err());
    }
}

#[test]
fn callers_are_told_in_the_order_of_providers_and_the_first_ones_claim_counts() {
    let signers = [Signer::ed(Some("one")), Signer::ed(Some("two")), Signer::ed(Some("three"))];
    let provider = |at: usize, header: &str| {
        let name = ["one", "two", "three"][at];
        json!({
            "name": name, "issuer": name, "localJWKS": { "inline": set(&[&signers[at]]) },
            "extractFrom": { "headers": [{ "name": header }] },
            "claimToHeaders": [{ "claim": "sub", "header": "X-User" }],
        })
    };
    // The first place is that of two of them.
    let providers = [provider(0, "x-a"), provider(1, "x-b"), provider(2, "x-a")];
    let filter = compile(&json!({ "providers": providers }));
    let token = |at: usize, name: &str| lasting(&signers[at], &json!({ "iss": name, "sub": name }));
    let (two, three) = (token(1, "two"), token(2, "three"));
    let mut req = request(&[("x-a", &three), ("x-b", &two)]);
    let (reply, ctx) = run(&filter, &mut req);
    assert_eq!(reply, None);
    let names: Vec<&str> = ctx.caller.tokens.iter().map(|token| &*token.provider).collect();
    assert_eq!(names, ["two", "three"]);
    assert_eq!(field(&req, "x-user"), ["two"]);
}
