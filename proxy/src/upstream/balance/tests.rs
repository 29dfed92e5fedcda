use std::time::Duration;

use super::*;
use crate::upstream::Outcome;
use crate::upstream::health::Health;
use pingora_core::upstreams::peer::HttpPeer;

fn endpoints(latencies_ms: &[u32]) -> Vec<Arc<Endpoint>> {
    let endpoint = |(at, latency): (usize, &u32)| {
        let address = address(at);
        let health = Arc::new(Health::new(0, *latency as f32 * 1_000.0));
        Arc::new(Endpoint {
            tag: 0,
            address,
            prototype: HttpPeer::new(address, false, String::new()),
            health,
            pins: None,
        })
    };
    latencies_ms.iter().enumerate().map(endpoint).collect()
}

fn address(at: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1_000 + at as u16))
}

fn counts(endpoints: &[Arc<Endpoint>], tried: &[SocketAddr], picks: u64) -> Vec<u64> {
    let mut counts = vec![0; endpoints.len()];
    for entropy in 0..picks {
        let found = choose(endpoints, 0, 0.0, entropy, tried).expect("one");
        counts[found.address.port() as usize - 1_000] += 1;
    }
    counts
}

fn refuse(endpoint: &Endpoint) {
    endpoint.health.record(0, Outcome::ConnectFailure, Duration::ZERO);
}

#[test]
fn nothing_is_chosen_from_nothing() {
    assert!(choose(&[], 0, 0.0, 7, &[]).is_none());
}

#[test]
fn equal_endpoints_get_equal_shares_though_their_latency_differs_a_little() {
    for shares in [2, 3, 5, 20] {
        let endpoints = endpoints(&vec![10; shares]);
        endpoints[0].health.record(0, Outcome::Success, Duration::from_micros(10_100));
        let due = 20_000 / shares as u64;
        for count in counts(&endpoints, &[], 20_000) {
            assert!(count.abs_diff(due) < due / 5, "{count} of {due}");
        }
    }
}

#[test]
fn of_a_few_the_much_cheaper_one_is_always_chosen() {
    assert_eq!(counts(&endpoints(&[100, 5]), &[], 1_000), [0, 1_000]);
    assert_eq!(counts(&endpoints(&[100, 5, 90, 80]), &[], 1_000), [0, 1_000, 0, 0]);
}

#[test]
fn the_dearest_of_many_is_hardly_ever_chosen() {
    let endpoints = endpoints(&[5, 5, 5, 100, 5]);
    let counts = counts(&endpoints, &[], 10_000);
    assert!(counts[3] < 150, "{counts:?}");
}

#[test]
fn what_was_tried_is_not_chosen_while_another_is_left() {
    let endpoints = endpoints(&[1, 1, 100, 1]);
    let tried = [address(0), address(1), address(3)];
    assert_eq!(counts(&endpoints, &tried, 1_000), [0, 0, 1_000, 0]);
    let all = [address(0), address(1), address(2), address(3)];
    assert!(choose(&endpoints, 0, 0.0, 1, &all).is_some(), "better again than not at all");
}

#[test]
fn a_shut_endpoint_is_chosen_only_when_all_others_are_tried_or_shut() {
    let endpoints = endpoints(&[1, 1, 1]);
    refuse(&endpoints[1]);
    let all = counts(&endpoints, &[], 1_000);
    assert_eq!(all[1], 0, "{all:?}");
    assert_eq!(counts(&endpoints, &[address(0), address(2)], 100), [0, 100, 0], "untried before open");
    endpoints.iter().for_each(|endpoint| refuse(endpoint));
    let none_open = counts(&endpoints, &[], 1_000);
    assert_eq!(none_open.iter().sum::<u64>(), 1_000, "all shut: used anyway");
}

#[test]
fn one_open_among_many_shut_is_found() {
    let endpoints = endpoints(&[1; 200]);
    endpoints.iter().skip(1).for_each(|endpoint| refuse(endpoint));
    let counts = counts(&endpoints, &[], 200);
    assert_eq!(counts[0], 200);
}
