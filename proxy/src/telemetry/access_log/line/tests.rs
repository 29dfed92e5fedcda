use std::sync::Arc;
use std::time::Duration;

use super::{date, escape, format_at};
use crate::rule::RuleName;
use crate::telemetry::{Record, RouteStats, TraceContext};

fn escaped(bytes: &[u8], limit: usize) -> String {
    let mut out = Vec::new();
    escape(&mut out, bytes, limit);
    String::from_utf8(out).unwrap()
}

#[test]
fn hostile_bytes_are_escaped() {
    let cases: &[(&[u8], &str)] = &[
        (b"plain /path?x=1&y=~", "plain /path?x=1&y=~"),
        (br#"a"b\c"#, r#"a\"b\\c"#),
        (b"a\nb\r\tc\0", r"a\u000ab\u000d\u0009c\u0000"),
        (b"\x1b[31mred\x7f", r"\u001b[31mred\u007f"),
        // Next line and the separators end a line for some readers; CSI of the second block drives terminals.
        ("\u{85}\u{9b}\u{2028}\u{2029}".as_bytes(), r"\u0085\u009b\u2028\u2029"),
        ("größe ☃ 𝄞".as_bytes(), "größe ☃ 𝄞"),
        // Not UTF-8: one replacement for each broken sequence, and what follows is kept.
        (b"a\xffb\xc3(\xe2\x82", "a\u{fffd}b\u{fffd}(\u{fffd}"),
        (b"\xc0\xaf\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        (b"", ""),
    ];
    for (bytes, want) in cases {
        assert_eq!(escaped(bytes, 100), *want, "{bytes:?}");
        let read: String = serde_json::from_str(&format!("\"{want}\"")).unwrap();
        assert_eq!(read, String::from_utf8_lossy(bytes), "{bytes:?}");
    }
}

#[test]
fn long_values_are_cut_at_a_character() {
    assert_eq!(escaped(b"abcdef", 6), "abcdef");
    assert_eq!(escaped(b"abcdefg", 6), "abcdef…");
    assert_eq!(escaped("abcdé".as_bytes(), 5), "abcd…");
    assert_eq!(escaped(b"\"\"\"\"", 3), "\\\"\\\"\\\"…");
    assert_eq!(escaped(b"\xff\xff", 3), "\u{fffd}…");
}

#[test]
fn dates_are_right_around_leap_days() {
    let cases = [
        (0, "1970-01-01T00:00:00."),
        (951_782_399, "2000-02-28T23:59:59."),
        (951_782_400, "2000-02-29T00:00:00."),
        (951_868_800, "2000-03-01T00:00:00."),
        (1_709_164_800, "2024-02-29T00:00:00."),
        (1_735_689_599, "2024-12-31T23:59:59."),
        (1_735_689_600, "2025-01-01T00:00:00."),
        (4_107_542_400, "2100-03-01T00:00:00."),
        (4_107_456_000, "2100-02-28T00:00:00."),
    ];
    for (seconds, want) in cases {
        assert_eq!(std::str::from_utf8(&date(seconds)).unwrap(), want);
    }
}

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
        version: "HTTP/1.1",
        status: 404,
        reason: "route_not_found",
        listener: "shop/edge/http",
        rule: None,
        upstream: None,
        attempts: 0,
        duration: Duration::from_micros(73),
        upstream_duration: None,
        bytes_in: 0,
        bytes_out: 0,
        peer: "[2001:db8::1]:4711".parse().unwrap(),
        trace: TraceContext { trace_id: 0xabc, parent_id: 0, span_id: 0xdef, flags: 0 },
        user_agent: None,
    }
}

/// Everything a client chooses is hostile, and every field has a value.
#[test]
fn a_full_line_is_exactly_this() {
    let rule = RuleName { kind: "HTTPRoute", route: Arc::from("shop/cart"), rule: Arc::from("0") };
    let stats = RouteStats::default();
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "cart".to_owned(), port: 8080 };
    let record = Record {
        method: "M\"X",
        host: "shop.example.com",
        path: "/a?q=\"\r\n{\"time\":\"forged\"}\u{1b}[2J",
        version: "HTTP/2",
        status: 200,
        reason: "ok",
        rule: Some((&rule, &stats)),
        upstream: Some((&backend, "[::ffff:10.1.2.3]:8080".parse().unwrap())),
        attempts: 2,
        duration: Duration::from_micros(12_345_678),
        upstream_duration: Some(Duration::from_nanos(999)),
        bytes_in: u64::MAX,
        bytes_out: 10,
        peer: "192.0.2.255:65535".parse().unwrap(),
        trace: TraceContext {
            trace_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            parent_id: 1,
            span_id: 0xfedc_ba98_7654_3210,
            flags: 1,
        },
        user_agent: Some("evil\\\u{7f}"),
        ..unmatched()
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
        r#""span_id":"fedcba9876543210"}"#,
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
        r#""trace_id":"00000000000000000000000000000abc","span_id":"0000000000000def"}"#,
        "\n"
    );
    assert_eq!(line(Duration::from_secs(1), &unmatched()), want);
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
