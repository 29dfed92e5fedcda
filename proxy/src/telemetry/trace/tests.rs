use policies::Request;

use super::{TRACEPARENT, TRACESTATE, TraceContext, hex, parse};

const TRACE: u128 = 0x1234_5678_9012_3456_7890_1234_5678_9012;
const PARENT: u64 = 0x1234_5678_9012_3456;

/// The cases of the W3C test suite: what the client sends, and the flags when it is valid.
const CASES: &[(&str, Option<u8>)] = &[
    ("00-12345678901234567890123456789012-1234567890123456-01", Some(1)),
    ("00-12345678901234567890123456789012-1234567890123456-00", Some(0)),
    // Flags that are not known are not passed on; the random flag of level 2 is.
    ("00-12345678901234567890123456789012-1234567890123456-ff", Some(3)),
    ("00-12345678901234567890123456789012-1234567890123456-02", Some(2)),
    // Version 00 has nothing after the flags.
    ("00-12345678901234567890123456789012-1234567890123456-01.", None),
    ("00-12345678901234567890123456789012-1234567890123456-01-", None),
    ("00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like", None),
    // Later versions may, after a dash.
    ("cc-12345678901234567890123456789012-1234567890123456-01", Some(1)),
    ("cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like", Some(1)),
    ("cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like", None),
    ("01-12345678901234567890123456789012-1234567890123456-00-", Some(0)),
    ("ff-12345678901234567890123456789012-1234567890123456-01", None),
    ("ff-12345678901234567890123456789012-1234567890123456-01-x", None),
    // Version.
    (".0-12345678901234567890123456789012-1234567890123456-01", None),
    ("0.-12345678901234567890123456789012-1234567890123456-01", None),
    ("0G-12345678901234567890123456789012-1234567890123456-01", None),
    ("000-12345678901234567890123456789012-1234567890123456-01", None),
    ("0000-12345678901234567890123456789012-1234567890123456-01", None),
    ("0-12345678901234567890123456789012-1234567890123456-01", None),
    ("CC-12345678901234567890123456789012-1234567890123456-01", None),
    // Trace id.
    ("00-00000000000000000000000000000000-1234567890123456-01", None),
    ("00-.2345678901234567890123456789012-1234567890123456-01", None),
    ("00-1234567890123456789012345678901.-1234567890123456-01", None),
    ("00-1234567890123456789012345678901A-1234567890123456-01", None),
    ("00-123456789012345678901234567890123-1234567890123456-01", None),
    ("00-1234567890123456789012345678901-1234567890123456-01", None),
    // Parent id.
    ("00-12345678901234567890123456789012-0000000000000000-01", None),
    ("00-12345678901234567890123456789012-.234567890123456-01", None),
    ("00-12345678901234567890123456789012-123456789012345.-01", None),
    ("00-12345678901234567890123456789012-ABCDEF7890123456-01", None),
    ("00-12345678901234567890123456789012-12345678901234567-01", None),
    ("00-12345678901234567890123456789012-123456789012345-01", None),
    // Flags.
    ("00-12345678901234567890123456789012-1234567890123456-.0", None),
    ("00-12345678901234567890123456789012-1234567890123456-0.", None),
    ("00-12345678901234567890123456789012-1234567890123456-0A", None),
    ("00-12345678901234567890123456789012-1234567890123456-001", None),
    ("00-12345678901234567890123456789012-1234567890123456-1", None),
    ("00-12345678901234567890123456789012-1234567890123456-", None),
    // Dashes elsewhere, and what is no traceparent at all.
    ("00_12345678901234567890123456789012-1234567890123456-01", None),
    ("00-12345678901234567890123456789012_1234567890123456-01", None),
    ("00-12345678901234567890123456789012-1234567890123456_01", None),
    ("-0012345678901234567890123456789012-1234567890123456-01", None),
    ("", None),
    ("-", None),
    ("00", None),
];

#[test]
fn traceparent_is_read_as_the_w3c_test_suite_wants() {
    for (text, flags) in CASES {
        let read = parse(text.as_bytes());
        assert_eq!(read, flags.map(|flags| (TRACE, PARENT, flags)), "{text:?}");
    }
}

#[test]
fn traceparent_of_any_bytes_does_not_panic() {
    let valid = b"00-12345678901234567890123456789012-1234567890123456-01-";
    for length in 0..valid.len() {
        assert_eq!(parse(&valid[..length]).is_some(), length == 55, "{length}");
    }
    for at in 0..55 {
        let mut broken = *valid;
        broken[at] = 0xff;
        assert_eq!(parse(&broken[..55]), None, "byte {at}");
    }
}

fn request(headers: &[(&'static str, &str)]) -> Request {
    let mut req = Request::build("GET", b"/", None).unwrap();
    for (name, value) in headers {
        req.append_header(*name, *value).unwrap();
    }
    req
}

/// Numbers that count up, so that a test can tell them apart.
fn numbered() -> impl FnMut() -> u64 {
    let mut last = 0;
    move || {
        last += 1;
        last
    }
}

const VALID: &str = "00-12345678901234567890123456789012-1234567890123456-01";

#[test]
fn the_clients_trace_goes_on_with_our_span() {
    let mut req = request(&[("TraceParent", VALID), ("tracestate", "vendor=1,other=2")]);
    let trace = TraceContext::from_request(&req, numbered(), |_| panic!("the caller has decided"));
    assert_eq!(trace, TraceContext { trace_id: TRACE, parent_id: PARENT, span_id: 1, flags: 1 });
    trace.inject(&mut req).unwrap();
    assert_eq!(
        req.headers.get(TRACEPARENT).unwrap(),
        "00-12345678901234567890123456789012-0000000000000001-01"
    );
    assert_eq!(req.headers.get(TRACESTATE).unwrap(), "vendor=1,other=2");
}

#[test]
fn a_broken_traceparent_starts_a_trace_and_drops_tracestate() {
    let two = [("traceparent", VALID), ("traceparent", VALID), ("tracestate", "vendor=1")];
    let broken = [("traceparent", "00-1-1-01"), ("tracestate", "vendor=1")];
    let absent = [("tracestate", "vendor=1"), ("tracestate", "more=2")];
    for headers in [&two[..], &broken[..], &absent[..]] {
        let mut req = request(headers);
        let trace = TraceContext::from_request(&req, numbered(), |_| false);
        assert!(trace.is_root());
        assert_eq!((trace.trace_id, trace.span_id, trace.flags), (2 << 64 | 3, 1, 0));
        trace.inject(&mut req).unwrap();
        assert_eq!(req.headers.get_all(TRACEPARENT).iter().count(), 1, "{headers:?}");
        assert!(!req.headers.contains_key(TRACESTATE), "{headers:?}");
    }
}

#[test]
fn white_space_around_a_traceparent_is_ignored() {
    let req = request(&[("traceparent", &format!(" \t{VALID}\t "))]);
    assert_eq!(TraceContext::from_request(&req, numbered(), |_| false).trace_id, TRACE);
}

#[test]
fn zero_random_bits_make_no_invalid_identifiers() {
    let trace = TraceContext::from_request(&request(&[]), || 0, |_| true);
    assert_ne!(trace.trace_id, 0);
    assert_ne!(trace.span_id, 0);
    assert!(trace.is_sampled());
    assert_eq!(parse(trace.header_value().as_bytes()), Some((trace.trace_id, trace.span_id, 1)));
}

#[test]
fn what_is_written_can_be_read() {
    for _ in 0..1000 {
        let trace =
            TraceContext::from_request(&request(&[]), crate::telemetry::entropy, |bits| bits % 2 == 0);
        assert_eq!(
            parse(trace.header_value().as_bytes()),
            Some((trace.trace_id, trace.span_id, trace.flags))
        );
    }
}

#[test]
fn hexadecimal_fills_what_there_is_room_for() {
    let mut out = *b"......";
    hex(out.get_mut(1..5), &[0x0f, 0xa0]);
    assert_eq!(&out, b".0fa0.");
    hex(None, &[1]);
}
