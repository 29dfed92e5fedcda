//! Keys that are fetched: when a request waits, and what it is told.

use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context as Task, Poll, Waker};

use arc_swap::ArcSwapOption;
use serde_json::json;

use super::super::cache::Sought;
use super::super::claims::Verified;
use super::super::fields::Fields;
use super::signer::{Signer, set};
use super::{
    Context, Filter, ISSUER, Jwt, JwtFilter, KeySet, Keys, NOW, Policy, Reply, Request, Verdict, World,
    bearer, claims,
};

/// Keys that a fetch replaces at once.
#[derive(Debug, Default)]
struct Fetched {
    now: ArcSwapOption<KeySet>,
    next: ArcSwapOption<KeySet>,
    /// A fetch that was under way before anybody asked, and finds nothing new.
    is_under_way: AtomicBool,
    asked: AtomicUsize,
}

impl Keys for Fetched {
    fn current(&self) -> Option<Arc<KeySet>> {
        self.now.load_full()
    }

    fn wanted(
        self: Arc<Self>,
        seen: Option<&Arc<KeySet>>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        assert_eq!(self.now.load_full().as_ref(), seen, "it is asked with what it gave");
        if self.is_under_way.swap(false, Ordering::Relaxed) {
            return Some(Box::pin(ready(())));
        }
        // Once, as for thirty seconds.
        if self.asked.fetch_add(1, Ordering::Relaxed) > 0 {
            return None;
        }
        if let Some(next) = self.next.swap(None) {
            self.now.store(Some(next));
        }
        Some(Box::pin(ready(())))
    }
}

fn keys(signers: &[&Signer]) -> Option<Arc<KeySet>> {
    Some(Arc::new(KeySet::parse(set(signers).as_bytes()).unwrap()))
}

fn remote(fetched: &Arc<Fetched>, mode: &str) -> JwtFilter {
    let provider =
        json!({ "name": "p", "issuer": ISSUER, "remoteJWKS": { "uri": "https://issuer.test/keys" } });
    let policy: Jwt = serde_json::from_value(json!({ "mode": mode, "providers": [provider] })).unwrap();
    policy.compile(&World { keys: Some(fetched.clone()), ..World::default() }).unwrap()
}

/// Whether it waited, and the answer.
fn run(filter: &JwtFilter, req: &mut Request) -> (bool, Option<Reply>) {
    let mut ctx = Context::default();
    match filter.request(req, &mut ctx, &mut ()) {
        Verdict::Continue => (false, None),
        Verdict::Reply(reply) => (false, Some(reply)),
        Verdict::Wait(decision) => match pin!(decision).poll(&mut Task::from_waker(Waker::noop())) {
            Poll::Ready(decided) => (true, decided.err()),
            Poll::Pending => panic!("waits for more"),
        },
    }
}

fn lasting(signer: &Signer) -> Request {
    let mut claims = claims(&json!({}));
    claims["exp"] = 4_102_444_800_i64.into();
    bearer(&signer.token(&claims))
}

#[test]
fn a_known_key_never_waits() {
    let signer = Signer::ed(Some("a"));
    let fetched = Arc::new(Fetched { now: keys(&[&signer]).into(), ..Fetched::default() });
    let filter = remote(&fetched, "Enforce");
    for _ in 0..3 {
        assert_eq!(run(&filter, &mut lasting(&signer)), (false, None));
    }
    let mut bad = lasting(&Signer::ed(Some("a")));
    assert_eq!(run(&filter, &mut bad).1.unwrap().reason, "jwt_invalid");
    assert_eq!(fetched.asked.load(Ordering::Relaxed), 0, "a bad signature is no reason to fetch");
}

#[test]
fn a_new_key_is_waited_for_once_and_old_ones_hold_until_they_are_gone() {
    let (old, new) = (Signer::ed(Some("old")), Signer::ed(Some("new")));
    let fetched = Fetched { now: keys(&[&old]).into(), next: keys(&[&new]).into(), ..Fetched::default() };
    let fetched = Arc::new(fetched);
    let filter = remote(&fetched, "Enforce");
    assert_eq!(run(&filter, &mut lasting(&old)), (false, None));
    assert_eq!(run(&filter, &mut lasting(&new)), (true, None));
    assert_eq!(run(&filter, &mut lasting(&new)), (false, None));
    let (waited, reply) = run(&filter, &mut lasting(&old));
    assert!(!waited, "not so soon again");
    assert_eq!(reply.unwrap().reason, "jwt_invalid", "verified before, by a key that is gone");
}

/// A fetch that began before the issuer changed its key says nothing of a key that came since.
#[test]
fn a_new_key_that_a_fetch_under_way_does_not_bring_is_fetched_once_more() {
    let (old, new) = (Signer::ed(Some("old")), Signer::ed(Some("new")));
    let fetched =
        Fetched { now: keys(&[&old]).into(), next: keys(&[&old, &new]).into(), ..Fetched::default() };
    fetched.is_under_way.store(true, Ordering::Relaxed);
    let fetched = Arc::new(fetched);
    let filter = remote(&fetched, "Enforce");
    assert_eq!(run(&filter, &mut lasting(&new)), (true, None));
    fetched.is_under_way.store(true, Ordering::Relaxed);
    let (waited, reply) = run(&filter, &mut lasting(&Signer::ed(Some("made up"))));
    assert_eq!((waited, reply.unwrap().reason), (true, "jwt_invalid"));
}

#[test]
fn without_keys_nobody_is_let_in() {
    let signer = Signer::ed(Some("a"));
    for mode in ["Enforce", "Shadow"] {
        let filter = remote(&Arc::default(), mode);
        for waits in [mode == "Enforce", false] {
            let (waited, reply) = run(&filter, &mut lasting(&signer));
            let reply = reply.unwrap();
            assert_eq!(waited, waits, "a shadow delays nobody");
            assert_eq!((reply.status.as_u16(), reply.reason), (503, "jwks_unavailable"));
            assert_eq!(reply.headers[0].0, http::header::RETRY_AFTER);
        }
    }
}

#[test]
fn the_first_request_waits_for_the_first_keys() {
    let signer = Signer::ed(Some("a"));
    let fetched = Arc::new(Fetched { next: keys(&[&signer]).into(), ..Fetched::default() });
    assert_eq!(run(&remote(&fetched, "Enforce"), &mut lasting(&signer)), (true, None));
}

/// Where nobody fetches, such as in a check of configuration.
#[test]
fn a_lookup_that_fetches_nothing_lets_nobody_in() {
    let provider =
        json!({ "name": "p", "issuer": ISSUER, "remoteJWKS": { "uri": "https://issuer.test/keys" } });
    let policy: Jwt = serde_json::from_value(json!({ "providers": [provider] })).unwrap();
    let filter = policy.compile(&World::default()).unwrap();
    let (waited, reply) = run(&filter, &mut lasting(&Signer::ed(Some("a"))));
    assert!(!waited);
    assert_eq!(reply.unwrap().reason, "jwks_unavailable");
}

/// Whose keys verify a token is not yet whose token it is, also when it is remembered.
#[test]
fn of_two_issuers_with_the_same_keys_each_has_its_own_tokens() {
    let signer = Signer::ed(Some("k"));
    let fetched = Arc::new(Fetched::default());
    fetched.now.store(keys(&[&signer]));
    let provider = |name: &str| json!({ "name": name, "issuer": name, "remoteJWKS": { "uri": "https://issuer.test/keys" } });
    let policy = json!({ "providers": [provider("one"), provider("two")] });
    let policy: Jwt = serde_json::from_value(policy).unwrap();
    let filter = policy.compile(&World { keys: Some(fetched), ..World::default() }).unwrap();
    for issuer in ["two", "one", "two", "one"] {
        let token = signer.token(&claims(&json!({ "iss": issuer, "exp": 1_u64 << 40 })));
        let mut ctx = Context::default();
        assert!(matches!(filter.request(&mut bearer(&token), &mut ctx, &mut ()), Verdict::Continue));
        assert_eq!(&*ctx.caller.tokens[0].provider, issuer);
    }
}

#[test]
fn who_waited_for_a_key_is_told_of_as_who_did_not() {
    let signer = Signer::ed(Some("a"));
    let fetched = Arc::new(Fetched { next: keys(&[&signer]).into(), ..Fetched::default() });
    let filter = remote(&fetched, "Enforce");
    for waits in [true, false] {
        let (mut req, mut ctx) = (lasting(&signer), Context::default());
        let waited = match filter.request(&mut req, &mut ctx, &mut ()) {
            Verdict::Continue => false,
            Verdict::Reply(reply) => panic!("{reply:?}"),
            Verdict::Wait(decision) => {
                let decided = pin!(decision).poll(&mut Task::from_waker(Waker::noop()));
                assert!(matches!(decided, Poll::Ready(Ok(()))));
                true
            }
        };
        assert_eq!(waited, waits);
        assert_eq!(ctx.caller.tokens[0].claims["sub"], "ann");
    }
}

/// A signature costs more than a look, so what is remembered is believed; here it is something else than what is signed.
#[test]
fn what_was_verified_is_remembered_and_not_verified_again() {
    let signer = Signer::ed(Some("a"));
    let set = keys(&[&signer]).unwrap();
    let fetched = Arc::new(Fetched { now: Some(set.clone()).into(), ..Fetched::default() });
    let filter = remote(&fetched, "Enforce");
    assert_eq!(run(&filter, &mut lasting(&signer)), (false, None));
    assert!(set.verified.bytes() > 0);

    let token = signer.token(&claims(&json!({ "sub": "bob" })));
    let mark = Sought::new(token.as_bytes()).mark(token.rfind('.').unwrap());
    let kept = claims(&json!({ "sub": "eve", "exp": 4_102_444_800_i64 })).as_object().unwrap().clone();
    set.verified.put(Arc::new(Verified::new(mark, kept, &Arc::new(Fields::new([]))).unwrap()), NOW);
    let mut ctx = Context::default();
    assert!(matches!(filter.request(&mut bearer(&token), &mut ctx, &mut ()), Verdict::Continue));
    assert_eq!(ctx.caller.tokens[0].claims["sub"], "eve");
}
