//! What a token costs: seen before, and for the first time. What `jwt/no policy` costs is in all of them.
//!
//! `least` is the fastest of many short passes, so that it also holds on a machine with other work.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod issuer;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fairway_policies::{
    BackendRef, Chain, ChainState, Context, Lookup, Parts as _, Request, SecuritySet, Upstream,
};
use serde_json::json;

use issuer::Issuer;

struct Nobody;

impl Lookup for Nobody {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn chain(issuer: &Issuer) -> Chain {
    let set: SecuritySet = serde_json::from_value(json!({ "jwt": issuer.policy() })).unwrap();
    Chain::default().guarded(set.compile(&Nobody).unwrap())
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

/// Without what is spent on the copy, or on what is left in the end.
#[allow(clippy::print_stdout, reason = "a bench says what it measured")]
fn least(name: &str, chain: &Chain, mut next: impl FnMut() -> Request) {
    let best = (0..2_000).fold(f64::INFINITY, |best, _| {
        let requests: Vec<Request> = (0..50).map(|_| next()).collect();
        let mut done = Vec::with_capacity(requests.len());
        let start = Instant::now();
        done.extend(requests.into_iter().map(|req| admit(chain, req)));
        best.min(start.elapsed().as_secs_f64() * 1e9 / 50.0)
    });
    println!("least/{name}: {best:.0} ns");
}

fn tokens(c: &mut Criterion) {
    for (alg, issuer) in [("ES256", Issuer::es256()), ("RS256", Issuer::rs256())] {
        let chain = chain(&issuer);
        let known = request(&issuer.token(0));
        least(&format!("repeated, {alg}"), &chain, || known.clone());
        least(&format!("no policy, {alg}"), &Chain::default(), || known.clone());
        c.bench_function(&format!("jwt/repeated, {alg}"), |b| {
            b.iter_batched(|| known.clone(), |req| black_box(admit(&chain, req)), BatchSize::SmallInput);
        });
        c.bench_function(&format!("jwt/no policy, {alg}"), |b| {
            let none = Chain::default();
            b.iter_batched(|| known.clone(), |req| black_box(admit(&none, req)), BatchSize::SmallInput);
        });
        // More than are remembered, in turn.
        let fresh: Vec<Request> = (1..=16_384).map(|number| request(&issuer.token(number))).collect();
        let mut next = fresh.iter().cycle();
        least(&format!("first seen, {alg}"), &chain, || next.next().unwrap().clone());
        c.bench_function(&format!("jwt/first seen, {alg}"), |b| {
            b.iter_batched(
                || next.next().unwrap().clone(),
                |req| black_box(admit(&chain, req)),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, tokens);
criterion_main!(benches);
