//! What is told, what is heard, and what both make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use prost::Message as _;

use super::proto::{ClusterStats, Report, Request};
use super::*;
use crate::BackendRef;
use crate::identity::{GatewayRef, ProxyId, Role};
use crate::quota::proto::Span;

const BOUNDS: [u64; 4] = [1_000_000, 10_000_000, 100_000_000, Counts::SLOWER];

fn backend(name: &str) -> BackendRef {
    BackendRef { namespace: "n".into(), name: name.into(), port: 80 }
}

fn counts(succeeded: u64, failed: u64, buckets: [u64; 4]) -> Counts {
    Counts { succeeded, failed, cancelled: 0, latency: BOUNDS.into_iter().zip(buckets).collect() }
}

/// Counters that a test sets.
#[derive(Debug, Default)]
struct Fake(Mutex<BTreeMap<BackendRef, Counts>>);

impl Counters for Fake {
    fn read(&self, backend: &BackendRef) -> Counts {
        self.0.lock().get(backend).cloned().unwrap_or_default()
    }
}

impl Fake {
    fn set(&self, name: &str, counts: Counts) {
        self.0.lock().insert(backend(name), counts);
    }
}

fn ask(names: &[&str]) -> Request {
    let clusters = names.iter().map(|name| (*name).to_owned()).collect();
    Request { clusters, interval: Some(Span::of(1_000_000_000)) }
}

/// The gateway `n/a` sees `a`, and so on.
struct Own;

impl Sight for Own {
    fn sees(&self, place: &GatewayRef, backend: &BackendRef) -> bool {
        place.role == Role::Gateway && place.name == backend.name
    }

    fn version(&self) -> u64 {
        0
    }
}

fn proxy(gateway: &str, pod: &str) -> ProxyId {
    ProxyId { gateway: GatewayRef::new(Role::Gateway, "n", gateway), pod: pod.into() }
}

fn want(loads: &Loads, names: &[&str]) {
    loads.want(names.iter().map(|name| backend(name)).collect::<BTreeSet<_>>());
}

proptest! {
    #[test]
    fn what_is_told_is_what_is_heard(
        succeeded in 0u64..1_000_000, failed in 0u64..1_000, cancelled in 0u64..1_000,
        buckets in proptest::collection::vec(0u64..100_000, 4), nanos in any::<u64>(),
    ) {
        let latency = BOUNDS.into_iter().zip(buckets).collect();
        let counts = Counts { succeeded, failed, cancelled, latency };
        let told = ClusterStats::encode("n/a:80".into(), &counts, nanos);
        let report = Report { node: None, clusters: vec![told] };
        let heard = Report::decode(&*report.encode_to_vec()).unwrap();
        prop_assert_eq!(heard.clusters[0].decode(), counts);
    }

    #[test]
    fn reports_add_up_to_what_came_since_it_was_asked_for(
        steps in proptest::collection::vec((0u64..50, 0u64..5, 0u64..50), 1..20),
    ) {
        let counters = Fake::default();
        let mut now = counts(1_000, 1_000, [500; 4]);
        counters.set("a", now.clone());
        let mut reporter = Reporter::default();
        reporter.asked(0, &ask(&["n/a:80"]), &counters);
        let (before, mut heard) = (now.clone(), Counts::default());
        for (at, (succeeded, failed, slow)) in (1..).zip(steps) {
            now.add(&counts(succeeded, failed, [0, succeeded, slow, 0]));
            counters.set("a", now.clone());
            for cluster in reporter.report(at, &counters).iter().flat_map(|report| &report.clusters) {
                heard.add(&cluster.decode());
            }
        }
        let came = now.since(&before);
        prop_assert_eq!((heard.succeeded, heard.failed), (came.succeeded, came.failed));
        prop_assert_eq!(heard.latency_of(0.99), came.latency_of(0.99));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket(buckets in proptest::collection::vec(0u64..1_000, 4), share in 0.01f64..1.0) {
        let latency: BTreeMap<u64, u64> = BOUNDS.into_iter().zip(buckets).collect();
        let total: u64 = latency.values().sum();
        let found = Counts { latency: latency.clone(), ..Counts::default() }.latency_of(share);
        prop_assert_eq!(found.is_some(), total > 0);
        if let Some(found) = found {
            let nanos = found.as_nanos() as f64;
            let up_to = |limit: f64| latency.iter().filter(|(bound, _)| **bound as f64 <= limit).map(|(_, n)| n).sum::<u64>();
            // Buckets below it hold no more than the share, and its own is reached by it.
            let lower = BOUNDS.into_iter().filter(|bound| (*bound as f64) < nanos).max().unwrap_or(0);
            prop_assert!(up_to(lower as f64) as f64 <= total as f64 * share + 1.0);
        }
    }
}

#[test]
fn quantiles_are_exact_at_bounds_and_more_than_the_last_beyond_it() {
    let at = |buckets| counts(0, 0, buckets).latency_of(0.99);
    assert_eq!(at([99, 1, 0, 0]), Some(Duration::from_millis(1)));
    assert_eq!(at([0, 0, 100, 0]), Some(Duration::from_nanos(10_000_000 + 89_100_000)));
    assert_eq!(at([0, 0, 0, 5]), Some(Duration::from_millis(101)));
    assert_eq!(at([0; 4]), None);
}

#[test]
fn nothing_is_told_of_before_it_is_asked_for_or_when_nothing_came() {
    let (counters, mut reporter) = (Fake::default(), Reporter::default());
    counters.set("a", counts(5, 0, [5, 0, 0, 0]));
    assert!(reporter.report(1, &counters).is_none() && !reporter.is_asked());
    reporter.asked(1, &ask(&["n/a:80", "no name of ours", "n/b:99999"]), &counters);
    assert!(reporter.is_asked());
    assert!(reporter.report(2, &counters).is_none());
    counters.set("a", counts(7, 1, [7, 1, 0, 0]));
    // Asked for again: what came meanwhile is not lost.
    reporter.asked(3, &ask(&["n/a:80", "n/b:80"]), &counters);
    let report = reporter.report(4, &counters).unwrap();
    assert_eq!(report.clusters.len(), 1);
    assert_eq!(report.clusters[0].interval, Some(Span::of(2)));
    assert_eq!(report.clusters[0].decode().requests(), 3);
    // Counters that began anew are nothing at first, and counted from there.
    counters.set("a", counts(1, 0, [1, 0, 0, 0]));
    assert!(reporter.report(5, &counters).is_none());
    counters.set("a", counts(3, 0, [3, 0, 0, 0]));
    assert_eq!(reporter.report(6, &counters).unwrap().clusters[0].decode().requests(), 2);
    reporter.asked(7, &ask(&[]), &counters);
    assert!(!reporter.is_asked());
}

#[tokio::test]
async fn whatever_a_proxy_makes_up_little_is_kept_of_it() {
    let loads = Loads::new(Own);
    loads.lead(true);
    want(&loads, &["a"]);
    let mut a = loads.connect(&proxy("a", "1")).unwrap();
    a.ask().await.unwrap();
    for round in 0..50u64 {
        let latency = (0..500).map(|bound| (round * 1_000 + bound, u64::MAX)).collect();
        let made_up = Counts { succeeded: u64::MAX, failed: u64::MAX, cancelled: u64::MAX, latency };
        let cluster = ClusterStats::encode("n/a:80".into(), &made_up, u64::MAX);
        a.report(&Report { node: None, clusters: vec![cluster; 20] }).unwrap();
    }
    let kept = loads.counts(&backend("a"));
    assert!(kept.latency.len() <= 64 && kept.requests() == u64::MAX);
    assert!(kept.latency_of(0.99).is_some());
}

#[tokio::test]
async fn a_proxy_is_asked_for_what_it_may_see_and_heard_of_nothing_else() {
    let loads = Loads::new(Own);
    assert_eq!(loads.connect(&proxy("a", "1")).err(), Some(Refused::NotLeading));
    loads.lead(true);
    want(&loads, &["a", "b"]);
    let (mut a, mut b) = (loads.connect(&proxy("a", "1")).unwrap(), loads.connect(&proxy("b", "1")).unwrap());
    assert_eq!(a.ask().await.unwrap().clusters, ["n/a:80"]);
    assert_eq!(b.ask().await.unwrap().clusters, ["n/b:80"]);
    let of = |name: &str| ClusterStats::encode(format!("n/{name}:80"), &counts(3, 1, [4, 0, 0, 0]), 1);
    let report = Report { node: None, clusters: vec![of("a"), of("b"), of("c")] };
    a.report(&report).unwrap();
    assert_eq!(loads.counts(&backend("a")).requests(), 4);
    assert!(loads.counts(&backend("b")).is_empty());
    let second = loads.connect(&proxy("a", "2"));
    let mut second = second.unwrap();
    second.ask().await.unwrap();
    second.report(&report).unwrap();
    assert_eq!(loads.counts(&backend("a")), counts(6, 2, [8, 0, 0, 0]));
    // Nobody wants it any more.
    want(&loads, &["b"]);
    assert!(a.ask().await.unwrap().clusters.is_empty());
    a.report(&report).unwrap();
    assert!(loads.counts(&backend("a")).is_empty());
}

#[tokio::test]
async fn a_newer_stream_ends_the_older_and_who_ends_to_lead_ends_all() {
    let loads = Loads::new(Own);
    loads.lead(true);
    want(&loads, &["a"]);
    let mut old = loads.connect(&proxy("a", "1")).unwrap();
    old.ask().await.unwrap();
    let mut new = loads.connect(&proxy("a", "1")).unwrap();
    assert_eq!(old.ask().await.err(), Some(Refused::Replaced));
    drop(old);
    assert_eq!(loads.told().streams, 1);
    new.ask().await.unwrap();
    loads.lead(false);
    assert_eq!(new.ask().await.err(), Some(Refused::NotLeading));
    assert_eq!(new.report(&Report::default()).err(), Some(Refused::NotLeading));
    drop(new);
    assert_eq!(loads.told().streams, 0);
}
