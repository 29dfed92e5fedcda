//! What telemetry adds to a request, in nanoseconds: `cargo bench -p fairway-proxy --bench telemetry`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fairway_proxy::rule::RuleName;
use fairway_proxy::telemetry::{
    AccessLog, Course, Format, Record, RouteStats, Settings, Telemetry, entropy, render,
};

fn record<'a>(
    telemetry: &Telemetry,
    rule: &'a RuleName,
    stats: &'a RouteStats,
    backend: &'a config::BackendRef,
) -> Record<'a> {
    let req = policies::Request::build("GET", b"/", None).expect("a valid request");
    Record {
        method: "GET",
        host: "shop.example.com",
        path: "/cart/items/4711?currency=EUR&page=2",
        status: 200,
        stats: Some(stats),
        course: Course {
            rule: Some(rule),
            upstream: Some((backend, "10.42.7.12:8080".parse().expect("an address"))),
            attempts: 1,
            duration: Duration::from_micros(1_234),
            upstream_duration: Some(Duration::from_micros(1_100)),
            bytes_out: 10_240,
            ..Course::new(
                "HTTP/1.1",
                "ok",
                "shop/edge/https",
                "192.0.2.17:51234".parse().expect("an address"),
            )
        },
        trace: telemetry.trace(&req),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        denied_by: None,
        would_deny: &[],
        source: None,
    }
}

fn benches(c: &mut Criterion) {
    let rule = RuleName { kind: "HTTPRoute", route: Arc::from("shop/cart"), rule: Arc::from("checkout") };
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "cart".to_owned(), port: 8080 };

    let quiet = Telemetry::default();
    let stats = quiet.route(&rule);
    let plain = record(&quiet, &rule, &stats, &backend);
    c.bench_function("finish: metrics", |b| b.iter(|| quiet.finish(&plain)));
    c.bench_function("requests in flight", |b| b.iter(|| stats.start()));

    let settings = Settings { access_log: AccessLog::File("/dev/null".into()), ..Settings::default() };
    let logging = Telemetry::new("gateway", &settings).expect("a log");
    c.bench_function("finish: metrics and access log", |b| b.iter(|| logging.finish(&plain)));

    let req = policies::Request::build("GET", b"/", None).expect("a valid request");
    let mut traced = policies::Request::build("GET", b"/", None).expect("a valid request");
    quiet.trace(&req).inject(&mut traced).expect("a valid header");
    c.bench_function("trace: start", |b| b.iter(|| quiet.trace(&req)));
    c.bench_function("trace: continue", |b| b.iter(|| quiet.trace(&traced)));
    let trace = quiet.trace(&req);
    c.bench_function("trace: header value", |b| b.iter(|| trace.header_value()));
    c.bench_function("entropy", |b| b.iter(entropy));

    let scraped = Telemetry::new("gateway", &Settings::default()).expect("no settings");
    for route in 0..1000 {
        let rule = RuleName { route: format!("shop/route-{route}").into(), ..rule.clone() };
        let stats = scraped.route(&rule);
        scraped.finish(&record(&scraped, &rule, &stats, &backend));
    }
    let roles = [scraped];
    c.bench_function("scrape of 1,000 rules in use", |b| {
        b.iter(|| {
            let mut out = String::new();
            render(&roles, Format::OpenMetrics, &mut out).map(|()| out.len())
        });
    });
}

criterion_group!(all, benches);
criterion_main!(all);
