//! What a request pays for authorization: 50 rules over claims of a verified token, paths, workloads, headers.
//!
//! `ratio` is the figure to look at: nanoseconds per decision at 1, 50 and 250 rules beside a plain reading of the same
//! rules (`tests/authorization/naive.rs`), and what a condition in CEL adds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../tests/authorization/naive.rs"]
#[allow(clippy::print_stdout, dead_code, reason = "shared with a test")]
mod naive;
mod rules;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use fairway_policies::authorization::Authorization;
use fairway_policies::caller::{Assurance, Caller, Peer, Token, Workload};
use fairway_policies::{BackendRef, Context, Filter, Lookup, Policy, Request, Upstream, Verdict};
use serde_json::json;

struct Nothing;

impl Lookup for Nothing {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn policy(rules: usize, when: bool) -> Authorization {
    serde_json::from_value(rules::policy(rules, when)).unwrap()
}

fn request() -> Request {
    let mut req = Request::build("GET", b"/shop/carts/42/items?page=2", None).unwrap();
    for (name, value) in
        [("host", "shop.example.com"), ("x-client", "mobile"), ("x-tenant", "web"), ("accept", "*/*")]
    {
        req.insert_header(name, value).unwrap();
    }
    req
}

fn context() -> Context {
    let claims = json!({"iss": "https://id.example.com", "sub": "ann", "aud": ["shop"], "exp": 2_000_000_000, "role": "admin",
        "groups": ["shop", "staff"], "scope": "openid profile orders:read"});
    let workload = Workload {
        namespace: "web".to_owned(),
        service_account: "bff".to_owned(),
        assurance: Assurance::Certificate,
    };
    let caller = Caller {
        peer: Some(Arc::new(Peer { workload: Some(workload), ..Peer::default() })),
        tokens: [Token { provider: "corp".into(), claims: claims.as_object().unwrap().clone().into() }]
            .into_iter()
            .collect(),
        ..Caller::default()
    };
    Context { client: Some([203, 0, 113, 7].into()), caller, ..Context::default() }
}

/// The fastest of many short passes, so that it also holds on a machine with other work.
fn fastest(mut decide: impl FnMut()) -> f64 {
    const PASS: u32 = 200;
    (0..500).fold(f64::INFINITY, |best, _| {
        let start = Instant::now();
        (0..PASS).for_each(|_| decide());
        best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(PASS))
    })
}

#[allow(clippy::print_stdout, reason = "a bench says what it measured")]
fn ratios(_: &mut Criterion) {
    for (rules, when) in [(1, false), (50, false), (250, false), (50, true)] {
        let policy = policy(rules, when);
        let filter = policy.compile(&Nothing).unwrap();
        let (mut req, mut ctx) = (request(), context());
        let compiled = fastest(|| {
            let passes = matches!(filter.request(black_box(&mut req), &mut ctx, &mut ()), Verdict::Continue);
            assert!(passes);
        });
        let name = if when { "cel" } else { "plain" };
        if when {
            println!("ratio/{name}/{rules}: {compiled:.0} ns");
            continue;
        }
        let naive = fastest(|| assert_eq!(naive::decide(&policy, black_box(&req), &ctx).0, None));
        println!(
            "ratio/{name}/{rules}: {compiled:.0} ns, read one by one {naive:.0} ns ({:.3})",
            compiled / naive
        );
    }
}

criterion_group!(benches, ratios);
criterion_main!(benches);
