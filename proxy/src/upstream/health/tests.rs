use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn latency_rises_at_once_and_falls_with_time() {
    let health = Health::new(0, 0.0);
    health.record(0, Outcome::Success, 10 * MS);
    assert_eq!(health.latency(0), 10_000.0);
    health.record(0, Outcome::Success, 100 * MS);
    assert_eq!(health.latency(0), 100_000.0);
    let later = health.latency(3_000);
    assert!((49_000.0..51_000.0).contains(&later), "half after one half-life: {later}");
    assert!(health.latency(60_000) < 1.0);
}

#[test]
fn fast_answers_bring_the_latency_down_without_waiting_for_time() {
    let health = Health::new(0, 100_000.0);
    for _ in 0..200 {
        health.record(1, Outcome::Success, MS);
    }
    assert!(health.latency(1) < 1_500.0, "{}", health.latency(1));
}

#[test]
fn a_clock_read_out_of_order_changes_nothing() {
    let health = Health::new(5_000, 10_000.0);
    assert_eq!(health.latency(4_000), 10_000.0);
    let old = Health::new(u64::from(u32::MAX) << 4, 10_000.0);
    let wrapped = (u64::from(u32::MAX) << 4) + 3_008;
    assert!((4_900.0..5_100.0).contains(&old.latency(wrapped)), "survives the wrap of the kept time");
}

#[test]
fn cost_grows_with_latency_and_with_requests_in_flight() {
    let (fast, slow) = (Health::new(0, 5_000.0), Health::new(0, 50_000.0));
    assert!(fast.cost(0, 0.0) * 5.0 < slow.cost(0, 0.0));
    let idle = fast.cost(0, 0.0);
    fast.enter();
    assert_eq!(fast.cost(0, 0.0), idle * 2.0);
    fast.leave();
    assert_eq!(fast.cost(0, 0.0), idle);
}

#[test]
fn server_errors_weigh_less_than_broken_connections_and_those_less_than_connect_failures() {
    let after = |outcome| {
        let health = Health::new(0, 1_000.0);
        health.record(0, outcome, MS);
        health.cost(0, 1_000.0)
    };
    let (none, error, broken, refused) = (
        after(Outcome::Cancelled),
        after(Outcome::ServerError),
        after(Outcome::Broken),
        after(Outcome::ConnectFailure),
    );
    assert!(none < error && error < broken && broken < refused, "{none} {error} {broken} {refused}");
    assert!(error < none * 1.5, "one 500 is mild: {error}");
    assert!(refused > none * 5.0, "one refused connection is not: {refused}");
}

#[test]
fn an_endpoint_that_only_fails_is_not_cheap_for_being_fast() {
    let (failing, healthy) = (Health::new(0, 0.0), Health::new(0, 50_000.0));
    for _ in 0..50 {
        failing.record(0, Outcome::ServerError, MS);
    }
    (0..100).for_each(|_| healthy.enter());
    assert!(failing.cost(0, 50_000.0) > healthy.cost(0, 50_000.0), "even beside 100 requests in flight");
    assert!(failing.cost(60_000, 50_000.0) < healthy.cost(60_000, 50_000.0), "but it is forgiven in time");
}

#[test]
fn a_request_that_times_out_is_a_latency_sample_only_when_it_is_bad_news() {
    let health = Health::new(0, 500_000.0);
    health.record(0, Outcome::Broken, 100 * MS);
    assert_eq!(health.latency(0), 500_000.0);
    health.record(0, Outcome::Broken, 900 * MS);
    assert_eq!(health.latency(0), 900_000.0);
}

#[test]
fn a_cancelled_request_says_nothing() {
    let health = Health::new(0, 1_000.0);
    health.record(0, Outcome::ConnectFailure, MS);
    let cost = health.cost(0, 0.0);
    health.record(0, Outcome::Cancelled, 10_000 * MS);
    assert_eq!((health.cost(0, 0.0), health.gate(0)), (cost, Gate::Shut));
}

#[test]
fn one_connect_failure_shuts_for_a_second_and_then_lets_one_probe_through() {
    let health = Health::new(0, 0.0);
    assert_eq!(health.gate(0), Gate::Open);
    health.record(100, Outcome::ConnectFailure, MS);
    assert_eq!(health.gate(100), Gate::Shut);
    assert_eq!(health.gate(1_099), Gate::Shut);
    assert_eq!(health.gate(1_100), Gate::Probe);
    health.claim_probe(1_100);
    assert_eq!(health.gate(1_100), Gate::Shut, "others wait for the probe");
    assert_eq!(health.gate(2_100), Gate::Probe, "a probe without outcome does not shut it for ever");
    health.record(1_200, Outcome::Success, MS);
    assert_eq!(health.gate(1_200), Gate::Open);
}

#[test]
fn each_failed_probe_doubles_the_wait_up_to_ten_seconds() {
    let health = Health::new(0, 0.0);
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..7 {
        health.claim_probe(now);
        health.record(now, Outcome::ConnectFailure, MS);
        let from = now;
        while health.gate(now) == Gate::Shut {
            now += 100;
        }
        waits.push(now - from);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
}

#[test]
fn many_requests_that_fail_together_count_once() {
    let health = Health::new(0, 0.0);
    for _ in 0..100 {
        health.record(0, Outcome::ConnectFailure, MS);
    }
    assert_eq!(health.gate(1_000), Gate::Probe);
}
