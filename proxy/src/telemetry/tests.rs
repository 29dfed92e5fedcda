use std::sync::Arc;
use std::time::Duration;

use config::{BackendRef, Key, Kind, Rejection, Severity};
use policies::caller::{Assurance, Workload};

use super::edges::Edge;
use super::{
    AccessLog, BackendStats, Course, Error, Format, Record, RouteStats, Settings, Spoken, Telemetry,
    TraceContext, entropy, render,
};
use crate::keys::KeyStore;
use crate::limits::Shown;
use crate::overload::Overload;
use crate::rule::RuleName;
use crate::upstream::Outcome;

fn rule(route: &str, rule: &str) -> RuleName {
    RuleName { kind: "HTTPRoute", route: Arc::from(route), rule: Arc::from(rule) }
}

fn backend(name: &str) -> BackendRef {
    BackendRef { namespace: "shop".to_owned(), name: name.to_owned(), port: 80 }
}

pub(super) fn record<'a>(
    rule: Option<(&'a RuleName, &'a RouteStats)>,
    status: u16,
    reason: &'static str,
) -> Record<'a> {
    Record {
        method: "GET",
        host: "shop.example.com",
        path: "/cart?item=1&sig=s3cr3t",
        status,
        stats: rule.map(|(_, stats)| stats),
        course: Course {
            rule: rule.map(|(rule, _)| rule),
            attempts: 1,
            duration: Duration::from_millis(7),
            bytes_in: 1,
            bytes_out: 2,
            ..Course::new("HTTP/1.1", reason, "shop/edge/http", "127.0.0.1:1234".parse().unwrap())
        },
        trace: TraceContext { trace_id: 0xabc, parent_id: 5, span_id: 0xdef, flags: 1 },
        user_agent: Some("test"),
        denied_by: None,
        would_deny: &[],
        source: None,
    }
}

/// Somebody asked a Service, and nobody knows who was connected to another.
fn called(waypoint: &Telemetry) {
    let edge = Edge::new(waypoint, Some(&workload("web", "bff")), &"shop/cart:80".into());
    edge.stats().request(200, Duration::from_millis(7));
    edge.stats().request(0, Duration::from_millis(700));
    Edge::new(waypoint, None, &"shop/db:5432".into()).stats().connection(10, 2000);
}

pub(super) fn workload(namespace: &str, service_account: &str) -> Workload {
    Workload {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        assurance: Assurance::Network,
    }
}

pub(super) fn rendered(roles: &[Arc<Telemetry>], format: Format) -> String {
    let mut out = String::new();
    render(roles, format, &mut out).unwrap();
    out
}

fn gateway() -> Arc<Telemetry> {
    Telemetry::new("gateway", &Settings::default()).unwrap()
}

/// What a proxy with a controller says of it.
fn connected() -> config::xds::ClientState {
    config::xds::ClientState {
        is_connected: true,
        answered: Some(tokio::time::Instant::now()),
        acks: 3,
        nacks: 1,
        streams: 2,
        certificates: 1,
        // A clock that was set back since: the age is 0, in every run.
        snapshot_written: Some(std::time::SystemTime::now() + Duration::from_secs(3600)),
        ..config::xds::ClientState::default()
    }
}

/// Two roles with something in every family, and hostile names.
fn busy() -> Vec<Arc<Telemetry>> {
    let settings = Settings {
        access_log: AccessLog::File("/dev/null".into()),
        otlp: Some("http://127.0.0.1:9".to_owned()),
        sampling: None,
    };
    let gateway = Telemetry::new("gateway", &settings).unwrap();
    let cart = rule("shop/cart", "0");
    let stats = gateway.route(&cart);
    for (status, reason, micros) in
        [(200, "ok", 499), (200, "ok", 500_001), (503, "no_endpoints", 20), (0, "client_closed", 11_000_000)]
    {
        let duration = Duration::from_micros(micros);
        let trace = TraceContext::default();
        let record = record(Some((&cart, &stats)), status, reason);
        gateway.finish(&Record { trace, course: Course { duration, ..record.course }, ..record });
    }
    std::mem::forget(stats.start());
    let evil = rule("a\"b/c\\d\ne", "{le=\"1\"} 2\n# EOF\n");
    gateway.finish(&Record {
        trace: TraceContext::default(),
        would_deny: &["jwt_missing", "authz_default"],
        ..record(Some((&evil, &gateway.route(&evil))), 200, "ok")
    });
    let _ = gateway.route(&rule("never/asked", "0"));
    gateway.finish(&Record { trace: TraceContext::default(), ..record(None, 404, "route_not_found") });
    let backend = gateway.backend(&backend("cart"));
    backend.connected(false);
    backend.connected(true);
    for (outcome, status) in [
        (Outcome::Success, 200),
        (Outcome::Success, 204),
        (Outcome::Success, 301),
        (Outcome::Success, 404),
        (Outcome::Success, 101),
        (Outcome::Success, 42),
        (Outcome::ServerError, 500),
        (Outcome::ConnectFailure, 0),
        (Outcome::Broken, 0),
        (Outcome::Cancelled, 0),
    ] {
        backend.attempt(outcome, status, Duration::from_millis(2));
    }
    backend.mirrored(true);
    backend.mirrored(false);
    let stream = gateway.stream(&RuleName { kind: "TLSRoute", ..rule("shop/db", "0") });
    stream.opened();
    stream.opened();
    stream.received(7);
    stream.sent(1_000_000_000_000);
    stream.ended("client_abort");
    stream.refused("invalid_backend");
    let _ = gateway.stream(&RuleName { kind: "UDPRoute", ..rule("never/asked", "0") });
    let listener = gateway.listener("shop/edge/https");
    listener.refused("route_not_found");
    listener.dropped("congested");
    let mut first = listener.connection_opened();
    first.speaks(Spoken::Http2);
    first.speaks(Spoken::Http1);
    let mut second = listener.connection_opened();
    second.speaks(Spoken::Http1);
    drop(second);
    drop(listener.connection_opened());
    std::mem::forget(first);
    listener.handshake_failed("no_certificate");
    listener.turned_away("address_limit");
    gateway.follow_overload(Overload::found(930, 1000, 1500).into());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{}"}}]}}"#, "A".repeat(43));
    gateway.follow_keys(KeyStore::found("https://issuer.test/keys?secret", set.as_bytes()));
    gateway.follow_limits(Shown::found());
    gateway.config_applied(11, &[]);
    gateway.follow_controller(tokio::sync::watch::channel(connected()).1);
    let waypoint = Telemetry::new("waypoint", &Settings::default()).unwrap();
    let rejection =
        |severity| Rejection { key: Key::new(Kind::HttpRoute, "a", "b"), severity, message: String::new() };
    waypoint.config_applied(12, &[rejection(Severity::Refused), rejection(Severity::Degraded)]);
    waypoint.finish(&record(None, 400, "bad_host"));
    called(&waypoint);
    vec![gateway, waypoint]
}

/// Without what differs from run to run.
fn stable(metrics: &str) -> String {
    let is_stable = |line: &&str| !line.starts_with("process_") && !line.contains("_info{");
    metrics.lines().filter(is_stable).flat_map(|line| [line, "\n"]).collect()
}

fn golden(file: &str, found: &str) {
    let path = format!("{}/testdata/telemetry/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(want == found, "{path} differs; UPDATE_GOLDEN=1 writes it. Found:\n{found}");
}

#[tokio::test(start_paused = true)]
async fn metrics_are_rendered_exactly_so() {
    let roles = busy();
    golden("metrics.openmetrics.txt", &stable(&rendered(&roles, Format::OpenMetrics)));
    golden("metrics.text.txt", &stable(&rendered(&roles, Format::Text)));
}

#[tokio::test(start_paused = true)]
async fn every_series_is_documented() {
    let docs = include_str!("../../../docs/metrics.md");
    let documented: Vec<_> =
        docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let found = rendered(&busy(), Format::OpenMetrics);
    let mut emitted: Vec<_> = found
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(|name| {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            of_histogram.filter(|name| name.ends_with("_duration_seconds")).unwrap_or(name)
        })
        .collect();
    emitted.dedup();
    assert_eq!(emitted, documented, "in this order");
}

#[test]
fn the_older_format_names_counters_with_their_suffix_and_has_no_other_comments() {
    let text = rendered(&[gateway()], Format::Text);
    assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
    assert!(text.contains("# TYPE process_open_fds gauge\n"), "{text}");
    assert!(
        text.lines()
            .filter(|l| l.starts_with('#'))
            .all(|l| l.starts_with("# HELP ") || l.starts_with("# TYPE "))
    );
    assert_eq!(Format::accepted("text/plain;version=0.0.4"), Format::Text);
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
    assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
}

#[test]
fn counts_are_exact_after_many_threads() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    let telemetry = gateway();
    let name = rule("shop/cart", "0");
    let reasons = ["ok", "timeout", "no_endpoints", "cors_preflight"];
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (telemetry, name) = (&telemetry, &name);
            scope.spawn(move || {
                let stats = telemetry.route(name);
                let backend = telemetry.backend(&backend("cart"));
                for n in 0..EACH {
                    let _in_flight = stats.start();
                    // 20 codes times 4 reasons: more than a rule has room for.
                    let status = 200 + u16::try_from(n % 20).unwrap();
                    let reason = reasons[usize::try_from((n + thread) % 4).unwrap()];
                    let rule = (n % 10 != 0).then_some((name, &*stats));
                    telemetry.finish(&record(rule, status, reason));
                    backend.attempt(Outcome::Success, 200, Duration::from_micros(n));
                }
            });
        }
    });
    let stats = telemetry.route(&name);
    assert_eq!(stats.replies.total(), THREADS * EACH / 10 * 9);
    assert_eq!(stats.durations.read().1, THREADS * EACH / 10 * 9);
    let milliseconds = stats.durations.read().0 * 1000.0;
    assert!((milliseconds - 7.0 * 8.0 * 18_000.0).abs() < 1e-3, "{milliseconds}");
    assert_eq!(stats.replies.rows().count(), 13, "twelve and the rest");
    assert_eq!(stats.in_flight(), 0);
    assert_eq!(telemetry.listener("shop/edge/http").unmatched.total(), THREADS * EACH / 10);
    let backend = telemetry.backend(&backend("cart"));
    assert_eq!(backend.counters().unwrap().durations.read().1, THREADS * EACH);
    assert_eq!(backend.counters().unwrap().attempts().map(|(_, _, n)| n).sum::<u64>(), THREADS * EACH);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_scraped_for_five_minutes_more() {
    let telemetry = gateway();
    let roles = [telemetry.clone()];
    let (held, gone) = (rule("shop/held", "0"), rule("shop/gone", "0"));
    let held_stats = telemetry.route(&held);
    for name in [&held, &gone] {
        telemetry.finish(&record(Some((name, &telemetry.route(name))), 200, "ok"));
    }
    let is_there = |name: &str| rendered(&roles, Format::OpenMetrics).contains(name);
    for _ in 0..5 {
        assert!(is_there("shop/gone") && is_there("shop/held"));
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    assert!(!is_there("shop/gone"));
    assert!(is_there("shop/held"));
    drop(held_stats);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_counts_on() {
    let telemetry = gateway();
    let roles = [telemetry.clone()];
    let name = rule("shop/cart", "0");
    let ask = || telemetry.finish(&record(Some((&name, &telemetry.route(&name))), 200, "ok"));
    let count = || rendered(&roles, Format::OpenMetrics).contains("reason=\"ok\"} 1\n");
    ask();
    assert!(count());
    tokio::time::advance(Duration::from_secs(299)).await;
    ask();
    assert!(!count() && telemetry.route(&name).replies.total() == 2);
    // What happened meanwhile begins the grace anew.
    tokio::time::advance(Duration::from_secs(299)).await;
    _ = count();
    assert_eq!(telemetry.route(&name).replies.total(), 2);
}

#[test]
fn the_same_name_is_the_same_object_as_long_as_anybody_holds_it() {
    let telemetry = gateway();
    let first = telemetry.route(&rule("a/b", "0"));
    assert!(Arc::ptr_eq(&first, &telemetry.route(&rule("a/b", "0"))));
    assert!(!Arc::ptr_eq(&first, &telemetry.route(&rule("a/b", "1"))));
    let first = telemetry.backend(&backend("cart"));
    assert!(Arc::ptr_eq(&first, &telemetry.backend(&backend("cart"))));
    let first = telemetry.listener("l");
    assert!(Arc::ptr_eq(&first, &telemetry.listener("l")));
}

#[test]
fn names_that_went_away_do_not_pile_up_where_nobody_scrapes() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let telemetry = gateway();
        for version in 0..2000 {
            let _ = telemetry.route(&rule(&format!("churn/{version}"), "0"));
            telemetry.config_applied(version, &[]);
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        let left = telemetry.routes.all(|a, b| a.route.cmp(&b.route)).len();
        assert!(left < 100, "{left} of 2,000 are left");
    });
}

#[test]
fn a_rule_takes_at_most_600_bytes() {
    // Two names and an object in the map (a hash map is at most 7/8 full), and the object itself; each allocation with
    // 16 bytes of counts.
    let entry = (size_of::<RuleName>() + size_of::<(Arc<RouteStats>, Option<(u128, u64)>)>() + 1) * 8 / 7;
    let rule = entry + 16 + size_of::<RouteStats>();
    assert!(rule <= 600, "{rule}");
    let backend = size_of::<BackendStats>() + size_of::<super::stats::BackendCounters>();
    assert!(backend <= 300, "{backend}");
}

#[test]
fn new_traces_are_sampled_with_the_ratio() {
    let req = policies::Request::build("GET", b"/", None).unwrap();
    let sampled = |sampling, otlp: Option<&str>| {
        let settings = Settings { sampling, otlp: otlp.map(str::to_owned), ..Settings::default() };
        let telemetry = Telemetry::new("gateway", &settings).unwrap();
        (0..20_000).filter(|_| telemetry.trace(&req).is_sampled()).count()
    };
    assert_eq!(sampled(None, None), 0);
    assert_eq!(sampled(Some(1.0), None), 20_000);
    assert_eq!(sampled(Some(0.0), Some("http://127.0.0.1:9")), 0);
    // 200 and 10,000 are expected; ten standard deviations are allowed.
    assert!((60..=340).contains(&sampled(None, Some("http://127.0.0.1:9"))));
    assert!((9_300..=10_700).contains(&sampled(Some(0.5), None)));
}

#[test]
fn settings_that_cannot_be_used_say_which_and_what_would_be_right() {
    let refused = |settings: Settings| Telemetry::new("gateway", &settings).unwrap_err();
    for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = refused(Settings { sampling: Some(ratio), ..Settings::default() });
        assert!(matches!(error, Error::Sampling(_)), "{error}");
    }
    for (endpoint, why) in [
        ("collector:4317", "neither http nor https"),
        ("grpc://collector:4317", "neither http nor https"),
        ("http://", "empty"),
        ("http://collector:4317/v1/traces", "has no path"),
        ("", "empty"),
    ] {
        let error = refused(Settings { otlp: Some(endpoint.to_owned()), ..Settings::default() });
        assert!(error.to_string().contains(why) && error.to_string().contains("write http://"), "{error}");
    }
}

#[test]
fn random_bits_differ_between_threads_and_calls() {
    let threads: Vec<_> =
        (0..4).map(|_| std::thread::spawn(|| (0..1000).map(|_| entropy()).collect::<Vec<_>>())).collect();
    let mut all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let ones: u32 = all.iter().map(|bits| bits.count_ones()).sum();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4000);
    // 128,000 of 256,000 expected, with a standard deviation of 253.
    assert!((126_000..130_000).contains(&ones), "{ones}");
}
