//! What who-may-call costs in all: a token that was verified before, 50 rules of authorization of which the last lets
//! through, and two claims for the backend; over the same request without any of it. At most 3 µs are wanted.
//!
//! Both are timed in turn, in many short passes, so that it also holds on a machine with other work. A pass has the copy of
//! the request's head that it changes, and ends when all that it made is gone.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench says what it measured, and fails by panicking"
)]

mod issuer;
mod rules;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context as Task, Poll, Waker};
use std::thread;
use std::time::Instant;

use fairway_policies::{
    BackendRef, Chain, ChainState, Context, Lookup, Parts as _, Request, SecuritySet, Upstream,
};
use serde_json::{Value, json};

use issuer::Issuer;

/// Nanoseconds.
const MOST: f64 = 3_000.0;
const PASSES: usize = 2_000;
const REQUESTS: u32 = 200;

struct Nobody;

impl Lookup for Nobody {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }
}

fn chain(policies: Value) -> Chain {
    let set: SecuritySet = serde_json::from_value(policies).unwrap();
    Chain::default().guarded(set.compile(&Nobody).unwrap())
}

/// As a browser sends it over HTTP/1.1.
fn request(token: &str) -> Request {
    let mut req = Request::build("GET", b"/shop/carts/42/items?page=2", None).unwrap();
    for (name, value) in [
        ("Host", "shop.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "application/json"),
        ("Accept-Language", "en-GB,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Referer", "https://shop.example.com/carts"),
        ("X-Client", "web"),
        ("Cookie", "session=0f7c8ec7c33c6c004bbafe82; theme=dark"),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "same-origin"),
    ] {
        req.append_header(name, value).unwrap();
    }
    req.append_header("Authorization", format!("Bearer {token}")).unwrap();
    req
}

fn pass(chain: &Chain, req: &Request) -> f64 {
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let mut req = black_box(req).clone();
        let (mut ctx, mut state) =
            (Context { client: Some([203, 0, 113, 7].into()), ..Context::default() }, ChainState::default());
        let decided =
            pin!(chain.request(&mut req, &mut ctx, &mut state)).poll(&mut Task::from_waker(Waker::noop()));
        assert!(matches!(decided, Poll::Ready(Ok(()))));
        black_box((req, ctx));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
}

/// The least of each, and the median of the differences.
fn compare(chain: &Chain, none: &Chain, req: &Request) -> (f64, f64, f64) {
    let pairs: Vec<(f64, f64)> = (0..PASSES).map(|_| (pass(chain, req), pass(none, req))).collect();
    let least = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).fold(f64::INFINITY, f64::min);
    let mut more: Vec<f64> = pairs.iter().map(|(with, without)| with - without).collect();
    more.sort_by(f64::total_cmp);
    (least(|pair| pair.0), least(|pair| pair.1), more.get(PASSES / 2).copied().unwrap())
}

/// The same on two threads at once, which share whatever the filters share.
fn together(chain: &Chain, none: &Chain, req: &Request) -> f64 {
    let barrier = Barrier::new(2);
    let one = || {
        barrier.wait();
        compare(chain, none, req).2
    };
    thread::scope(|scope| {
        let other = scope.spawn(one);
        one().max(other.join().unwrap())
    })
}

fn main() {
    let none = Chain::default();
    for (alg, issuer) in [("ES256", Issuer::es256()), ("RS256", Issuer::rs256())] {
        let req = request(&issuer.token(0));
        let jwt = issuer.policy();
        let authorization = rules::policy(50, false);
        for (what, policies) in [
            ("token", json!({ "jwt": jwt })),
            ("token and 50 rules", json!({ "jwt": jwt, "authorization": authorization })),
        ] {
            let chain = chain(policies);
            let (with, without, more) = compare(&chain, &none, &req);
            println!(
                "chain/{alg}, {what}: {with:.0} ns, without {without:.0} ns ({:.2} times as many); {:.0} ns more at best, \
                 {more:.0} ns in the middle, at most {MOST:.0} wanted; two threads {:.0} ns",
                with / without,
                with - without,
                together(&chain, &none, &req)
            );
        }
    }
}
