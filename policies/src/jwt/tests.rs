//! Tests, by what they attack; `signer` makes the tokens.

mod attacks;
mod cache;
mod fields;
mod key_sets;
mod objects;
mod oracle;
mod places;
mod signer;
mod waiting;
mod workloads;
mod wycheproof;

use std::sync::Arc;

use serde_json::{Value, json};

use self::signer::Signer;
use super::filter::JwtFilter;
use super::{Fault, Jwt, KeySet, Keys, RemoteJwks};
use crate::{Context, Filter, Lookup, Material, ObjectKind, ObjectRef, Policy, Reply, Request, Verdict};

/// When tests that choose the time take place.
const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.test";

/// Has whatever backends are asked for, no keys but those given, and one ConfigMap.
#[derive(Default)]
struct World {
    keys: Option<Arc<dyn Keys>>,
    material: Material,
}

#[derive(Debug)]
struct Backend;

impl crate::Upstream for Backend {
    fn name(&self) -> &'static str {
        "backend"
    }
}

impl Lookup for World {
    fn backend(&self, backend: &crate::BackendRef) -> Option<Arc<dyn crate::Upstream>> {
        (backend.namespace != "nowhere").then(|| Arc::new(Backend) as _)
    }

    fn material(&self, object: &ObjectRef) -> Option<Arc<Material>> {
        (object.kind == ObjectKind::ConfigMap && object.name == "there")
            .then(|| Arc::new(self.material.clone()))
    }

    fn keys(&self, _: &RemoteJwks) -> Arc<dyn Keys> {
        self.keys.clone().unwrap_or_else(|| Arc::new(super::NoKeys))
    }
}

/// One provider with the keys of these signers, and `extra` fields of it.
fn policy(signers: &[&Signer], extra: &Value) -> Value {
    let mut provider = json!({
        "name": "p", "issuer": ISSUER, "localJWKS": { "inline": signer::set(signers) },
    });
    for (name, value) in extra.as_object().unwrap() {
        provider[name] = value.clone();
    }
    json!({ "providers": [provider] })
}

fn compile(policy: &Value) -> JwtFilter {
    let policy: Jwt = serde_json::from_value(policy.clone()).unwrap();
    policy.compile(&World::default()).unwrap()
}

fn filter(signers: &[&Signer], extra: &Value) -> JwtFilter {
    compile(&policy(signers, extra))
}

/// Claims that are good at [`NOW`], with some changed; null takes one away.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "sub": "ann", "exp": NOW + 300 });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn request(fields: &[(&'static str, &str)]) -> Request {
    let mut req = Request::build("GET", b"/a?b=c", None).unwrap();
    for (name, value) in fields {
        req.append_header(*name, *value).unwrap();
    }
    req
}

fn bearer(token: &str) -> Request {
    request(&[("authorization", &format!("Bearer {token}"))])
}

/// How many tokens are verified at [`NOW`].
fn decide(filter: &JwtFilter, req: &Request) -> Result<usize, Fault> {
    filter.admit(req, None, NOW).map(|found| found.len()).map_err(|stop| stop.fault)
}

/// Runs the filter as the chain does; the clock is the machine's.
fn run(filter: &JwtFilter, req: &mut Request) -> (Option<Reply>, Context) {
    let mut ctx = Context::default();
    let reply = match filter.request(req, &mut ctx, &mut ()) {
        Verdict::Continue => None,
        Verdict::Reply(reply) => Some(reply),
        Verdict::Wait(_) => panic!("waits"),
    };
    (reply, ctx)
}
