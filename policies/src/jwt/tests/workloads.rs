//! ServiceAccount tokens.

use std::sync::Arc;

use serde_json::{Value, json};

use super::signer::Signer;
use super::{Context, Fault, Filter, ISSUER, Jwt, Policy, World, bearer, decide, filter};
use crate::caller::{Assurance, Peer, Workload};

/// As Kubernetes 1.36 writes them.
fn token(signer: &Signer, changes: &Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": ["fairway.dev/shop"], "exp": 4_102_444_800_i64, "iat": 1, "nbf": 1, "jti": "e5a1",
        "sub": "system:serviceaccount:web:frontend",
        "kubernetes.io": {
            "namespace": "web",
            "node": { "name": "n1", "uid": "1" },
            "pod": { "name": "frontend-1", "uid": "2" },
            "serviceaccount": { "name": "frontend", "uid": "3" },
        },
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    signer.token(&claims)
}

/// Another pod, or none.
fn pod(pod: &Value) -> Value {
    let mut kubernetes = json!({ "namespace": "web", "serviceaccount": { "name": "frontend", "uid": "3" } });
    if !pod.is_null() {
        kubernetes["pod"] = pod.clone();
    }
    json!({ "kubernetes.io": kubernetes })
}

fn accounts() -> Value {
    json!({ "type": "ServiceAccount", "audiences": ["fairway.dev/shop"] })
}

#[test]
fn a_serviceaccounts_token_says_which_workload_calls() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &accounts());
    let mut req = bearer(&token(&signer, &json!({})));
    let (reply, ctx) = super::run(&filter, &mut req);
    assert_eq!(reply, None);
    let workload = ctx.caller.peer.unwrap().workload.clone().unwrap();
    let want =
        Workload { namespace: "web".into(), service_account: "frontend".into(), assurance: Assurance::Token };
    assert_eq!(workload, want);
    assert_eq!(ctx.caller.tokens.len(), 1);
}

#[test]
fn names_of_workloads_have_253_characters_at_most() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &accounts());
    for (namespace, account, want) in
        [(253, 253, Ok(1)), (254, 253, Err(Fault::Invalid)), (253, 254, Err(Fault::Invalid))]
    {
        let (namespace, account) = ("n".repeat(namespace), "a".repeat(account));
        let changes = json!({
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": account } },
        });
        assert_eq!(decide(&filter, &bearer(&token(&signer, &changes))), want);
    }
}

#[test]
fn a_token_that_is_no_serviceaccounts_is_refused() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &accounts());
    for changes in [
        json!({ "sub": "system:serviceaccount:web:other" }),
        json!({ "sub": "system:serviceaccount:other:frontend" }),
        json!({ "sub": "frontend" }),
        json!({ "sub": null }),
        json!({ "kubernetes.io": null }),
        json!({ "kubernetes.io": { "namespace": "web" } }),
        json!({ "kubernetes.io": { "namespace": "", "serviceaccount": { "name": "" } }, "sub": "system:serviceaccount::" }),
        json!({ "kubernetes.io": "web" }),
        pod(&json!("frontend-1")),
        pod(&json!({ "name": "frontend-1" })),
        pod(&json!({ "name": "frontend-1", "uid": 2 })),
    ] {
        assert_eq!(decide(&filter, &bearer(&token(&signer, &changes))), Err(Fault::Invalid), "{changes}");
    }
    let elsewhere = json!({ "aud": ["https://kubernetes.default.svc"] });
    assert_eq!(decide(&filter, &bearer(&token(&signer, &elsewhere))), Err(Fault::Audience));
}

/// Any issuer can write these claims; only the cluster's are believed.
#[test]
fn other_providers_tokens_name_no_workload() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &json!({}));
    let mut req = bearer(&token(&signer, &json!({})));
    let (reply, ctx) = super::run(&filter, &mut req);
    assert_eq!(reply, None);
    assert_eq!(ctx.caller.peer, None);
}

#[test]
fn what_the_connection_proves_more_surely_stays() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &accounts());
    for (assurance, stays) in
        [(Assurance::Network, false), (Assurance::Token, false), (Assurance::Certificate, true)]
    {
        let known = Workload { namespace: "web".into(), service_account: "known".into(), assurance };
        let peer =
            Peer { workload: Some(known.clone()), digests: Some(([1; 32], [2; 32])), ..Peer::default() };
        let mut ctx = Context::default();
        ctx.caller.peer = Some(Arc::new(peer));
        let mut req = bearer(&token(&signer, &json!({})));
        let _ = filter.request(&mut req, &mut ctx, &mut ());
        let peer = ctx.caller.peer.unwrap();
        assert_eq!(peer.workload.as_ref() == Some(&known), stays, "{assurance:?}");
        assert_eq!(peer.digests, Some(([1; 32], [2; 32])), "the certificate's stays");
    }
}

#[test]
fn a_token_is_good_only_in_the_hands_of_the_pod_it_was_given_to() {
    let signer = Signer::es256(Some("k"));
    let own = token(&signer, &json!({}));
    let of_nobody = token(&signer, &pod(&Value::Null));
    let (yes, no) = (Ok(1), Err(Fault::OtherPod));
    for (binding, of, from, want) in [
        (None, &own, Some("2"), yes),
        (None, &own, Some("7"), no),
        (None, &own, Some(""), no),
        (None, &own, None, yes),
        (None, &of_nobody, Some("2"), yes),
        (Some("IfKnown"), &own, Some("7"), no),
        (Some("Required"), &own, Some("2"), yes),
        (Some("Required"), &own, Some("7"), no),
        (Some("Required"), &own, None, no),
        (Some("Required"), &of_nobody, Some("2"), no),
        (Some("Required"), &of_nobody, None, no),
        (Some("None"), &own, Some("7"), yes),
    ] {
        let mut changes = accounts();
        if let Some(binding) = binding {
            changes["podBinding"] = json!(binding);
        }
        let filter = filter(&[&signer], &changes);
        let found = filter.admit(&bearer(of), from, super::NOW);
        assert_eq!(found.map(|found| found.len()).map_err(|stop| stop.fault), want, "{binding:?} {from:?}");
    }
}

/// Verified tokens are remembered; whose connection it is, is asked each time.
#[test]
fn a_stolen_token_is_refused_although_its_owner_has_used_it_just_before() {
    let signer = Signer::es256(Some("k"));
    let filter = filter(&[&signer], &accounts());
    let mut answers = Vec::new();
    for uid in ["2", "7", "2"] {
        let mut ctx = Context::default();
        let by_address =
            Workload { namespace: "web".into(), service_account: "x".into(), assurance: Assurance::Network };
        let peer = Peer { workload: Some(by_address), pod: Some(uid.into()), ..Peer::default() };
        ctx.caller.peer = Some(Arc::new(peer));
        let mut req = bearer(&token(&signer, &json!({})));
        let is_let_in = matches!(filter.request(&mut req, &mut ctx, &mut ()), crate::Verdict::Continue);
        answers.push((is_let_in, ctx.caller.peer.unwrap().workload.as_ref().unwrap().assurance));
    }
    let (owner, thief) = ((true, Assurance::Token), (false, Assurance::Network));
    assert_eq!(answers, [owner, thief, owner]);
}

#[test]
fn binding_to_pods_is_about_serviceaccounts() {
    let mut policy = super::policy(&[&Signer::es256(Some("k"))], &json!({}));
    policy["providers"][0]["podBinding"] = json!("Required");
    let policy: Jwt = serde_json::from_value(policy).unwrap();
    let said = policy.compile(&World::default()).unwrap_err().to_string();
    assert!(said.starts_with("providers[0].podBinding: is about tokens of pods"), "{said}");
}

#[test]
fn a_serviceaccounts_token_needs_an_audience() {
    let mut policy = super::policy(&[&Signer::es256(Some("k"))], &accounts());
    policy["providers"][0]["audiences"] = json!([]);
    let policy: Jwt = serde_json::from_value(policy).unwrap();
    let said = policy.compile(&World::default()).unwrap_err().to_string();
    assert!(said.starts_with("providers[0].audiences: is missing"), "{said}");
}
