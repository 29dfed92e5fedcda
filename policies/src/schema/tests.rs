//! The schema refuses nothing that compiles: whatever becomes of a form by a few wrong keys, if a policy with it compiles, the
//! form's pattern takes it. What schemas refuse, an API server is asked about (`conformance/checks`).

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::{BackendRef, Lookup, Material, ObjectRef, Parts as _, SecuritySet, Upstream};

/// Whatever is asked for is there.
#[derive(Debug)]
struct All;

impl Upstream for All {
    fn name(&self) -> &'static str {
        "demo/it:80"
    }
}

impl Lookup for All {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        Some(Arc::new(Self))
    }

    fn material(&self, _: &ObjectRef) -> Option<Arc<Material>> {
        Some(Arc::new(Material(BTreeMap::from([(
            ".htpasswd".to_owned(),
            "a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(),
        )]))))
    }
}

/// A form, good texts of it, and a policy that says such a text.
type Row = (&'static str, &'static [&'static str], fn(&str) -> Value);

fn rule_with(part: &str, fields: &Value) -> Value {
    json!({ "authorization": { "rules": [{ "action": "Allow", part: fields }] } })
}

fn provider_with(field: &str, value: &Value) -> Value {
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43) });
    let keys = json!({ "inline": json!({ "keys": [key] }).to_string() });
    let mut provider = json!({ "name": "a", "issuer": "i", "localJWKS": keys });
    if field == "remoteJWKS" {
        provider["localJWKS"] = Value::Null;
    }
    provider[field] = value.clone();
    json!({ "jwt": { "providers": [provider] } })
}

const ROWS: &[Row] = &[
    ("DURATION_FORM", &["10s", "1h2m3s4ms", "99999h"], |text| provider_with("maxLifetime", &json!(text))),
    ("TOKEN", &["x-tenant", "!#$%&'*+-.^_`|~", "*"], |text| json!({ "cors": { "exposeHeaders": [text] } })),
    ("COOKIE", &["session", "__Host-a.b"], |text| {
        provider_with("extractFrom", &json!({ "cookies": [text], "params": [text] }))
    }),
    ("FIELD_VALUE", &["", "a b\tc", "\"~\""], |text| {
        rule_with("principal", &json!({ "headers": [{ "name": "x", "values": [text] }] }))
    }),
    ("VALUE_PREFIX", &["Bearer ", "", "~"], |text| {
        provider_with("extractFrom", &json!({ "headers": [{ "name": "x", "valuePrefix": text }] }))
    }),
    (
        "REALM",
        &["the shop", "", "~[]"],
        |text| json!({ "basicAuth": { "users": { "kind": "Secret", "name": "s" }, "realm": text } }),
    ),
    ("METHOD", &["GET", "M-SEARCH"], |text| rule_with("operation", &json!({ "methods": [text] }))),
    (
        "ORIGIN",
        &["*", "https://*", "hTTp://*.a_b.test:8080", "https://[::1]", "http://a:00080"],
        |text| json!({ "csrf": { "additionalOrigins": [text] } }),
    ),
    (
        "CIDR",
        &["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::ffff:192.0.2.1/128", "::/0"],
        |text| json!({ "ipAllowList": { "cidrs": [text] } }),
    ),
    ("ADDRESS", &["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "::"], |text| {
        rule_with("principal", &json!({ "certificates": { "ipAddresses": [text] } }))
    }),
    ("OBJECT_NAME", &["shop", "a.b-c.d9"], |text| rule_with("principal", &json!({ "namespaces": [text] }))),
    ("OBJECT_NAME_OR_ANY", &["*", "bff", "a.b"], |text| {
        rule_with("principal", &json!({ "serviceAccounts": [{ "namespace": "n", "name": text }] }))
    }),
    ("HOST", &["shop.example.com", "*.example.com", "a"], |text| {
        rule_with("operation", &json!({ "hosts": [text] }))
    }),
    (
        "SPIFFE",
        &["spiffe://td", "spiffe://a-b_c.9/ns/web/sa/B", "spiffe://td/ns/*", "spiffe://td/*"],
        |text| rule_with("principal", &json!({ "spiffe": [text] })),
    ),
    ("SHA256_BASE64", &["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="], |text| {
        rule_with("principal", &json!({ "certificates": { "spkiHashes": [text] } }))
    }),
    (
        "SHA256_HEX",
        &[
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852B855",
            "e3:b0:c4:42:98:fc:1c:14:9a:fb:f4:c8:99:6f:b9:24:27:ae:41:e4:64:9b:93:4c:a4:95:99:1b:78:52:B8:55",
        ],
        |text| rule_with("principal", &json!({ "certificates": { "certificateHashes": [text] } })),
    ),
    ("SCOPE", &["orders:read", "!#[]~"], |text| {
        rule_with("principal", &json!({ "jwt": { "provider": "p", "scopes": [text] } }))
    }),
    ("CLAIM_PATH", &["realm_access.roles", r"a\.b\\.c", "a.b.c.d.e.f.g.h"], |text| {
        rule_with(
            "principal",
            &json!({ "jwt": { "provider": "p", "claims": [{ "name": text, "values": ["v"] }] } }),
        )
    }),
    ("CLAIM_NAMES", &["sub", "realm.roles", "https://a/b"], |text| {
        provider_with("claimToHeaders", &json!([{ "claim": text, "header": "x" }]))
    }),
    ("PATH", &["/", "/users/", "/users/{id}/**", "/**", "/a%20b/c", "/{id}"], |text| {
        let paths: Vec<Value> = ["PathPrefix", "Exact", "Template"]
            .into_iter()
            .map(|kind| json!({ "type": kind, "value": text }))
            .filter(|path| compiles(&rule_with("operation", &json!({ "paths": [path] }))))
            .collect();
        rule_with("operation", &json!({ "paths": paths }))
    }),
    ("PATH_PREFIX", &["", "/check", "/a/b/"], |text| {
        let http = json!({ "backendRef": { "name": "s", "port": 80 }, "path": text });
        json!({ "extAuth": { "http": http } })
    }),
    ("GRPC_SERVICE", &["shop.Cart", "_A.b9"], |text| {
        rule_with("operation", &json!({ "grpc": [{ "service": text }] }))
    }),
    ("GRPC_METHOD", &["GetItem", "_9"], |text| {
        rule_with("operation", &json!({ "grpc": [{ "service": "S", "method": text }] }))
    }),
    (
        "RULE_NAME",
        &["orders, but not all"],
        |text| json!({ "authorization": { "rules": [{ "name": text, "action": "Deny", "operation": { "methods": ["GET"] } }] } }),
    ),
    (
        "JWKS_URI",
        &["https://a.test/keys?x", "http://a.test:80", "https://[::1]:443/", "https://a?b"],
        |text| {
            provider_with("remoteJWKS", &json!({ "uri": text, "backendRef": { "name": "s", "port": 80 } }))
        },
    ),
];

fn compiles(policy: &Value) -> bool {
    let set = serde_json::from_value::<SecuritySet>(policy.clone());
    set.is_ok_and(|set| set.compile(&All).is_ok())
}

fn pattern(name: &str) -> Regex {
    let (_, form) = FORMS.iter().find(|(known, _)| *known == name).unwrap();
    Regex::new(form.pattern).unwrap()
}

/// A text after a few wrong keys: where, whether a character goes, and which comes.
fn spoilt(text: &str, keys: &[(prop::sample::Index, bool, Option<char>)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, goes, comes) in keys {
        let at = at.index(text.len() + 1);
        if *goes && at < text.len() {
            text.remove(at);
        }
        if let Some(comes) = comes {
            text.insert(at.min(text.len()), *comes);
        }
    }
    text.into_iter().collect()
}

#[test]
fn every_form_has_good_texts_that_compile_and_that_its_pattern_takes() {
    for (name, _) in FORMS {
        // Whether there is such a namespace is asked for, not how it is written.
        let is_covered = *name == "NAMESPACE" || ROWS.iter().any(|(row, ..)| row == name);
        assert!(is_covered, "{name}");
    }
    for (name, texts, policy) in ROWS {
        for text in *texts {
            assert!(compiles(&policy(text)), "{name} {text:?}");
            assert!(pattern(name).is_match(text), "{name} {text:?}");
        }
        assert!(!pattern(name).is_match("\u{1}.."), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_compiles_is_not_refused_by_its_form(
        row in prop::sample::select(ROWS),
        which in any::<prop::sample::Index>(),
        keys in prop::collection::vec((
            any::<prop::sample::Index>(),
            any::<bool>(),
            prop::option::of(prop::sample::select(
                "aZ09-_.:/*[]{}<>()%?#@ \t\"'`\\|~!$^&+=,;\u{e9}\u{7f}\u{1}\u{2028}".chars().collect::<Vec<_>>(),
            )),
        ), 0..4),
    ) {
        let (name, texts, policy) = row;
        let text = spoilt(texts[which.index(texts.len())], &keys);
        if compiles(&policy(&text)) {
            prop_assert!(pattern(name).is_match(&text), "{} {:?}", name, text);
        }
    }
}

#[test]
fn bounds_are_of_durations_that_can_be_written() {
    let bounds = Bounds::new(std::time::Duration::from_millis(100), std::time::Duration::from_hours(24));
    let mut schema = schemars::json_schema!({});
    within(bounds).transform(&mut schema);
    let rule = json!([{
        "rule": "duration(self) >= duration('100ms') && duration(self) <= duration('24h')",
        "message": "use 100ms to 24h",
    }]);
    assert_eq!(schema.get(RULES), Some(&rule));
    for (asked, is_good) in [("99ms", false), ("100ms", true), ("24h", true), ("24h1ms", false)] {
        assert_eq!(bounds.check("it", asked.parse().unwrap()).is_ok(), is_good, "{asked}");
    }
}
