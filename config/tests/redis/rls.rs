//! Counters that several servers share.

use std::cell::Cell;
use std::time::Duration;

use fairway_config::rls::proto::Request;
use fairway_config::rls::{Case, Counters, Store};
use proptest::prelude::*;
use redis::Pipeline;
use tokio::task::JoinSet;

use crate::ask::{Asker, limits, request, store};
use crate::server::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_admit_together_exactly_the_limit() {
    let server = Server::start(&[]);
    let mut asking = JoinSet::new();
    for _ in 0..2 {
        let asker = Asker::of(store(server.connect().await, PATIENCE)).await;
        for _ in 0..400 {
            let asker = asker.clone();
            asking.spawn(async move { asker.may("all", "x").await.unwrap() });
        }
    }
    let admitted = asking.join_all().await.into_iter().filter(|may| *may).count();
    assert_eq!(admitted, 100);
    // What is over is counted, and no counter is there for ever.
    let mut look = Pipeline::new();
    let redis = server.connect().await;
    look.cmd("KEYS").arg("test:*");
    let (keys,): (Vec<String>,) = redis.ask(&look, PATIENCE).await.unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert!(key.starts_with("test:rls:4:edge 3:all=1:x "), "{key}");
    let mut look = Pipeline::new();
    look.cmd("BITFIELD").arg(key).arg(&["GET", "u63", "0"]).cmd("TTL").arg(key);
    let ((count,), seconds): ((u64,), i64) = redis.ask(&look, PATIENCE).await.unwrap();
    assert!(count == 800 && (1..=366 * 86_400).contains(&seconds), "{count} {seconds}");
}

fn asked() -> impl Strategy<Value = Request> {
    const KEYS: &[&str] = &["all", "tenant", "seen", "path", "friend", "stranger", "unknown"];
    const VALUES: &[&str] = &["x", "/a/b", "/a/c", "/b"];
    let cost = prop_oneof![Just(None), (0u64..4).prop_map(Some), Just(Some(u64::MAX))];
    let descriptor = (prop::sample::select(KEYS), prop::sample::select(VALUES), cost);
    (prop::collection::vec(descriptor, 1..5), 0u32..3).prop_map(|(descriptors, hits_addend)| {
        let named: Vec<_> = descriptors.iter().map(|(key, value, _)| (*key, *value)).collect();
        let mut request = Request { hits_addend, ..request(&named) };
        for (descriptor, (_, _, cost)) in request.descriptors.iter_mut().zip(&descriptors) {
            descriptor.hits_addend = *cost;
        }
        request
    })
}

#[test]
fn redis_counts_as_memory_does() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let shared = runtime.block_on(async { store(server.connect().await, PATIENCE) });
    let (limits, year) = (limits(), Cell::new(0));
    let requests = prop::collection::vec((asked(), 0u64..2), 1..12);
    proptest!(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }, |(requests in requests)| {
        // Each time in other windows, which are new.
        year.set(year.get() + 10);
        let own = Store::Memory(Counters::new(100));
        for (request, later) in requests {
            let now = (year.get() + later) * 365 * 86_400 + 7;
            let count = async |store: &Store| {
                let case = Case::of(&limits, &request, now).unwrap();
                let counts = store.count(case.hits(), now).await.unwrap();
                case.response(&counts)
            };
            let (own, shared) = runtime.block_on(async { (count(&own).await, count(&shared).await) });
            prop_assert_eq!(own, shared);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_any_length_has_a_short_name() {
    let server = Server::start(&[]);
    let asker = Asker::of(store(server.connect().await, PATIENCE)).await;
    let long = "x".repeat(9_999);
    for (value, may) in [(&*long, true), (&long, true), (&long, true), (&long, false), (&long[1..], true)] {
        assert_eq!(asker.may("tenant", value).await, Ok(may));
    }
    let mut look = Pipeline::new();
    look.cmd("KEYS").arg("*");
    let (keys,): (Vec<String>,) = server.connect().await.ask(&look, Duration::from_secs(9)).await.unwrap();
    assert!(
        keys.len() == 2 && keys.iter().all(|key| key.starts_with("test:rls:sha256:") && key.len() < 100),
        "{keys:?}"
    );
}
