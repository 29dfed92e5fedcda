//! What a token costs: seen before, and for the first time.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fairway_policies::{
    BackendRef, Chain, ChainState, Context, Lookup, Parts as _, Request, SecuritySet, Upstream,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

struct Nobody;

impl Lookup for Nobody {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// As identity providers issue them: some 700 bytes.
fn claims(number: usize) -> Value {
    json!({
        "iss": "https://login.example.com/", "aud": ["https://api.example.com"], "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "exp": 4_102_444_800_i64, "iat": 1_700_000_000, "azp": "my_client_id", "scope": "openid profile read:orders",
        "jti": number.to_string(), "realm_access": { "roles": ["buyer", "reader"] }, "email": "ann@example.com",
    })
}

struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { key, random }
    }

    fn token(&self, number: usize) -> String {
        let head = json!({ "alg": "ES256", "typ": "JWT", "kid": "k" }).to_string();
        let message = format!("{}.{}", encode(head), encode(claims(number).to_string()));
        let signature = self.key.sign(&self.random, message.as_bytes()).unwrap();
        format!("{message}.{}", encode(signature))
    }

    fn chain(&self) -> Chain {
        let (x, y) = self.key.public_key().as_ref().split_at(1).1.split_at(32);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": encode(x), "y": encode(y) });
        let policy = json!({ "jwt": { "providers": [{
            "name": "login", "issuer": "https://login.example.com/", "audiences": ["https://api.example.com"],
            "localJWKS": { "inline": json!({ "keys": [jwk] }).to_string() },
            "claimToHeaders": [{ "claim": "sub", "header": "X-User" }, { "claim": "realm_access.roles", "header": "X-Roles" }],
        }] } });
        let set: SecuritySet = serde_json::from_value(policy).unwrap();
        Chain::default().guarded(set.compile(&Nobody).unwrap())
    }
}

fn request(token: &str) -> Request {
    let mut req = Request::build_no_case("GET", b"/orders?page=1", None).unwrap();
    req.append_header("host", "api.example.com").unwrap();
    req.append_header("user-agent", "bench").unwrap();
    req.append_header("authorization", format!("Bearer {token}")).unwrap();
    req
}

fn admit(chain: &Chain, mut req: Request) -> (Request, Context) {
    let (mut ctx, mut state) = (Context::default(), ChainState::default());
    let decided =
        pin!(chain.request(&mut req, &mut ctx, &mut state)).poll(&mut Task::from_waker(Waker::noop()));
    assert!(matches!(decided, Poll::Ready(Ok(()))));
    (req, ctx)
}

fn tokens(c: &mut Criterion) {
    let issuer = Issuer::new();
    let chain = issuer.chain();
    let known = request(&issuer.token(0));
    c.bench_function("jwt/repeated", |b| {
        b.iter_batched(|| known.clone(), |req| black_box(admit(&chain, req)), BatchSize::SmallInput);
    });
    let none = Chain::default();
    c.bench_function("jwt/no policy", |b| {
        b.iter_batched(|| known.clone(), |req| black_box(admit(&none, req)), BatchSize::SmallInput);
    });
    let mut number = 0;
    c.bench_function("jwt/first seen, ES256", |b| {
        b.iter_batched(
            || {
                number += 1;
                request(&issuer.token(number))
            },
            |req| black_box(admit(&chain, req)),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, tokens);
criterion_main!(benches);
