use std::sync::Arc;
use std::time::Duration;

use policies::caller::{Assurance, Workload};

use super::format_at;
use crate::rule::RuleName;
use crate::telemetry::{Course, StreamRecord};

fn line(record: &StreamRecord<'_>) -> String {
    let mut out = Vec::new();
    format_at(&mut out, Duration::from_millis(1_700_000_000_123), "gateway", record);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_connection_has_the_fields_of_a_request_in_the_same_order() {
    let rule = RuleName { kind: "TLSRoute", route: Arc::from("shop/db"), rule: Arc::from("0") };
    let backend = config::BackendRef { namespace: "shop".to_owned(), name: "db".to_owned(), port: 5432 };
    let course = Course {
        rule: Some(&rule),
        upstream: Some((&backend, "10.1.2.3:5432".parse().unwrap())),
        attempts: 2,
        duration: Duration::from_micros(12_345_678),
        upstream_duration: Some(Duration::from_micros(700)),
        bytes_in: 7,
        bytes_out: 8,
        ..Course::new("TLS", "ok", "shop/edge/tls", "192.0.2.255:65535".parse().unwrap())
    };
    let workload = Workload {
        namespace: "web".to_owned(),
        service_account: "bff".to_owned(),
        assurance: Assurance::Network,
    };
    let record = StreamRecord { sni: Some("db.example.com"), source: Some(&workload), course };
    assert_eq!(
        line(&record),
        r#"{"time":"2023-11-14T22:13:20.123Z","role":"gateway","method":null,"host":"db.example.com","path":null,"protocol":"TLS","status":null,"reason":"ok","listener":"shop/edge/tls","kind":"TLSRoute","route":"shop/db","rule":"0","backend":"shop/db:5432","upstream":"10.1.2.3:5432","attempts":2,"duration_ms":12345.678,"upstream_ms":0.700,"bytes_in":7,"bytes_out":8,"client":"192.0.2.255:65535","user_agent":null,"trace_id":null,"span_id":null,"denied_by":null,"would_deny":null,"source_workload":"web/bff","source_assurance":"Network"}
"#
    );
    let record = StreamRecord { sni: None, source: None, course: Course { protocol: "TCP", ..course } };
    assert!(line(&record).ends_with("\"source_workload\":null,\"source_assurance\":null}\n"));
    assert!(line(&record).contains(r#""host":null,"path":null,"protocol":"TCP""#));
}
