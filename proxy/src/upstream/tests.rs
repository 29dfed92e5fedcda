use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

mod peers;

pub(super) fn backend() -> BackendRef {
    BackendRef { namespace: "shop".into(), name: "cart".into(), port: 80 }
}

pub(super) fn cluster(spec: &Backend, addresses: &[SocketAddr]) -> Arc<Cluster> {
    let cluster = Cluster::new(backend(), spec, Arc::default()).expect("valid");
    cluster.set_endpoints_at(0, &set(addresses));
    Arc::new(cluster)
}

fn set(addresses: &[SocketAddr]) -> Endpoints {
    let endpoint = |address: &SocketAddr| config::Endpoint { address: *address, zone: None };
    Endpoints { endpoints: addresses.iter().map(endpoint).collect() }
}

fn addresses(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}

/// Closed-loop clients in virtual time: each sends, waits for the answer and sends again.
/// `serve(endpoint, now) -> (outcome, milliseconds)`. Returns how many requests each endpoint got.
fn simulate(
    cluster: &Arc<Cluster>,
    clients: usize,
    seconds: std::ops::Range<u64>,
    serve: impl Fn(u16, Millis) -> (Outcome, u64),
) -> FxHashMap<u16, u64> {
    let mut counts = FxHashMap::default();
    let mut slots: Vec<Option<(Picked, Millis, Outcome)>> = (0..clients).map(|_| None).collect();
    let mut events: BinaryHeap<_> =
        (0..clients).map(|client| Reverse((seconds.start * 1_000 + client as u64, client))).collect();
    let mut entropy = 1u64;
    while let Some(Reverse((now, client))) =
        events.pop().filter(|Reverse((now, _))| *now < seconds.end * 1_000)
    {
        if let Some((picked, since, outcome)) = slots[client].take() {
            picked.record_at(now, outcome, Duration::from_millis(now - since));
        }
        entropy = entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let picked = cluster.pick_at(now, entropy, &[], 1).expect("an endpoint");
        let port = picked.address().port();
        *counts.entry(port).or_default() += 1;
        let (outcome, takes) = serve(port, now);
        slots[client] = Some((picked, now, outcome));
        events.push(Reverse((now + takes, client)));
    }
    counts
}

fn share(counts: &FxHashMap<u16, u64>, port: u16) -> f64 {
    *counts.get(&port).unwrap_or(&0) as f64 / counts.values().sum::<u64>() as f64
}

#[test]
fn a_slow_and_a_failing_endpoint_get_little_of_the_load() {
    let cluster = cluster(&Backend::default(), &addresses(3));
    let counts = simulate(&cluster, 24, 0..30, |port, _| match port {
        1 => (Outcome::Success, 10),
        2 => (Outcome::Success, 100),
        _ => (Outcome::ServerError, 1),
    });
    let shares = [share(&counts, 1), share(&counts, 2), share(&counts, 3)];
    assert!(shares[0] > 0.93, "healthy: {shares:?}");
    assert!((0.001..0.05).contains(&shares[1]), "ten times slower, still used: {shares:?}");
    assert!(shares[2] < 0.03, "failing fast must not attract: {shares:?}");
}

#[test]
fn an_endpoint_that_fails_now_and_then_keeps_most_of_its_share() {
    let cluster = cluster(&Backend::default(), &addresses(3));
    let counts = simulate(&cluster, 24, 0..30, |port, now| match (port, now % 50) {
        (3, 0) => (Outcome::ServerError, 10),
        _ => (Outcome::Success, 10),
    });
    let share = share(&counts, 3);
    assert!((0.15..0.34).contains(&share), "2 % of errors: {counts:?}");
}

#[test]
fn an_endpoint_that_refuses_connections_costs_few_requests() {
    let cluster = cluster(&Backend::default(), &addresses(3));
    let counts = simulate(&cluster, 24, 0..30, |port, _| match port {
        3 => (Outcome::ConnectFailure, 0),
        _ => (Outcome::Success, 10),
    });
    let refused = counts.get(&3).copied().unwrap_or(0);
    assert!((2..40).contains(&refused), "probed, not hammered: {counts:?}");
}

#[test]
fn only_one_request_finds_out_whether_a_shut_endpoint_is_back() {
    let cluster = cluster(&Backend::default(), &addresses(2));
    let dead = cluster.pick_at(0, 1, &[], 1).expect("one");
    let (port, _) = (dead.address().port(), dead.record_at(0, Outcome::ConnectFailure, Duration::ZERO));
    drop(dead);
    // Unanswered requests pile up on the other one, so that nothing but the gate keeps them away.
    let held: Vec<Picked> =
        (0..100).map(|entropy| cluster.pick_at(1_500, entropy, &[], 1).expect("one")).collect();
    assert_eq!(held.iter().filter(|picked| picked.address().port() == port).count(), 1);
}

#[test]
fn an_endpoint_that_recovers_gets_its_share_back() {
    let cluster = cluster(&Backend::default(), &addresses(3));
    let sick = simulate(&cluster, 24, 0..10, |port, _| match port {
        3 => (Outcome::ConnectFailure, 1),
        _ => (Outcome::Success, 10),
    });
    assert!(share(&sick, 3) < 0.02, "{sick:?}");
    simulate(&cluster, 24, 10..30, |_, _| (Outcome::Success, 10));
    let well = simulate(&cluster, 24, 30..40, |_, _| (Outcome::Success, 10));
    assert!(share(&well, 3) > 0.25, "20 s later: {well:?}");
}

#[test]
fn equal_endpoints_share_equally_under_light_and_heavy_load() {
    for clients in [1, 64] {
        let cluster = cluster(&Backend::default(), &addresses(4));
        let counts = simulate(&cluster, clients, 0..60, |_, now| (Outcome::Success, 8 + now % 5));
        for port in 1..=4 {
            let share = share(&counts, port);
            assert!((0.15..0.35).contains(&share), "{clients} clients: {counts:?}");
        }
    }
}

#[test]
fn a_new_endpoint_is_not_stampeded() {
    let cluster = cluster(&Backend::default(), &addresses(3));
    simulate(&cluster, 60, 0..20, |_, _| (Outcome::Success, 50));
    cluster.set_endpoints_at(20_000, &set(&addresses(4)));
    let mut picks: Vec<Picked> = Vec::new();
    for entropy in 0..100u64 {
        picks
            .push(cluster.pick_at(20_000, entropy.wrapping_mul(0x9e37_79b9_7f4a_7c15), &[], 1).expect("one"));
    }
    let new = picks.iter().filter(|picked| picked.address().port() == 4).count();
    assert!((15..=40).contains(&new), "{new} of 100 to the new one of four");
}

#[test]
fn endpoints_that_stay_keep_what_was_learned() {
    let cluster = cluster(&Backend::default(), &addresses(2));
    let held = cluster.pick(1, &[]).expect("one");
    let address = held.address();
    held.record(Outcome::Success, Duration::from_secs(400));
    cluster.set_endpoints(&set(&addresses(5)));
    let state = cluster.endpoints().into_iter().find(|state| state.address == address).expect("stayed");
    assert_eq!(state.in_flight, 1);
    assert!(state.latency > Duration::from_secs(1), "{state:?}");

    let spec = Backend { max_connections: Some(7), ..Backend::default() };
    let next = Arc::new(Cluster::succeed(&cluster, &spec).expect("valid"));
    assert_eq!(next.endpoints().len(), 5, "a changed backend keeps its endpoints");
    assert_eq!(next.in_flight(), 1, "and what is in flight");
    drop(held);
    assert_eq!((next.in_flight(), cluster.in_flight()), (0, 0));
}

#[test]
fn new_tls_settings_forgive_connect_failures() {
    let cluster = cluster(&Backend::default(), &addresses(1));
    let refuse = || {
        let picked = cluster.pick(1, &[]).expect("one");
        picked.record(Outcome::ConnectFailure, Duration::ZERO);
    };
    refuse();
    let same = Cluster::succeed(&cluster, &Backend { max_connections: Some(1), ..Backend::default() });
    assert!(same.expect("valid").endpoints()[0].is_shut);
    let spec = Backend { protocol: config::AppProtocol::H2c, ..Backend::default() };
    assert!(!Cluster::succeed(&cluster, &spec).expect("valid").endpoints()[0].is_shut);
}

#[test]
fn a_removed_endpoint_is_never_picked_again_and_finishes_what_it_has() {
    let cluster = cluster(&Backend::default(), &addresses(2));
    let held: Vec<Picked> =
        (0..10).map(|entropy| cluster.pick_at(0, entropy, &[], 1).expect("one")).collect();
    cluster.set_endpoints(&set(&addresses(1)));
    for entropy in 0..1_000 {
        assert_eq!(cluster.pick_at(0, entropy, &[], 1).expect("one").address().port(), 1);
    }
    assert!(held.iter().any(|picked| picked.address().port() == 2));
    assert_eq!(cluster.in_flight(), 10);
    drop(held);
    assert_eq!(cluster.in_flight(), 0);
}

#[test]
fn an_address_given_twice_is_one_endpoint() {
    let cluster = cluster(&Backend::default(), &[addresses(1), addresses(2)].concat());
    assert_eq!(cluster.endpoints().len(), 2);
}

#[test]
fn a_cluster_without_endpoints_has_none_to_pick() {
    let cluster = cluster(&Backend::default(), &[]);
    assert_eq!(cluster.pick(1, &[]).err(), Some(NoEndpoint::None));
    assert_eq!(cluster.in_flight(), 0);
    assert!(!cluster.has_untried(&[]));
}

#[test]
fn the_connection_limit_holds_and_frees_again() {
    let spec = Backend { max_connections: Some(3), ..Backend::default() };
    let limited = cluster(&spec, &addresses(2));
    let mut held: Vec<Picked> = (0..3).map(|_| limited.pick(1, &[]).expect("below the limit")).collect();
    assert_eq!(limited.pick(1, &[]).err(), Some(NoEndpoint::Full));
    held.pop();
    assert!(limited.pick(1, &[]).is_ok());

    let spec = Backend { protocol: config::AppProtocol::H2c, max_connections: Some(1), ..Backend::default() };
    let shared = cluster(&spec, &addresses(2));
    let held: Vec<_> = (0..100).map(|_| shared.pick(1, &[])).collect();
    assert!(held.iter().all(Result::is_ok), "one connection carries many HTTP/2 requests");
    assert_eq!(shared.pick(1, &[]).err(), Some(NoEndpoint::Full));
}

#[test]
fn the_limit_holds_between_threads() {
    let spec = Backend { max_connections: Some(5), ..Backend::default() };
    let cluster = cluster(&spec, &addresses(3));
    std::thread::scope(|scope| {
        for seed in 0..4u64 {
            let cluster = &cluster;
            scope.spawn(move || {
                for entropy in 0..20_000 {
                    let picked = cluster.pick(seed << 32 | entropy, &[]);
                    assert!(cluster.endpoints.load().iter().map(|e| e.health.in_flight()).sum::<u32>() <= 5);
                    drop(picked);
                }
            });
        }
    });
    assert_eq!(cluster.in_flight(), 0);
}

#[test]
fn retries_are_a_fifth_of_what_is_in_flight_and_at_least_sixteen() {
    let cluster = cluster(&Backend::default(), &addresses(2));
    let few: Vec<_> = (0..20).filter_map(|_| cluster.retry_permit()).collect();
    assert_eq!(few.len(), 16);
    drop(few);
    let _held: Vec<_> = (0..100).map(|_| cluster.pick(1, &[]).expect("one")).collect();
    let many: Vec<_> = (0..50).filter_map(|_| cluster.retry_permit()).collect();
    assert_eq!(many.len(), 20);
    drop(many);
    assert_eq!(cluster.load.retrying.load(Ordering::Relaxed), 0);
}
