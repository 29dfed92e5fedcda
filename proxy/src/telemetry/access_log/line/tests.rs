use std::sync::Arc;
use std::time::Duration;

use policies::caller::{Assurance, Workload};

use super::format_at;
use crate::rule::RuleName;
use crate::telemetry::{Course, Record, RouteStats, TraceContext};

fn line(now: Duration, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    format_at(&mut out, now, "gateway", record);
    String::from_utf8(out).unwrap()
}

fn unmatched() -> Record<'static> {
    Record {
        method: "GET",
        host: "shop.example.com",
        path: "/",
        status: 404,
        stats: None,
        course: Course {
            duration: Duration::from_micros(73),
            ..Course::new(
                "HTTP/1.1",
                "route_not_found",
                "shop/edge/http",
                "[2001:db8::1]:4711".parse().unwrap(),
            )
        },
        trace: TraceContext { trace_id: 0xabc, parent_id: 0, span_id: 0xdef, flags: 0 },
        user_agent: None,
        denied_by: None,
        would_deny: &[],
        source: None,
    }
}

/// Everything a client chooses is hostile, and every field has a value.
#[test]
fn a_full_line_is_exactly_this() {
    let rule = RuleName { kind: "HTTPRoute", route: Arc::from("shop/cart"), rule: Arc::from("0") };
    let stats = RouteStats::default();
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "cart".to_owned(), port: 8080 };
    let workload = Workload {
        namespace: "w\"eb".to_owned(),
        service_account: "bff".to_owned(),
        assurance: Assurance::Network,
    };
    let record = Record {
        method: "M\"X",
        host: "shop.example.com",
        path: "/a?q=\"\r\n{\"time\":\"forged\"}\u{1b}[2J",
        status: 200,
        stats: Some(&stats),
        course: Course {
            rule: Some(&rule),
            upstream: Some((&backend, "[::ffff:10.1.2.3]:8080".parse().unwrap())),
            attempts: 2,
            duration: Duration::from_micros(12_345_678),
            upstream_duration: Some(Duration::from_nanos(999)),
            bytes_in: u64::MAX,
            bytes_out: 10,
            ..Course::new("HTTP/2", "ok", "shop/edge/http", "192.0.2.255:65535".parse().unwrap())
        },
        trace: TraceContext {
            trace_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            parent_id: 1,
            span_id: 0xfedc_ba98_7654_3210,
            flags: 1,
        },
        user_agent: Some("evil\\\u{7f}"),
        denied_by: Some("no \"admin\""),
        would_deny: &["a_b", "c"],
        source: Some(&workload),
    };
    let now = Duration::from_millis(1_767_323_045_067);
    let want = concat!(
        r#"{"time":"2026-01-02T03:04:05.067Z","role":"gateway","method":"M\"X","host":"shop.example.com","#,
        r#""path":"/a?q=\"\u000d\u000a{\"time\":\"forged\"}\u001b[2J","protocol":"HTTP/2","#,
        r#""status":200,"reason":"ok","listener":"shop/edge/http","#,
        r#""kind":"HTTPRoute","route":"shop/cart","rule":"0","backend":"shop/cart:8080","#,
        r#""upstream":"10.1.2.3:8080","attempts":2,"duration_ms":12345.678,"upstream_ms":0.000,"#,
        r#""bytes_in":18446744073709551615,"bytes_out":10,"client":"192.0.2.255:65535","#,
        r#""user_agent":"evil\\\u007f","trace_id":"0123456789abcdef0123456789abcdef","#,
        r#""span_id":"fedcba9876543210","denied_by":"no \"admin\"","would_deny":"a_b,c","#,
        r#""source_workload":"w\"eb/bff","source_assurance":"Network"}"#,
        "\n"
    );
    assert_eq!(line(now, &record), want);
    let read: serde_json::Value = serde_json::from_str(want).unwrap();
    assert_eq!(read["path"], record.path);
}

#[test]
fn a_line_without_values_has_the_same_fields() {
    let want = concat!(
        r#"{"time":"1970-01-01T00:00:01.000Z","role":"gateway","method":"GET","host":"shop.example.com","#,
        r#""path":"/","protocol":"HTTP/1.1","status":404,"reason":"route_not_found","#,
        r#""listener":"shop/edge/http","kind":null,"route":null,"rule":null,"backend":null,"#,
        r#""upstream":null,"attempts":0,"duration_ms":0.073,"upstream_ms":null,"bytes_in":0,"#,
        r#""bytes_out":0,"client":"[2001:db8::1]:4711","user_agent":null,"#,
        r#""trace_id":"00000000000000000000000000000abc","span_id":"0000000000000def","denied_by":null,"would_deny":null,"#,
        r#""source_workload":null,"source_assurance":null}"#,
        "\n"
    );
    assert_eq!(line(Duration::from_secs(1), &unmatched()), want);
}

#[test]
fn a_client_whose_port_is_not_known_has_none() {
    for (client, want) in [
        ("192.0.2.1:0", "192.0.2.1"),
        ("[2001:db8::1]:0", "2001:db8::1"),
        ("[::ffff:10.0.0.1]:0", "10.0.0.1"),
    ] {
        let record = unmatched();
        let course = Course { client: client.parse().unwrap(), ..record.course };
        let line = line(Duration::ZERO, &Record { course, ..record });
        assert!(line.contains(&format!(r#""client":"{want}","#)), "{line}");
    }
}

#[test]
fn a_line_is_bounded_whatever_the_client_sends() {
    let long = "\u{1}".repeat(100_000);
    let record = Record { method: &long, host: &long, path: &long, user_agent: Some(&long), ..unmatched() };
    let line = line(Duration::ZERO, &record);
    assert!(line.len() < 6 * (32 + 256 + 2048 + 512) + 1024, "{}", line.len());
    assert_eq!(line.matches('\n').count(), 1);
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
}

#[test]
fn every_field_is_documented() {
    let docs = include_str!("../../../../../docs/access-log.md");
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&line(Duration::ZERO, &unmatched())).unwrap();
    let documented: Vec<_> =
        docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(fields.keys().collect::<Vec<_>>(), documented);
}

/// `cargo test --release -p fairway-proxy line_takes -- --ignored --nocapture`; aim: under 400 ns.
#[test]
#[ignore = "prints a time, proves nothing"]
fn how_long_a_line_takes() {
    let rule = RuleName { kind: "HTTPRoute", route: Arc::from("shop/cart"), rule: Arc::from("checkout") };
    let stats = RouteStats::default();
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "cart".to_owned(), port: 8080 };
    let record = Record {
        path: "/cart/items/4711?currency=EUR&page=2",
        stats: Some(&stats),
        course: Course {
            rule: Some(&rule),
            upstream: Some((&backend, "10.42.7.12:8080".parse().unwrap())),
            upstream_duration: Some(Duration::from_micros(1_100)),
            client: "192.0.2.17:51234".parse().unwrap(),
            ..unmatched().course
        },
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ..unmatched()
    };
    let mut out = Vec::new();
    let rounds = 200_000;
    let fastest = (0..20).map(|_| {
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            out.clear();
            super::format(&mut out, "gateway", &record);
        }
        begun.elapsed() / rounds
    });
    println!("{:?} for {} bytes", fastest.min().unwrap(), out.len());
}
